"""Graphs of populations: their structure, and that a chain is one of them."""

from __future__ import annotations

import copy

import pytest
import torch

import hwloop as hl
from hwloop.errors import InputError

TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}


def lif(n: int | tuple[int, ...], **options: object) -> hl.LIF:
    return hl.LIF(n, **TAUS, **options)  # type: ignore[arg-type]


def spikes(n: int, batch: int = 4, seed: int = 0) -> hl.Spikes:
    generator = torch.Generator().manual_seed(seed)
    return hl.Spikes.from_first_times(torch.rand(batch, n, generator=generator, dtype=torch.float64) * 2e-2, 5e-2)


def dense(n_in: int, n_out: int, seed: int = 0, **options: object) -> hl.Dense:
    return hl.Dense(n_in, n_out, generator=torch.Generator().manual_seed(seed), **options).double()  # type: ignore[arg-type]


def equal(a: hl.Record, b: hl.Record) -> bool:
    return all(
        torch.equal(x.times, y.times) and torch.equal(x.units, y.units)
        for x, y in zip(a.populations, b.populations, strict=True)
    )


def test_a_chain_is_a_graph_of_its_layers() -> None:
    first, second = dense(5, 6), dense(6, 3, 1)
    chain = hl.Network([first, lif(6), second, lif(3)])
    graph = hl.Network.graph(
        {"in": hl.Input(5), "hidden": lif(6), "out": lif(3)},
        [hl.Projection("hidden", "out", second), hl.Projection("in", "hidden", first)],
    )
    given = spikes(5)
    record, same = chain(given), graph(given)
    assert equal(record, same)
    assert (record.names, same.names) == (("0", "1"), ("hidden", "out"))
    assert same["hidden"] is same[0]
    assert same.output is same["out"]
    assert record.output.counts.sum() > 0


def test_several_projections_into_one_population_act_as_one_wide_matrix() -> None:
    a, b = dense(5, 4), dense(5, 4, 1)
    graph = hl.Network.graph(
        {"in": hl.Input(5), "out": lif(4)}, [hl.Projection("in", "out", a), hl.Projection("in", "out", b)]
    )
    single = dense(5, 4)
    with torch.no_grad():
        single.weight.copy_(a.weight + b.weight)
    merged = graph(spikes(5)).output
    alone = hl.Network([single, lif(4)])(spikes(5)).output
    assert torch.equal(merged.units, alone.units)
    torch.testing.assert_close(merged.times, alone.times, rtol=1e-12, atol=0)


def test_a_skip_connection_reaches_the_output() -> None:
    nodes = {"in": hl.Input(5), "hidden": lif(6), "out": lif(3)}
    skip = dense(5, 3, 2)
    graph = hl.Network.graph(nodes, [
        hl.Projection("in", "hidden", dense(5, 6)), hl.Projection("hidden", "out", dense(6, 3, 1)),
        hl.Projection("in", "out", [hl.Delay(5, 1e-3).double(), skip]),
    ])  # fmt: skip
    record = graph(spikes(5))
    value = record.output.times[record.output.valid].sum()
    value.backward()
    assert skip.weight.grad is not None
    assert skip.weight.grad.abs().sum() > 0
    without = hl.Network.graph({"in": hl.Input(5), "hidden": lif(6), "out": lif(3)}, [
        hl.Projection("in", "hidden", dense(5, 6)), hl.Projection("hidden", "out", dense(6, 3, 1)),
    ])  # fmt: skip
    assert not equal(record, without(spikes(5)))


def test_own_spikes_as_measured_give_every_gradient_bit_for_bit() -> None:
    graph = hl.Network.graph({"in": hl.Input(5), "hidden": lif(6), "out": lif(3)}, [
        hl.Projection("in", "hidden", dense(5, 6)), hl.Projection("hidden", "out", dense(6, 3, 1)),
        hl.Projection("in", "out", dense(5, 3, 2)),
    ])  # fmt: skip
    given, grads = spikes(5), []
    own = graph(given)
    for measured in (None, own):
        graph.zero_grad()
        record = graph(given, measured)
        record.output.times[record.output.valid].square().sum().backward()
        grads.append([p.grad.clone() for p in graph.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
    assert record.health is not None
    assert (record.health.missing, record.health.extra) == ((0, 0), (0, 0))


def test_several_inputs_are_given_by_name() -> None:
    graph = hl.Network.graph(
        {"left": hl.Input(2), "right": hl.Input(3), "out": lif(4)},
        [hl.Projection("left", "out", dense(2, 4)), hl.Projection("right", "out", dense(3, 4, 1))],
    )
    record = graph({"left": spikes(2), "right": spikes(3, seed=1)})
    assert record.inputs is not None
    assert equal(record, graph(record.inputs))  # or as one train, numbered through
    assert record.output.n_units == 4
    for wrong, message in (
        (spikes(4), "2 inputs; allowed: Spikes by name"),
        (torch.zeros(5), "2 inputs; allowed: Spikes by name"),
        ({"left": spikes(2)}, "the input has 'left'; allowed: 'left', 'right'"),
        ({"left": spikes(2), "right": spikes(3, batch=2)}, "input 'right' has 2 samples"),
        ({"left": spikes(2), "right": spikes(2)}, "input 'right' has 2 units; the network takes 3"),
        ({"left": spikes(2), "right": torch.zeros(2)}, "input 'right' is a tensor"),
    ):
        with pytest.raises(InputError, match=message):
            graph(wrong)


def test_pools_between_populations_merge_trains() -> None:
    given = spikes(16)
    pooled = hl.Network([hl.AvgPool2d(2), hl.Flatten(), dense(4, 3), lif(3)], in_shape=(1, 4, 4))
    wide = dense(4, 3).weight.detach().reshape(3, 1, 2, 1, 2, 1).expand(3, 1, 2, 2, 2, 2).reshape(3, 16) / 4
    full = dense(16, 3)
    with torch.no_grad():
        full.weight.copy_(wide)
    a, b = pooled(given).output, hl.Network([full, lif(3)])(given).output
    assert torch.equal(a.units, b.units)
    torch.testing.assert_close(a.times, b.times, rtol=1e-12, atol=0)


def test_a_copy_has_maps_of_its_own() -> None:
    net = hl.Network([hl.AvgPool2d(2), dense(4, 3), lif(3)], in_shape=(1, 4, 4))
    other = copy.deepcopy(net)
    with torch.no_grad():
        next(net.parameters()).zero_()
    assert other(spikes(16)).output.counts.sum() > 0
    assert net(spikes(16)).output.counts.sum() == 0


@pytest.mark.parametrize(
    ("nodes", "projections", "message"),
    [
        ({}, [], "nodes is dict"),
        ({"in": hl.Input(5)}, [], "1 inputs and 0 populations"),
        ({"out": lif(3)}, [], "0 inputs and 1 populations"),
        ({"in": hl.Input(5), "out": lif(3)}, [], "population 'out' has no projection into it"),
        ({"in": hl.Input(5), "out": lif(3)}, [hl.Projection("in", "there", dense(5, 3))], "no node 'there'; there are 'in', 'out'"),
        ({"in": hl.Input(5), "out": lif(3)}, [hl.Projection("out", "in", dense(3, 5))], "'in' is an input, which nothing drives"),
        ({"in": hl.Input(5), "out": lif(3)}, [hl.Projection("in", "out", dense(5, 4))], r"the maps answer \(4,\), 'out' has \(3,\)"),
        ({"in": hl.Input(5), "out": lif(3)}, [hl.Projection("in", "out", dense(4, 3))], r"takes 4 inputs, the units before it are \(5,\)"),
        ({"in": hl.Input(5), "out": lif(3)}, [dense(5, 3)], r"projection 0 is Dense; allowed: Projection\("),
        ({"in": hl.Input(5), "out": dense(5, 3)}, [], "node 'out' is Dense; allowed: Input, LIF"),
        ({"in": hl.Input(5), "a": hl.LI(3, 1e-2), "out": lif(3)}, [hl.Projection("in", "a", dense(5, 3)), hl.Projection("a", "out", dense(3, 3))], "'a' does not spike and drives nothing"),
        ({"in": hl.Input(5), "a": lif(3), "b": lif(3)}, [hl.Projection("in", "a", dense(5, 3)), hl.Projection("in", "b", dense(5, 3))], "2 populations drive no other"),
    ],
)  # fmt: skip
def test_graphs_that_are_none_are_refused(nodes: dict[str, object], projections: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        hl.Network.graph(nodes, projections)  # type: ignore[arg-type]


def test_a_projection_of_what_is_no_map_is_refused() -> None:
    with pytest.raises(InputError, match="map 0 is Linear; allowed: Dense, Conv2d"):
        hl.Projection("a", "b", torch.nn.Linear(2, 3))  # type: ignore[arg-type]


def test_what_carries_plain_chains_alone_says_so() -> None:
    graph = hl.Network.graph({"in": hl.Input(5), "out": lif(3)}, [hl.Projection("in", "out", dense(5, 3))])
    with pytest.raises(
        InputError, match="the network is a graph; what was called carries chains of Dense and LIF alone"
    ):
        _ = graph.blocks
    with pytest.raises(InputError, match=r"layer 0 \(Dense\) of the network has a bias"):
        _ = hl.Network([hl.Dense(5, 3, bias=True), lif(3)]).blocks


def test_the_input_shape_is_asked_where_no_layer_says_it() -> None:
    with pytest.raises(InputError, match="give in_shape"):
        hl.Network([hl.Conv2d(1, 2, 3), lif((2, 4, 4))])
    with pytest.raises(InputError, match="in_shape = 'x'"):
        hl.Network([hl.Conv2d(1, 2, 3), lif((2, 4, 4))], in_shape="x")


def looped() -> hl.Network:
    again = hl.Projection("a", "a", dense(4, 4, 1, delay=1e-3).init_normal_(0.0, 0.2, torch.Generator().manual_seed(0)))
    return hl.Network.graph({"in": hl.Input(5), "a": lif(4)}, [hl.Projection("in", "a", dense(5, 4)), again])


def silent(n_in: int, n_out: int) -> hl.Dense:
    return dense(n_in, n_out).init_normal_(0.0, 0.0)


def test_options_of_a_population_that_are_changed_count_from_the_next_call_on() -> None:
    net, given = looped(), hl.Spikes.from_events([([k * 1e-3 for k in range(20)], [k % 5 for k in range(20)])], 5, 5e-2)
    node = net.structure.nodes["a"]
    assert isinstance(node, hl.LIF)
    assert net(given).output.unit_counts().max() > 1
    node.max_spikes = 1
    assert net(given).output.unit_counts().max() == 1
    biased = hl.Network([dense(5, 4, bias=True), lif(4)])
    with torch.no_grad():
        biased.layers[0].bias.fill_(0.9)  # type: ignore[union-attr, operator]
    before = biased(spikes(5)).output
    biased.layers[1].filtered_bias = True  # type: ignore[union-attr, assignment]
    assert not torch.equal(before.first_times(), biased(spikes(5)).output.first_times())


def test_a_bias_that_a_plain_chain_is_given_later_acts() -> None:
    net = hl.Network([dense(5, 4), lif(4)])
    before = int(net(spikes(5)).output.counts.sum())
    net.layers[0].bias = torch.nn.Parameter(torch.full((4,), 0.9, dtype=torch.float64))
    assert int(net(spikes(5)).output.counts.sum()) > before
    with pytest.raises(InputError, match="has a bias"):
        _ = net.blocks


def test_layers_that_are_put_in_others_place_are_the_ones_that_run() -> None:
    chain, graph = hl.Network([hl.Scale(5, 1.0).double(), dense(5, 4), lif(4)], in_shape=5), looped()
    assert int(chain(spikes(5)).output.counts.sum()) > 0
    assert int(graph(spikes(5)).output.counts.sum()) > 0
    chain.layers[1] = silent(5, 4)
    graph.projections[0].maps[0] = silent(5, 4)  # type: ignore[union-attr, operator, index]
    assert int(chain(spikes(5)).output.counts.sum()) == 0
    assert int(graph(spikes(5)).output.counts.sum()) == 0
    chain.layers[1] = silent(4, 4)
    with pytest.raises(InputError, match="takes 4 inputs"):
        chain(spikes(5))
