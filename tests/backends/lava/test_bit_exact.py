"""Lava is the oracle of `loihi`: the same spikes, bit for bit, on random networks and in every layout of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hwloop_fixed_point.graph import Block
from hwloop_fixed_point.reference import run_float
from hwloop_fixed_point.registers import Array
from hwloop_lava.population import populations_of
from hwloop_lava.request import plan
from hwloop_lava.worker_process import Worker
from hwloop_loihi import Emulator, FixedGraph, FixedLayer, FloatGraph, FloatLayer, Synapses, TickSpikes

from .support import chain, on_lava, random_graph, random_raster, random_wiring

#: Ticks of the comparison with Lava.
TICKS = 300


def by_emulator(graph: FixedGraph, raster: Array) -> list[Array]:
    ticks = raster.shape[1]
    return [layer.to_raster(ticks) for layer in Emulator(graph).run(TickSpikes.from_raster(raster), ticks).layers]


def compare(worker: Worker, seed: int, build: Callable[[int], FixedGraph] = random_graph) -> int:
    """Network ``seed`` on Lava's own Dense, DelayDense and LIF, one sample; returns the spikes compared."""
    graph = build(seed)
    raster = random_raster(graph, seed, 1, TICKS)
    found, layout = on_lava(worker, graph, raster)
    expected = by_emulator(graph, raster)
    assert layout.copies == layout.row == 1
    for layer, (ours, lavas) in enumerate(zip(expected, found, strict=True)):
        assert np.array_equal(ours, lavas), f"network {seed}, layer {layer}: {np.argwhere(ours != lavas)[:3]}"
    return sum(int(layer.sum()) for layer in expected)


def test_random_networks_are_equal_bit_for_bit(worker: Worker) -> None:
    spikes = sum(compare(worker, seed) for seed in range(5))
    assert spikes > 1000  # of silent networks the comparison would say nothing


def test_random_wirings_are_equal_bit_for_bit(worker: Worker) -> None:
    graphs = [random_wiring(seed) for seed in range(6)]
    back = [k - block.source for graph in graphs for k in range(len(graph.layers)) for block in graph.sources(k)]
    assert {-1, 0, 1, 2} <= set(back)  # loops and skip connections
    assert sum(compare(worker, seed, random_wiring) for seed in range(6)) > 1000


def test_samples_of_loops_run_side_by_side_alone(worker: Worker) -> None:
    graph = random_wiring(3)
    raster = random_raster(graph, 3, 3, 60)
    found, layout = on_lava(worker, graph, raster)
    assert layout.row == 1
    assert all(map(np.array_equal, found, by_emulator(graph, raster)))


def test_skip_connections_and_few_synapses_follow_each_other_too(worker: Worker) -> None:
    rng = np.random.default_rng(0)

    def synapses(n: int, n_in: int, share: float) -> Synapses:
        weight = 2 * rng.integers(-60, 100, (n, n_in)) * (rng.random((n, n_in)) < share)
        return Synapses(weight.astype(np.int32), 0, "mixed", delay=rng.integers(0, 5, (n, n_in)).astype(np.int32))

    graph = FixedGraph(
        (
            FixedLayer(synapses(12, 6, 0.1), 1000, 100, 100, blocks=(Block(-1, 0, 6),)),
            FixedLayer(synapses(8, 18, 1.0), 1000, 100, 300, blocks=(Block(0, 0, 12), Block(-1, 0, 6))),
            FixedLayer(synapses(5, 17, 1.0), 1000, 100, 300, blocks=(Block(0, 3, 9), Block(1, 0, 8))),
        ),
        1e-3,
    )
    assert [c.sparse for c in populations_of(graph)[0].connections] == [True]
    raster = random_raster(graph, 1, 4, 60)
    expected = by_emulator(graph, raster)
    assert all(layer.any() for layer in expected)
    for copies, row in ((1, 4), (2, 2), (4, 1)):
        found, layout = on_lava(worker, graph, raster, copies)
        assert (layout.copies, layout.row) == (copies, row)
        assert all(map(np.array_equal, found, expected))


@pytest.mark.slow
def test_two_hundred_random_wirings_are_equal_bit_for_bit(worker: Worker) -> None:
    spikes = [compare(worker, seed, random_wiring) for seed in range(200)]
    assert sum(n > 0 for n in spikes) > 100


@pytest.mark.slow
def test_two_hundred_random_networks_are_equal_bit_for_bit(worker: Worker) -> None:
    spikes = [compare(worker, seed) for seed in range(200)]
    assert sum(n > 0 for n in spikes) > 100


def forgetting(graph: FixedGraph) -> FixedGraph:
    """The same without bias and recurrence: what can be reset between two samples."""
    return FixedGraph(
        tuple(replace(layer, recurrent=None, bias_mant=None, bias_exp=None) for layer in graph.layers), graph.dt
    )


@pytest.mark.parametrize("seed", [0, 3])
def test_samples_one_after_the_other_and_side_by_side_are_those_alone(worker: Worker, seed: int) -> None:
    graph = forgetting(random_graph(seed))
    raster = random_raster(graph, seed, 5, 60)
    expected = by_emulator(graph, raster)
    for copies, row in ((1, 5), (2, 3), (5, 1)):
        found, layout = on_lava(worker, graph, raster, copies)
        assert (layout.copies, layout.row) == (copies, row)
        assert all(map(np.array_equal, found, expected))


def test_recurrent_and_biased_samples_run_side_by_side_alone(worker: Worker) -> None:
    graph = random_graph(7)  # recurrent
    assert any(layer.recurrent is not None for layer in graph.layers)
    raster = random_raster(graph, 7, 4, 60)
    found, layout = on_lava(worker, graph, raster)
    assert (layout.copies, layout.row) == (4, 1)
    assert all(map(np.array_equal, found, by_emulator(graph, raster)))


def test_delays_that_are_all_zero_run_side_by_side(worker: Worker) -> None:
    raster = np.ones((2, 10, 1), bool)
    found, _ = on_lava(worker, chain(delay=0), raster, copies=2)
    assert np.array_equal(found[0], by_emulator(chain(), raster)[0])


def test_floating_point_is_equal_to_the_reference(worker: Worker) -> None:
    graph = forgetting(random_graph(0))
    layers = tuple(
        FloatLayer(
            layer.synapses.effective() * 2.0**layer.synapses.exponent, (layer.du + 1) / 4096, layer.dv / 4096,
            layer.vth + 0.5, delay=layer.synapses.delay, refractory=refractory,
        )
        for layer, refractory in zip(graph.layers, (0, 3, 0), strict=True)
    )  # fmt: skip
    raster = random_raster(graph, 0, 3, 80)
    for row in (FloatGraph(layers[:1], graph.dt), FloatGraph(layers, graph.dt)):
        found, layout = on_lava(worker, row, raster, copies=2)
        assert layout.row == (2 if len(row.layers) == 1 else 1)  # LIFRefractory cannot be reset
        expected = run_float(row, raster)
        assert expected[0].any()
        assert all(map(np.array_equal, found, expected))


def test_a_plan_fills_its_runs_evenly() -> None:
    graph = chain()
    layout = plan(graph, 10, 50, copies=4)
    assert layout.samples * 1 >= 10
    assert (layout.copies, layout.row, layout.period) == (4, 3, 51)
    assert plan(graph, 1, 50).ticks == 50
    assert plan(chain(delay=5), 10, 50, copies=4).period == 56
