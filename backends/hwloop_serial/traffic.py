"""What goes over the line of a session: who sees it, how much it was, and what is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from . import framing
from .framing import Frame
from .schema import MESSAGES

Direction: TypeAlias = Literal["sent", "received"]
#: Sees every frame: time (s), direction, frame.
Watch: TypeAlias = Callable[[float, Direction, Frame], None]


@dataclass
class Counts:
    """What went over the line."""

    requests: int = 0
    sent: int = 0
    received: int = 0
    reconnects: int = 0
    reboots: int = 0


@dataclass
class Flight:
    """A chunk that was sent: its place, when, as the how-manieth frame, and what the line has to carry for it and before it."""

    offset: int
    length: int
    number: int
    until: float
    at: float
    own_bytes: int
    ahead_bytes: int


def overhead() -> int:
    """Bytes of a body beside the data of WRITE or of the reply to READ."""
    return max(MESSAGES["WRITE"].request.packed.size, MESSAGES["READ"].reply.packed.size)


def expected(name: str) -> int:
    """Bytes of a reply on the wire, its data aside."""
    return framing.wire_bytes(MESSAGES[name].reply.packed.size)
