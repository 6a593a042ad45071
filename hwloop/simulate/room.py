"""Room for spikes: how many a sample may have is known when it has run, so a guess has to be made, and memory found.

Kernels write to memory that is kept from call to call: fresh pages cost as much as a small batch. How much room a layer
needed is remembered by its shape, so that one that spikes often is not run twice in every batch. Neither changes a
result: a sample that finds too little room is run again with enough.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from .contract import FloatArray, IntArray

#: Spikes a sample that a layer has room for at first, per neuron, and at least.
FIRST_ROOM, LEAST_ROOM = 8, 256

#: Share by which a remembered room exceeds what was needed, and of its excess that every later batch takes away.
MARGIN, DECAY = 0.25, 0.125

#: Layers (by shape) that are remembered, and bytes that a thread keeps; a call that needs more allocates its own.
REMEMBERED, KEPT_BYTES = 64, 1 << 25

#: Bytes of a cache line, at which every array begins.
LINE = 64


class Room(NamedTuple):
    """Arrays ``[batch, room]`` that a forward pass writes to (``[1, 1]`` where it does not), and the memory they lie in."""

    times: FloatArray
    units: IntArray
    current: FloatArray
    release_time: FloatArray
    release_current: FloatArray
    residual: FloatArray
    buffer: np.ndarray[Any, np.dtype[np.uint8]]


class _Kept(threading.local):
    """The memory that the current thread keeps, None while a call uses it, and the rooms that were laid out in it."""

    buffer: np.ndarray[Any, np.dtype[np.uint8]] | None = None

    def __init__(self) -> None:
        self.rooms: dict[tuple[Any, ...], Room] = {}


_kept = _Kept()
_needed: dict[tuple[int, int], int] = {}


def expected(shape: tuple[int, int], max_spikes: int, most: int) -> int:
    """Spikes a sample to make room for in a layer of ``shape`` (inputs, neurons); ``max_spikes`` 0 means no cap.

    What is remembered asks for no more than ``most``.
    """
    n = shape[1]
    room = max(LEAST_ROOM, n * FIRST_ROOM)
    if (needed := _needed.get(shape)) is not None:
        room = max(room, min(needed + int(MARGIN * needed), most))
    return min(room, n * max_spikes) if max_spikes else room


def remember(shape: tuple[int, int], largest: int) -> None:
    """Keep in mind that a sample of such a layer had ``largest`` spikes; what is more than that is forgotten slowly."""
    before = _needed.get(shape, 0)
    if largest <= shape[1] * FIRST_ROOM and not before:
        return
    needed = max(largest, before - max(1, int(DECAY * (before - largest))))
    if needed <= shape[1] * FIRST_ROOM:
        _needed.pop(shape, None)
        return
    _needed[shape] = needed
    if len(_needed) > REMEMBERED:
        _needed.pop(next(iter(_needed)), None)


def borrow(batch: int, room: int, dtype: np.dtype[Any], holding: bool, measured: bool) -> Room:
    """Memory for one forward pass: of refractory neurons (``holding``), or of a replay (``measured``).

    It is the caller's until :func:`give_back`. After an error it is not given back: threads may still write to it.
    """
    line = dtype.itemsize * batch * room + LINE
    size = 8 * batch * room + LINE + (2 + 2 * holding + measured) * line
    if size > KEPT_BYTES:
        return _laid_out(np.empty(size, np.uint8), (batch, room), dtype, holding, measured)
    buffer, _kept.buffer = _kept.buffer, None
    if buffer is None or len(buffer) < size or len(_kept.rooms) > REMEMBERED:
        buffer = np.empty(size, np.uint8)
        _kept.rooms = {}
    key = (batch, room, dtype.char, holding, measured)
    found = _kept.rooms.get(key)
    if found is None:
        found = _kept.rooms[key] = _laid_out(buffer, (batch, room), dtype, holding, measured)
    return found


def give_back(room: Room) -> None:
    """End the use of ``room``; the thread keeps its memory unless there is much of it."""
    if len(room.buffer) <= KEPT_BYTES:
        _kept.buffer = room.buffer


def _laid_out(
    buffer: np.ndarray[Any, np.dtype[np.uint8]], shape: tuple[int, int], dtype: np.dtype[Any], holding: bool, measured: bool
) -> Room:  # fmt: skip
    none: FloatArray = np.empty((1, 1), dtype)
    place = 0

    def array(kind: Any) -> Any:
        nonlocal place
        found = np.ndarray(shape, kind, buffer, place)
        place += (found.nbytes + LINE - 1) // LINE * LINE
        return found

    units = array(np.int64)
    times, current = array(dtype), array(dtype)
    release_time, release_current = (array(dtype), array(dtype)) if holding else (none, none)
    return Room(times, units, current, release_time, release_current, array(dtype) if measured else none, buffer)
