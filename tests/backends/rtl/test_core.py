"""The neuron core in simulation: the specification's spikes and states, whatever the memory does; and what it refuses and counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.layers import FixedLayer
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.synapses import Synapses
from hwloop_serial.fixed_image import write

from ..loihi.random_graphs import random_graph, random_raster, random_wiring
from ..serial.firmware.images import image_of
from .built import built
from .jobs import (
    ABORTED,
    BAD_INPUT,
    CONTROL,
    DONE,
    INPUT,
    INPUT_COUNT,
    N_TICKS,
    NOISE,
    OUTPUT,
    OUTPUT_LIMIT,
    OVERFLOW,
    WRAPS,
    Answer,
    Memory,
    Sample,
    run,
    sample,
)
from .networks_compared import Compared, case, compare, spikes_of
from .specified import states

TICKS = 80


@pytest.fixture(scope="module")
def program() -> Path:
    return built()


def assert_they_say_something(found: list[Compared]) -> None:
    """Of silent networks, or of such that never wrap, a comparison would say little."""
    assert sum(one.spikes > 0 for one in found) > len(found) / 2
    assert sum(one.above for one in found) > 2 * len(found)
    assert sum(one.below for one in found) > 2 * len(found)


def test_every_fourth_of_200_random_networks_is_equal_spike_for_spike_and_state_for_state(program: Path) -> None:
    assert_they_say_something(compare(program, [seed for seed in range(200) if seed % 8 in (0, 3)]))


@pytest.mark.slow
@pytest.mark.parametrize(("dsp", "addr_bits", "fifo_bits"), [(1, 17, 4), (0, 17, 1), (0, 28, 2)])
def test_200_random_networks_are_equal_spike_for_spike_and_state_for_state(
    dsp: int, addr_bits: int, fifo_bits: int
) -> None:
    found = compare(built(dsp=dsp, addr_bits=addr_bits, fifo_bits=fifo_bits), range(200))
    assert_they_say_something(found)
    assert sum(one.above + one.below for one in found) > 1000


# -- the edges of the arithmetic ------------------------------------------------------------------------------------------------


def one(weight: list[list[int]], exponent: int = 0, **more: object) -> FixedGraph:
    values: dict[str, object] = {"du": 4095, "dv": 0, "vth": 100} | more
    return FixedGraph((FixedLayer(Synapses(np.array(weight, np.int32), exponent, "mixed"), **values),), 1e-3)  # type: ignore[arg-type]


def edges() -> list[tuple[FixedGraph, Array]]:
    """Graphs and rasters ``[ticks, n_in]`` at the ends of what the registers hold."""
    found = []
    for sign in (1, -1):
        for k in (0, 4, 5, 8, 12, 40):
            # k units of 254 << 7 << 6 = 2,080,768: 4 stay below 2^23 = 8,388,608, 5 wrap, 12 wrap and come out on the same side
            raster = np.zeros((6, 40), bool)
            raster[0, :k] = True
            found.append((one([[254 * sign] * 40], exponent=7, du=0, vth=1000), raster))
        for units, exponent in ((256, 7), (64, 5), (1024, 3)):
            # weight x units << exponent << 6 = 2^23 exactly: at +2^23 nothing wraps, at -2^23 it does
            raster = np.zeros((3, units), bool)
            raster[0] = True
            found.append((one([[sign * 2**23 // (units << exponent << 6)] * units], exponent, vth=131071), raster))
    # a sum that is shifted right by 7 or 8 keeps its sign: of fewer bits, those that it loses are lost again in u
    sums = np.random.default_rng(1).integers(-254, 255, (5, 40)).astype(np.int32)
    raster = np.random.default_rng(2).random((8, 40)) < 0.5
    for exponent in (-8, -7, -6, -1):
        found.append((FixedGraph((FixedLayer(Synapses(sums, exponent, "mixed"), 100, 50, 40),), 1e-3), raster))
    # a bias of 4095 << 7 = 524,160 a tick reaches 2^23 - 1 after 17 ticks; the threshold 131,071 << 6 = 8,388,544 lies below
    layer = FixedLayer(
        Synapses(np.zeros((2, 1), np.int32)), 0, 0, 131071, np.array([4095, -4096]), np.array([7, 7]),
        v_start=np.array([0, 1 - 2**23], np.int32),
    )  # fmt: skip
    found.append((FixedGraph((layer,), 1e-3), np.zeros((40, 1), bool)))
    # exactly at the threshold nothing spikes: 2 x 32 << 6 is 64 << 6
    found += [(one([[64], [66], [62]], vth=vth, dv=4095), np.ones((4, 1), bool)) for vth in (0, 63, 64, 65)]
    return found


def test_the_ends_of_currents_and_membranes_are_those_of_the_specification(program: Path) -> None:
    cases = edges()
    answers = run(
        program, [sample(graph, image_of(graph), raster, traced=True, size=1 << 17) for graph, raster in cases]
    )
    wraps = 0
    for (graph, raster), answer in zip(cases, answers, strict=True):
        wanted = states(graph, raster)
        np.testing.assert_array_equal(spikes_of(answer, wanted), wanted.spikes)
        np.testing.assert_array_equal(answer.trace, np.concatenate([wanted.u, wanted.v], axis=1))
        np.testing.assert_array_equal(answer.wraps, wanted.wraps.sum(1))
        wraps += int(answer.wraps.sum())
    assert wraps > 10


# -- samples, and what ends them ------------------------------------------------------------------------------------------------


def network(seed: int = 3) -> tuple[FixedGraph, Array]:
    graph = random_graph(seed)
    return graph, random_raster(graph, seed, 3, TICKS)[1]


def changed(made: Sample, values: dict[int, int]) -> Sample:
    """The same with other values of registers."""
    return replace(made, registers=tuple((at, values.get(at, value)) for at, value in made.registers))


def same(a: Answer, b: Answer) -> bool:
    return a.status == b.status and a.count == b.count and bool((a.events == b.events).all())


def test_a_sample_begins_alike_whatever_was_before(program: Path) -> None:
    graph = random_wiring(2)
    made = sample(graph, write(graph), random_raster(graph, 2, 1, TICKS)[0], traced=True)
    again = replace(made, keep=True)
    first, second, aborted, third = run(program, [made, again, replace(again, abort_at=5000), again])
    assert first.count > 0
    assert aborted.status == DONE | ABORTED
    for other in (second, third):
        assert same(first, other)
        np.testing.assert_array_equal(first.trace, other.trace)
        assert first.synapses == other.synapses


def test_1000_random_stalls_and_aborts_change_no_spike_and_hang_nothing(program: Path) -> None:
    graph, raster = network()
    made = sample(graph, write(graph), raster[:10], wide=True, size=1 << 15, room=1 << 12)
    rng = np.random.default_rng(7)
    samples = [made]
    for k in range(1000):
        waits = Memory(int(rng.integers(0, 4)), int(rng.integers(0, 4)), int(rng.choice([0, 30, 128, 240])))
        abort = int(rng.integers(1, 5000)) if k % 2 else 0
        samples.append(replace(made, keep=True, seed=k + 2, waits=waits, abort_at=abort))
    first, *others = run(program, samples)
    assert first.count > 20
    ends = [other.status for other in others]
    assert set(ends) == {DONE, DONE | ABORTED}
    assert ends.count(DONE | ABORTED) > 200
    for other in others:
        if other.status == DONE:
            assert same(first, other)
        else:
            # what an aborted sample wrote is where the whole one begins
            assert (other.events == first.events[: other.count]).all()


def test_an_output_without_room_is_said_and_what_is_lost_is_counted(program: Path) -> None:
    graph, raster = network()
    for wide, bytes_ in ((False, 6), (True, 8)):
        made = sample(graph, write(graph), raster, wide=wide)
        rooms = [0, 5, 6, 7, 8, 50 * bytes_ - 1, 50 * bytes_, 51 * bytes_ - 2]
        whole, *short = run(program, [made, *(changed(made, {OUTPUT_LIMIT: room}) for room in rooms)])
        assert (whole.status, whole.lost) == (DONE, 0)
        for room, answer in zip(rooms, short, strict=True):
            fits = room // bytes_
            assert answer.status == DONE | OVERFLOW
            assert answer.count == fits
            assert (answer.events == whole.events[:fits]).all()
            # the tick is written to its end; nothing stands behind the room
            ends = int(whole.events["tick"][fits])
            assert answer.lost == (whole.events["tick"] <= ends).sum() - fits
            assert set(answer.after) == {NOISE}
        # exactly as much as is needed
        (enough,) = run(program, [changed(made, {OUTPUT_LIMIT: whole.count * bytes_})])
        assert enough.status == DONE
        assert enough.count == whole.count


def test_input_at_the_end_or_later_does_nothing(program: Path) -> None:
    graph, raster = network()
    made = sample(graph, write(graph), raster)
    whole, short, none = run(program, [made, changed(made, {N_TICKS: 30}), changed(made, {N_TICKS: 0})])
    assert short.status == none.status == DONE
    assert (short.tick, none.tick, none.count) == (30, 0, 0)
    assert (short.events == whole.events[whole.events["tick"] < 30]).all()
    assert 0 < short.count < whole.count


def events_at(made: Sample, ticks: list[int]) -> Sample:
    """Events of unit 0 at ``ticks`` instead of those of ``made``."""
    memory, at = bytearray(made.memory), dict(made.registers)[INPUT]
    for tick in ticks:
        memory[at : at + 6] = tick.to_bytes(4, "little") + bytes(2)
        at += 6
    return changed(replace(made, memory=bytes(memory), output=at), {INPUT_COUNT: len(ticks), OUTPUT: at})


def test_times_that_go_back_are_bad_input_and_end_the_sample(program: Path) -> None:
    graph, raster = network()
    made = sample(graph, write(graph), raster)
    back, same_tick = run(program, [events_at(made, [3, 5, 4]), events_at(made, [3, 5, 5])])
    assert (back.status, back.tick) == (DONE | BAD_INPUT, 5)
    assert same_tick.status == DONE


def test_ticks_have_more_than_16_bits(program: Path) -> None:
    graph = one([[200]], vth=199, dv=4095)
    made = sample(graph, write(graph), np.zeros((65540, 1), bool))
    ticks = [1, 65534, 65535, 65536, 65538]
    right, back = run(program, [events_at(made, ticks), events_at(made, [65536, 65535])])
    assert right.events["tick"].tolist() == [tick + 1 for tick in ticks]
    assert (back.status, back.tick) == (DONE | BAD_INPUT, 65536)


def test_wraps_are_added_or_left_alone(program: Path) -> None:
    wrapping = case(16)
    made = wrapping.sample
    first, twice, never = run(program, [made, replace(made, keep=True), replace(changed(made, {WRAPS: 0}), keep=True)])
    assert first.wraps.sum() > 0
    np.testing.assert_array_equal(twice.wraps, 2 * first.wraps)
    np.testing.assert_array_equal(never.wraps, twice.wraps)
    assert same(first, never)


def test_abort_and_start_in_every_state_of_rest(program: Path) -> None:
    graph, raster = network()
    made = sample(graph, write(graph), raster)
    # an abort at rest is nothing; a start while busy is nothing
    before = replace(made, registers=((CONTROL, 2), *made.registers, (CONTROL, 1), (CONTROL, 1)))
    whole, other = run(program, [made, before])
    assert same(whole, other)
    assert whole.count > 0


def test_events_stand_at_any_halfword(program: Path) -> None:
    graph, raster = network()
    for wide in (False, True):
        made = sample(graph, write(graph), raster, wide=wide)
        values = dict(made.registers)
        moved = bytearray(made.memory)
        start, length = values[INPUT], values[OUTPUT] - values[INPUT]
        moved[start + 2 : start + 2 + length] = made.memory[start : start + length]
        other = replace(
            changed(made, {INPUT: start + 2, OUTPUT: values[OUTPUT] + 4}), memory=bytes(moved), output=made.output + 4
        )
        odd = replace(changed(made, {OUTPUT: values[OUTPUT] + 2}), output=made.output + 2)
        first, second, third = run(program, [made, other, odd])
        assert first.count > 0
        assert same(first, second)
        assert same(first, third)
