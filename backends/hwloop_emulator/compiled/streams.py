"""Many random streams at once: the same words as :class:`~hwloop_emulator.streams.Stream` draws one stream at a time.

Philox4x64-10 (Salmon et al., SC 2011, table 2): ten rounds of two 64 x 64 -> 128 bit products, the key raised by the
Weyl constants in between. NumPy counts the lowest counter word up before it makes the first block; so does this. A draw
anywhere in a stream costs as much as one at its beginning, so that what is not needed is not drawn.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hwloop.simulate.compile_kernel import kernel

from ..streams import Array

_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_ONE, _MANTISSA = np.uint64(1), np.uint64(11)
#: Draws that pass through the chain of array operations of a normal distribution at a time: they stay in the cache.
BLOCK = 16_384
#: Keys of single streams that are kept: a loop draws from the same ones in every run.
KEPT_KEYS = 256


@dataclass(frozen=True)
class Streams:
    """Streams with ``keys [s, 2]`` at ``counters [s, 3]``, both uint64."""

    keys: Array
    counters: Array

    @classmethod
    def of(cls, family: str, numbers: Sequence[int], name: str, positions: Array | None = None) -> Streams:
        """Streams ``name`` of chips ``numbers``, each at all of ``positions [p, <= 3]``: chip by chip."""
        places = np.zeros((1, 3), dtype=np.uint64)
        if positions is not None:
            places = np.zeros((len(positions), 3), dtype=np.uint64)
            places[:, : positions.shape[1]] = positions
        digests = b"".join(_digest(family, number, name) for number in numbers)
        keys = np.frombuffer(digests, dtype="<u8").astype(np.uint64).reshape(-1, 2)
        return cls(np.repeat(keys, len(places), axis=0), np.tile(places, (len(keys), 1)))

    @classmethod
    def one(cls, family: str, number: int, name: str, position: tuple[int, int, int]) -> Streams:
        """Stream ``name`` of chip ``number`` at ``position``."""
        return cls(_key(family, number, name), np.array([position], dtype=np.uint64))

    def random(self, stream: Array, first: Array, count: Array) -> Array:
        """Draws number ``first .. first + count - 1`` of ``stream``, one run after the other; see :meth:`Stream.random`."""
        out = np.empty(int(count.sum()))
        uniforms(self.keys, self.counters, stream, first, count, out)
        return out

    def normal(self, stream: Array, first: Array, count: Array) -> Array:
        """As :meth:`random`, of :meth:`Stream.normal`."""
        radius = np.empty(int(count.sum()))
        angle = np.empty_like(radius)
        pairs(self.keys, self.counters, stream, first, count, radius, angle)
        for begin in range(0, len(radius), BLOCK):
            _to_normal(radius[begin : begin + BLOCK], angle[begin : begin + BLOCK])
        return radius

    def all_random(self, n: int) -> Array:
        """The first ``n`` draws of each, ``[s, n]``."""
        return self.random(*self._whole(n)).reshape(-1, n)

    def all_normal(self, n: int) -> Array:
        """The first ``n`` normal draws of each, ``[s, n]``."""
        return self.normal(*self._whole(n)).reshape(-1, n)

    def at(self, index: Array, uniform: bool) -> Array:
        """Draws number ``index [n]`` of each, ``[s, n]``."""
        s, n = len(self.keys), len(index)
        runs = np.repeat(np.arange(s), n), np.tile(index, s), np.ones(s * n, dtype=np.int64)
        return (self.random(*runs) if uniform else self.normal(*runs)).reshape(s, n)

    def _whole(self, n: int) -> tuple[Array, Array, Array]:
        s = len(self.keys)
        return np.arange(s), np.zeros(s, dtype=np.int64), np.full(s, n)


def _digest(family: str, number: int, name: str) -> bytes:
    return hashlib.sha256(f"{family}\0{number}\0{name}".encode()).digest()[:16]


@lru_cache(maxsize=KEPT_KEYS)
def _key(family: str, number: int, name: str) -> Array:
    """Key ``[1, 2]`` of stream ``name`` of a chip."""
    return np.frombuffer(_digest(family, number, name), dtype="<u8").astype(np.uint64).reshape(1, 2)


def _to_normal(radius: Array, angle: Array) -> None:
    """:func:`~hwloop_emulator.streams.to_normal` in place, the same operations in the same order."""
    np.negative(radius, out=radius)
    np.log1p(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle *= 2.0 * math.pi
    np.cos(angle, out=angle)
    radius *= angle


@intrinsic
def _high(typingctx: Any, a: Any, b: Any) -> Any:
    """High word of the product of two uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(value, wide) for value in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@kernel(inline="always")
def _block(keys: Any, counters: Any, k: Any, block: Any) -> tuple[Any, Any, Any, Any]:
    """The four words of block ``block`` (from 0) of stream ``k``."""
    c0, c1, c2, c3 = np.uint64(block) + _ONE, counters[k, 0], counters[k, 1], counters[k, 2]
    k0, k1 = keys[k, 0], keys[k, 1]
    for _ in range(10):
        high0, high1 = _high(_M0, c0), _high(_M1, c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, _M1 * c2, high0 ^ c3 ^ k1, _M0 * c0
        k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, c2, c3


@kernel(inline="always")
def _uniform(word: Any) -> Any:
    """In [0, 1), 53 bits; as :func:`~hwloop_emulator.streams.to_uniform`."""
    return np.float64(word >> _MANTISSA) * 2.0**-53


@kernel()
def uniforms(keys: Any, counters: Any, stream: Any, first: Any, count: Any, out: Any) -> None:
    """Draws ``out`` of runs ``[r]``: numbers ``first .. first + count - 1`` of ``stream``."""
    o = 0
    for r in range(len(first)):
        k, begin, end = stream[r], first[r], first[r] + count[r]
        for block in range(begin // 4, -(-end // 4)):
            w0, w1, w2, w3 = _block(keys, counters, k, block)
            j = 4 * block
            if j >= begin:
                out[o] = _uniform(w0)
                o += 1
            if begin <= j + 1 < end:
                out[o] = _uniform(w1)
                o += 1
            if begin <= j + 2 < end:
                out[o] = _uniform(w2)
                o += 1
            if begin <= j + 3 < end:
                out[o] = _uniform(w3)
                o += 1


@kernel()
def pairs(keys: Any, counters: Any, stream: Any, first: Any, count: Any, radius: Any, angle: Any) -> None:
    """Uniform pairs of the normal draws of runs ``[r]``; see :func:`uniforms`."""
    o = 0
    for r in range(len(first)):
        k, begin, end = stream[r], first[r], first[r] + count[r]
        for block in range(begin // 2, -(-end // 2)):
            w0, w1, w2, w3 = _block(keys, counters, k, block)
            if 2 * block >= begin:
                radius[o], angle[o] = _uniform(w0), _uniform(w1)
                o += 1
            if begin <= 2 * block + 1 < end:
                radius[o], angle[o] = _uniform(w2), _uniform(w3)
                o += 1
