"""``hwloop serve``: a target of this process as a board on a line."""

from __future__ import annotations

from ..device.registry import Target, factory
from . import terminal
from .exit_status import THREADS


def serve_run(target: Target, port: str, room: dict[str, int]) -> None:
    """Serve ``target`` on ``port`` until SIGTERM or Ctrl-C; ``room``: memories of the board (bytes)."""
    import torch

    torch.set_num_threads(THREADS)
    # the backend of the line brings the device's side of it
    serve = factory("serial").serve  # type: ignore[attr-defined]
    serve(target, port, room, terminal.say)
