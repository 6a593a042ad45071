"""Sizes of what is sent on lines that lose some of it."""

from __future__ import annotations

import hashlib
import random

import numpy as np

from hwloop_serial import calls
from hwloop_serial.board.board import Board, Room
from hwloop_serial.board.run import at_once
from hwloop_serial.faults import FaultRates
from hwloop_serial.messages import Function, Region
from hwloop_serial.pace import ChunkSize
from hwloop_serial.remote import Remote
from tests.reliability.support import SimulatedBoard

#: Chance that a byte is damaged, and bytes of a frame, its reply included, beside its data.
FLIP, BESIDE = 1e-3, 70


def sizes(n: int) -> np.ndarray:
    """Sizes of ``n`` frames on a line that damages one byte in a thousand."""
    draw, chunk, found = random.Random(1), ChunkSize(64, 16000), []
    for _ in range(n):
        found.append(chunk.size)
        if draw.random() < (1 - FLIP) ** (chunk.size + BESIDE):
            chunk.arrived()
        else:
            chunk.lost(chunk.size)
    return np.array(found)


def test_chunks_are_of_a_size_that_mostly_arrives() -> None:
    found = sizes(2000)[100:]
    # e-folding of the line: 1000 bytes. Of 64 byte chunks more than half of the line is headers
    assert 150 < np.median(found) < 400


def test_a_small_rest_that_is_lost_does_not_shrink_the_others_to_its_size() -> None:
    chunk = ChunkSize(64, 1000)
    chunk.lost(70)
    assert chunk.size == 500
    chunk.lost(1000)  # was under way when the size fell, and says the same once more
    assert chunk.size == 500
    for _ in range(100):
        chunk.lost(64)
    assert chunk.size == 64


def test_large_results_of_a_call_come_in_chunks() -> None:
    """A frame of 2500 bytes arrives once in e^5 tries where two bytes in a thousand are damaged."""
    board = SimulatedBoard(3, FaultRates(flip=2e-3))
    board.board = Board(board.model, 1, Room(8192, 8192, 8192, 8192, 3), at_once)
    remote = Remote(board.session())
    data = calls.CELLS.pack(7) + bytes(2500)
    board.model.call = lambda function, arguments, given: arguments  # type: ignore[method-assign]
    sent = remote.session.counts.sent
    assert remote.call(Function.WRITES, data) == data
    assert remote.session.counts.sent - sent < 200


def test_a_line_that_becomes_slower_is_waited_for() -> None:
    """Chunks that were answered in time before would else be given up, each just before its reply comes, for ever."""
    board = SimulatedBoard(3)
    remote = Remote(board.session())
    for _ in range(30):
        remote.status()
    for port in board.ports:
        port._latency = 0.2
    data, sent = bytes(range(256)) * 4, remote.session.counts.sent
    assert remote.upload(Region.INPUT, data) == hashlib.sha256(data).digest()
    assert remote.session.counts.sent - sent < 300
