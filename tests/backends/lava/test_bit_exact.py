"""Lava is the oracle of `loihi`: the same spikes, bit for bit, on random networks and in every layout of a batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwloop_fixed_point.reference import run_float
from hwloop_fixed_point.registers import Array
from hwloop_lava.process import Worker
from hwloop_lava.request import plan
from hwloop_loihi import Emulator, FixedGraph, FloatGraph, FloatLayer, TickSpikes

from .support import chain, on_lava, random_graph, random_raster

#: Ticks of the comparison with Lava.
TICKS = 300


def by_emulator(graph: FixedGraph, raster: Array) -> list[Array]:
    ticks = raster.shape[1]
    return [layer.to_raster(ticks) for layer in Emulator(graph).run(TickSpikes.from_raster(raster), ticks).layers]


def compare(worker: Worker, seed: int) -> int:
    """Network ``seed`` on Lava's own Dense, DelayDense and LIF, one sample; returns the spikes compared."""
    graph = random_graph(seed)
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
