"""The chip's line: frames through COBS both ways, whatever their bytes and however slow its memory; what does not fit is counted."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest

from hwloop_rtl.parameters import MAX_BODY

from ..serial.firmware.wire import stuffed
from .chip import Bench, bench_firmware, running

#: Register of bytes that were lost, and broken ones times 256; 255 of a kind are so many or more.
COUNTS, MOST = 0x8000000C, 255
#: Bytes that the chip keeps of what comes while nobody reads: those of its FIFO, and those in its output register and its decoder.
ROOM = 2048


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with running(bench_firmware()) as line:
        yield Bench(line)


def frames(rng: np.random.Generator) -> Iterator[bytes]:
    """Runs without a zero around the longest block of COBS, zeros alone, and both mixed."""
    for length in (0, 1, 2, 252, 253, 254, 255, 256, 507, 508, 509, 762, 763):
        yield bytes(rng.integers(1, 256, length, dtype=np.uint8))
        yield bytes(length)
        yield bytes(rng.choice([0, 0, 1, 255], length).astype(np.uint8))


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_frames_come_back_as_they_went(stall: float) -> None:
    with running(bench_firmware(), stall=stall) as line:
        echo = Bench(line)
        for data in frames(np.random.default_rng(55)):
            assert echo.ask(b"E", data) == b"E" + data, f"{len(data)} bytes"
        assert echo.register(COUNTS) == 0


def test_what_breaks_off_is_no_frame_and_the_next_one_is(bench: Bench) -> None:
    whole = stuffed(b"E" + bytes(range(1, 200)))
    for cut in (2, 50, len(whole) - 2):
        bench.line.write(whole[:cut] + b"\0")
        assert bench.reply() == b""
    bench.line.write(b"\0\0\0")  # empty frames are none: no reply
    assert bench.ask(b"E", b"next") == b"Enext"


def test_two_frames_of_the_longest_kind_wait_while_the_processor_is_busy(bench: Bench) -> None:
    frame_bytes = 13 + MAX_BODY + 4
    data = np.random.default_rng(56).bytes(frame_bytes - 1)
    bench.line.write(stuffed(b"W" + struct.pack("<I", 20)) + stuffed(b"E" + data) * 2)
    assert [bench.reply() for _ in range(3)] == [b"", b"E" + data, b"E" + data]
    assert bench.register(COUNTS) == 0


def test_bytes_that_find_no_room_are_counted_and_the_line_goes_on() -> None:
    with running(bench_firmware(), heed=False) as line:
        deaf = Bench(line)
        time.sleep(0.5)  # until it has started: whoever does not heed it loses bytes before
        for sent, lost in ((ROOM + 100, 100), (ROOM + 1000, MOST)):
            deaf.line.write(stuffed(b"W" + struct.pack("<I", 20)) + stuffed(bytes([1]) * sent))
            assert deaf.reply() == b""
            assert deaf.ask(b"") == b""  # the damaged frame ends with it
            assert abs(deaf.register(COUNTS) - lost) < 20
        assert deaf.ask(b"E", b"whole") == b"Ewhole"


def test_a_sender_that_waits_where_it_is_told_to_loses_nothing() -> None:
    with running(bench_firmware()) as line:
        patient = Bench(line)
        data = np.random.default_rng(57).bytes(3000)
        patient.line.write(stuffed(b"W" + struct.pack("<I", 20)) + stuffed(b"E" + data))
        assert [patient.reply(), patient.reply()] == [b"", b"E" + data]
        assert patient.register(COUNTS) == 0
