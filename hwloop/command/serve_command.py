"""``hwloop serve``: a target of this process as a board on a line."""

from __future__ import annotations

from ..device.registry import Target, factory
from . import terminal
from .answer import Answer, give
from .exit_status import THREADS


def serve_run(target: Target, name: str, port: str, room: dict[str, int]) -> None:
    """Serve ``target``, called ``name``, on ``port`` until SIGTERM or Ctrl-C; ``room``: memories of the board (bytes).

    The answer is given when it can be opened.
    """
    import torch

    torch.set_num_threads(THREADS)
    # the backend of the line brings the device's side of it
    serve = factory("serial").serve  # type: ignore[attr-defined]
    serve(target, port, room, lambda url: give(Answer({"open": url, "target": name}, lambda: terminal.say(url))))
