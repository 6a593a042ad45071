"""Bodies of the messages as tuples; fields and order are those of :mod:`.schema`, which a test compares.

``Seal.pack(region, transfer, length)`` makes a request's body, ``SealReply.unpack(body)`` reads a reply's.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from .schema import MESSAGES, Layout

MAGIC = b"hwlp"
#: A digest that stands for nothing: no program, no trim cells.
NO_DIGEST = bytes(32)


class BodyError(ValueError):
    """A body of another length than its message has."""


class Kind(IntEnum):
    """What programs a device takes."""

    CODES = 1
    FIXED = 2


class Region(IntEnum):
    """Memories of a device."""

    INFO = 0
    PROGRAM = 1
    INPUT = 2
    ARGUMENT = 3
    OUTPUT = 4
    RESULT = 5


class State(IntEnum):
    """Of the last run."""

    NONE = 0
    RUNNING = 1
    DONE = 2
    FAILED = 3


class Feature(IntEnum):
    """Bits of ``features``."""

    TRIM = 1
    NOISE = 2
    CLOCK = 4
    TEMPERATURE = 8
    MEMBRANES = 16
    LANDING = 32


class Function(IntEnum):
    """What CALL calls."""

    TRIM_READ = 1
    TRIM_WRITE = 2
    POSITION = 3
    SEEK = 4
    ADVANCE = 5
    TEMPERATURE = 6
    MEMBRANE = 7
    WRITES = 8
    COUNTERS = 9


class Code(IntEnum):
    """Errors of a device."""

    WRONG_SESSION = 1
    WRONG_BOOT = 2
    OLD = 3
    MALFORMED = 4
    UNKNOWN = 5
    BUSY = 6
    TOO_LARGE = 7
    OUT_OF_RANGE = 8
    WRONG_TRANSFER = 9
    BAD_IMAGE = 10
    NO_PROGRAM = 11
    NO_INPUT = 12
    WRONG_PROGRAM = 13
    WRONG_INPUT = 14
    WRONG_SETTINGS = 15
    BAD_INPUT = 16
    OVERFLOW = 17
    WRONG_TAG = 18
    ABORTED = 19
    FAILED = 20


#: Flag of BEGIN: keep what the region holds. Flag of STATUS: OUTPUT has a wrap table.
KEEP, WRAPS = 1, 1
#: What RESET does: end the run, or forget everything too.
END_RUN, FORGET = 0, 1
#: Key of CONFIGURE: silence of the host (ms) after which the device ends a run.
SILENCE = 1


class HelloRequest(NamedTuple):
    """The host's greeting."""

    magic: bytes
    schema: int


class Hello(NamedTuple):
    """What a device says of itself."""

    magic: bytes
    schema: int
    kind: int
    window: int
    max_body: int
    program_bytes: int
    input_bytes: int
    output_bytes: int
    features: int
    info_bytes: int
    info_crc: int


class Status(NamedTuple):
    """State of the device and of its last run."""

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


class Begin(NamedTuple):
    """Open a region for a number of bytes."""

    region: int
    flags: int
    length: int


class BeginReply(NamedTuple):
    """The number of the transfer."""

    transfer: int


class Write(NamedTuple):
    """Where data go."""

    region: int
    transfer: int
    offset: int


class WriteReply(NamedTuple):
    """Where they went."""

    offset: int


class Seal(NamedTuple):
    """Close a region."""

    region: int
    transfer: int
    length: int


class SealReply(NamedTuple):
    """What the board computed over it."""

    digest: bytes


class Run(NamedTuple):
    """What to run; digests are those that the device has to hold."""

    run_id: int
    program: bytes
    input: bytes
    settings: bytes
    batch: int
    repeats: int
    n_ticks: int
    t_stop: float
    format: int
    flags: int


class RunReply(NamedTuple):
    """The run that was begun."""

    run_id: int


class Read(NamedTuple):
    """Which bytes are asked for."""

    region: int
    tag: int
    offset: int
    length: int


class ReadReply(NamedTuple):
    """Which bytes these are."""

    region: int
    tag: int
    offset: int


class Reset(NamedTuple):
    """What to give up."""

    what: int


class Call(NamedTuple):
    """The function that is called."""

    function: int


class CallReply(NamedTuple):
    """Its result, inline or in RESULT."""

    function: int
    result_bytes: int
    result_crc: int


class Configure(NamedTuple):
    """A setting of the session."""

    key: int
    value: int


class Failure(NamedTuple):
    """An error reply."""

    request: int
    code: int
    detail: int
    other: int


class Empty(NamedTuple):
    """A body of nothing."""


#: Requests and replies of each message.
BODIES: dict[str, tuple[type[Any], type[Any]]] = {
    "HELLO": (HelloRequest, Hello),
    "STATUS": (Empty, Status),
    "BEGIN": (Begin, BeginReply),
    "WRITE": (Write, WriteReply),
    "SEAL": (Seal, SealReply),
    "RUN": (Run, RunReply),
    "READ": (Read, ReadReply),
    "RESET": (Reset, Reset),
    "CALL": (Call, CallReply),
    "CONFIGURE": (Configure, Configure),
    "ERROR": (Empty, Failure),
}
NUMBERS = {name: message.number for name, message in MESSAGES.items()}
NAMES = {number: name for name, number in NUMBERS.items()}


def pack_request(name: str, fields: tuple[Any, ...] = (), data: bytes = b"") -> bytes:
    """Body of a request."""
    return MESSAGES[name].request.packed.pack(*fields) + data


def pack_reply(name: str, fields: tuple[Any, ...] = (), data: bytes = b"") -> bytes:
    """Body of a reply."""
    return MESSAGES[name].reply.packed.pack(*fields) + data


def unpack_request(name: str, body: bytes) -> tuple[Any, bytes]:
    """``(fields, data)`` of a request; raises :class:`BodyError`."""
    return _unpack(name, MESSAGES[name].request, BODIES[name][0], body)


def unpack_reply(name: str, body: bytes) -> tuple[Any, bytes]:
    """``(fields, data)`` of a reply; raises :class:`BodyError`."""
    return _unpack(name, MESSAGES[name].reply, BODIES[name][1], body)


def _unpack(name: str, layout: Layout, fields: type[Any], body: bytes) -> tuple[Any, bytes]:
    size = layout.packed.size
    if len(body) < size or (len(body) > size and not layout.data):
        raise BodyError(f"{name} with a body of {len(body)} bytes; it has {size}{' or more' if layout.data else ''}")
    return fields(*layout.packed.unpack_from(body)), body[size:]
