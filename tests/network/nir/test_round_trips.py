"""Networks of ours as NIR graphs and back: literally bit for bit, in steps to rounding, through files too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import InputError, Network
from hwloop.network import IF, LI, LIF, Delay, DeltaLIF, Dense, Input, Projection, Scale, Sparse
from hwloop.network.nir.check import round_trips
from hwloop.network.nir.read import V_INIT

from .random_networks import convolutional, plain, recurrent, without_currents

KINDS: list[Callable[..., Network]] = [plain, recurrent, convolutional, without_currents]
#: Rounding of a value that is multiplied and divided by its gains: some half units in the last place.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14}


def values(net: Network) -> dict[str, torch.Tensor]:
    """All values by the place in the graph that they belong to, whatever the order of nodes and projections."""
    found: dict[str, torch.Tensor] = {}
    for name, node in net.structure.nodes.items():
        found |= {f"{name}.{key}": value for key, value in node.state_dict().items()}
    for link in net.structure.links:
        for k, layer in enumerate(link.composition.maps):
            found |= {f"{link.source}->{link.target}.{k}.{key}": value for key, value in layer.state_dict().items()}
    return found


def settings(net: Network) -> list[Any]:
    names = ("shape", "reset", "max_spikes", "filtered_bias")
    return sorted(
        str([name, type(node).__name__, *(getattr(node, key, None) for key in names)])
        for name, node in net.structure.nodes.items()
    )


def through_file(graph: nir.NIRGraph, path: Path) -> Path:
    nir.write(path, graph)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", KINDS)
def test_a_file_keeps_every_value_and_its_dtype(
    make: Callable[..., Network], seed: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    net = make(seed, dtype)
    back = Network.from_nir(through_file(net.to_nir(), tmp_path / "x.nir"))
    old, new = values(net), values(back)
    assert sorted(old) == sorted(new)
    for name, value in old.items():
        assert value.dtype == new[name].dtype, name
        assert torch.equal(value, new[name]), name
    assert settings(net) == settings(back)
    assert ("layers" in net._modules) == ("layers" in back._modules)
    assert net.structure.output == back.structure.output


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", KINDS)
def test_numbers_for_packages_in_steps_are_read_back_to_rounding(
    make: Callable[..., Network], seed: int, dtype: torch.dtype, tmp_path: Path
) -> None:
    net = make(seed, dtype)
    back = Network.from_nir(through_file(net.to_nir(dt=1e-4), tmp_path / "x.nir"))
    old, new = values(net), values(back)
    assert sorted(old) == sorted(new)
    for name, value in old.items():
        assert value.dtype == new[name].dtype, name
        torch.testing.assert_close(new[name], value, rtol=TOLERANCE[dtype], atol=0.0, msg=name)
    assert settings(net) == settings(back)


@pytest.mark.parametrize("make", KINDS)
def test_what_comes_back_spikes_bit_for_bit_and_in_steps_to_rounding(make: Callable[..., Network]) -> None:
    net = make(0)
    literal, stepped = round_trips(net)
    assert literal.spikes > 30
    assert (literal.shift, literal.changed) == (0.0, 0)
    assert stepped.spikes == literal.spikes
    # a time follows its weights' rounding, enlarged by the slope at threshold and from spike to spike
    assert stepped.shift < 1e-9
    assert stepped.changed == 0


def test_a_round_trip_that_is_refused_says_so() -> None:
    net = Network([Dense(3, 2, delay=torch.tensor([[1e-3, 1e-3, 1e-3], [1e-3, 2e-3, 1e-3]])), LIF(2, 10e-3, 5e-3)])
    for trip in round_trips(net):
        assert trip.refused is not None
        assert "refused: " in str(trip)


def test_files_of_earlier_versions_are_read() -> None:
    """As 0.1 wrote them: one row, r = 1, w_in = tau_syn, reset and refractory time in the neurons' metadata."""
    tau_syn = np.array([5e-3, 6e-3])
    neurons = nir.CubaLIF(
        tau_syn=tau_syn, tau_mem=np.array([10e-3, 12e-3]), r=np.ones(2), v_leak=np.zeros(2), v_threshold=np.ones(2),
        v_reset=np.array([-0.5, 0.0]), w_in=tau_syn.copy(),
        metadata={"t_ref": np.array([1e-3, 0.0]), "reset": "subtract", "max_spikes": 3},
    )  # fmt: skip
    weight = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    nodes = {
        "input": nir.Input(np.array([3])), "delay_0": nir.Delay(np.array([1e-3, 2e-3, 0.0])), "dense_0": nir.Linear(weight),
        "lif_0": neurons, "output": nir.Output(np.array([2])),
    }  # fmt: skip
    metadata = {"exporter": "hwloop", "exporter_version": "0.1.0", "time_unit": "s", "spike": "delta"}
    net = Network.from_nir(nir.NIRGraph(nodes, list(pairwise(nodes)), metadata=metadata))
    ((dense, lif),) = net.blocks
    np.testing.assert_array_equal(dense.weight.detach(), weight)
    assert dense.delay is not None
    assert dense.delay.tolist() == [1e-3, 2e-3, 0.0]
    assert (lif.reset, lif.max_spikes, lif.t_ref.tolist(), lif.v_reset.tolist()) == (
        "subtract",
        3,
        [1e-3, 0.0],
        [-0.5, 0.0],
    )
    assert lif.tau_mem.tolist() == [10e-3, 12e-3]


@pytest.mark.parametrize("make", [plain, recurrent])
def test_a_step_is_recognised_without_our_metadata(make: Callable[..., Network]) -> None:
    net = make(1)
    graph = net.to_nir(dt=1e-4)
    graph.metadata = {}
    back = Network.from_nir(graph)
    assert "pulses of one step of 0.0001 s, since tau_mem / r = tau_syn / w_in" in back.nir_evidence
    old, new = values(net), values(back)
    if make is plain:  # without metadata a chain that is none of Dense and LIF alone is a graph
        torch.testing.assert_close(new["1.tau_mem"], old["1.tau_mem"])
    weights = [name for name in old if name.endswith("weight")]
    assert all(torch.allclose(old[name], new[name], rtol=1e-12) for name in weights)


def test_numbers_in_steps_are_those_that_packages_expect() -> None:
    dt, net = 1e-4, plain(0)
    graph = net.to_nir(dt=dt)
    for k, (dense, lif) in enumerate(net.blocks):
        node, weight = graph.nodes[f"lif_{k}"], graph.nodes[f"dense_{k}"].weight
        np.testing.assert_allclose(node.tau_mem / node.r, dt, rtol=1e-12)
        np.testing.assert_allclose(node.tau_syn / node.w_in, dt, rtol=1e-12)
        expected = dense.weight.detach().numpy() * (dt / lif.tau_mem.numpy())[:, None]
        np.testing.assert_allclose(weight, expected, rtol=1e-12)
    assert {key: graph.metadata[key] for key in ("spike", "dt", "time_unit")} == {
        "spike": "pulse",
        "dt": dt,
        "time_unit": "s",
    }
    moved = Network([Dense(2, 2), DeltaLIF(2, 10e-3)]).to_nir(dt=dt).nodes
    np.testing.assert_allclose(moved["lif_0"].tau / moved["lif_0"].r, dt, rtol=1e-6)
    kept = Network([Dense(2, 2), IF(2)])
    graph = kept.to_nir(dt=dt)
    np.testing.assert_allclose(graph.nodes["if_0"].r, 1 / dt, rtol=1e-6)
    np.testing.assert_array_equal(graph.nodes["dense_0"].weight, kept.layers[0].weight.detach())


def test_a_bias_in_steps_holds_the_membrane_where_ours_does() -> None:
    """What the packages make of it: syn <- alpha syn + b settles at b tau_syn / dt, mem <- beta mem + syn at that times tau_mem / dt."""
    dt, d = 1e-4, Dense(2, 2, bias=True)
    with torch.no_grad():
        assert d.bias is not None
        d.bias.copy_(torch.tensor([0.3, -0.7]))
    net = Network([d, LIF(2, 10e-3, 5e-3, filtered_bias=True)])
    bias = net.to_nir(dt=dt).nodes["dense_0"].bias
    np.testing.assert_allclose(bias * (5e-3 / dt) * (10e-3 / dt), [0.3, -0.7], rtol=1e-6)


@pytest.mark.parametrize("dt", [0, -1e-4, float("nan"), float("inf"), True, "1e-4"])
def test_a_step_that_is_none_is_refused(dt: Any) -> None:
    with pytest.raises(InputError, match=r"dt = .*; allowed: None, or the time step \(s\)"):
        plain(0).to_nir(dt=dt)


# -- names and structure --------------------------------------------------------------------------


def test_a_chain_is_numbered_in_the_order_in_which_spikes_pass_it() -> None:
    net = Network([Dense(3, 2, delay=1e-3), LIF(2, 10e-3, 5e-3), Dense(2, 4), LIF(4, 10e-3, 5e-3)])
    graph = net.to_nir()
    assert list(graph.nodes) == ["input", "delay_0", "dense_0", "lif_0", "dense_1", "lif_1", "output"]
    assert [tuple(edge) for edge in graph.edges] == list(zip(list(graph.nodes), list(graph.nodes)[1:], strict=False))
    assert graph.metadata == {
        "exporter": "hwloop",
        "exporter_version": hl.__version__,
        "time_unit": "s",
        "spike": "delta",
    }
    names = [
        "input",
        "conv_0",
        "lif_0",
        "pool_1",
        "conv_1",
        "lif_1",
        "pool_2",
        "flatten_2",
        "dense_2",
        "lif_2",
        "output",
    ]
    assert list(convolutional(0).to_nir().nodes) == names


def test_a_graph_keeps_the_names_of_its_nodes_and_edges() -> None:
    graph = recurrent(1).to_nir()
    assert {"events", "context", "first", "second", "last", "output"} <= set(graph.nodes)
    assert ("second", "second_first_delay") in graph.edges
    assert ("second_first_delay", "second_first_dense") in graph.edges
    again = Network.from_nir(graph).to_nir()
    assert set(again.nodes) == set(graph.nodes)
    assert set(again.edges) == set(graph.edges)
    for name, node in graph.nodes.items():
        for key, value in vars(node).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, getattr(again.nodes[name], key), err_msg=f"{name}.{key}")


def test_the_graphs_are_ones_that_nir_accepts() -> None:
    for make in KINDS:
        graph = make(0).to_nir()
        assert nir.NIRGraph(graph.nodes, graph.edges, metadata=graph.metadata, type_check=make is not convolutional)


def test_maps_are_flattened_to_one_row_whatever_their_shape() -> None:
    flat = convolutional(0).to_nir().nodes
    (node,) = (node for node in flat.values() if isinstance(node, nir.Flatten))
    assert node.output_type["output"].tolist() == [int(np.prod(node.input_type["input"]))]


def test_direct_edges_and_names_that_are_taken() -> None:
    nodes = {"output": Input(2), "n": LIF(2, 10e-3, 5e-3)}
    twice = [Projection("output", "n", []), Projection("output", "n", []), Projection("n", "n", [])]
    graph = Network.graph(nodes, twice).to_nir()
    assert set(graph.nodes) == {"output", "n", "output_n_scale", "output_"}
    back = Network.from_nir(graph)
    assert [link.composition.weight().tolist() for link in back.structure.links] == [[1.0, 1.0]] * 3
    assert len(back.structure.links) == 3


def test_synapses_one_by_one_become_a_matrix_in_which_they_add_up() -> None:
    sparse = Sparse(3, 2, [0, 0, 2, 2], [0, 0, 1, 0], [1.0, 2.0, 4.0, 8.0], delay=[1e-3, 1e-3, 2e-3, 2e-3])
    graph = Network.graph({"in": Input(3), "n": LIF(2, 10e-3, 5e-3)}, [Projection("in", "n", sparse)]).to_nir()
    assert graph.nodes["in_n_dense"].weight.tolist() == [[3.0, 0.0, 8.0], [0.0, 0.0, 4.0]]
    np.testing.assert_allclose(graph.nodes["in_n_delay"].delay, [1e-3, 0.0, 2e-3])


def test_a_graph_is_a_copy() -> None:
    net = plain(0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    graph = net.to_nir(dt=1e-4)
    for node in graph.nodes.values():
        for value in vars(node).values():
            if isinstance(value, np.ndarray):
                value[...] = 7
    literal = net.to_nir()
    literal.nodes["lif_0"].w_in[:] = 7.0
    assert not np.any(literal.nodes["lif_0"].tau_syn == 7.0)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


# -- what a graph cannot say ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, None),
        ({"reset": "subtract"}, "reset by subtraction"),
        ({"max_spikes": 2}, "max_spikes = 2"),
        ({"t_ref": [0.0, 1e-3]}, "a refractory time"),
        ({"v_init": 0.2}, "v_init"),
        ({"t_ref": 1e-3, "reset": "subtract", "max_spikes": 1}, "max_spikes = 1 and a refractory time and reset by subtraction"),
    ],
)  # fmt: skip
def test_what_nir_has_no_field_for_is_warned_of_and_nothing_else(
    more: dict[str, Any], words: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    found = Network([Dense(3, 2), LIF(2, 10e-3, 5e-3, **more)]).to_nir()
    said = f"NIR node 'lif_0': {words}, in metadata alone, which other tools do not read"
    assert [record.getMessage() for record in caplog.records] == ([] if words is None else [said])
    assert found.nodes["lif_0"].metadata["reset"] == more.get("reset", "value")


def test_a_bias_that_is_there_at_once_is_warned_of_and_one_through_the_synapse_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Network([Dense(3, 2, bias=True), LIF(2, 10e-3, 5e-3, filtered_bias=True)]).to_nir()
    assert not caplog.records
    Network([Dense(3, 2, bias=True), LIF(2, 10e-3, 5e-3)]).to_nir()
    assert "a bias that is there at once, not through the synapse, in metadata alone" in caplog.text


def test_what_a_receiving_package_drops_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    Network([Dense(3, 2, delay=1e-3), LIF(2, 10e-3, 5e-3, v_reset=-0.5)]).to_nir(dt=1e-4)
    otherwise = [line.split(" by ", 1)[1] for line in caplog.messages if line.startswith("NIR export, taken otherwise")]
    assert otherwise[:3] == [
        f"{package}: 'lif_0' (v_reset is taken for 0)" for package in ("norse", "snnTorch", "rockpool")
    ]
    assert "NIR node 'delay_0': delays, which norse, snnTorch, SpikingJelly and rockpool do not run" in caplog.text
    caplog.clear()
    Network([Dense(3, 2, delay=1e-3), LIF(2, 10e-3, 5e-3)]).to_nir()  # for no package: the file says all
    assert "do not run" not in caplog.text
    Network([Dense(3, 2), LIF(2, 10e-3, 5e-3)]).to_nir(dt=1e-4)
    assert not caplog.messages
    nodes = {"in": Input(2), "n": LIF(2, 10e-3, 5e-3)}
    loop = [Projection("in", "n", [Dense(2, 2)]), Projection("n", "n", [Dense(2, 2)])]
    Network.graph(nodes, loop).to_nir(dt=1e-4)
    assert caplog.messages == [
        "NIR export, taken otherwise without an error by snnTorch: 'n' (its input is led through its recurrent weights)",
        "NIR export, taken otherwise without an error by rockpool: 'n' (its recurrent weights are not run)",
    ]
    caplog.clear()
    Network([Dense(3, 2), DeltaLIF(2, 10e-3), Dense(2, 2), LI(2, 10e-3)]).to_nir(dt=1e-4)
    assert "by norse: 'lif_0' (r is taken for 1); 'li_1' (left out)" in caplog.messages[0]
    caplog.clear()
    Network([Dense(3, 2), LIF(2, 10e-3, 5e-3)]).to_nir()
    assert not caplog.records


def test_what_is_trained_is_exported_as_it_stands() -> None:
    tau = torch.nn.Parameter(torch.tensor([10e-3, 12e-3]))
    factor = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    delay = torch.nn.Parameter(torch.tensor([1e-3, 2e-3]))
    net = Network([Scale(2, factor), Delay(2, delay), Dense(2, 2), LIF(2, tau, 5e-3)], in_shape=2)
    graph = net.to_nir()
    assert graph.nodes["scale_0"].scale.tolist() == factor.tolist()
    assert graph.nodes["delay_0"].delay.tolist() == delay.tolist()
    assert graph.nodes["lif_0"].tau_mem.tolist() == tau.tolist()


def test_a_readout_has_neither_reset_nor_threshold() -> None:
    graph = Network([Dense(2, 2), LI(2, 10e-3, 5e-3)]).to_nir()
    assert isinstance(graph.nodes["li_0"], nir.CubaLI)
    assert graph.nodes["li_0"].metadata == {}
    assert isinstance(Network([Dense(2, 2), LI(2, 10e-3)]).to_nir().nodes["li_0"], nir.LI)


@pytest.mark.parametrize(
    ("start", "said"), [([0.0, 0.0], None), ([0.0, 0.5], [0.0, 0.5])], ids=["at rest", "elsewhere"]
)
def test_a_start_is_written_for_an_if_that_starts_elsewhere_than_at_0(
    start: list[float], said: list[float] | None
) -> None:
    node = IF(2, v_init=torch.tensor(start))
    metadata = Network([Dense(2, 2), node], in_shape=2).to_nir().nodes["if_0"].metadata
    found = metadata.get(V_INIT)
    assert (found if found is None else found.tolist()) == said
