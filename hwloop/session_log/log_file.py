"""The file of a log: what it holds already, and what is appended to it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import filelock

from ..errors import DataError
from ..lock_files import LockFile
from ..storage import sync_folder
from ..strict_documents import StrictDocument
from .content import LogContent, read_log
from .entries import Frame, Kind, encode_entry
from .records import MAGIC, RecordWriter

_log = logging.getLogger(__name__)

#: Tells the time: UTC, seconds since 1970.
Clock = Callable[[], float]


class SessionLog:
    """The file: what it holds already, and what is appended to it; one writer at a time."""

    def __init__(self, path: Path, clock: Clock = time.time) -> None:
        self.path, self.clock = path, clock
        lock = LockFile(path.with_name(f".{path.name}.lock"))
        try:
            os.stat(path.parent)  # which the lock would make
            lock.acquire()
        except filelock.Timeout:
            raise DataError(f"{path} is recorded into by another process; end it, or name another log") from None
        except OSError as error:
            raise DataError(
                f"cannot record into {path}: {error.strerror or error}; name a log in a folder that is writable"
            ) from error
        self._lock, self._closed = lock, False
        try:
            self.held, self._writer = self._begun()
        except BaseException:
            lock.release()
            raise

    def _begun(self) -> tuple[LogContent, RecordWriter]:
        try:
            if not self.path.exists():
                with self.path.open("xb") as file:
                    file.write(MAGIC)
                    file.flush()
                    os.fsync(file.fileno())
                sync_folder(self.path.parent)
            held = read_log(self.path)
            if held.damage is not None and not held.damage.cut:
                raise DataError(
                    f"{self.path}: {held.damage}. Nothing is added to it: restore it, or record into another file"
                )
            if held.damage is not None:
                _log.warning("%s: %s", self.path, held.damage)
            if held.end == 0 and self.path.stat().st_size < len(MAGIC):
                self.path.write_bytes(MAGIC)
            return held, RecordWriter(self.path, max(held.end, len(MAGIC)))
        except OSError as error:
            raise DataError(
                f"cannot record into {self.path}: {error.strerror or error}; name a log in a folder that is writable"
            ) from error

    def entry(self, kind: Kind, text: StrictDocument) -> None:
        """Append a document."""
        self._writer.append(kind, encode_entry(text), lasting=False)

    def body(self, kind: Kind, body: bytes) -> None:
        """Append what has to last: a run."""
        self._writer.append(kind, body, lasting=True)

    def frame(self, sent: bool, at: float, data: bytes) -> None:
        """Append a frame of a link: ``sent`` by the host or received, ``at`` (s, the link's clock). For its hook."""
        self._writer.append(Kind.FRAME, Frame(sent, at, bytes(data)).encode(), lasting=False)

    def close(self) -> None:
        """Close the file and let others record into it; closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.close()
        finally:
            self._lock.release()
