"""One owner a folder: who runs in it, for as long as the run lasts.

The lock is the operating system's, so it ends with its process however that ends. Beside it, ``.run.json`` says who holds
it, for the message that a second process gets, and for file systems that hosts share without sharing locks.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import filelock

from . import storage
from .errors import CheckpointError, DataError, HwloopError
from .lock_files import LockFile
from .ranks.base import ALONE

_log = logging.getLogger(__name__)

LOCK, RECORD = ".run.lock", ".run.json"
FORMAT, VERSION = "hwloop-owner", 1

P = ParamSpec("P")
R = TypeVar("R")
#: Told what the user should know although nothing failed.
Say = Callable[[str], None]


@contextlib.contextmanager
def held(folder: Path | str, say: Say = _log.warning, *, name: str | None = None) -> Iterator[None]:
    """Hold ``folder`` inside; it is made where it is missing, and removed again where nothing was put into it.

    Parameters
    ----------
    folder : path
        Its parents are made too.
    say : callable
        Told where the folder was left by a process that ended without giving it back, and is taken over.
    name : str
        How messages call what is held; default: the folder.

    Raises
    ------
    CheckpointError
        Another process, or another run of this one, holds it: with its number and host.
    DataError
        It cannot be made or written to.
    """
    folder = Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = LockFile(folder / LOCK)
        lock.acquire()
    except filelock.Timeout:
        raise CheckpointError(_in_use(folder, name or str(folder))) from None
    except OSError as error:
        _remove(missing)
        raise DataError(f"cannot write into {folder}: {error.strerror or error}; name another folder") from error
    owner = os.getpid()
    try:
        _take_over(folder, say)
        storage.write_json(folder / RECORD, _me(), kind=FORMAT, version=VERSION)
        try:
            yield
        finally:
            if os.getpid() == owner:  # a forked child that unwinds gives nothing back
                (folder / RECORD).unlink(missing_ok=True)
    finally:
        if os.getpid() == owner:
            lock.release()
            _remove(missing)


def holds_checkpoints(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` with the folder that its keyword ``checkpoint_dir`` names held for as long as it runs; see :func:`held`.

    Of several ``ranks`` the first holds it.
    """

    @functools.wraps(function)
    def holding(*args: P.args, **kwargs: P.kwargs) -> R:
        folder: Any = kwargs.get("checkpoint_dir")
        ranks: Any = kwargs.get("ranks", ALONE)
        with contextlib.nullcontext() if folder is None or not ranks.first else held(folder):
            return function(*args, **kwargs)

    return holding


def _me() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:1000],
    }


def _record(folder: Path) -> dict[str, Any] | None:
    """Who holds ``folder``, or left it without giving it back; None where nothing readable says so."""
    try:
        found = storage.read_json(folder / RECORD, kind=FORMAT, version=VERSION)
    except HwloopError:
        return None
    kinds = {"pid": int, "host": str, "since": str}
    return found if all(type(found.get(name)) is kind for name, kind in kinds.items()) else None


def _in_use(folder: Path, name: str) -> str:
    found = _record(folder)
    if found is None:
        who = "another process"
    elif (found["pid"], found["host"]) == (os.getpid(), socket.gethostname()):
        who = f"another run in this process ({found['pid']})"
    else:
        who = f"process {found['pid']} on host {_shown(found['host'])}"
    since = "" if found is None else f", since {_shown(found['since'])}"
    if name != str(folder):
        return f"{name} is in use: {who} has it{since}. Wait until it has ended, end it, or name another"
    return f"{folder} is in use: {who} runs in it{since}. Wait until it has ended, end it, or name another folder"


def _take_over(folder: Path, say: Say) -> None:
    """Say who left the folder without giving it back; refuse where that process may still be at work."""
    found = _record(folder)
    if found is None:
        return
    host, here = found["host"], socket.gethostname()
    if host != here:
        raise CheckpointError(
            f"{folder} is marked as in use by process {found['pid']} on host {_shown(host)} since {_shown(found['since'])}, "
            f"and whether it still runs cannot be seen from {here}. If it has ended, remove {folder / RECORD}; "
            "if not, name another folder"
        )
    say(f"{folder} was left by process {found['pid']}, which has ended without giving it back; it is taken over")


def _shown(text: str) -> str:
    """Text of a file, without control characters."""
    return ascii(text)[1:-1][:200]


def _remove(made: list[Path]) -> None:
    """Remove the folders that were made, innermost first, as far as nothing is in them."""
    with contextlib.suppress(OSError):  # not empty: something was written
        for folder in made:
            folder.rmdir()
