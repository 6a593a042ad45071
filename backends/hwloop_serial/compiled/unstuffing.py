"""COBS of large frames, read block by block: each code says where the next one is, which no operation on arrays follows."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwloop.simulate.compile_kernel import kernel

Array: TypeAlias = NDArray[Any]

#: What a code stands for that no zero follows.
WHOLE = 0xFF


@kernel()
def unstuff(stuffed: Array, data: Array) -> int:
    """Write the data of ``stuffed [n]`` (uint8, without zeros) into ``data [n]``; its length, or -1 where a code points beyond."""
    n = len(stuffed)
    place = length = 0
    while place < n:
        code = int(stuffed[place])
        if place + code > n:
            return -1
        for k in range(place + 1, place + code):
            data[length] = stuffed[k]
            length += 1
        place += code
        if code != WHOLE and place < n:
            data[length] = 0
            length += 1
    return length


def unstuffed(stuffed: bytes) -> bytes | None:
    """The data of ``stuffed``, which holds no zero byte; None where a code points beyond the end."""
    data = np.empty(len(stuffed), np.uint8)
    length = unstuff(np.frombuffer(stuffed, np.uint8), data)
    return None if length < 0 else data[:length].tobytes()
