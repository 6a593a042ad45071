"""The firmware and the device server answer any row of requests alike: two readings of one page."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from hwloop_loihi import LoihiTarget
from hwloop_serial import framing
from hwloop_serial.board.board import Board, Room
from hwloop_serial.board.fixed import LIMITS, FixedModel
from hwloop_serial.board.run import at_once
from hwloop_serial.framing import Decoder, Frame

from . import wire
from .library import MemoryLine
from .small import CHAIN, EVENTS, INPUT_ROOM, PROGRAM_ROOM
from .wire import BEGIN, CALL, CONFIGURE, HELLO, INPUT, OUTPUT, PROGRAM, READ, RESET, RUN, SEAL, STATUS, WRITE, run_body

STEPS, BOOTS = 400, (0xB0070000, 0x5EED)
ROOM = Room(program=PROGRAM_ROOM, input=INPUT_ROOM, output=24 * 1024, max_body=1024, window=2)
#: The server runs as many ticks as the firmware.
LIKE = LIMITS.model_copy(update={"max_ticks": 2**31 - 1})
#: A byte of a good program, or of a good input, is another one.
BAD_CHAIN, BAD_EVENTS = CHAIN[:40] + b"\0" + CHAIN[41:], EVENTS[:14] + b"\7" + EVENTS[15:]
MALFORMED = 4


class Both:
    """Firmware and server, each with its boot number; what the next request needs to know of them."""

    def __init__(self) -> None:
        self.line = MemoryLine()
        self.board = Board(FixedModel(LoihiTarget(dt=1e-3), LIKE), BOOTS[1], ROOM, at_once)
        self.boots = [0, BOOTS[1]]
        self.sequence = 0
        self.transfers = {PROGRAM: 0, INPUT: 0}
        self.given = {PROGRAM: CHAIN, INPUT: EVENTS}

    def ask(
        self, kind: int, body: bytes, *, session: int = 7, sequence: int | None = None, boot: int = 0
    ) -> list[Frame]:
        """The replies of both; ``boot`` is added to the right one."""
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        frames = [Frame(kind, session, sequence, own + boot, body) for own in self.boots]
        self.line.write(framing.encode(frames[0]))
        while self.line.go_on():
            pass
        replies = Decoder(framing.REPLIES, 1024).feed(self.line.read())
        assert len(replies) == 1
        self.boots[0] = replies[0].boot
        return [*replies, *Decoder(framing.REPLIES, 1024).feed(self.board.answer(frames[1]))]


def requests(both: Both, rng: np.random.Generator) -> Iterator[tuple[int, bytes]]:
    """Requests that mostly fit what went before, and now and then do not."""
    region = int(rng.choice([PROGRAM, INPUT]))
    wrong = rng.random() < 0.2
    data = both.given[region]
    transfer = max(1, both.transfers[region] + (int(rng.integers(-1, 2)) if wrong else 0))
    offset = int(rng.integers(0, len(data) + 20)) if wrong else 0
    match int(rng.integers(0, 13)):
        case 0 | 1 | 2:
            good, bad = (CHAIN, BAD_CHAIN) if region == PROGRAM else (EVENTS, BAD_EVENTS)
            both.given[region] = data = bad if wrong else good
            yield BEGIN, struct.pack("<BBI", region, int(rng.integers(0, 2)), len(data))
            yield WRITE, struct.pack("<BII", region, max(1, both.transfers[region]), 0) + data
            if rng.random() < 0.8:
                yield SEAL, struct.pack("<BII", region, both.transfers[region], len(data))
        case 3:
            yield (
                BEGIN,
                struct.pack("<BBI", int(rng.choice([0, 1, 2, 4, 9])), 0, int(rng.choice([0, 8, 2**20 + 1, 2**32 - 1]))),
            )
        case 4:
            yield WRITE, struct.pack("<BII", region, transfer, offset) + bytes(int(rng.integers(1, 10)))
        case 5:
            yield SEAL, struct.pack("<BII", region, transfer, len(data) + wrong)
        case 6 | 7:
            other = {"repeats": int(rng.integers(0, 3)), "flags": int(rng.integers(0, 2))} if wrong else {}
            digests = [b"" if rng.random() < 0.05 else both.given[each] for each in (PROGRAM, INPUT)]
            n_ticks = int(rng.choice([0, 2**31, 5])) if wrong else 20
            yield RUN, run_body(*digests, int(rng.choice([2, 2, 2, 1, 3])), n_ticks, int(rng.integers(1, 9)), **other)
        case 8:
            part, tag = int(rng.choice([PROGRAM, OUTPUT, 9])), 0 if rng.random() < 0.7 else int(rng.integers(0, 9))
            yield READ, struct.pack("<BIIH", part, tag, offset, int(rng.integers(0, 30)))
        case 9:
            yield RESET, bytes([int(rng.choice([0, 0, 0, 1, 2]))])
        case 10:
            yield CONFIGURE, struct.pack("<HI", int(rng.integers(1, 3)), 1000)
        case 11:
            yield STATUS, b""
        case _:
            yield int(rng.choice([CALL, STATUS, READ, RUN, SEAL])), bytes(int(rng.integers(0, 20)))


def comparable(frame: Frame) -> tuple[object, ...]:
    """What has to be alike: all but the boot, the numbers beside MALFORMED, and whether a table without wraps is left out."""
    kind, session, sequence, _, body = frame
    if kind == framing.ERROR and struct.unpack_from("<H", body, 1)[0] == MALFORMED:
        body = body[:3]
    if kind == framing.REPLY | STATUS:
        body = body[:1] + body[2:12] + body[20:]
    return kind, session, sequence, body


@pytest.mark.parametrize("seed", range(12))
def test_any_row_of_requests_is_answered_alike(seed: int) -> None:
    rng = np.random.default_rng([41, seed])
    both = Both()
    both.ask(HELLO, struct.pack("<4sI", b"hwlp", wire.SCHEMA))
    seen: dict[tuple[int, int], int] = {}
    for _ in range(STEPS):
        for kind, body in requests(both, rng):
            chance = rng.random()
            ends = {"sequence": max(0, both.sequence - int(rng.integers(0, 3)))} if chance < 0.05 else {}
            ends |= {"session": 8} if 0.05 < chance < 0.08 else {"boot": 1} if chance > 0.97 else {}
            ours, theirs = both.ask(kind, body, **ends)
            if ours.type == theirs.type == framing.ERROR and struct.unpack_from("<H", ours.body, 1)[0] == 2:
                continue  # WRONG_BOOT says the boot, which differs
            assert comparable(ours) == comparable(theirs), f"type {kind:02x}, body {body.hex()}"
            if ours.type == framing.REPLY | BEGIN:
                both.transfers[body[0]] = struct.unpack("<I", ours.body)[0]
            code = struct.unpack_from("<H", ours.body, 1)[0] if ours.type == framing.ERROR else 0
            seen[kind, code] = seen.get((kind, code), 0) + 1
    # each command was done, and refused for several reasons
    assert {kind for kind, code in seen if code == 0} >= {BEGIN, WRITE, SEAL, RUN, READ, RESET, CONFIGURE, STATUS}
    assert len({code for _, code in seen}) >= 9


def test_the_bad_program_and_the_bad_input_are_bad() -> None:
    assert hashlib.sha256(BAD_CHAIN).digest() != hashlib.sha256(CHAIN).digest()
    assert BAD_EVENTS != EVENTS
