"""The firmware's arithmetic is that of `loihi` and of its specification: spike for spike, wrap for wrap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hwloop_fixed_point import reference
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.synapses import Synapses
from hwloop_loihi import Emulator, FixedGraph, FixedLayer, TickSpikes

from ...loihi.random_graphs import random_graph, random_raster, random_wiring
from .images import answer_of, events_of, image_of
from .library import run_image

TICKS, BATCH = 80, 3
#: Networks in a row and networks of any wiring: 200 together.
SEEDS = 100


def on_firmware(graph: FixedGraph, raster: Array, form: str = "dense", wide: bool = False) -> tuple[list[Array], Array]:
    batch, ticks, _ = raster.shape
    output = run_image(image_of(graph, form), events_of(TickSpikes.from_raster(raster), wide), batch, ticks, wide)
    assert isinstance(output, bytes), f"error {output}"
    return answer_of(output, graph, batch, ticks, wide)


def by_emulator(graph: FixedGraph, raster: Array) -> tuple[list[Array], Array]:
    ran = Emulator(graph).run(TickSpikes.from_raster(raster), raster.shape[1])
    return [layer.to_raster(raster.shape[1]) for layer in ran.layers], np.stack(ran.wraps, 1)


def assert_equal(graph: FixedGraph, seed: int, form: str) -> tuple[int, int]:
    """Spikes and wraps that were compared, of network ``seed``."""
    raster = random_raster(graph, seed, BATCH, TICKS)
    found, wraps = on_firmware(graph, raster, form, wide=seed % 3 == 0)
    wanted, wanted_wraps = by_emulator(graph, raster)
    for layer, specified in zip(wanted, reference.run_fixed(graph, raster), strict=True):
        np.testing.assert_array_equal(layer, specified)
    for index, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_array_equal(ours, theirs, f"network {seed}, layer {index}, {form}")
    np.testing.assert_array_equal(wraps, wanted_wraps, f"wraps of network {seed}, {form}")
    return sum(int(layer.sum()) for layer in found), int(wraps.sum())


@pytest.mark.parametrize("form", ["dense", "list"])
@pytest.mark.parametrize("build", [random_graph, random_wiring])
def test_random_networks_are_equal_spike_for_spike_and_wrap_for_wrap(build: object, form: str) -> None:
    pairs = [assert_equal(build(seed), seed, form) for seed in range(SEEDS)]  # type: ignore[operator]
    spikes, wraps = np.array(pairs).T
    # of silent networks, or of such that never wrap, the comparison would say little
    assert (spikes > 0).sum() > SEEDS / 2
    assert (wraps > 0).sum() > 5


def test_the_networks_have_what_they_have_to_have() -> None:
    graphs = [build(seed) for build in (random_graph, random_wiring) for seed in range(SEEDS)]
    layers = [layer for graph in graphs for layer in graph.layers]
    dense = [d for layer in layers for d in (layer.synapses, layer.recurrent) if d is not None]
    assert {d.acting_mode for d in dense} == {"mixed", "excitatory", "inhibitory"}
    assert any(d.exponent < 0 and d.delay is not None and int(d.delay.max()) == 63 for d in dense)
    assert any(d.exponent == 7 for d in dense)
    assert any(layer.u_start is not None and layer.bias.any() for layer in layers)


def one(weight: list[list[int]], exponent: int = 0, **more: object) -> FixedGraph:
    values: dict[str, object] = {"du": 4095, "dv": 0, "vth": 100} | more
    return FixedGraph((FixedLayer(Synapses(np.array(weight, np.int32), exponent, "mixed"), **values),), 1e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [1, -1])
def test_both_ends_of_the_current_wrap_where_the_specification_wraps(sign: int) -> None:
    # k units of 254 << 7 << 6 = 2,080,768: 4 stay below 2^23 = 8,388,608, 5 wrap, 12 wrap and come out on the same side
    graph = one([[254 * sign] * 40], exponent=7, du=0, vth=1000)
    raster = np.zeros((41, 6, 40), bool)
    for k in range(41):
        raster[k, 0, :k] = True
    found, wraps = on_firmware(graph, raster)
    wanted, wanted_wraps = by_emulator(graph, raster)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[0], reference.run_fixed(graph, raster)[0])
    np.testing.assert_array_equal(wraps, wanted_wraps)
    assert not wraps[:5].any()
    assert (wraps[5:] > 0).all()


@pytest.mark.parametrize(("units", "exponent"), [(256, 7), (64, 5), (1024, 3)])
def test_the_very_edge_of_the_current_stays(units: int, exponent: int) -> None:
    # weight x units << exponent << 6 = 2^23 exactly: at +2^23 nothing wraps, at -2^23 it does
    weight = 2**23 // (units << exponent << 6)
    for sign, wrap in ((1, 0), (-1, 1)):
        graph = one([[sign * weight] * units], exponent, vth=131071)
        raster = np.zeros((1, 3, units), bool)
        raster[0, 0] = True
        found, wraps = on_firmware(graph, raster)
        wanted, wanted_wraps = by_emulator(graph, raster)
        assert wraps.tolist() == wanted_wraps.tolist() == [[wrap]]
        np.testing.assert_array_equal(found[0], wanted[0])


def test_membranes_clip_at_both_ends() -> None:
    # a bias of 4095 << 7 = 524,160 a tick reaches 2^23 - 1 after 17 ticks; the threshold 131,071 << 6 = 8,388,544 lies below
    layer = FixedLayer(
        Synapses(np.zeros((2, 1), np.int32)), 0, 0, 131071, np.array([4095, -4096]), np.array([7, 7]),
        v_start=np.array([0, 1 - 2**23], np.int32),
    )  # fmt: skip
    graph = FixedGraph((layer,), 1e-3)
    raster = np.zeros((1, 40, 1), bool)
    found, _ = on_firmware(graph, raster)
    np.testing.assert_array_equal(found[0], by_emulator(graph, raster)[0][0])
    assert np.flatnonzero(found[0][0, :, 0]).tolist() == [16, 33]


def test_a_threshold_of_nothing_and_a_decay_of_all() -> None:
    graph = one([[2], [-2]], vth=0, dv=4095)
    raster = np.ones((1, 5, 1), bool)
    found, _ = on_firmware(graph, raster)
    assert found[0][0].tolist() == [[False, False]] + [[True, False]] * 4


def test_samples_do_not_meet() -> None:
    graph = replace(random_wiring(2))
    raster = random_raster(graph, 2, 5, TICKS)
    together, wraps = on_firmware(graph, raster)
    for sample in range(5):
        alone, own = on_firmware(graph, raster[sample : sample + 1])
        for whole, part in zip(together, alone, strict=True):
            np.testing.assert_array_equal(whole[sample], part[0])
        np.testing.assert_array_equal(wraps[sample], own[0])


def test_input_at_the_end_or_later_does_nothing() -> None:
    graph = random_graph(3)
    raster = random_raster(graph, 3, 2, TICKS)
    output = run_image(image_of(graph), events_of(TickSpikes.from_raster(raster)), 2, 30)
    assert isinstance(output, bytes)
    found, _ = answer_of(output, graph, 2, 30)
    for ours, theirs in zip(found, by_emulator(graph, raster[:, :30])[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_output_without_room_is_an_error_and_no_shorter_list() -> None:
    graph = random_graph(3)
    raster = random_raster(graph, 3, 2, TICKS)
    events, image = events_of(TickSpikes.from_raster(raster)), image_of(graph)
    whole = run_image(image, events, 2, TICKS)
    assert isinstance(whole, bytes)
    assert run_image(image, events, 2, TICKS, room=len(whole)) == whole
    for room in (len(whole) - 1, len(whole) // 2, 8, 0):
        assert run_image(image, events, 2, TICKS, room=room) == 17
