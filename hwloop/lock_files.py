"""Lock files that are gone once nobody holds them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import filelock


class LockFile:
    """A lock of the operating system on ``path``, which ends with its process however that ends.

    The file is removed while the lock is still held: whoever has opened it meanwhile finds, once it has the lock, that the file
    has no name any more, and begins anew (``filelock`` does so from version 4 on).
    """

    def __init__(self, path: Path) -> None:
        self._lock = filelock.FileLock(path)
        self._path = path
        self._owner = 0

    def acquire(self, timeout: float = 0.0) -> None:
        """Take it within ``timeout`` (s); :class:`filelock.Timeout` where another holds it, OSError where it cannot be made."""
        self._lock.acquire(timeout=timeout)
        self._owner = os.getpid()

    def release(self) -> None:
        """Give it back; a forked child that unwinds gives nothing back."""
        if os.getpid() != self._owner:
            return
        with contextlib.suppress(OSError):  # where a file that is open cannot be removed, its name stays
            self._path.unlink()
        self._lock.release()
