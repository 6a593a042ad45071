"""Graphs in NIR: what to change in one that is refused."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

from hwloop.network.nir.read import from_nir

from .support import Case, option, refused


def cuba(n: int = 2, tau_mem: float = 10e-3, tau_syn: float = 5e-3, **more: Any) -> nir.CubaLIF:
    values = {"r": np.ones(n), "v_leak": np.zeros(n), "v_threshold": np.ones(n), "w_in": np.ones(n), **more}
    return nir.CubaLIF(tau_syn=np.full(n, tau_syn), tau_mem=np.full(n, tau_mem), **values)


def linear(n_out: int = 2, n_in: int = 3, value: float = 1.0) -> nir.Linear:
    return nir.Linear(np.full((n_out, n_in), value))


def affine(bias: float) -> nir.Affine:
    return nir.Affine(np.ones((2, 3)), np.full(2, bias))


def row(*nodes: nir.NIRNode, metadata: dict[str, Any] | None = None) -> nir.NIRGraph:
    graph = nir.NIRGraph.from_list(*nodes, type_check=False)
    graph.metadata = {"time_unit": "s"} if metadata is None else metadata
    return graph


def graph(edges: list[tuple[str, str]], **nodes: nir.NIRNode) -> nir.NIRGraph:
    ends = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([2]))}
    return nir.NIRGraph(
        {**ends, "w": linear(), "n": cuba(), **nodes}, edges, metadata={"time_unit": "s"}, type_check=False
    )


ROW = [("input", "w"), ("w", "n"), ("n", "output")]
SECOND = {"w2": linear(2, 2), "n2": cuba()}


def read(*nodes: nir.NIRNode, **metadata: Any) -> Any:
    return from_nir(row(*nodes, metadata=metadata or None))


GRAPHS = [
    Case("_row", "the graph has no node {}; it has {}", lambda: from_nir(graph([*ROW, ("n", "more")])), lambda: from_nir(graph(ROW))),
    Case("_row", "allowed: feed-forward networks. Export it without recurrence", lambda: from_nir(graph([*ROW, ("n", "w")])),
         lambda: from_nir(graph(ROW))),
    Case("_row", "{} {} nodes ({}); allowed: exactly one", lambda: from_nir(graph(ROW, input2=nir.Input(np.array([3])))),
         lambda: from_nir(graph(ROW))),
    Case("_row", "Split the graph, or export it anew", lambda: from_nir(graph([*ROW, ("input", "w2"), ("w2", "n2"), ("n2", "output")], **SECOND)),
         (lambda: from_nir(graph(ROW)), lambda: from_nir(graph([("input", "w"), ("w", "n"), ("n", "w2"), ("w2", "n2"), ("n2", "output")], **SECOND)))),
    Case("nir._layers", "allowed: {}, in this order. {}", lambda: read(linear(), nir.Threshold(np.ones(2)), cuba()), lambda: read(linear(), cuba())),
    Case("nir._layers", "is {}; allowed: {}", lambda: read(linear(), nir.Delay(np.zeros(2)), cuba()), lambda: read(nir.Delay(np.zeros(3)), linear(), cuba())),
    Case("nir._layers", "in this order", lambda: read(linear(), nir.LIF(np.full(2, 1e-2), np.ones(2), np.zeros(2), np.ones(2))), lambda: read(linear(), cuba())),
    Case("nir._layers", "before a layer is complete; a layer is {}", lambda: read(linear(), cuba(), linear(2, 2)),
         (lambda: read(linear(), cuba()), lambda: read(linear(), cuba(), linear(2, 2), cuba()))),
    Case("nir._modules", "allowed: two axes, [n_out, n_in]", lambda: read(nir.Linear(np.ones((1, 2, 3))), cuba()), lambda: read(nir.Linear(np.ones((2, 3))), cuba())),
    Case("nir._modules", "node {} and the weights {} before it: {}", lambda: read(linear(), cuba(tau_mem=-1.0)), lambda: read(linear(), cuba(tau_mem=1e-2))),
    Case("nir._modules", "is NaN or infinite", lambda: read(linear(value=np.nan), cuba()), lambda: read(linear(value=1.0), cuba())),
    Case("_check_bias", "Train without bias, or with an input unit that spikes at a fixed time", lambda: read(affine(0.5), cuba()),
         (lambda: read(affine(0.0), cuba()), lambda: read(linear(n_in=4), cuba()))),
    Case("nir._lif", "metadata max_spikes = {}; allowed: a whole number >= 1", lambda: read(linear(), cuba(metadata={"max_spikes": 1.5})),
         lambda: read(linear(), cuba(metadata={"max_spikes": 1}))),
    Case("nir._per_neuron", "allowed: one number, or ({},)", lambda: read(linear(), cuba(metadata={"t_ref": np.full(3, 1e-3)})),
         (lambda: read(linear(), cuba(metadata={"t_ref": np.full(1, 1e-3)})), lambda: read(linear(), cuba(metadata={"t_ref": np.full(2, 1e-3)})))),
    Case("nir._float", "allowed: real numbers", lambda: read(linear(), cuba(v_leak=np.array(["a", "b"]))), lambda: read(linear(), cuba(v_leak=np.array([0, 1])))),
    option("time_unit_of", "time_unit = {}; allowed: {}", lambda time_unit: from_nir(row(linear(), cuba()), time_unit=time_unit), "time_unit", "min", "s", "ms", "us"),
    option("spike_area", "allowed: 0 (a delta) or a finite width in the graph's time unit", lambda spike_width: from_nir(row(linear(), cuba()), spike_width=spike_width), "spike_width", -1.0, 0, 1e-3),
]  # fmt: skip


@pytest.mark.parametrize("case", GRAPHS, ids=str)
def test_what_a_graph_is_asked_for_is_read(case: Case) -> None:
    case.follow()


def test_a_unit_that_is_passed_takes_the_place_of_one_that_is_unknown_or_missing() -> None:
    ticks = row(linear(), cuba(), metadata={"time_unit": "ticks"})
    refused("_from_metadata", "Pass time_unit to override it", lambda: from_nir(ticks))
    from_nir(ticks, time_unit="s")
    none = row(linear(), cuba(tau_mem=1.0, tau_syn=0.5), metadata={"made_by": "someone"})
    refused("_from_magnitude", "pass time_unit", lambda: from_nir(none))
    from_nir(none, time_unit="ms")
