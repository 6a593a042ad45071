"""A board whose session is recorded: frames, loads and runs in one log; see :mod:`hwloop.session_log`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hwloop.session_log import RecordedDevice, SessionLog

from . import framing
from .framing import Frame
from .session import Direction

if TYPE_CHECKING:
    from .target import SerialTarget


def opened_recorded(target: SerialTarget, path: Path | str) -> RecordedDevice:
    """The board of ``target``, opened, with its log at ``path``; raises as opening the board does, and as a log does."""
    log, before = SessionLog(Path(path)), target.watch

    def watch(at: float, direction: Direction, frame: Frame) -> None:
        log.frame(direction == "sent", at, framing.encode(frame))
        if before is not None:
            before(at, direction, frame)

    target.watch, target.log = watch, None
    try:
        device = target.open()
        try:
            return RecordedDevice(device, log)
        except BaseException:
            device.close()
            raise
    except BaseException:
        log.close()
        raise
    finally:
        target.watch, target.log = before, path
