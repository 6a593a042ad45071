"""One owner a port: a lock by port, and who holds it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import platformdirs

from hwloop.errors import CheckpointError, LinkError
from hwloop.ownership import held

_log = logging.getLogger(__name__)

#: Characters of a port's name in the name of its folder.
MOST_NAME = 40


def folder_of(port: str) -> Path:
    """Where the lock of ``port`` is: device files by where they lead, so that two names of one are one."""
    path = Path(port)
    name = port if "://" in port else str(path.resolve())
    plain = re.sub("[^A-Za-z0-9]+", "-", name).strip("-")[-MOST_NAME:]
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    # without a folder for what lives as long as a login, that for what may be made again
    root = platformdirs.user_runtime_dir if os.environ.get("XDG_RUNTIME_DIR") else platformdirs.user_cache_dir
    return Path(root("hwloop")) / "ports" / f"{plain}-{digest}"


class Held(Protocol):
    """What nobody else has until it is given back: a port, or a process with a board in it."""

    def release(self) -> None:
        """Give it back; twice is allowed."""


class Owner:
    """Holds ``port`` until :meth:`release`.

    Raises :class:`LinkError` that names process and host where another one, or this one, holds it already.
    """

    def __init__(self, port: str) -> None:
        self._held: AbstractContextManager[None] | None = held(folder_of(port), _log.debug, name=f"port {port}")
        try:
            self._held.__enter__()
        except CheckpointError as error:
            raise LinkError(str(error)) from None

    def release(self) -> None:
        """Give it back; twice is allowed."""
        given, self._held = self._held, None
        if given is not None:
            given.__exit__(None, None, None)
