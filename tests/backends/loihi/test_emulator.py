from __future__ import annotations

import numpy as np
import pytest
import torch

from hwloop.errors import InputError
from hwloop_fixed_point import reference
from hwloop_fixed_point import runs as emulator
from hwloop_fixed_point.registers import Array
from hwloop_loihi import Emulator, FixedGraph, FixedLayer, Synapses, TickSpikes

from .random_graphs import random_graph, random_raster

TICKS, BATCH = 80, 3


def run(graph: FixedGraph, raster: Array) -> list[Array]:
    ticks = raster.shape[1]
    return [layer.to_raster(ticks) for layer in Emulator(graph).run(TickSpikes.from_raster(raster), ticks).layers]


def one(weight: list[list[int]], vth: int = 100, du: int = 4095, dv: int = 0, **more: object) -> FixedGraph:
    synapses = Synapses(np.array(weight, np.int32), sign_mode="mixed")
    return FixedGraph((FixedLayer(synapses, du, dv, vth, **more),), 1e-3)  # type: ignore[arg-type]


def inputs(*ticks: int, n_ticks: int = 12) -> Array:
    raster = np.zeros((1, n_ticks, 1), dtype=bool)
    raster[0, list(ticks), 0] = True
    return raster


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_the_kernel_equals_the_specification_bit_for_bit(first: int) -> None:
    for seed in range(first, first + 10):
        graph = random_graph(seed)
        raster = random_raster(graph, seed, BATCH, TICKS)
        for found, wanted in zip(run(graph, raster), reference.run_fixed(graph, raster), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_random_graphs_reach_every_rule() -> None:
    graphs = [random_graph(seed) for seed in range(60)]
    layers = [layer for graph in graphs for layer in graph.layers]
    dense = [d for layer in layers for d in (layer.synapses, layer.recurrent) if d is not None]
    assert {d.sign_mode for d in dense} == {"auto", "mixed", "excitatory", "inhibitory"}
    assert {d.exponent for d in dense} >= {-4, -1, 0, 1, 4, 7}
    assert any(d.delay is not None and int(d.delay.max()) == 63 for d in dense)
    assert any(d.delay is not None and d.exponent < 0 for d in dense)
    assert any(int(np.abs(d.weight).max()) > 256 for d in dense)
    assert any(layer.recurrent is not None and layer.recurrent.delay is not None for layer in layers)
    assert any(layer.bias.any() for layer in layers)
    wraps = fired = 0
    for seed, graph in enumerate(graphs):
        ran = Emulator(graph).run(TickSpikes.from_raster(random_raster(graph, seed, BATCH, TICKS)), TICKS)
        wraps += any(int(w.sum()) for w in ran.wraps)
        fired += sum(int(layer.counts.sum()) > 0 for layer in ran.layers)
    assert wraps > 5
    assert fired > 60


def test_one_spike_by_hand() -> None:
    # input at tick 2 arrives at 3: u = 64 * 64 = 4096; then u = 4096 * 2048 >> 12 = 2048, 1024, ...; v sums without leak:
    # 4096, 6144, 7168, 7680 > 7168 = 112 << 6 at tick 6, strictly
    graph = one([[64]], vth=112, du=2047)
    assert np.flatnonzero(run(graph, inputs(2))[0][0, :, 0]).tolist() == [6]


def test_a_threshold_that_is_met_is_not_crossed() -> None:
    # u lives one tick (du = 4095) and v does not leak: two spikes bring v to 2 * 50 << 6, the threshold itself
    assert not run(one([[50]], vth=100), inputs(1, 5))[0].any()
    assert np.flatnonzero(run(one([[50]], vth=99), inputs(1, 5))[0][0, :, 0]).tolist() == [6]


def test_decays_truncate_toward_zero_for_both_signs() -> None:
    # u = 128 with factor 4095/4096: 127.97 -> 127 -> 126 ...; of -128 the same: v = 128 + 127 + ... for both inputs
    for sign in (1, -1):
        graph = one([[2 * sign], [-2 * sign]], vth=50, du=0)
        spikes = run(graph, np.broadcast_to(inputs(0, n_ticks=40), (1, 40, 1)))[0][0]
        # 50 << 6 = 3200 lies between 128 + ... + 102 = 3105 (27 terms) and + 101 = 3206: 28th tick, the first is 1
        row = 0 if sign > 0 else 1
        assert np.flatnonzero(spikes[:, row])[0] == 28
        assert not spikes[:, 1 - row].any()


def test_the_current_survives_the_spike() -> None:
    # u = 12800 fires against 6400 at tick 1; half of it meets the threshold at 2, a quarter more crosses it at 3
    assert np.flatnonzero(run(one([[200]], du=2047), inputs(0))[0][0, :, 0]).tolist() == [1, 3]


def test_u_wraps_and_is_counted() -> None:
    # 254 << 7 << 6 = 2080768 a unit: five units leave 2^23 - 1 behind, the sign turns
    weight = np.full((1, 5), 254, np.int32)
    graph = FixedGraph((FixedLayer(Synapses(weight, 7, "mixed"), 4095, 0, 1000),), 1e-3)
    raster = np.zeros((2, 4, 5), dtype=bool)
    raster[0, 0, :] = True
    raster[1, 0, :3] = True
    ran = Emulator(graph).run(TickSpikes.from_raster(raster), 4)
    assert ran.wraps[0].tolist() == [1, 0]
    assert ran.layers[0].counts.tolist() == [0, 1]


def test_a_recurrent_spike_acts_one_tick_later() -> None:
    # after the first spike each spike brings the next: weight 150 against 100
    recurrent = Synapses(np.array([[150]], np.int32), sign_mode="mixed")
    assert np.flatnonzero(run(one([[150]], recurrent=recurrent), inputs(0, n_ticks=5))[0]).tolist() == [1, 2, 3, 4]


def test_delays_add_to_the_tick_of_dense() -> None:
    synapses = Synapses(np.array([[150]] * 3, np.int32), sign_mode="mixed", delay=np.array([[0], [1], [63]]))
    graph = FixedGraph((FixedLayer(synapses, 4095, 0, 100),), 1e-3)
    spikes = run(graph, inputs(2, n_ticks=70))[0][0]
    assert [np.flatnonzero(spikes[:, k]).tolist() for k in range(3)] == [[3], [4], [66]]


def test_samples_do_not_meet() -> None:
    graph = random_graph(4)
    raster = random_raster(graph, 4, 5, TICKS)
    together = run(graph, raster)
    for sample in range(5):
        for whole, alone in zip(together, run(graph, raster[sample : sample + 1]), strict=True):
            np.testing.assert_array_equal(whole[sample], alone[0])


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(4)
    raster = random_raster(graph, 4, 7, TICKS)
    alone = run(graph, raster)
    monkeypatch.setattr(emulator, "PARALLEL_UPDATES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for one_thread, two in zip(alone, run(graph, raster), strict=True):
        np.testing.assert_array_equal(one_thread, two)


def test_an_answer_of_any_size_finds_room() -> None:
    # bias alone makes 24 neurons fire in all of 400 ticks: far more than the room of the first attempt
    layer = FixedLayer(
        Synapses(np.ones((24, 1), np.int32)), 0, 0, 1, np.full(24, 4000), np.full(24, 3),
        Synapses(np.ones((24, 24), np.int32)),
    )  # fmt: skip
    ran = Emulator(FixedGraph((layer,), 1e-3)).run(TickSpikes.from_raster(np.zeros((2, 1, 1))), 400)
    assert ran.layers[0].counts.tolist() == [24 * 400] * 2


def test_input_of_another_width_is_refused() -> None:
    with pytest.raises(InputError, match="the input has 2 units; the graph takes 1"):
        Emulator(one([[1]])).run(TickSpikes.from_raster(np.zeros((1, 3, 2))), 3)
    with pytest.raises(InputError, match="n_ticks = 0"):
        Emulator(one([[1]])).run(TickSpikes.from_raster(np.zeros((1, 3, 1))), 0)
