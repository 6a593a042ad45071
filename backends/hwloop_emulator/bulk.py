"""Many random streams at once: the same words as :class:`~hwloop_emulator.streams.Stream` draws one stream at a time.

Philox4x64-10 (Salmon et al., SC 2011, table 2): ten rounds of two 64 x 64 -> 128 bit products, the key raised by the
Weyl constants in between. NumPy counts the lowest counter word up before it makes the first block; so does this.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from hwloop.simulate.kernel import kernel

from .streams import Array, to_normal, to_uniform

_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)


def rows(family: str, number: int, name: str, positions: Array, shape: tuple[int, ...], uniform: bool) -> Array:
    """Draws ``[k, *shape]`` of stream ``name`` of chip ``number`` at one counter each of ``positions [k]``.

    Equal, bit for bit, to ``Stream(family, number, name, p).random(shape)`` (``uniform``) or ``.normal(shape)`` for each
    ``p`` of them.
    """
    keys = np.tile(_key(family, number, name), (len(positions), 1))
    return _drawn(keys, positions.astype(np.uint64), int(np.prod(shape)), uniform).reshape(len(positions), *shape)


def vectors(family: str, number: int, names: list[str], n: int, uniform: bool) -> Array:
    """Draws ``[names, n]``: of each stream what ``Stream(family, number, name).random(n)`` or ``.normal(n)`` gives."""
    keys = np.array([_key(family, number, name) for name in names], dtype=np.uint64).reshape(-1, 2)
    return _drawn(keys, np.zeros(len(names), dtype=np.uint64), n, uniform)


def _key(family: str, number: int, name: str) -> Array:
    digest = hashlib.sha256(f"{family}\0{number}\0{name}".encode()).digest()[:16]
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def _drawn(keys: Array, positions: Array, n: int, uniform: bool) -> Array:
    words = n if uniform else 2 * n
    raw = np.empty((len(keys), -(-words // 4) * 4), dtype=np.uint64)
    philox(keys, positions, raw)
    drawn = to_uniform(raw[:, :words])
    return drawn if uniform else to_normal(drawn.reshape(-1, 2)).reshape(len(keys), n)


@kernel(inline="always")
def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """High and low word of ``a * b``."""
    a0, a1, b0, b1 = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    low, middle = a0 * b0, a1 * b0
    middle += low >> _HALF
    other = (middle & _LOW) + a0 * b1
    return a1 * b1 + (middle >> _HALF) + (other >> _HALF), a * b


@kernel()
def philox(keys: Any, positions: Any, out: Any) -> None:
    """Words ``out [k, 4 m]`` of the streams with ``keys [k, 2]`` and counters ``(1.., positions[k], 0, 0)``."""
    for k in range(len(positions)):
        for block in range(out.shape[1] // 4):
            c0, c1, c2, c3 = np.uint64(block + 1), positions[k], np.uint64(0), np.uint64(0)
            k0, k1 = keys[k, 0], keys[k, 1]
            for _ in range(10):
                high0, low0 = _product(_M0, c0)
                high1, low1 = _product(_M1, c2)
                c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
                k0, k1 = k0 + _W0, k1 + _W1
            out[k, 4 * block], out[k, 4 * block + 1] = c0, c1
            out[k, 4 * block + 2], out[k, 4 * block + 3] = c2, c3
