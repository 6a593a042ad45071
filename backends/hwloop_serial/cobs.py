"""Consistent Overhead Byte Stuffing: bytes without ``00``, at most one more in 254.

Cheshire & Baker, IEEE/ACM Transactions on Networking 7(2), 1999. A code byte says how far the next zero is; ``FF`` stands
before 254 bytes after which there is none. A run of 254 at the very end may or may not be followed by a last code ``01``;
both are read.
"""

from __future__ import annotations

import numpy as np

#: Bytes that one code byte can stand before.
RUN = 254
#: Bytes (of data) from which whole arrays are quicker than single blocks.
LARGE = 192


class StuffingError(ValueError):
    """Bytes that no encoder writes."""


def encode(data: bytes) -> bytes:
    """``data`` without a zero byte."""
    return _encoded_small(data) if len(data) < LARGE else _encoded_large(data)


def decode(stuffed: bytes) -> bytes:
    """The data of ``stuffed``, which holds no zero byte.

    Raises :class:`StuffingError` where it is empty, or a code points beyond the end.
    """
    end = len(stuffed)
    if end >= LARGE:
        from .compiled.unstuffing import unstuffed

        data = unstuffed(stuffed)
        if data is None:
            raise StuffingError(f"a block reaches beyond byte {end}")
        return data
    places, place = [], 0
    while place < end:
        places.append(place)
        place += stuffed[place]
    if place != end or not places:
        raise StuffingError(f"a block reaches to byte {place} of {end}")
    return _decoded_small(stuffed, places)


def ready() -> None:
    """Have what large frames need, so that the first of them does not wait for it."""
    decode(encode(bytes(range(256))))


def _encoded_small(data: bytes) -> bytes:
    blocks = []
    for run in data.split(b"\0"):
        while len(run) >= RUN:
            blocks.append(b"\xff" + run[:RUN])
            run = run[RUN:]
        blocks.append(bytes((len(run) + 1,)) + run)
    return b"".join(blocks)


def _encoded_large(data: bytes) -> bytes:
    array = np.frombuffer(data + b"\0", np.uint8)
    zeros = np.flatnonzero(array == 0)
    starts = np.concatenate(([0], zeros[:-1] + 1))
    length = zeros - starts
    more = length // RUN
    if not more.any():  # every block ends at a zero, whose place the next code takes
        result = np.empty(len(array), np.uint8)
        result[1:] = array[:-1]
        result[starts] = length + 1
        return result.tobytes()
    number = np.arange(int((more + 1).sum())) - np.repeat(np.cumsum(more + 1) - (more + 1), more + 1)
    first = np.repeat(starts, more + 1) + RUN * number
    last = number == np.repeat(more, more + 1)
    code = np.where(last, np.repeat(length - RUN * more, more + 1) + 1, 0xFF)
    full = np.flatnonzero(array)
    result = np.zeros(len(full) + len(first), np.uint8)
    result[np.arange(len(full)) + np.searchsorted(first, full, "right")] = array[full]
    result[np.searchsorted(full, first, "left") + np.arange(len(first))] = code
    return result.tobytes()


def _decoded_small(stuffed: bytes, places: list[int]) -> bytes:
    blocks = []
    for place in places:
        code = stuffed[place]
        blocks.append(stuffed[place + 1 : place + code])
        blocks.append(b"" if code == 0xFF else b"\0")
    return b"".join(blocks[:-1])
