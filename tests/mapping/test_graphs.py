"""Graphs as arrays, the order in which they run, and what a target does not carry of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError
from hwloop.mapping import Capabilities, LayerValues, Range, compile_network, network_values
from hwloop.mapping.constraints import Block, check_layer, with_bias
from hwloop.mapping.limits_document import LimitsText
from hwloop.mapping.run_order import Together, in_a_row, looped, run_order, sources_of

from .small_chip import limits

TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}
ANY = limits(recurrent=True, delays=True, synaptic_delays=True, bias=True, initial_membrane=True, fan_in=64)


def dense(rows: Any, **options: Any) -> hl.Dense:
    values = torch.as_tensor(rows, dtype=torch.float32)
    layer = hl.Dense(values.shape[1], values.shape[0], **options)
    with torch.no_grad():
        layer.weight.copy_(values)
    return layer


def two_inputs() -> hl.Network:
    """Two inputs, a loop, a second population that is driven by all; ``h`` stands first in a record."""
    return hl.Network.graph(
        {"a": hl.Input(2), "b": hl.Input(3), "h": hl.LIF(2, **TAUS), "out": hl.LIF(1, v_init=0.25, **TAUS)},
        [
            hl.Projection("a", "h", dense([[1.0, 2.0], [3.0, 4.0]])),
            hl.Projection("b", "out", dense([[5.0, 6.0, 7.0]], bias=True)),
            hl.Projection("h", "h", hl.Sparse(2, 2, [0], [1], torch.tensor([8.0]))),
            hl.Projection("h", "out", dense([[9.0, 10.0]])),
        ],
    )


# -- as arrays ------------------------------------------------------------------------------------


def test_a_population_is_one_matrix_of_all_that_drives_it_with_a_block_for_each_projection() -> None:
    net = two_inputs()
    with torch.no_grad():
        net.structure.links[1].composition.maps[0].bias.fill_(0.5)  # type: ignore[union-attr, operator]
    h, out = network_values(net)
    assert h.weight.tolist() == [[1.0, 2.0, 0.0, 0.0], [3.0, 4.0, 8.0, 0.0]]
    assert h.blocks == (Block(-1, 0, 2), Block(0, 0, 2))
    assert h.synapses is not None
    assert h.synapses.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert (h.bias, h.v_init, h.filtered, h.delay, h.fan_in) == (None, None, False, None, 3)
    assert out.weight.tolist() == [[5.0, 6.0, 7.0, 9.0, 10.0]]
    # units of the second input come after those of the first
    assert out.blocks == (Block(-1, 2, 3), Block(0, 0, 2))
    assert out.bias is not None
    assert out.v_init is not None
    assert (out.bias.tolist(), out.v_init.tolist()) == ([0.5], [0.25])
    assert [(layer.index, layer.name, layer.kind, layer.reset) for layer in (h, out)] == [
        (0, "h", "LIF", "value"), (1, "out", "LIF", "value"),
    ]  # fmt: skip
    assert (h.weights_at, h.neurons_at) == ("projections into 'h'", "population 'h' (LIF)")


def test_a_start_at_the_leak_potential_is_none() -> None:
    def started(v_init: float) -> LayerValues:
        nodes = {"in": hl.Input(1), "n": hl.LIF(2, v_leak=0.5, v_reset=0.5, v_init=v_init, **TAUS)}
        return network_values(hl.Network.graph(nodes, [hl.Projection("in", "n", dense([[1.0], [1.0]]))]))[0]

    assert started(0.5).v_init is None
    assert started(0.25).v_init is not None


def test_neurons_without_a_time_constant_have_one_second_in_its_place() -> None:
    nodes = {"in": hl.Input(1), "d": hl.DeltaLIF(1, tau_mem=1e-2), "i": hl.IF(1)}
    net = hl.Network.graph(nodes, [hl.Projection("in", "d", dense([[1.0]])), hl.Projection("d", "i", dense([[1.0]]))])
    d, i = network_values(net)
    assert (d.kind, i.kind) == ("DeltaLIF", "IF")
    assert d.parameters["tau_mem"].tolist() == pytest.approx([1e-2])
    assert [one.parameters["tau_syn"].tolist() for one in (d, i)] == [[1.0], [1.0]]
    assert i.parameters["tau_mem"].tolist() == [1.0]


def test_paths_between_the_same_units_add_up() -> None:
    net = hl.Network.graph(
        {"in": hl.Input(2), "n": hl.LIF(1, **TAUS)},
        [hl.Projection("in", "n", [dense([[1.0, 2.0], [3.0, 4.0]]), dense([[10.0, 100.0]])])],
    )
    (layer,) = network_values(net)
    assert layer.weight.tolist() == [[310.0, 420.0]]


def test_delays_are_axonal_where_all_of_a_population_s_are_and_of_each_synapse_where_one_is_not() -> None:
    def delays_of(*projections: hl.Projection) -> Any:
        net = hl.Network.graph({"a": hl.Input(2), "b": hl.Input(2), "n": hl.LIF(2, **TAUS)}, projections)
        return network_values(net)[0].delay

    square = [[1.0, 1.0], [1.0, 1.0]]
    plain, late = dense(square), dense(square, delay=torch.tensor([1e-3, 2e-3], dtype=torch.float64))
    assert delays_of(hl.Projection("a", "n", plain), hl.Projection("b", "n", plain)) is None
    axonal = delays_of(hl.Projection("a", "n", plain), hl.Projection("b", "n", late))
    assert axonal.tolist() == [0.0, 0.0, 1e-3, 2e-3]
    by_target = [dense(square), hl.Delay(2, torch.tensor([3e-3, 4e-3], dtype=torch.float64))]
    mixed = delays_of(hl.Projection("a", "n", late), hl.Projection("b", "n", by_target))
    assert mixed.tolist() == [[1e-3, 2e-3, 3e-3, 3e-3], [1e-3, 2e-3, 4e-3, 4e-3]]


def test_two_delays_between_the_same_units_are_refused() -> None:
    late = hl.Delay(3, torch.tensor([1e-3, 2e-3, 3e-3], dtype=torch.float64))
    twice = [dense([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), late, dense([[1.0, 1.0, 1.0]])]
    net = hl.Network.graph({"in": hl.Input(2), "n": hl.LIF(1, **TAUS)}, [hl.Projection("in", "n", twice)])
    with pytest.raises(CompileError) as caught:
        network_values(net)
    assert caught.value.limit == "one delay of each pair of units"
    assert caught.value.fix == "give each path a projection of its own"


def test_a_readout_is_refused_by_name() -> None:
    nodes = {"in": hl.Input(1), "n": hl.LIF(1, **TAUS), "r": hl.LI(1, **TAUS)}
    maps = [hl.Projection("in", "n", dense([[1.0]])), hl.Projection("n", "r", dense([[1.0]]))]
    with pytest.raises(CompileError) as caught:
        network_values(hl.Network.graph(nodes, maps))
    assert (caught.value.limit, caught.value.layer) == ("populations that spike", "population 'r' (LI)")


def test_a_compiled_graph_names_its_inputs_and_populations() -> None:
    program = compile_network(two_inputs(), limits(recurrent=True, initial_membrane=True, bias=True, fan_in=64))
    assert program.inputs == (("a", 2), ("b", 3))
    assert (program.names, program.n_in, program.n_out, program.is_graph) == (("h", "out"), 5, 1, True)
    assert [use.name for use in program.report().layers] == ["h", "out"]
    assert [use.called for use in program.report().layers] == ["h", "out"]
    rows = [line.split()[0] for line in str(program.report()).splitlines()]
    assert rows[-2:] == ["h", "out"]
    assert (program.layers[0].n_synapses, program.layers[0].fan_in) == (5, 3)


# -- the order ------------------------------------------------------------------------------------


def layer(*blocks: Block, index: int = 1, **changes: Any) -> LayerValues:
    parameters = {"tau_mem": 1e-2, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.5, "v_reset": 0.0, "t_ref": 0.0}
    n_in = sum(block.size for block in blocks) or 2
    values: dict[str, Any] = {
        "weight": np.ones((2, n_in)), "parameters": {name: np.full(2, value) for name, value in parameters.items()},
        "reset": "value", "max_spikes": None, "delay": None, "blocks": blocks, "index": index, "name": "n" if blocks else "",
    }  # fmt: skip
    return LayerValues(**{**values, **changes})


INPUT, FIRST, SECOND, THIRD = (Block(source, 0, 2) for source in (-1, 0, 1, 2))


def test_a_chain_runs_first_to_last_and_is_no_loop() -> None:
    chain = [layer(), layer(), layer()]
    assert [sources_of(k, chain[k]) for k in range(3)] == [(-1,), (0,), (1,)]
    apart = [Together((0,), False), Together((1,), False), Together((2,), False)]
    assert run_order(chain) == in_a_row(chain) == apart
    assert looped(chain) == set()


def test_what_drives_a_population_runs_before_it_and_loops_run_together() -> None:
    backwards = [layer(SECOND), layer(INPUT), layer(FIRST, SECOND)]
    assert [group.members for group in run_order(backwards)] == [(1,), (0,), (2,)]
    assert sources_of(2, backwards[2]) == (0, 1)
    itself = [layer(INPUT, FIRST), layer(FIRST)]
    assert run_order(itself) == [Together((0,), True), Together((1,), False)]
    pair = [layer(INPUT), layer(FIRST, THIRD), layer(SECOND)]
    assert [(set(group.members), group.loop) for group in run_order(pair)] == [({0}, False), ({1, 2}, True)]
    assert (looped(itself), looped(pair)) == ({0}, {1, 2})


# -- what a target does not carry -----------------------------------------------------------------


def refused(one: LayerValues, chip: Capabilities, layers: tuple[LayerValues, ...] = ()) -> CompileError:
    with pytest.raises(CompileError) as caught:
        check_layer(one.index, one, chip, layers)
    return caught.value


def test_a_target_of_chains_takes_a_graph_that_is_one_and_no_other() -> None:
    plain = limits()
    check_layer(1, layer(FIRST), plain, (layer(), layer(FIRST)))
    for blocks, sources in (
        ((INPUT,), "1 projections, from the input"),
        ((FIRST, INPUT), "2 projections, from population 0, the input"),
    ):
        error = refused(layer(*blocks), plain, (layer(INPUT), layer(*blocks)))
        assert (error.limit, error.value) == ("chains, in which every population drives the next", sources)
        assert error.layer == "projections into 'n'"
        for more in ({"graphs": True}, {"recurrent": True}):
            check_layer(1, layer(*blocks), limits(**more), (layer(INPUT), layer(*blocks)))


@pytest.mark.parametrize(
    "layers", [(layer(INPUT), layer(FIRST, SECOND)), (layer(INPUT, SECOND, index=0), layer(FIRST))], ids=["one", "two"]
)
def test_a_loop_is_refused_where_there_are_none_whatever_its_length(layers: tuple[LayerValues, ...]) -> None:
    error = refused(layers[1], limits(graphs=True), layers)
    assert (error.limit, error.layer) == ("no recurrent edges", "projections into 'n'")
    assert error.value == "a projection from a population of the same loop"
    check_layer(1, layers[1], limits(recurrent=True), layers)
    forward = (layer(INPUT), layer(FIRST, INPUT))
    check_layer(1, forward[1], limits(graphs=True), forward)


def test_delays_of_synapses_need_a_target_that_has_them() -> None:
    synaptic, axonal = layer(delay=np.full((2, 2), 1e-3)), layer(delay=np.full(2, 1e-3))
    check_layer(1, axonal, limits(delays=True))
    check_layer(1, synaptic, limits(delays=True, synaptic_delays=True))
    error = refused(synaptic, limits(delays=True))
    assert (error.limit, error.fix) == (
        "axonal delays alone, one of each source",
        "give Dense a delay of shape (n_in,)",
    )
    assert refused(synaptic, limits()).limit == "no delays"
    # of each synapse too the input is named
    late = layer(delay=np.array([[0.0, 0.0], [0.0, 2.0]]))
    error = refused(late, limits(delays=True, synaptic_delays=True, max_delay=1e-3))
    assert error.value == "a delay of 2 s (input unit 1)"


@pytest.mark.parametrize(("name", "limit"), [("bias", "bias"), ("v_init", "initial_membrane")])
def test_bias_and_starts_need_a_target_that_has_them(name: str, limit: str) -> None:
    one = layer(**{name: np.array([0.25, -0.75])})
    check_layer(1, one, limits(**{limit: True}))
    error = refused(one, limits())
    assert (error.limit, error.value) == (f"no {name}", f"{name} of up to 0.75")
    assert (error.layer, error.fix) == ("layer 3 (LIF)", f"build the layers without {name}")


def test_kinds_of_neurons_are_those_of_the_target() -> None:
    check_layer(1, layer(kind="IF"), limits(populations=("LIF", "IF")))
    error = refused(layer(kind="IF"), limits(populations=("LIF", "DeltaLIF")))
    assert (error.limit, error.value) == ("populations of LIF, DeltaLIF", "IF")
    assert error.fix == "build it of LIF, DeltaLIF, or choose a target that has IF"


def test_a_bias_counts_towards_the_range_of_the_leak_potential() -> None:
    biased = layer(bias=np.array([0.0, 1.0]))
    assert with_bias(biased)["v_leak"].tolist() == [0.5, 1.5]
    assert with_bias(layer()) is not with_bias(layer())
    plain = layer()
    assert with_bias(plain) is plain.parameters
    chip = limits(bias=True, ranges={"v_leak": Range(-1.0, 1.0, "swing")})
    check_layer(1, plain, chip)
    error = refused(biased, chip)
    assert error.value == "v_leak = 1.5 of v_th - v_reset (1 neurons, first: neuron 1)"
    # parameters that were checked before are not checked again, those that a bias moves are
    check_layer(1, plain, limits(ranges={"v_leak": Range(-1.0, 0.0, "swing")}), known=plain.parameters)
    with pytest.raises(CompileError):
        check_layer(1, biased, chip, known=biased.parameters)


def test_the_fan_in_counts_synapses_and_not_columns() -> None:
    sparse = layer(INPUT, FIRST, synapses=np.array([[True, False, False, True], [True, True, False, True]]))
    assert sparse.fan_in == 3
    check_layer(1, sparse, limits(recurrent=True, fan_in=3))
    assert refused(sparse, limits(recurrent=True, fan_in=2)).value == "3 inputs a neuron"


def test_limits_come_back_from_their_document() -> None:
    chip = limits(
        recurrent=True, populations=("LIF", "IF"), ranges={"tau_mem": Range(1e-6, 1e-4, "device_s")}, max_delay=1.0, joined=4
    )  # fmt: skip
    document = LimitsText.of(chip)
    assert document.capabilities() == chip
    assert LimitsText.model_validate_json(document.model_dump_json()).capabilities().graph_digest == chip.graph_digest


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("n_neurons", 1, 2**31 - 1), ("fan_in", 1, 2**31 - 1), ("joined", 1, 2**31 - 1), ("max_events", 1, 2**31 - 1),
        ("weight_bits", 2, 32), ("max_delay", 0.0, None), ("refractory_min", 0.0, None), ("time_step", 0.0, None),
    ],
)  # fmt: skip
def test_a_document_of_limits_holds_each_of_them_to_its_bounds(name: str, least: float, most: float | None) -> None:
    held = LimitsText.of(limits()).model_dump()
    inside = [least] if most is None else [least, most]
    for value in inside:
        assert getattr(LimitsText.model_validate({**held, name: value}), name) == value
    for value in [least - 1] if most is None else [least - 1, most + 1]:
        with pytest.raises(ValueError, match=name):
            LimitsText.model_validate({**held, name: value})


@pytest.mark.parametrize("name", ["populations", "uniform"])
def test_a_document_of_limits_lists_a_hundred_names_at_most(name: str) -> None:
    held = LimitsText.of(limits()).model_dump()
    LimitsText.model_validate({**held, name: ("LIF",) * 100})
    with pytest.raises(ValueError, match=name):
        LimitsText.model_validate({**held, name: ("LIF",) * 101})
    ranges = {f"p{k}": {"low": 0.0, "high": 1.0, "unit": "swing"} for k in range(100)}
    LimitsText.model_validate({**held, "ranges": ranges})
    with pytest.raises(ValueError, match="ranges"):
        LimitsText.model_validate({**held, "ranges": {**ranges, "more": ranges["p0"]}})
    with pytest.raises(ValueError, match="speedup"):
        LimitsText.model_validate({**held, "speedup": 0.0})
