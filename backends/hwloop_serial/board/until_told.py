"""A target served until a signal ends it: what ``hwloop serve`` does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from hwloop.device.registry import Target

from .board import Room
from .lines import line
from .server import Server, model_of

#: Time after which a thread that computes in Python lets another one in (s).
SWITCH = 5e-4


def serve(target: Target, port: str, room: dict[str, int], say: Callable[[str], None]) -> None:
    """Serve ``target`` on ``port`` until SIGTERM or Ctrl-C; ``room``: fields of :class:`.board.Room`; ``say`` is told the name."""
    server = Server(model_of(target), line(port), Room(**room))

    def end(number: int, frame: FrameType | None) -> None:
        server.stop()

    # the loop that answers waits for a run that computes beside it no longer than a round trip takes (s)
    sys.setswitchinterval(SWITCH)
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        say(f"serial:{server.line.url}")
        server.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
