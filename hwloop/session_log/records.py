"""Records of a log: each with its length and checksums, so that what a kill cut off is known for what it is.

A file is :data:`MAGIC`, then records:

    marker 4 bytes | kind u32 | length u64 | CRC-32 of the body u32 | CRC-32 of the 20 bytes before u32 | body

all little-endian. A record that ends with the file before its body does is half-written: the process was killed, or the
machine lost power, while it was being appended; all before it is whole.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError
from ..storage import malformed

MAGIC = b"hwloop-session-log 1\n"
_HEADER = struct.Struct("<4sIQII")
_MARKER = b"\xf7rec"
#: Largest body (bytes): events of some ten million spikes.
MAX_BODY = 2**28
#: Bytes that are looked at a time.
_BLOCK = 2**16


@dataclass(frozen=True)
class Entry:
    """A whole record: where its body starts and how long it is (bytes)."""

    kind: int
    start: int
    length: int


@dataclass(frozen=True)
class Damage:
    """The first place (byte) that is not whole, and how many bytes are left from there; ``cut``: half-written at the end."""

    place: int
    left: int
    cut: bool
    reason: str

    def __str__(self) -> str:
        what = "the last record is half-written and left out" if self.cut else "damaged"
        return f"byte {self.place}: {what} ({self.reason}); {self.left} bytes from there on are not used"


def encode_record(kind: int, body: bytes) -> bytes:
    """``body`` as a record."""
    head = _HEADER.pack(_MARKER, kind, len(body), zlib.crc32(body), 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(head)) + body


def read_records(file: BinaryIO, path: Path | str) -> Iterator[tuple[Entry, bytes] | Damage]:
    """Whole records one by one, and at last the damage, if there is any: nothing behind it is read.

    Raises :class:`DataError` where ``file`` is no log at all.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.read(len(MAGIC))
    if start != MAGIC:
        if MAGIC.startswith(start):
            yield Damage(0, size, True, "the file ends in its first line")
            return
        raise malformed(str(path), "the first line", ascii(start[:24])[1:], "a session log, version 1")
    place = len(MAGIC)
    while place < size:
        found = _next(file, place, size)
        yield found
        if isinstance(found, Damage):
            return
        place += _HEADER.size + found[0].length


def _next(file: BinaryIO, place: int, size: int) -> tuple[Entry, bytes] | Damage:
    left = size - place
    if left < _HEADER.size:
        return Damage(place, left, True, f"{left} bytes of a head of {_HEADER.size}")
    file.seek(place)
    head = file.read(_HEADER.size)
    marker, kind, length, body_sum, head_sum = _HEADER.unpack(head)
    if zlib.crc32(head[:-4]) != head_sum or marker != _MARKER or length > MAX_BODY:
        # a file system that lost power may keep the length of a file without what was written last
        if not any(head) and _silent(file, left - len(head)):
            return Damage(place, left, True, "zeros to the end")
        return Damage(place, left, False, "a head with a wrong checksum")
    if length > left - _HEADER.size:
        return Damage(place, left, True, f"{left - _HEADER.size} bytes of a body of {length}")
    body = file.read(length)
    if len(body) != length or zlib.crc32(body) != body_sum:
        # the last one: power was lost while it was being written
        return Damage(place, left, length == left - _HEADER.size, "a body with a wrong checksum")
    return (Entry(kind, place + _HEADER.size, length), body)


def _silent(file: BinaryIO, left: int) -> bool:
    while left > 0:
        block = file.read(min(_BLOCK, left))
        if not block or any(block):
            return False
        left -= len(block)
    return True


class RecordWriter:
    """Appends to a log that is whole up to ``end`` (byte); a record that cannot be written whole is taken back."""

    def __init__(self, path: Path, end: int) -> None:
        self.path, self._end = path, end
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.ftruncate(self._descriptor, end)
        os.lseek(self._descriptor, end, os.SEEK_SET)

    def append(self, kind: int, body: bytes, *, lasting: bool) -> None:
        """Write one record; ``lasting``: it is on the disk when this returns.

        Raises :class:`DataError` where that fails; the log then ends where it ended before.
        """
        data = memoryview(encode_record(kind, body))
        if len(body) > MAX_BODY:
            raise self._failed(f"a record of {len(body)} bytes; allowed: up to {MAX_BODY}: run smaller batches")
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            if lasting:
                os.fsync(self._descriptor)
        except OSError as error:
            reason = error.strerror or str(error)
            self._take_back()
            raise self._failed(reason) from error
        self._end += len(data)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self._end)
            os.lseek(self._descriptor, self._end, os.SEEK_SET)
        except OSError:
            return  # a reader takes what is left of it for a half-written record

    def _failed(self, reason: str) -> DataError:
        return DataError(
            f"cannot record into {self.path}: {reason}. What is recorded so far is whole, and what was measured last is not used; "
            "free space, and go on from the last checkpoint"
        )

    def close(self) -> None:
        """Close the file; all of it is on the disk. Raises :class:`DataError` where it is not."""
        try:
            try:
                os.fsync(self._descriptor)
            finally:
                os.close(self._descriptor)
        except OSError as error:
            raise self._failed(error.strerror or str(error)) from error
