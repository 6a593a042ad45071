"""Frames on the wire: ``COBS(header | body | crc) 00``, and the decoder that finds them in any stream of bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from typing import NamedTuple

from . import cobs
from .schema import HEADER, MESSAGES, SCHEMA_ID

#: Start value of the CRC of HELLO, its reply, and an error reply to it: peers of any schema read these.
HELLO_SEED = 0x48574C50
#: Bytes of header and CRC; what is shorter is no frame.
HEADER_BYTES, CRC_BYTES = HEADER.packed.size, 4
LEAST_BYTES = HEADER_BYTES + CRC_BYTES
#: Largest body a frame may have (bytes), and what a peer takes at least.
MOST_BODY, LEAST_BODY = 16384, 128
#: What ends a frame.
DELIMITER = b"\0"
#: Bit of a type that makes a request's number its reply's; the type of an error reply.
REPLY, ERROR = 0x80, MESSAGES["ERROR"].number
HELLO = MESSAGES["HELLO"].number

REQUESTS = frozenset(message.number for message in MESSAGES.values() if message.name != "ERROR")
REPLIES = frozenset([REPLY | number for number in REQUESTS] + [ERROR])

_CRC = struct.Struct("<I")


class Frame(NamedTuple):
    """A frame; fields as in section 1 of PROTOCOL.md."""

    type: int
    session: int
    sequence: int
    boot: int
    body: bytes = b""


def wire_bytes(body: int) -> int:
    """Bytes on the wire of a frame whose body has ``body`` bytes, at most."""
    inside = LEAST_BYTES + body
    return inside + inside // cobs.RUN + 1 + len(DELIMITER)


def seed_of(kind: int, body: bytes, schema: int = SCHEMA_ID) -> int:
    """Start value of the CRC of a frame of type ``kind``."""
    greeting = kind in (HELLO, REPLY | HELLO) or (kind == ERROR and body[:1] == bytes((HELLO,)))
    return HELLO_SEED if greeting else schema


def encode(frame: Frame, schema: int = SCHEMA_ID) -> bytes:
    """``frame`` as bytes, its delimiter included."""
    data = HEADER.packed.pack(*frame[:4]) + frame.body
    crc = zlib.crc32(data, seed_of(frame.type, frame.body, schema))
    return cobs.encode(data + _CRC.pack(crc)) + DELIMITER


def decode(stuffed: bytes, types: Collection[int], most_body: int, schema: int = SCHEMA_ID) -> Frame | None:
    """The frame that stands between two delimiters; None where it is damaged, too long, or of a type not in ``types``."""
    if not LEAST_BYTES < len(stuffed) < wire_bytes(most_body):
        return None
    try:
        data = cobs.decode(stuffed)
    except cobs.StuffingError:
        return None
    if not LEAST_BYTES <= len(data) <= LEAST_BYTES + most_body or data[0] not in types:
        return None
    body = data[HEADER_BYTES:-CRC_BYTES]
    if zlib.crc32(data[:-CRC_BYTES], seed_of(data[0], body, schema)) != _CRC.unpack(data[-CRC_BYTES:])[0]:
        return None
    kind, session, sequence, boot = HEADER.packed.unpack_from(data)
    return Frame(kind, session, sequence, boot, body)


class Decoder:
    """Frames out of a stream of bytes that may hold anything; keeps one frame's bytes at most.

    Parameters
    ----------
    types : frames of other types are dropped
    most_body : largest body (bytes); what is longer is skipped to the next delimiter
    """

    def __init__(self, types: Collection[int], most_body: int = MOST_BODY, schema: int = SCHEMA_ID) -> None:
        self._types, self._most, self._schema = frozenset(types), most_body, schema
        self._held = bytearray()
        self._skipping = False
        #: Frames dropped: damaged, too long, or of an unknown type.
        self.dropped = 0

    @property
    def held(self) -> int:
        """Bytes of a frame that has not ended yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end in ``data``."""
        found: list[Frame] = []
        place = 0
        while (end := data.find(DELIMITER, place)) >= 0:
            if end > place or self._held or self._skipping:
                frame = self._ended(data[place:end])
                if frame is not None:
                    found.append(frame)
            place = end + 1
        self._keep(data[place:])
        return found

    def _ended(self, last: bytes) -> Frame | None:
        self._keep(last)
        stuffed, skipped = bytes(self._held), self._skipping
        self._held.clear()
        self._skipping = False
        frame = None if skipped else decode(stuffed, self._types, self._most, self._schema)
        self.dropped += frame is None
        return frame

    def _keep(self, data: bytes) -> None:
        if self._skipping or not data:
            return
        if len(self._held) + len(data) >= wire_bytes(self._most):
            self._held.clear()
            self._skipping = True
        else:
            self._held += data
