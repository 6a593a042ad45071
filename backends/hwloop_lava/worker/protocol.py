"""Messages between host and worker: a length, a JSON header, raw bytes of arrays. No pickle.

A frame is the magic number, the length of the header (32 bits) and of the body (64 bits), both little-endian, the
header, and the body. The header is a JSON object: ``kind``, further fields, and under ``arrays`` name, dtype and shape
of each array, whose bytes follow each other in the body. Everything is bounded before anything is allocated.

Both sides use this module; it imports nothing but NumPy.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: First bytes of every frame; the digit is the version.
MAGIC = b"hwlava1\n"
PREFIX = struct.Struct("<8sIQ")
#: Largest header (bytes): a network of thousands of layers describes itself in less.
MAX_HEADER = 4 * 2**20
#: Largest body (bytes): weights and spikes of the largest run that the host sends at once.
MAX_BODY = 4 * 2**30
#: Types an array may have on the way.
DTYPES = frozenset({"<i4", "<i8", "<f8", "|i1"})


class ProtocolError(Exception):
    """What came over the pipe is no frame."""


@dataclass(frozen=True)
class Message:
    """One frame: its kind, fields that JSON knows, and arrays."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


def encode(message: Message) -> bytes:
    """``message`` as a frame."""
    bodies, described = [], []
    for name, array in message.arrays.items():
        canonical = np.ascontiguousarray(array)
        canonical = canonical.astype(canonical.dtype.newbyteorder("<"), copy=False)
        if canonical.dtype.str not in DTYPES:
            raise ProtocolError(f"array {name!r} of type {canonical.dtype.str}; allowed: {', '.join(sorted(DTYPES))}")
        described.append([name, canonical.dtype.str, list(array.shape)])
        bodies.append(canonical.tobytes())
    header = json.dumps({"kind": message.kind, "fields": message.fields, "arrays": described}).encode()
    body = b"".join(bodies)
    if len(header) > MAX_HEADER or len(body) > MAX_BODY:
        raise ProtocolError(f"{len(header)} + {len(body)} bytes; allowed: {MAX_HEADER} + {MAX_BODY}")
    return PREFIX.pack(MAGIC, len(header), len(body)) + header + body


def receive(read: Callable[[int], bytes]) -> Message:
    """The next frame; ``read(n)`` returns exactly n bytes.

    Raises :class:`ProtocolError` for anything that is no frame, and whatever ``read`` raises.
    """
    magic, header_bytes, body_bytes = PREFIX.unpack(read(PREFIX.size))
    if magic != MAGIC:
        raise ProtocolError(f"{magic!r} where {MAGIC!r} starts a frame")
    if header_bytes > MAX_HEADER or body_bytes > MAX_BODY:
        raise ProtocolError(f"a frame of {header_bytes} + {body_bytes} bytes; allowed: {MAX_HEADER} + {MAX_BODY}")
    kind, fields, described = _header(read(header_bytes))
    arrays, left = {}, body_bytes
    for name, dtype, shape in described:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > left:
            raise ProtocolError(f"array {name!r} of {size} bytes where {left} are left")
        arrays[name] = np.frombuffer(read(size), dtype=dtype).reshape(shape)
        left -= size
    if left:
        raise ProtocolError(f"{left} bytes more than the header declares")
    return Message(kind, fields, arrays)


def _header(data: bytes) -> tuple[str, dict[str, Any], list[tuple[str, str, tuple[int, ...]]]]:
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a header that is no JSON ({type(error).__name__})") from None
    if not isinstance(document, Mapping):
        raise ProtocolError("a header that is no JSON object")
    kind, fields, arrays = document.get("kind"), document.get("fields"), document.get("arrays")
    if not (isinstance(kind, str) and isinstance(fields, dict) and isinstance(arrays, list)):
        raise ProtocolError("a header without kind, fields and arrays")
    return kind, fields, [_description(entry) for entry in arrays]


def _description(entry: Any) -> tuple[str, str, tuple[int, ...]]:
    if isinstance(entry, list) and len(entry) == 3:
        name, dtype, shape = entry
        named = isinstance(name, str) and isinstance(dtype, str) and dtype in DTYPES
        if named and isinstance(shape, list) and all(type(n) is int and 0 <= n <= MAX_BODY for n in shape):
            return name, dtype, tuple(shape)
    raise ProtocolError(f"{str(entry)[:60]!r} describes no array")
