"""Graphs whose layers are driven by any others: the kernels equal the specification, in whatever order they run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwloop.errors import InputError
from hwloop_fixed_point import prepared, reference
from hwloop_fixed_point.graph import Block
from hwloop_fixed_point.prepared import in_turn
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.ticks import decode_late, joined
from hwloop_loihi import Emulator, FixedGraph, FixedLayer, FloatGraph, FloatLayer, Synapses, TickSpikes

from .random_graphs import random_graph, random_raster, random_wiring

TICKS, BATCH = 70, 3


def run(graph: FixedGraph, raster: Array) -> list[Array]:
    ticks = raster.shape[1]
    return [layer.to_raster(ticks) for layer in Emulator(graph).run(TickSpikes.from_raster(raster), ticks).layers]


def assert_specified(graph: FixedGraph, seed: int) -> int:
    raster = random_raster(graph, seed, BATCH, TICKS)
    spikes = 0
    for found, wanted in zip(run(graph, raster), reference.run_fixed(graph, raster), strict=True):
        np.testing.assert_array_equal(found, wanted)
        spikes += int(wanted.sum())
    return spikes


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_any_wiring_equals_the_specification_bit_for_bit(first: int) -> None:
    assert sum(assert_specified(random_wiring(seed), seed) > 0 for seed in range(first, first + 20)) > 10


def test_random_wirings_reach_every_rule() -> None:
    graphs = [random_wiring(seed) for seed in range(60)]
    sources = [(k, block) for graph in graphs for k in range(len(graph.layers)) for block in graph.sources(k)]
    assert {k - block.source for k, block in sources} >= {-2, -1, 0, 1, 2, 3}
    assert any(block.start > 0 for _, block in sources)
    layers = [layer for graph in graphs for layer in graph.layers]
    assert any(layer.u_start is not None and layer.v_start is not None for layer in layers)
    assert any(layer.synapses.exponent < 0 and layer.synapses.delay is not None for layer in layers)
    assert 10 < sum(in_turn(graph) for graph in graphs) < 50


@pytest.mark.parametrize("seed", range(0, 40, 5))
def test_all_layers_together_are_each_layer_in_turn(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(seed)
    raster = random_raster(graph, seed, BATCH, TICKS)
    assert in_turn(graph)
    expected = run(graph, raster)
    monkeypatch.setattr("hwloop_fixed_point.runs.in_turn", lambda graph: False)
    for found, wanted in zip(run(graph, raster), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("seed", range(0, 40, 5))
def test_listed_synapses_do_what_a_matrix_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(seed)
    monkeypatch.setattr(prepared, "LISTED", 2.0)
    assert_specified(graph, seed)


def one(weight: int, *blocks: tuple[int, int, int], delay: int | None = None, vth: int = 100) -> FixedLayer:
    """A neuron whose current lasts one tick; every column has the same weight, the last one the delay."""
    columns = sum(size for _, _, size in blocks)
    delays = None
    if delay is not None:
        delays = np.zeros((1, columns), np.int32)
        delays[0, -1] = delay
    return FixedLayer(
        Synapses(np.full((1, columns), weight, np.int32), 0, "mixed", delay=delays), 4095, 0, vth, blocks=tuple(Block(*b) for b in blocks)
    )  # fmt: skip


def spiking(graph: FixedGraph, *ticks: int, n_ticks: int = 12) -> list[list[int]]:
    """Ticks at which the first neuron of each layer spikes for input spikes of the first unit at ``ticks``."""
    raster = np.zeros((1, n_ticks, graph.n_in), bool)
    raster[0, list(ticks), 0] = True
    return [np.flatnonzero(layer[0, :, 0]).tolist() for layer in run(graph, raster)]


def test_a_loop_of_two_takes_a_tick_each_way() -> None:
    graph = FixedGraph((one(150, (-1, 0, 1), (1, 0, 1)), one(150, (0, 0, 1))), 1e-3)
    assert spiking(graph, 2, n_ticks=9) == [[3, 5, 7], [4, 6, 8]]


def test_a_delay_on_the_way_back_is_added() -> None:
    graph = FixedGraph((one(150, (-1, 0, 1), (1, 0, 1), delay=3), one(150, (0, 0, 1))), 1e-3)
    assert spiking(graph, 0, n_ticks=13) == [[1, 6, 11], [2, 7, 12]]


def test_a_skip_connection_comes_a_tick_before_the_way_around() -> None:
    # layer 1 takes 60 from each: both together cross 100, one tick apart they add up, since nothing leaks
    graph = FixedGraph((one(150, (-1, 0, 1)), one(60, (-1, 0, 1), (0, 0, 1))), 1e-3)
    assert spiking(graph, 2) == [[3], [4]]


def test_a_membrane_that_starts_above_threshold_spikes_at_once() -> None:
    layer = replace(one(150, (-1, 0, 1)), v_start=np.array([100 * 64 + 1], np.int32))
    assert spiking(FixedGraph((layer,), 1e-3)) == [[0]]
    # a current of 6402 is halved before tick 0, and the membrane keeps all
    halved = replace(layer, du=2047, v_start=np.array([3200], np.int32), u_start=np.array([6402], np.int32))
    assert spiking(FixedGraph((halved,), 1e-3)) == [[0]]


def test_blocks_are_parts_of_the_whole_matrix() -> None:
    synapses = Synapses(np.array([[3, -5, 300, 7]], np.int32))
    parts = [synapses.columns(0, 1), synapses.columns(1, 3)]
    np.testing.assert_array_equal(np.concatenate([part.effective() for part in parts], 1), synapses.effective())
    assert parts[0].effective().tolist() == [[2]]  # even, since the whole has both signs


def test_trains_are_joined_as_the_blocks_say() -> None:
    a, b = (TickSpikes.from_raster(np.array([[[1, 0], [1, 1]]])) for _ in range(2))
    both = joined([a, b], [Block(0, 1, 1), Block(-1, 0, 2)])
    assert both.n_units == 3
    assert both.to_raster(2)[0].tolist() == [[False, True, False], [True, True, True]]
    assert joined([a], [Block(-1, 0, 2)]) is a


def test_a_population_is_decoded_by_how_late_it_is_seen() -> None:
    import torch

    graph = FixedGraph((replace(one(150, (-1, 0, 1)), late=1.5), one(150, (0, 0, 1))), 1e-3)
    assert graph.late == (1.5, 1.0)
    assert graph.n_ticks(50e-3) == 52
    ran = Emulator(graph).run(TickSpikes.from_raster(np.array([[[0], [1]]])), 4)
    assert decode_late(ran.layers[0], graph.late[0], 1e-3, 1.0, torch.float64).times.tolist() == [[0.5e-3]]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (((-1, 0, 2),), "blocks (source, start, size) (-1, 0, 2) of 1 columns; allowed: sources from -1"),
        (((-2, 0, 1),), "(-2, 0, 1) of 1 columns"),
        (((0, 1, 1),), "layer 0 takes units 1..1 of layer 0; it has 1"),
        (((3, 0, 1),), "layer 0 takes units 0..0 of layer 3; it has 0"),
        (((0, 0, 1),), "no layer takes the input (source -1); give one a block from it"),
    ],
)
def test_blocks_that_are_not_there_are_refused(blocks: tuple[tuple[int, int, int], ...], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        FixedGraph((replace(one(2, (-1, 0, 1)), blocks=blocks),), 1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
def test_a_wiring_travels_as_json_and_arrays(seed: int) -> None:
    graph = random_wiring(seed)
    back = FixedGraph.from_parts(*graph.to_parts())
    assert back.digest == graph.digest
    moved = replace(back.layers[-1], late=3.25)
    assert FixedGraph((*back.layers[:-1], moved), graph.dt).digest != graph.digest


def test_what_a_row_of_layers_lacks_leaves_its_parts_as_they_were() -> None:
    document, _ = random_graph(0).to_parts()
    assert not {"blocks", "late", "u_start", "v_start"} & set(document["layers"][0])


def test_a_float_wiring_is_the_fixed_one_without_rounding() -> None:
    fixed = FixedGraph((one(150, (-1, 0, 1), (1, 0, 1), delay=2), one(150, (0, 0, 1))), 1e-3)
    real = FloatGraph(
        tuple(
            FloatLayer(
                layer.synapses.weight.astype(float), 1.0, 0.0, 100.0, delay=layer.synapses.delay, blocks=layer.blocks
            )
            for layer in fixed.layers
        ),
        1e-3,
    )
    raster = np.zeros((2, 20, 1), bool)
    raster[1, 3] = True
    for found, wanted in zip(reference.run_float(real, raster), reference.run_fixed(fixed, raster), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert FloatGraph.from_parts(*real.to_parts()).digest == real.digest
