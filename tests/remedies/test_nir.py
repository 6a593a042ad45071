"""Graphs in NIR: what to change in one that is refused, in its file, or in the network that is written as one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

from hwloop import LIF, Dense, InputError, Network
from hwloop.network import Conv2d, Flatten, Input, Projection, SumPool2d
from hwloop.network.linear_map import LinearMap, Shape, Synapses, size_of
from hwloop.network.nir.hdf5 import read_graph
from hwloop.network.nir.paths import MAX_WAYS
from hwloop.network.nir.read import from_nir

from ..network.nir.made import cuba, graph, integrate_and_fire, li, lif, linear, row, stepped
from .support import Case, Said, option, refused


def read(*nodes: nir.NIRNode, **more: Any) -> Any:
    options = {key: more.pop(key) for key in ("asked", "spike", "reset", "output") if key in more}
    asked = options.pop("asked", None)
    return from_nir(row(*nodes, **more), asked, **options)


def conv(c_out: int = 2, side: Any = (6, 6), **given: Any) -> nir.Conv2d:
    sizes = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **given}
    return nir.Conv2d(side, np.ones((c_out, 1, 3, 3)), bias=np.zeros(c_out), **sizes)


def seen(node: nir.NIRNode, n_in: Any = (1, 6, 6), **more: Any) -> Any:
    return read(node, cuba((2, 4, 4)), n_in=list(n_in), **more)


def ends(n_in: Any = 2, n_out: Any = 2) -> dict[str, nir.NIRNode]:
    return {"in": nir.Input(np.atleast_1d(n_in)), "out": nir.Output(np.atleast_1d(n_out))}


ROW = [("in", "w"), ("w", "n"), ("n", "out")]


def built(*edges: tuple[str, str], **nodes: Any) -> Any:
    return from_nir(graph({**ends(), "w": linear(2, 2), "n": cuba(), **nodes}, list(edges) or ROW))


def nested(**more: nir.NIRNode) -> nir.NIRGraph:
    edges = [*ROW, *((name, "w") for name in more)]
    return graph({**ends(), "w": linear(2, 2), "n": cuba(), **more}, edges)


def fits(**sizes: Any) -> Any:
    return from_nir(graph({**ends(sizes.get("n_in", 3), sizes.get("n_out", 2)), "w": linear(), "n": cuba()}, ROW))


def diamonds(count: int) -> Any:
    """``2 ** count`` ways, in pairs of parallel scales."""
    nodes: dict[str, nir.NIRNode] = {**ends(1, 1), "n": cuba(1)}
    edges, last = [], "in"
    for k in range(count):
        for side in "ab":
            nodes[f"{side}{k}"] = nir.Scale(np.ones(1))
            edges += [(last, f"{side}{k}")] if k == 0 else [(f"{other}{k - 1}", f"{side}{k}") for other in "ab"]
    edges += [(f"{side}{count - 1}", "n") for side in "ab"]
    return from_nir(graph(nodes, [*edges, ("n", "out")]))


TWO = {"v": linear(3, 2), "m": cuba(3), "out2": nir.Output(np.array([3]))}
TWO_EDGES = [*ROW, ("in", "v"), ("v", "m"), ("m", "out2")]

GRAPHS = [
    # structure
    Case("flat._collect", "two nodes are called {} once graphs in graphs are resolved; give one another name",
         lambda: built(("in", "s"), ("s", "s.n"), ("s.n", "out"), ("in", "w"), ("w", "n"), ("n", "w"), **{"s": nested(), "s.n": cuba()}),
         lambda: from_nir(graph({**ends(), "s": nested(), "t": cuba()}, [("in", "s"), ("s", "t"), ("t", "out")]))),
    Case("flat._gate", "allowed: 1, since an edge to it does not say which. Split it, or export the network without nesting",
         lambda: from_nir(graph({**ends(), "s": nested(more=nir.Input(np.array([2])))}, [("in", "s"), ("s", "out")])),
         (lambda: from_nir(graph({**ends(), "s": nested()}, [("in", "s"), ("s", "out")])), built)),
    Case("flat._edges", "the graph has no node {}; it has {}. Correct the edge", lambda: built(*ROW[:2], ("m", "out")), built),
    Case("flat._edges", "stands {} times; allowed: once", lambda: built(*ROW, ROW[1]), built),
    Case("flat._check_kind", "which is not carried; {}. Allowed: {}", lambda: read(linear(), nir.Threshold(np.ones(2)), n_out=2),
         (lambda: read(linear(), lif(), reset="value"), lambda: read(linear(), integrate_and_fire(), reset="value"))),
    Case("flat._check_ends", "(Input) takes from {}; allowed: nothing. Drop the edge", lambda: built(*ROW, ("n", "in")), built),
    Case("flat._check_ends", "(Output) leads to {}; allowed: nothing. Drop the edge", lambda: built(*ROW, ("out", "w")), built),
    Case("flat._check_ends", "takes from nothing; add the edge into it, or leave the node out", lambda: built(*ROW, ("v", "n"), v=linear(2, 2)),
         (lambda: built(*ROW, ("in", "v"), ("v", "n"), v=linear(2, 2)), built)),
    Case("flat._check_ends", "leads to nothing; add the edge out of it, or leave the node out", lambda: built(*ROW, ("in", "v"), v=linear(2, 2)),
         (lambda: built(*ROW, ("in", "v"), ("v", "n"), v=linear(2, 2)), built)),
    Case("paths.feeding", "Add an LI (or CubaLI) readout after it, or leave it out", lambda: read(linear(), cuba(), linear(2, 2), n_out=2),
         (lambda: read(linear(), cuba(), linear(2, 2), li()), lambda: read(linear(), cuba()))),
    Case("paths.feeding", "(Output) takes from {}; allowed: one node of neurons", lambda: built(*ROW, ("in", "out")), built),
    Case("paths._into", "more than {} ways through maps lead to {}; merge parallel maps", lambda: diamonds(MAX_WAYS.bit_length()), lambda: diamonds(2)),
    Case("paths._back", "a loop without neurons: {}; allowed: loops through neurons", lambda: built(*ROW, ("w", "v"), ("v", "w"), v=linear(2, 2)),
         lambda: built(*ROW, ("n", "v"), ("v", "w"), v=linear(2, 2))),
    Case("reading_of", "the graph has no neurons, but {}; allowed: at least one node of neurons", lambda: from_nir(graph({**ends(), "w": linear(2, 2)}, [("in", "w"), ("w", "out")])), built),
    option("read._output", "output = {}; allowed: {}", lambda output: from_nir(graph({**ends(), "w": linear(2, 2), "n": cuba(), **TWO}, TWO_EDGES), output=output),
           "output", "w", "out", "out2", "n", "m"),
    Case("read._output", "Output nodes ({}); allowed: one, or pass output, one of {}", lambda: built(*TWO_EDGES, **TWO),
         (built, lambda: from_nir(graph({**ends(), "w": linear(2, 2), "n": cuba(), **TWO}, TWO_EDGES), output="out2"))),
    Case("read._shapes", "hold single numbers, and nothing says how many they are; write one value a neuron",
         lambda: from_nir(graph({"out": nir.Output(np.array([2])), "n": cuba(1), "m": cuba(1)}, [("n", "m"), ("m", "n"), ("n", "out")])),
         lambda: from_nir(graph({**ends(), "n": cuba(2), "m": cuba(2)}, [("in", "n"), ("n", "m"), ("m", "n"), ("n", "out")]))),
    Case("read._check_units", "neurons {}, {} before it {} units {}; allowed: as many", lambda: read(linear(4, 3), cuba(2)), lambda: read(linear(2, 3), cuba(2))),
    Case("input_shape", "with one more axis of 1 in front at most. If the first axis is a batch, export the network with a sample input of one",
         lambda: fits(n_in=[4, 3]), (lambda: fits(n_in=3), lambda: fits(n_in=[1, 3]), lambda: read(linear(2, 12), cuba(), n_in=[3, 2, 2]))),
    Case("shapes._sides", "has the shape {}; allowed: whole numbers >= 1", lambda: fits(n_in=0), lambda: fits(n_in=3)),
    Case("check_output", "(Output) has the shape {}, {} before it has {}; allowed: as many units", lambda: fits(n_out=7), lambda: fits(n_out=2)),
    # maps
    Case("map_of", "node {}: {}", lambda: read(linear(2, 4), cuba(), n_in=3), lambda: read(linear(2, 3), cuba(), n_in=3)),
    Case("maps._dense", "allowed: two axes, [n_out, n_in]", lambda: read(nir.Linear(np.ones((2, 2, 3))), cuba(), n_in=3), lambda: read(nir.Linear(np.ones((2, 3))), cuba())),
    Case("maps._bias", "a bias is NaN or infinite; allowed: finite numbers", lambda: read(nir.Affine(np.ones((2, 3)), np.array([0.0, np.nan])), cuba()),
         lambda: read(nir.Affine(np.ones((2, 3)), np.array([0.0, 1.0])), cuba())),
    Case("maps._convolution", "weight has shape {}; allowed: [c_out, c_in, {}]", lambda: read(nir.Conv1d(5, np.ones((1, 1, 1, 3)), 1, 0, 1, 1, np.zeros(1)), cuba((1, 3)), n_in=[1, 5]),
         lambda: read(nir.Conv1d(5, np.ones((1, 1, 3)), 1, 0, 1, 1, np.zeros(1)), cuba((1, 3)), n_in=[1, 5])),
    Case("maps._check_sides", "input_shape = {}, the units before it are {}; correct one of them", lambda: seen(conv(side=(9, 9))),
         (lambda: seen(conv(side=(6, 6))), lambda: read(conv(side=(9, 9)), cuba((2, 7, 7)), n_in=[1, 9, 9]))),
    Case("maps._pair", "allowed: one whole number, or one a side", lambda: seen(conv(stride=np.array([1, 1, 1]))), (lambda: seen(conv(stride=1)), lambda: seen(conv(stride=(1, 1))))),
    Case("maps._side", "allowed: whole numbers", lambda: seen(conv(stride=np.array([1.5, 1.0]))), lambda: seen(conv(stride=np.array([1.0, 1.0])))),
    Case("maps._padding", "allowed: numbers, 'valid', or 'same' with a stride of 1 and equal padding on both sides. Export it with numbers",
         lambda: seen(conv(padding="same", stride=(2, 2))), (lambda: seen(conv(padding=0)), lambda: seen(conv(padding="valid")), lambda: read(conv(padding="same"), cuba((2, 6, 6)), n_in=[1, 6, 6]))),
    # values
    Case("values.numbers", "has values of dtype {}; allowed: real numbers", lambda: read(nir.Scale(np.array(["a", "b"])), linear(2, 2), cuba()), lambda: read(nir.Scale(np.array([1, 2])), linear(2, 2), cuba())),
    Case("per_unit", "allowed: one number, or one for each of its {} units {}", lambda: read(linear(), cuba(metadata={"t_ref": np.full(3, 1e-3)})),
         (lambda: read(linear(), cuba(metadata={"t_ref": np.full(1, 1e-3)})), lambda: read(linear(), cuba(metadata={"t_ref": np.full(2, 1e-3)})))),
    Case("read._population", "node {}: {}", lambda: read(linear(), cuba(tau_mem=-1.0)), lambda: read(linear(), cuba(tau_mem=1e-2))),
    Case("read._neurons", "allowed: a whole number >= 1", lambda: read(linear(), cuba(metadata={"max_spikes": 1.5})), lambda: read(linear(), cuba(metadata={"max_spikes": 1}))),
    Case("scaling._check_finite", "(with r and w_in of the neurons folded in) is NaN or infinite", lambda: read(linear(value=np.nan), cuba()), lambda: read(linear(value=1.0), cuba())),
    Case("read._check_bias", "Pass spike=('jump', dt) with that step in seconds; or spike=dt, if its spikes are pulses",
         lambda: read(nir.Affine(np.ones((2, 3)), np.ones(2)), cuba(), time_unit="s", spike="jump"),
         (lambda: read(nir.Affine(np.ones((2, 3)), np.ones(2)), cuba(), time_unit="s", spike=1e-3),
          lambda: read(nir.Affine(np.ones((2, 3)), np.ones(2)), cuba(), time_unit="s", spike=("jump", 1e-3)))),
    # meanings
    Case("conventions._refuse_one_for_both", "Pass spike=('jump', dt), with the exporter's time step in seconds; or spike=('jump', 'jump'), if membranes jump by w r too",
         lambda: read(linear(), cuba(), linear(2, 2), li(), time_unit="s", spike="jump"),
         (lambda: read(linear(), cuba(), linear(2, 2), li(), time_unit="s", spike=("jump", 1e-3)),
          lambda: read(linear(), cuba(), linear(2, 2), li(), time_unit="s", spike=("jump", "jump")))),
    option("conventions._asked_pair", "spike = {}; allowed: one meaning, or a pair: of neurons with a current, and of those without",
           lambda spike: read(linear(), cuba(), spike=spike), "spike", ("jump", 1e-3, 1e-3), "jump", ("jump", 1e-3)),
    option("time_unit_of", "time_unit = {}; allowed: {}", lambda asked: read(linear(), cuba(), asked=asked), "asked", "min", "s", "ms", "us"),
    option("conventions._asked", "spike = {}; allowed: 'jump', 'delta', or the width of a pulse in seconds (the time step of the exporter)",
           lambda spike: read(linear(), cuba(), spike=spike), "spike", -1.0, "jump", "delta", 1e-3),
    Case("conventions._asked", "has no time constants that would show its unit of time; pass time_unit too: {}", lambda: read(linear(), integrate_and_fire(), bare=True, spike=1e-3, reset="value"),
         lambda: read(linear(), integrate_and_fire(), bare=True, spike=1e-3, reset="value", asked="ms")),
    option("resets_of", "reset = {}; allowed: {}", lambda reset: read(linear(), cuba(), reset=reset), "reset", "soft", "value", "subtract"),
    Case("resets_of", "Pass what its exporter means: reset='value'{}or reset='subtract'{}export it with min_v_mem=None", lambda: read(linear(), lif()),
         (lambda: read(linear(), lif(), reset="value"), lambda: read(linear(), lif(), reset="subtract"))),
    Case("resets._from_metadata", "metadata {} = {}; allowed: {}. Pass reset to override it", lambda: read(linear(), cuba(metadata={"reset": "soft"})),
         (lambda: read(linear(), cuba(metadata={"reset": "subtract"})), lambda: read(linear(), cuba(metadata={"reset": "value"})))),
    Case("_refuse_short_norse", "Export it with norse.to_nir(net, x, dt=1); or pass time_unit, if they are meant", lambda: read(linear(), cuba(tau_mem=1e-5, tau_syn=5e-6, w_in=1.0), bare=True, spike="jump"),
         (lambda: read(linear(), cuba(w_in=1.0), bare=True, spike="jump"), lambda: read(linear(), cuba(tau_mem=1e-5, tau_syn=5e-6, w_in=1.0), bare=True, spike="jump", asked="s"))),
]  # fmt: skip


@pytest.mark.parametrize("case", GRAPHS, ids=str)
def test_what_a_graph_is_asked_for_is_read(case: Case) -> None:
    case.follow()


def of_metadata(**metadata: Any) -> nir.NIRGraph:
    return row(linear(), stepped(1e-3), **metadata)


def test_a_unit_that_is_passed_takes_the_place_of_one_that_is_unknown_or_missing() -> None:
    ticks = of_metadata(time_unit="ticks")
    refused("units._from_metadata", "Pass time_unit to override it", lambda: from_nir(ticks))
    from_nir(ticks, time_unit="s")
    none = row(linear(), cuba(tau_mem=1.0, tau_syn=0.5), spike="delta")
    for unit in ("s", "ms"):
        message = refused(
            "_from_magnitude", "and time constants of {}..{} {}: pass time_unit, one of {}", lambda: from_nir(none)
        )
        assert repr(unit) in message
        from_nir(none, time_unit=unit)
    late = row(nir.Delay(np.ones(3)), linear(), integrate_and_fire(metadata={"reset": "value"}), spike="jump")
    refused("_from_magnitude", "no time constants that would show it; pass time_unit: {}", lambda: from_nir(late))
    for unit in ("s", "ms", "us"):
        from_nir(late, time_unit=unit)


def test_a_spike_that_is_passed_takes_the_place_of_one_that_is_unknown() -> None:
    for metadata in ({"spike": "graded"}, {"spike": "pulse", "dt": -1.0}):
        odd = of_metadata(time_unit="s", **metadata)
        text = (
            "allowed: finite and > 0. Pass spike to override it"
            if "dt" in metadata
            else "'pulse' with {}. Pass spike to override it"
        )
        refused("conventions._from_metadata", text, lambda odd=odd: from_nir(odd))
        for spike in ("jump", "delta", 1e-3):
            from_nir(odd, spike=spike)
    refused(
        "conventions._from_metadata",
        "metadata {} = {}; allowed: finite and > 0. Pass spike to override it",
        lambda: from_nir(odd),
    )
    refused(
        "conventions._from_metadata",
        "allowed: 'jump', 'delta', or 'pulse' with {}. Pass spike to override it",
        lambda: from_nir(of_metadata(spike="x")),
    )
    from_nir(of_metadata(time_unit="s", spike="pulse", dt=1e-3))
    unclear = row(linear(), cuba(w_in=1.0), time_unit="s")
    with pytest.raises(InputError, match="not evident: .*spike='jump'.*spike='delta'.*spike=dt"):
        from_nir(unclear)
    for spike in ("jump", "delta", 1e-3):
        from_nir(unclear, spike=spike)


# -- files ----------------------------------------------------------------------------------------


def small() -> Network:
    return Network([Dense(3, 2), LIF(2, 10e-3, 5e-3)])


def changed(path: Path, change: Callable[[Any], Any]) -> Path:
    nir.write(path, small().to_nir())
    with h5py.File(path, "a") as file:
        change(file)
    return path


def depth(count: int) -> nir.NIRGraph:
    made = small().to_nir()
    for _ in range(count):
        made = nir.NIRGraph({**ends(3), "g": made}, [("in", "g"), ("g", "out")], type_check=False)
    return made


def retyped(kind: str | None) -> Callable[[Any], Any]:
    def change(file: Any) -> None:
        node = file["node/nodes/lif_0"]
        del node["type"]
        if kind is not None:
            node["type"] = kind

    return change


def numbered(file: Any) -> None:
    del file["node/edges"]
    file["node/edges"] = np.array([[0, 1]])


def old(file: Any) -> None:
    del file["node"]
    file["nodes/0/type"] = "Input"


def emptied(file: Any) -> None:
    del file["node"]


FILES: list[tuple[Said, Callable[[Any], Any]]] = [
    (Said("hdf5._read", "is of a format older than NIR 0.1, without a group 'node'; read it with the nir of its time, and write it again with nir >= 1.0"), old),
    (Said("hdf5._read", "there is no group 'node' in it, but {}; export it again with nir.write"), emptied),
    (Said("hdf5._node", "has no type; the file is of an old format or damaged: export it again with nir.write"), retyped(None)),
    (Said("hdf5._node", "which NIR does not have{}; known: {}. Replace that module in the network and export it again"), retyped("NoneType")),
    (Said("hdf5._node", "cannot be read: {}: {}; export it again with nir.write"), lambda file: file["node/nodes/lif_0"].pop("tau_mem")),
    (Said("hdf5._graph", "is a NIRGraph without nodes or edges; export it again with nir.write"), lambda file: file["node"].pop("edges")),
    (Said("hdf5._graph", "not pairs of names; the file is of an old format: write it again with nir >= 1.0"), numbered),
]  # fmt: skip


@pytest.mark.parametrize(("said", "change"), FILES, ids=lambda value: getattr(value, "text", ""))
def test_a_file_that_is_exported_again_is_read(tmp_path: Path, said: Said, change: Callable[[Any], Any]) -> None:
    path = changed(tmp_path / "x.nir", change)
    refused(said.at, said.text, lambda: Network.from_nir(path))
    nir.write(path, small().to_nir())
    Network.from_nir(path)


def test_a_file_that_is_damaged_too_deep_or_a_node_alone_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwloop.network.nir.hdf5.MAX_DEPTH", 3)
    path = tmp_path / "x.nir"
    nir.write(path, small().to_nir())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused("hdf5._read", "it is damaged: export it again with nir.write", lambda: read_graph(path))
    path.write_bytes(whole)
    read_graph(path)
    nir.write(path, depth(4))
    refused("hdf5._node", "graphs in graphs, {} deep; allowed: {}", lambda: read_graph(path))
    nir.write(path, depth(2))
    read_graph(path)
    nir.write(path, linear())
    refused(
        "hdf5._read", "holds a {} alone; allowed: a NIRGraph. Put it between Input and Output", lambda: read_graph(path)
    )
    nodes = {**ends(3), "w": linear()}
    nir.write(path, nir.NIRGraph(nodes, list(pairwise(["in", "w", "out"])), type_check=False))
    read_graph(path)


# -- out ------------------------------------------------------------------------------------------


class Other(LinearMap):
    """A map that NIR does not know."""

    def out_shape(self, shape: Shape, where: str) -> Shape:
        return shape

    def synapses(self, shape: Shape) -> Synapses:
        return Synapses(np.arange(size_of(shape)), np.arange(size_of(shape)))

    def apply_to(self, x: torch.Tensor, shape: Shape) -> torch.Tensor:
        return x


def written(maps: list[Any], tau_syn: Any = 5e-3, dt: float | None = None, n: Any = (2, 2, 2)) -> nir.NIRGraph:
    nodes = {"in": Input((1, 4, 4)), "n": LIF(n, 10e-3, tau_syn)}
    return Network.graph(nodes, [Projection("in", "n", maps)]).to_nir(dt)


def biased(layer: Any) -> Any:
    with torch.no_grad():
        layer.bias.fill_(0.5)
    return layer


MIXED = torch.tensor([5e-3, 6e-3] * 4)
WRITTEN = [
    option("write.to_nir", "dt = {}; allowed: None, or the time step (s) of the package that is to run it, > 0", small().to_nir, "dt", -1.0, None, 1e-4),
    Case("scaling._rescale_biases", "a bias before {}, and neurons whose gains differ{}; allowed: equal time constants, or the bias in the last weights",
         lambda: written([biased(Conv2d(1, 2, 1, bias=True)), SumPool2d(2)], MIXED),
         (lambda: written([biased(Conv2d(1, 2, 1, bias=True)), SumPool2d(2)]), lambda: written([Flatten(), biased(Dense(16, 8, bias=True))], MIXED))),
    Case("scaling._rescale_biases", "allowed: equal time constants in a channel", lambda: written([SumPool2d(2), biased(Conv2d(1, 2, 1, bias=True))], MIXED),
         lambda: written([SumPool2d(2), biased(Conv2d(1, 2, 1, bias=True))], torch.tensor([5e-3] * 4 + [6e-3] * 4))),
    Case("write._map", "has no node in NIR; allowed: {}", lambda: written([Conv2d(1, 2, 3), Other()]), lambda: written([Conv2d(1, 2, 3)])),
    Case("write._axonal", "which NIR has no node for; allowed: one delay a source ({},), or none",
         lambda: written([Flatten(), Dense(16, 8, delay=torch.arange(128.0).reshape(8, 16) * 1e-4)]),
         (lambda: written([Flatten(), Dense(16, 8, delay=torch.arange(16.0) * 1e-4)]), lambda: written([Flatten(), Dense(16, 8)]))),
]  # fmt: skip


@pytest.mark.parametrize("case", WRITTEN, ids=str)
def test_what_a_network_is_asked_for_is_written(case: Case) -> None:
    case.follow()
