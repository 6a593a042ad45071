"""``hwloop serve``: a target of this process as a board on a line."""

from __future__ import annotations

import signal
from types import FrameType

from ..device.registry import Target
from . import terminal
from .errors import THREADS


def serve_run(target: Target, port: str, room: dict[str, int]) -> None:
    """Serve ``target`` on ``port`` until SIGTERM or Ctrl-C; ``room``: fields of :class:`hwloop_serial.board.board.Room`."""
    import torch

    from hwloop_serial.board.board import Room
    from hwloop_serial.board.lines import line
    from hwloop_serial.board.server import Server, model_of

    torch.set_num_threads(THREADS)
    server = Server(model_of(target), line(port), Room(**room))

    def end(number: int, frame: FrameType | None) -> None:
        server.stop()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        terminal.say(f"serial:{server.line.url}")
        server.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
