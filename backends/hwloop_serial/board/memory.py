"""The memories of a board: opened for a transfer, written in any order, sealed with the digest of what they hold."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

from ..messages import Code
from .model import Refusal


class Memory:
    """One region of ``room`` bytes; ``transfers`` counts those of the board."""

    def __init__(self, room: int, transfers: Iterator[int] | None = None) -> None:
        self.room = room
        self._transfers = itertools.count(1) if transfers is None else transfers
        self._data = bytearray()
        self.transfer = 0
        self.digest: bytes | None = None

    @property
    def data(self) -> bytes:
        """What it holds."""
        return bytes(self._data)

    def begin(self, length: int, *, keep: bool) -> int:
        """Open it for ``length`` bytes; the number of the transfer."""
        if length > self.room:
            raise Refusal(Code.TOO_LARGE, self.room, length)
        held = bytes(self._data[:length]) if keep else b""
        self._data = bytearray(held.ljust(length, b"\0"))
        self.digest, self.transfer = None, next(self._transfers)
        return self.transfer

    def write(self, transfer: int, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``."""
        if self.digest is not None or transfer != self.transfer:
            raise Refusal(Code.WRONG_TRANSFER, 0 if self.digest is not None else self.transfer)
        if not data:
            raise Refusal(Code.MALFORMED)
        if offset + len(data) > len(self._data):
            raise Refusal(Code.OUT_OF_RANGE, offset, len(self._data))
        self._data[offset : offset + len(data)] = data

    def check_sealable(self, transfer: int, length: int) -> None:
        """Raise unless ``transfer`` is the one that opened it, for ``length`` bytes."""
        if transfer == 0 or transfer != self.transfer:
            raise Refusal(Code.WRONG_TRANSFER, 0 if self.digest is not None else self.transfer)
        if length != len(self._data):
            raise Refusal(Code.OUT_OF_RANGE, length, len(self._data))

    def seal(self) -> bytes:
        """Digest of what it holds; nothing can be written any more."""
        self.digest = hashlib.sha256(self._data).digest()
        return self.digest

    def forget(self) -> None:
        """Hold nothing."""
        self._data, self.transfer, self.digest = bytearray(), 0, None
