"""The whole chip at its line: what it says, frames and images that all devices share, random networks, runs that end otherwise."""

from __future__ import annotations

import json
import re
import runpy
import struct
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hwloop_fixed_point.graph import FixedGraph, FixedLayer
from hwloop_fixed_point.synapses import Synapses
from hwloop_rtl.parameters import Parameters
from hwloop_rtl.target import RtlTarget
from hwloop_serial import calls

from ..serial.firmware import wire
from ..serial.firmware.built import FIRMWARE
from ..serial.firmware.equality import assert_equal
from ..serial.firmware.images import image_of
from ..serial.firmware.small import CHAIN, EVENTS
from ..serial.firmware.wire import CALL, CONFIGURE, DONE, INPUT, PROGRAM, READ, RESET, Host
from .chip import ChipLine, running

VECTORS: dict[str, Any] = json.loads((FIRMWARE.parent / "vectors.json").read_text())
CHECK = runpy.run_path(str(FIRMWARE / "check_board.py"))
#: Of the 200 random networks those that run on each push: rows and wirings, dense and listed, wide and narrow units.
SEEDS = range(0, 200, 17)
NO_FUNCTION, COUNTERS = 5, struct.pack("<H", 9)


@pytest.fixture(scope="module")
def chip() -> Iterator[ChipLine]:
    with running() as line:
        yield line


@pytest.fixture
def host(chip: ChipLine) -> Host:
    chip.read()
    opened = Host(chip)
    opened.hello(session=int(time.monotonic_ns() & 0x7FFFFFFF) | 1)
    opened.ask(RESET, b"\1")
    return opened


def info(host: Host) -> dict[str, Any]:
    count = host.hello(session=99)[7]
    found: dict[str, Any] = json.loads(host.ask(READ, struct.pack("<BIIH", 0, 0, 0, count)).body[9:])
    return found


def test_it_says_that_it_is_simulated_and_what_it_has_room_for(host: Host) -> None:
    said = info(host)
    limits, shares = said.pop("limits"), Parameters().shares()
    assert said == {
        "format": "hwloop-device", "version": 1, "kind": "fixed", "device_id": "rtl:memory=1048576,core=hardware",
        "firmware": "hwloop-rtl 1", "ran_on": "rtl-simulation", "dt": None,
    }  # fmt: skip
    assert (limits["state_bytes"], limits["synapses"]) == (shares["HWL_STATE_BYTES"], shares["HWL_PROGRAM_BYTES"])


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["name"])
def test_bad_frames_have_no_answer_and_the_next_one_has(chip: ChipLine, host: Host, vector: dict[str, Any]) -> None:
    chip.write(bytes.fromhex(vector["hex"]) + b"\0")
    assert host.status().state == wire.NONE


def test_good_requests_are_answered_and_replies_that_come_back_are_not(chip: ChipLine, host: Host) -> None:
    answered = 0
    for vector in VECTORS["good"]:
        chip.write(bytes.fromhex(vector["hex"]))
        if vector["type"] <= CONFIGURE:
            assert host.reply().sequence == vector["sequence"]
            answered += 1
    assert answered > 5
    assert chip.read() == b""


@pytest.mark.parametrize("vector", VECTORS["images"], ids=lambda vector: vector["name"])
def test_images_answer_as_they_have_to(host: Host, vector: dict[str, Any]) -> None:
    image, events, expected = (bytes.fromhex(vector[name]) for name in ("hex", "input", "output_by_tick"))
    assert host.upload(PROGRAM, image).kind == 0x85
    assert host.upload(INPUT, events).kind == 0x85
    host.run(image, events, vector["batch"], vector["n_ticks"])
    output = host.output(host.finish())
    counts, wraps = 4 * vector["batch"], 4 * vector["batch"] * len(vector["sizes"])
    assert output[:counts] + output[counts + wraps :] == expected


def test_random_networks_are_equal(host: Host) -> None:
    spikes, _ = np.array([assert_equal(host, seed) for seed in SEEDS]).T
    assert (spikes > 0).sum() > len(SEEDS) / 2


def test_random_networks_are_equal_where_memory_is_slow() -> None:
    with running(stall=0.4) as line:
        slow = Host(line)
        slow.hello()
        assert sum(assert_equal(slow, seed)[0] for seed in (0, 17, 50, 83)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("core", ["hardware", "software"])
def test_200_random_networks_are_equal(core: Any) -> None:
    """Command: python -m pytest -m slow tests/backends/rtl/test_chip.py"""
    with running(parameters=Parameters(core=core)) as line:
        opened = Host(line)
        opened.hello()
        spikes, wraps = np.array([assert_equal(opened, seed) for seed in range(200)]).T
    assert (spikes > 0).sum() > 100
    assert (wraps > 0).sum() > 5
    assert wraps.sum() > 1000


def test_the_script_that_checks_boards_finds_it_right() -> None:
    with RtlTarget().open() as device:
        said = CHECK["check"](device, 6)
    assert re.match(r"equal: 6 networks, \d{4} spikes", said), said


@pytest.mark.slow
@pytest.mark.parametrize("address", ["core=software", "sha=0", "memory=131072"])
def test_chips_of_other_parameters_are_right_too(address: str) -> None:
    with RtlTarget(address).open() as device:
        said = CHECK["check"](device, 12)
    assert said.startswith("equal: "), said


def chain(host: Host, n_ticks: int) -> None:
    host.upload(PROGRAM, CHAIN)
    host.upload(INPUT, EVENTS)
    host.run(CHAIN, EVENTS, 2, n_ticks)


def test_what_a_run_took_is_counted(host: Host) -> None:
    chain(host, 20)
    assert host.finish().state == DONE
    first = calls.unpack_counters(host.ask(CALL, COUNTERS).body[10:])
    # three input events over one synapse each, and the spikes of the first neuron over one
    assert first.synapses == 3 + 1
    assert 20 * 2 * 2 * 8 < first.cycles < 20 * 2 * 2 * 80
    assert first.clock_hz == 12_000_000
    chain(host, 40)
    host.finish()
    again = calls.unpack_counters(host.ask(CALL, COUNTERS).body[10:])
    assert 1.5 * first.cycles < again.cycles < 2.5 * first.cycles
    # sent again, a command is answered from memory
    assert calls.unpack_counters(host.ask(CALL, COUNTERS, sequence=host.sequence).body[10:]) == again
    assert host.ask(CALL, struct.pack("<H", 3)).error[0] == NO_FUNCTION
    assert host.ask(CALL, COUNTERS + b"\0").error[0] == 4  # MALFORMED


def test_frames_that_were_dropped_are_counted(chip: ChipLine, host: Host) -> None:
    before = calls.unpack_counters(host.ask(CALL, COUNTERS).body[10:])
    for damaged in (b"\5\1\2\0", b"\3\1\2\0"):
        chip.write(damaged)
    after = calls.unpack_counters(host.ask(CALL, COUNTERS).body[10:])
    assert after.dropped_frames - before.dropped_frames == 2
    assert (after.lost_bytes, after.broken_bytes) == (0, 0)


def test_a_run_of_no_end_is_looked_at_and_ended(host: Host) -> None:
    chain(host, 2**31 - 1)
    for _ in range(3):
        assert host.status().state == wire.BUSY
    assert host.ask(wire.BEGIN, struct.pack("<BBI", PROGRAM, 0, 4)).error[0] == 6  # BUSY
    host.ask(RESET, b"\0")
    status = host.status()
    assert (status.state, status.run_error) == (wire.FAILED, 19)
    chain(host, 20)
    assert host.finish().state == DONE


def test_a_run_of_no_end_ends_with_a_silent_host(host: Host) -> None:
    host.ask(CONFIGURE, struct.pack("<HI", 1, 50))
    chain(host, 2**31 - 1)
    pause = 0.5  # at a million clocks a second, 40 ms of the chip; a busy machine does fewer
    while (status := host.status()).state == wire.BUSY and pause < wire.PATIENCE:
        time.sleep(pause)
        pause *= 2
    assert (status.state, status.run_error) == (wire.FAILED, 19)


def test_an_output_that_does_not_fit_is_a_failed_run(host: Host) -> None:
    # a neuron that fires at every tick: 6 bytes each
    steady = FixedLayer(
        Synapses(np.zeros((1, 1), np.int32), 0), du=4095, dv=0, vth=1, bias_mant=np.array([4000], np.int32)
    )
    image, room = image_of(FixedGraph((steady,), 1e-3)), Parameters().shares()["HWL_OUTPUT_BYTES"]
    host.upload(PROGRAM, image)
    host.upload(INPUT, bytes(8))
    fitting = (room - 16) // 6
    for n_ticks, state, error in ((fitting // 2, DONE, 0), (fitting, wire.FAILED, 17)):
        host.run(image, bytes(8), 2, n_ticks)
        status = host.finish()
        assert (status.state, status.run_error) == (state, error)
    assert status.samples_done == 1
    chain(host, 20)
    assert host.finish().state == DONE


def test_the_button_is_another_boot_that_holds_nothing() -> None:
    with running() as line:
        host = Host(line)
        host.hello()
        host.upload(PROGRAM, CHAIN)
        first = host.boot
        line.chip.restart()
        time.sleep(0.3)
        host.hello(session=8)
        assert host.boot not in (0, first)
        assert host.status().program == bytes(32)
