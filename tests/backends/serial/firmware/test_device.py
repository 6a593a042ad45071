"""The whole device, its line in memory: requests, what happens at most once, and what it refuses."""

from __future__ import annotations

import hashlib
import struct
import zlib

import numpy as np
import pytest

from . import wire
from .library import MemoryLine, load
from .small import CHAIN, EVENTS, INPUT_ROOM, PROGRAM_ROOM
from .wire import BEGIN, CALL, CONFIGURE, DONE, FAILED, HELLO, READ, RESET, RUN, SEAL, STATUS, WRITE, Host, run_body

(
    WRONG_SESSION, WRONG_BOOT, OLD, MALFORMED, UNKNOWN, IS_BUSY, TOO_LARGE, OUT_OF_RANGE, WRONG_TRANSFER, BAD_IMAGE,
    NO_PROGRAM, NO_INPUT, WRONG_PROGRAM, WRONG_INPUT, WRONG_SETTINGS, BAD_INPUT, OVERFLOW, WRONG_TAG, ABORTED,
) = range(1, 20)  # fmt: skip
LONG = 100_000_000  # ticks of a run that does not end while a test looks at it


@pytest.fixture
def host() -> Host:
    line = MemoryLine()
    host = Host(line, go_on=line.go_on)
    host.hello()
    return host


@pytest.fixture
def loaded(host: Host) -> Host:
    """A host whose device holds a program and its input."""
    host.upload(wire.PROGRAM, CHAIN)
    host.upload(wire.INPUT, EVENTS)
    return host


def line_of(host: Host) -> MemoryLine:
    assert isinstance(host.line, MemoryLine)
    return host.line


def begin(host: Host, region: int, length: int, flags: int = 0) -> int:
    reply = host.ask(BEGIN, struct.pack("<BBI", region, flags, length))
    assert reply.kind == 0x83, reply.error
    return int(struct.unpack("<I", reply.body)[0])


# -- a whole run ------------------------------------------------------------------------------------------------


def test_hello_says_what_the_device_is() -> None:
    host = Host(MemoryLine())
    kind, window, max_body, program, inputs, outputs, features, info_bytes, info_crc = host.hello()
    assert (kind, window, max_body, program, inputs, features) == (2, 2, 1024, PROGRAM_ROOM, INPUT_ROOM, 0)
    assert outputs == 24 * 1024
    text = host.ask(READ, struct.pack("<BIIH", 0, 0, 0, info_bytes)).body[9:]
    assert zlib.crc32(text) == info_crc
    assert host.boot != 0


def test_a_run_brings_its_spikes_and_its_wraps(loaded: Host) -> None:
    status = loaded.status()
    assert (status.state, status.run_id) == (wire.NONE, 0)
    assert loaded.run(CHAIN, EVENTS, 2, 10, run_id=77).body == struct.pack("<I", 77)
    status = loaded.finish()
    assert (status.state, status.run_error, status.run_id, status.samples_done) == (DONE, 0, 77, 2)
    assert (status.flags, status.lost, status.late, status.settings) == (1, 0, 0, bytes(32))
    # see small.py: input at ticks 0, 1 and 4 makes the first neuron spike at 2, the second at 3; the other sample is silent
    events = struct.pack("<IHIH", 2, 0, 3, 1)
    assert loaded.output(status) == struct.pack("<6I", 2, 0, 0, 0, 0, 0) + events


def test_the_program_can_be_read_back(loaded: Host) -> None:
    reply = loaded.ask(READ, struct.pack("<BIIH", wire.PROGRAM, 0, 4, len(CHAIN) - 4))
    assert reply.body == struct.pack("<BII", wire.PROGRAM, 0, 4) + CHAIN[4:]


def test_no_reply_is_longer_than_a_body_may_be(host: Host) -> None:
    begin(host, wire.PROGRAM, 5000)
    most = 1024 - 9  # of max_body, behind region, tag and offset
    assert len(host.ask(READ, struct.pack("<BIIH", wire.PROGRAM, 0, 0, most)).body) == 1024
    for count in (most + 1, 5000):
        assert host.ask(READ, struct.pack("<BIIH", wire.PROGRAM, 0, 0, count)).error == (OUT_OF_RANGE, 0, 5000)


def test_status_is_answered_while_a_run_is_in_progress(loaded: Host) -> None:
    assert loaded.run(CHAIN, EVENTS, 2, LONG, run_id=5).kind == 0x86
    for _ in range(20):
        line_of(loaded).go_on()
        status = loaded.status()
        assert (status.state, status.run_id, status.output_bytes) == (wire.BUSY, 5, 0)


def test_what_is_kept_by_begin_need_not_come_again(loaded: Host) -> None:
    transfer = begin(loaded, wire.INPUT, len(EVENTS), flags=1)
    assert loaded.run(CHAIN, EVENTS, 2, 10).error[0] == NO_INPUT
    changed = bytearray(EVENTS)
    changed[8] = 1  # the first event a tick later
    reply = loaded.ask(WRITE, struct.pack("<BII", wire.INPUT, transfer, 8) + b"\1")
    assert reply.kind == 0x84
    reply = loaded.ask(SEAL, struct.pack("<BII", wire.INPUT, transfer, len(EVENTS)))
    assert reply.body == hashlib.sha256(bytes(changed)).digest()


def test_bytes_that_a_region_did_not_hold_are_zero(host: Host) -> None:
    host.upload(wire.INPUT, b"x" * 40)
    for length, flags, held in ((8, 1, b"x" * 8), (20, 1, b"x" * 8 + bytes(12)), (4, 0, bytes(4)), (40, 1, bytes(40))):
        transfer = begin(host, wire.INPUT, length, flags)
        sealed = host.ask(SEAL, struct.pack("<BII", wire.INPUT, transfer, length))
        assert sealed.body == hashlib.sha256(held).digest()


# -- sessions, and what happens at most once ----------------------------------------------------------------------


def test_a_command_that_comes_again_brings_the_same_reply_and_does_nothing(loaded: Host) -> None:
    first = loaded.ask(BEGIN, struct.pack("<BBI", wire.INPUT, 0, 8))
    again = loaded.ask(BEGIN, struct.pack("<BBI", wire.INPUT, 0, 8), sequence=first.sequence)
    assert again == first
    assert begin(loaded, wire.INPUT, 8) == struct.unpack("<I", first.body)[0] + 1


def test_a_run_that_is_asked_for_again_does_not_run_again(loaded: Host) -> None:
    first = loaded.run(CHAIN, EVENTS, 2, 10, run_id=9)
    done = loaded.finish()
    again = loaded.ask(RUN, run_body(CHAIN, EVENTS, 2, 10, 9), sequence=first.sequence)
    assert again == first
    assert loaded.status() == done


def test_an_error_is_kept_like_any_reply(host: Host) -> None:
    refused = host.run(CHAIN, EVENTS, 2, 10)
    assert refused.error[0] == NO_PROGRAM
    host.upload(wire.PROGRAM, CHAIN)
    late = host.ask(RUN, run_body(CHAIN, EVENTS, 2, 10), sequence=refused.sequence)
    assert late.error == (OLD, host.sequence - 2, 0)  # BEGIN was the last command; the chunk and SEAL are none


def test_a_lower_number_is_old(loaded: Host) -> None:
    last = loaded.ask(RESET, b"\0").sequence
    for sequence in (0, 1, last - 1):
        assert loaded.ask(RESET, b"\1", sequence=sequence).error == (OLD, last, 0)
    assert loaded.status().program != bytes(32)


def test_what_may_be_repeated_freely_is(loaded: Host) -> None:
    assert loaded.ask(STATUS, sequence=1).body == loaded.ask(STATUS, sequence=1).body
    transfer = begin(loaded, wire.INPUT, 8)
    for _ in range(2):
        assert loaded.ask(WRITE, struct.pack("<BII", wire.INPUT, transfer, 0) + bytes(8), sequence=3).kind == 0x84
    seals = [loaded.ask(SEAL, struct.pack("<BII", wire.INPUT, transfer, 8), sequence=4).body for _ in range(3)]
    assert len(set(seals)) == 1


def test_a_new_session_ends_a_run_and_keeps_the_program(loaded: Host) -> None:
    loaded.run(CHAIN, EVENTS, 2, LONG, run_id=3)
    program = loaded.status().program
    loaded.hello(session=8)
    status = loaded.status()
    assert (status.state, status.run_error, status.run_id) == (FAILED, ABORTED, 3)
    assert status.program == program != bytes(32)
    # its numbers begin anew
    assert loaded.ask(RESET, b"\0", sequence=1).kind == 0x88


def test_hello_of_the_open_session_changes_nothing(loaded: Host) -> None:
    loaded.run(CHAIN, EVENTS, 2, LONG)
    sequence = loaded.sequence
    said = loaded.hello(session=7)
    assert said == loaded.hello(session=7)
    assert loaded.status().state == wire.BUSY
    loaded.sequence = sequence
    assert loaded.ask(RESET, b"\1", sequence=1).error[0] == OLD


def test_another_session_and_another_boot_are_refused(loaded: Host) -> None:
    loaded.session = 6
    assert loaded.ask(RESET, b"\1").error == (WRONG_SESSION, 7, 0)
    loaded.session, boot, loaded.boot = 7, loaded.boot, loaded.boot ^ 1
    assert loaded.ask(STATUS).error == (WRONG_BOOT, boot, 0)
    loaded.boot = boot
    assert loaded.status().program != bytes(32)


def test_before_hello_nothing_is_answered_but_with_an_error() -> None:
    host = Host(MemoryLine())
    assert host.ask(STATUS).error[0] == WRONG_BOOT
    host.boot = host.ask(HELLO, struct.pack("<4sI", b"hwlp", 1)).boot
    assert host.ask(STATUS).error == (WRONG_SESSION, 0, 0)
    host.session = 0
    assert host.ask(STATUS).error == (WRONG_SESSION, 0, 0)


def test_a_restart_forgets_everything_and_has_another_boot(loaded: Host) -> None:
    boot = loaded.boot
    line_of(loaded).restart()
    assert loaded.run(CHAIN, EVENTS, 2, 10).error[0] == WRONG_BOOT
    loaded.hello()
    assert loaded.boot != boot
    assert loaded.run(CHAIN, EVENTS, 2, 10).error[0] == NO_PROGRAM


def test_a_board_whose_boot_id_comes_out_as_0_says_another_one(loaded: Host) -> None:
    """0 means none: a host would not see the restart."""
    load().hwl_memory_boots(2**32 - 1)
    line_of(loaded).restart()
    assert loaded.run(CHAIN, EVENTS, 2, 10).error == (WRONG_BOOT, 0x48574C42, 0)
    loaded.hello()
    assert loaded.boot == 0x48574C42
    loaded.upload(wire.PROGRAM, CHAIN)
    loaded.upload(wire.INPUT, EVENTS)
    assert loaded.run(CHAIN, EVENTS, 2, 10).error == (0, 0, 0)
    assert loaded.finish().state == DONE


def test_a_host_of_another_schema_gets_the_schema_and_no_session() -> None:
    host = Host(MemoryLine())
    reply = host.ask(HELLO, struct.pack("<4sI", b"hwlp", wire.SCHEMA ^ 1))
    assert struct.unpack_from("<4sI", reply.body) == (b"hwlp", wire.SCHEMA)
    host.boot = reply.boot
    assert host.ask(STATUS).error == (WRONG_SESSION, 0, 0)


@pytest.mark.parametrize("body", [b"hwlq" + struct.pack("<I", wire.SCHEMA), b"hwlp", b"hwlp" + bytes(9)])
def test_a_hello_that_is_none_is_malformed(body: bytes) -> None:
    assert Host(MemoryLine()).ask(HELLO, body).error[0] == MALFORMED


def test_a_session_of_no_number_is_none() -> None:
    assert Host(MemoryLine(), session=0).ask(HELLO, struct.pack("<4sI", b"hwlp", wire.SCHEMA)).error[0] == MALFORMED


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        (STATUS, (1, 5)), (BEGIN, (0, 5, 7)), (WRITE, (0, 8, 9)), (SEAL, (0, 8, 10)), (RUN, (0, 121, 123)),
        (READ, (0, 10, 12)), (RESET, (0, 2)), (CALL, (0, 1)), (CONFIGURE, (0, 5, 7)),
    ],
)  # fmt: skip
def test_a_body_of_another_length_is_malformed(host: Host, kind: int, lengths: tuple[int, ...]) -> None:
    for length in lengths:
        assert host.ask(kind, bytes(length)).error[0] == MALFORMED


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (BEGIN, struct.pack("<BBI", 3, 0, 8), (UNKNOWN, 3, 0)),
        (BEGIN, struct.pack("<BBI", 0, 0, 8), (UNKNOWN, 0, 0)),
        (BEGIN, struct.pack("<BBI", 1, 2, 8), (UNKNOWN, 2, 0)),
        (BEGIN, struct.pack("<BBI", 1, 0, PROGRAM_ROOM + 1), (TOO_LARGE, PROGRAM_ROOM, PROGRAM_ROOM + 1)),
        (BEGIN, struct.pack("<BBI", 2, 0, 2**32 - 1), (TOO_LARGE, INPUT_ROOM, 2**32 - 1)),
        (WRITE, struct.pack("<BIIB", 4, 1, 0, 9), (UNKNOWN, 4, 0)),
        (WRITE, struct.pack("<BIIB", 1, 1, 0, 9), (WRONG_TRANSFER, 0, 0)),
        (SEAL, struct.pack("<BII", 5, 1, 0), (UNKNOWN, 5, 0)),
        (SEAL, struct.pack("<BII", 1, 0, 0), (WRONG_TRANSFER, 0, 0)),
        (READ, struct.pack("<BIIH", 5, 0, 0, 0), (UNKNOWN, 5, 0)),
        (READ, struct.pack("<BIIH", 4, 0, 0, 1), (OUT_OF_RANGE, 0, 0)),
        (READ, struct.pack("<BIIH", 4, 1, 0, 0), (WRONG_TAG, 0, 0)),
        (READ, struct.pack("<BIIH", 0, 1, 0, 1), (WRONG_TAG, 0, 0)),
        (READ, struct.pack("<BIIH", 1, 0, 0, 1), (OUT_OF_RANGE, 0, 0)),
        (RESET, b"\2", (UNKNOWN, 2, 0)),
        (CALL, struct.pack("<HB", 1, 0), (UNKNOWN, 1, 0)),
        (CONFIGURE, struct.pack("<HI", 2, 0), (UNKNOWN, 2, 0)),
    ],
)
def test_what_the_device_has_not_is_refused(host: Host, kind: int, body: bytes, error: tuple[int, int, int]) -> None:
    assert host.ask(kind, body).error == error


def test_chunks_outside_of_the_region_or_of_another_transfer_are_refused(host: Host) -> None:
    transfer = begin(host, wire.INPUT, 16)
    for offset, count in ((16, 1), (15, 2), (2**32 - 1, 1), (2**32 - 1, 16), (0, 17)):
        body = struct.pack("<BII", wire.INPUT, transfer, offset) + bytes(count)
        assert host.ask(WRITE, body).error == (OUT_OF_RANGE, offset, 16)
    old, new = transfer, begin(host, wire.INPUT, 16)
    assert new != old
    assert host.ask(WRITE, struct.pack("<BIIB", wire.INPUT, old, 0, 1)).error == (WRONG_TRANSFER, new, 0)
    assert host.ask(SEAL, struct.pack("<BII", wire.INPUT, old, 16)).error == (WRONG_TRANSFER, new, 0)
    assert host.ask(SEAL, struct.pack("<BII", wire.INPUT, new, 15)).error == (OUT_OF_RANGE, 15, 16)
    assert host.ask(SEAL, struct.pack("<BII", wire.INPUT, new, 16)).kind == 0x85
    assert host.ask(WRITE, struct.pack("<BIIB", wire.INPUT, new, 0, 1)).error == (WRONG_TRANSFER, 0, 0)


def test_nothing_runs_with_stale_weights_or_input(loaded: Host) -> None:
    other = bytearray(CHAIN)
    other[-1] ^= 1
    assert loaded.run(bytes(other), EVENTS, 2, 10).error[0] == WRONG_PROGRAM
    assert loaded.run(CHAIN, EVENTS + b"\0", 2, 10).error[0] == WRONG_INPUT
    assert loaded.run(CHAIN, EVENTS, 2, 10, settings=b"\1" + bytes(31)).error[0] == WRONG_SETTINGS
    loaded.ask(BEGIN, struct.pack("<BBI", wire.PROGRAM, 1, len(CHAIN)))
    assert loaded.run(CHAIN, EVENTS, 2, 10).error[0] == NO_PROGRAM
    assert loaded.status().program == bytes(32)


@pytest.mark.parametrize(
    ("order", "error"),
    [
        ({"format_": 1}, (UNKNOWN, 1, 0)), ({"format_": 8}, (UNKNOWN, 8, 0)), ({"flags": 1}, (UNKNOWN, 1, 0)),
        ({"repeats": 2}, (UNKNOWN, 2, 0)), ({"repeats": 0}, (UNKNOWN, 0, 0)), ({"t_stop": 1.0}, (UNKNOWN, 0, 0x3FF00000)),
        ({"n_ticks": 0}, (OUT_OF_RANGE, 0, 2**31 - 1)), ({"n_ticks": 2**31}, (OUT_OF_RANGE, 2**31, 2**31 - 1)),
    ],
)  # fmt: skip
def test_runs_that_the_device_has_not_are_refused(loaded: Host, order: dict, error: tuple[int, int, int]) -> None:  # type: ignore[type-arg]
    assert loaded.ask(RUN, run_body(CHAIN, EVENTS, **({"batch": 2, "n_ticks": 10} | order))).error == error


@pytest.mark.parametrize(
    ("events", "batch", "detail"),
    [
        (b"", 1, 0), (EVENTS, 0, 0), (EVENTS, 2**30, 0), (EVENTS, 2**32 - 1, 0), (EVENTS[:-1], 2, 0),
        (EVENTS + b"\0" * 6, 2, 2),                                          # bytes left over
        (struct.pack("<IIH", 1, 0, 2), 1, 0),                                # no such unit: the program has two
        (struct.pack("<IIHIH", 2, 5, 0, 4, 0), 1, 0),                        # back in time
        (struct.pack("<IIHIH", 2, 5, 1, 5, 0), 1, 0),                        # units of a tick that do not rise
        (struct.pack("<IIHIH", 2, 5, 1, 5, 1), 1, 0),                        # one twice
        (struct.pack("<IIIH", 0, 2, 5, 0), 2, 1),                            # fewer events than said
        (struct.pack("<III", 0, 2**32 - 1, 0), 2, 1),
    ],
)  # fmt: skip
def test_input_that_is_none_is_refused(host: Host, events: bytes, batch: int, detail: int) -> None:
    host.upload(wire.PROGRAM, CHAIN)
    host.upload(wire.INPUT, events)
    assert host.run(CHAIN, events, batch, 10).error == (BAD_INPUT, detail, 0)
    assert host.status().state == wire.NONE


def test_while_it_runs_memory_stays_as_it_is(loaded: Host) -> None:
    loaded.run(CHAIN, EVENTS, 2, LONG, run_id=6)
    for region in (wire.PROGRAM, wire.INPUT):
        assert loaded.ask(BEGIN, struct.pack("<BBI", region, 0, 8)).error == (IS_BUSY, 6, 0)
    assert loaded.run(CHAIN, EVENTS, 2, 10).error == (IS_BUSY, 6, 0)
    assert loaded.ask(READ, struct.pack("<BIIH", wire.OUTPUT, 6, 0, 1)).error == (OUT_OF_RANGE, 0, 0)
    assert loaded.ask(READ, struct.pack("<BIIH", wire.OUTPUT, 5, 0, 0)).error == (WRONG_TAG, 6, 0)
    assert loaded.ask(RESET, b"\0").kind == 0x88
    status = loaded.status()
    assert (status.state, status.run_error) == (FAILED, ABORTED)
    assert loaded.run(CHAIN, EVENTS, 2, 10).kind == 0x86


def test_reset_forgets_what_it_is_told_to(loaded: Host) -> None:
    loaded.run(CHAIN, EVENTS, 2, 10)
    done = loaded.finish()
    assert loaded.ask(RESET, b"\0").kind == 0x88
    assert loaded.status() == done
    assert loaded.ask(RESET, b"\1").kind == 0x88
    status = loaded.status()
    assert (status.state, status.run_id, status.program) == (wire.NONE, 0, bytes(32))
    assert loaded.ask(READ, struct.pack("<BIIH", wire.OUTPUT, done.run_id, 0, 1)).error[0] == WRONG_TAG
    assert loaded.run(CHAIN, EVENTS, 2, 10).error[0] == NO_PROGRAM


def test_a_silent_host_ends_the_run_where_it_asked_for_that(loaded: Host) -> None:
    assert loaded.ask(CONFIGURE, struct.pack("<HI", 1, 500)).body == struct.pack("<HI", 1, 500)
    loaded.run(CHAIN, EVENTS, 2, LONG)
    line = line_of(loaded)
    line.wait(450)
    assert line.go_on()
    assert loaded.status().state == wire.BUSY
    line.wait(450)
    assert line.go_on()
    line.wait(60)
    assert not line.go_on()
    status = loaded.status()
    assert (status.state, status.run_error) == (FAILED, ABORTED)
    loaded.hello(session=8)
    loaded.run(CHAIN, EVENTS, 2, LONG)
    line.wait(10**6)  # the new session has not asked for it
    assert line.go_on()


def test_an_output_that_does_not_fit_is_a_failed_run(host: Host) -> None:
    # every tick a spike of six bytes: 24 KiB hold 4094 of them behind a head of 12 bytes
    host.upload(wire.PROGRAM, CHAIN)
    count = 4000
    events = struct.pack("<2I", 2 * count, 0) + b"".join(struct.pack("<IHIH", t, 0, t, 1) for t in range(count))
    assert len(events) > INPUT_ROOM  # refused by its length alone
    assert host.ask(BEGIN, struct.pack("<BBI", wire.INPUT, 0, len(events))).error[0] == TOO_LARGE
    samples = 2500
    silent = struct.pack(f"<{samples}I", *[0] * samples)
    host.upload(wire.INPUT, silent)
    host.run(CHAIN, silent, samples, 3, run_id=4)
    status = host.finish()  # 2500 samples with their counts and wraps of two populations alone are 30,000 bytes
    assert (status.state, status.run_error, status.samples_done, status.output_bytes) == (FAILED, OVERFLOW, 0, 0)
    assert host.ask(READ, struct.pack("<BIIH", wire.OUTPUT, 4, 0, 1)).error == (OUT_OF_RANGE, 0, 0)


def test_garbage_between_frames_costs_nothing_but_itself(loaded: Host) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        loaded.line.write(rng.integers(0, 256, int(rng.integers(0, 3000))).astype(np.uint8).tobytes() + b"\0")
        assert loaded.status().state == wire.NONE
