"""A host written a second time from PROTOCOL.md, as plain as can be: one request, one reply, no repeats unless asked for."""

from __future__ import annotations

import hashlib
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

HELLO_SEED, SCHEMA = 0x48574C50, 0xC75902D6
HELLO, STATUS, BEGIN, WRITE, SEAL, RUN, READ, RESET, CALL, CONFIGURE = range(1, 11)
PROGRAM, INPUT, OUTPUT = 1, 2, 4
NONE, BUSY, DONE, FAILED = range(4)
#: Seconds within which any reply of these tests has to come; the machine may be busy with other things.
PATIENCE = 60.0


class Line(Protocol):
    """What bytes go to and come from."""

    def write(self, data: bytes) -> None: ...
    def read(self) -> bytes:
        """What has come; may be nothing."""


def stuffed(data: bytes) -> bytes:
    """COBS, with the delimiter."""
    blocks = []
    for part in (data + b"\0").split(b"\0")[:-1]:
        while len(part) > 253:
            blocks.append(b"\xff" + part[:254])
            part = part[254:]
        blocks.append(bytes([len(part) + 1]) + part)
    return b"".join(blocks) + b"\0"


def unstuffed(data: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(data):
        code = data[at]
        out += data[at + 1 : at + code]
        at += code
        if code < 255 and at < len(data):
            out.append(0)
    return bytes(out)


def frame(kind: int, session: int, sequence: int, boot: int, body: bytes = b"") -> bytes:
    data = struct.pack("<BIII", kind, session, sequence, boot) + body
    return stuffed(data + struct.pack("<I", zlib.crc32(data, HELLO_SEED if kind == HELLO else SCHEMA)))


@dataclass(frozen=True)
class Reply:
    kind: int
    session: int
    sequence: int
    boot: int
    body: bytes

    @property
    def error(self) -> tuple[int, int, int]:
        """Code, detail and other number of an error reply; zeros where it is none."""
        if self.kind != 0xFF:
            return 0, 0, 0
        _, code, detail, other = struct.unpack("<BHII", self.body)
        return code, detail, other


@dataclass(frozen=True)
class Status:
    state: int
    flags: int
    run_error: int
    run_id: int
    samples_done: int
    output_bytes: int
    output_crc: int
    lost: int
    late: int
    program: bytes
    settings: bytes


def reply_of(data: bytes) -> Reply:
    """The frame in ``data``; its crc has to be right."""
    raw = unstuffed(data)
    kind, session, sequence, boot = struct.unpack_from("<BIII", raw)
    body, (crc,) = raw[13:-4], struct.unpack("<I", raw[-4:])
    hello = kind == 0x81 or (kind == 0xFF and body[0] == HELLO)
    assert zlib.crc32(raw[:-4], HELLO_SEED if hello else SCHEMA) == crc
    return Reply(kind, session, sequence, boot, body)


@dataclass
class Host:
    """One session on ``line``; ``go_on`` lets a device that does not run by itself go on."""

    line: Line
    session: int = 7
    boot: int = 0
    sequence: int = 0
    go_on: Callable[[], object] = lambda: time.sleep(0.0005)
    waiting: bytearray = field(default_factory=bytearray)

    def reply(self) -> Reply:
        """The next frame that comes."""
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self.waiting:
                data, _, rest = bytes(self.waiting).partition(b"\0")
                self.waiting[:] = rest
                if data:
                    return reply_of(data)
            data = self.line.read()
            self.waiting += data
            if not data:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no reply within {PATIENCE} s; {len(self.waiting)} bytes came")
                self.go_on()

    def ask(self, kind: int, body: bytes = b"", sequence: int | None = None) -> Reply:
        """One request and its reply, which has to be the reply to it."""
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        self.line.write(frame(kind, self.session, sequence, 0 if kind == HELLO else self.boot, body))
        reply = self.reply()
        assert (reply.session, reply.sequence) == (self.session, sequence)
        assert reply.kind in (0x80 | kind, 0xFF)
        return reply

    def hello(self, session: int = 7) -> tuple[int, ...]:
        """Opens a session; what the device says of itself, from its kind on."""
        self.session, self.sequence = session, 0
        reply = self.ask(HELLO, struct.pack("<4sI", b"hwlp", SCHEMA))
        self.boot = reply.boot
        magic, schema, *said = struct.unpack("<4sIBBHIIIIII", reply.body)
        assert (magic, schema) == (b"hwlp", SCHEMA)
        return tuple(said)

    def status(self) -> Status:
        return Status(*struct.unpack("<BBHIIIIII32s32s", self.ask(STATUS).body))

    def upload(self, region: int, data: bytes, chunk: int = 256) -> Reply:
        """BEGIN, WRITE and SEAL; the reply to SEAL, whose digest has to be that of ``data``."""
        begun = self.ask(BEGIN, struct.pack("<BBI", region, 0, len(data)))
        assert begun.kind == 0x83, begun.error
        (transfer,) = struct.unpack("<I", begun.body)
        for offset in range(0, len(data), chunk):
            part = data[offset : offset + chunk]
            written = self.ask(WRITE, struct.pack("<BII", region, transfer, offset) + part)
            assert written.body == struct.pack("<I", offset), written.error
        sealed = self.ask(SEAL, struct.pack("<BII", region, transfer, len(data)))
        assert sealed.kind == 0xFF or sealed.body == hashlib.sha256(data).digest()
        return sealed

    def run(self, program: bytes, events: bytes, batch: int, n_ticks: int, run_id: int = 1, **other: object) -> Reply:
        """RUN of what was uploaded."""
        return self.ask(RUN, run_body(program, events, batch, n_ticks, run_id, **other))

    def finish(self) -> Status:
        """STATUS until the run is over."""
        while (status := self.status()).state == BUSY:
            self.go_on()
        return status

    def output(self, status: Status, chunk: int = 512) -> bytes:
        """OUTPUT of the run that ``status`` says is done, checked against its crc."""
        data = b""
        while len(data) < status.output_bytes:
            count = min(chunk, status.output_bytes - len(data))
            reply = self.ask(READ, struct.pack("<BIIH", OUTPUT, status.run_id, len(data), count))
            assert struct.unpack_from("<BII", reply.body) == (OUTPUT, status.run_id, len(data)), reply.error
            data += reply.body[9:]
        assert zlib.crc32(data) == status.output_crc
        return data


def run_body(
    program: bytes, events: bytes, batch: int, n_ticks: int, run_id: int = 1, *, wide: bool = False, repeats: int = 1,
    t_stop: float = 0.0, format_: int | None = None, flags: int = 0, settings: bytes = bytes(32),
) -> bytes:  # fmt: skip
    """Body of RUN with the digests of ``program`` and ``events``."""
    digests = hashlib.sha256(program).digest() + hashlib.sha256(events).digest() + settings
    form = 4 * wide if format_ is None else format_
    return struct.pack("<I96sIIIdBB", run_id, digests, batch, repeats, n_ticks, t_stop, form, flags)
