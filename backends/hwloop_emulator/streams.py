"""Counter-based random streams: an emulated chip is a pure function of (seed family, number)."""

from __future__ import annotations

import hashlib
import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


class Stream:
    """Stream ``name`` of chip ``number`` at ``position`` (at most three counters).

    Philox4x64 (Salmon et al., SC 2011) keyed by a hash of (family, number, name), its upper counter words set to
    ``position``: streams never overlap, and drawing from one moves no other. Distributions are computed here from
    the raw words, since NumPy keeps bit generators stable between versions but not its distributions (NEP 19), and
    chip 7 has to stay chip 7. A longer draw begins with the shorter one.
    """

    def __init__(self, family: str, number: int, name: str, *position: int) -> None:
        key = hashlib.sha256(f"{family}\0{number}\0{name}".encode()).digest()[:16]
        # Philox counts up its lowest word; the upper three are free for session, batch, neuron, ...
        counter = np.array([0, *position, *(0,) * (3 - len(position))], dtype=np.uint64)
        self._philox = np.random.Philox(key=np.frombuffer(key, dtype="<u8").astype(np.uint64), counter=counter)

    def random(self, shape: int | tuple[int, ...]) -> Array:
        """Uniform in [0, 1), 53 bits."""
        raw = np.asarray(self._philox.random_raw(int(np.prod(shape))), dtype=np.uint64)
        return to_uniform(raw).reshape(shape)

    def normal(self, shape: int | tuple[int, ...]) -> Array:
        """Standard normal; see :func:`to_normal`."""
        return to_normal(self.random((int(np.prod(shape)), 2))).reshape(shape)

    def exponential(self, shape: int | tuple[int, ...]) -> Array:
        """Exponential with mean 1."""
        return -np.log1p(-self.random(shape))


def to_uniform(words: Array) -> Array:
    """Uniform in [0, 1) from 64-bit ``words``: their upper 53 bits."""
    uniform: Array = (words >> np.uint64(11)) * 2.0**-53
    return uniform


def to_normal(pairs: Array) -> Array:
    """Standard normal ``[n]`` from uniform ``pairs [n, 2]`` (Box & Muller, Ann. Math. Statist. 29:610, 1958)."""
    # 1 - u lies in (0, 1]: its logarithm is finite
    radius = np.sqrt(-2.0 * np.log1p(-pairs[:, 0]))
    normal: Array = radius * np.cos(2.0 * math.pi * pairs[:, 1])
    return normal
