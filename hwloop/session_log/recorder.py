"""A device whose session is recorded: what it measures is in the log before anybody can use it.

    with hl.record_session(hl.open("emulator:7"), "session.log") as device:
        hl.finetune(net, device, task, loss, checkpoint_dir="run")

A log that is there already is gone on with. A resumed fine-tuning is answered from the log until it comes to what was not
measured yet: its checkpoint says how many runs were logged when it was written.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import filelock

from ..device.base import WriteStatistics, checked_repeats, repeat, together
from ..device.registry import Device, Target
from ..device.target_document import target_text
from ..errors import DataError, TargetError
from ..lock_files import LockFile
from ..mapping import Capabilities, Program
from ..record import RanOn, Recording
from ..results import versions
from ..spikes import Spikes
from ..storage import sync_folder
from ..strict_documents import StrictDocument
from .content import LogContent, answer, difference, read_log
from .entries import Frame, Kind, LoadText, PositionText, SessionText, encode_entry, run_entry
from .records import MAGIC, RecordWriter

if TYPE_CHECKING:
    from hwloop_calibration import Calibration

_log = logging.getLogger(__name__)

#: Tells the time: UTC, seconds since 1970.
Clock = Callable[[], float]


def record_session(device: Device, path: Path | str, *, clock: Clock = time.time) -> RecordedDevice:
    """``device`` with everything that it is asked and answers recorded into ``path``, made or gone on with.

    Raises :class:`DataError` where ``path`` cannot be written, is damaged before its last record, is recorded into by
    another process, or is the log of another device.
    """
    return RecordedDevice(device, SessionLog(Path(path), clock))


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
        self._lock = lock
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
        """Close the file and let others record into it."""
        try:
            self._writer.close()
        finally:
            self._lock.release()


class RecordedDevice:
    """``device`` and its ``log``; what :class:`~hwloop.device.registry.Device` has, and all that ``device`` has besides."""

    def __init__(self, device: Device, log: SessionLog) -> None:
        self._device, self.log = device, log
        self._runs = log.held.runs
        self._next = len(self._runs)
        self._program: Program | None = None
        self._writes: WriteStatistics | None = None  # while the log answers: as recorded
        self._closed = False
        if log.held.sessions and log.held.device_id != device.device_id:
            log.close()
            raise DataError(
                f"{log.path} is the log of {log.held.device_id}; allowed: {device.device_id}, or another file"
            )
        log.entry(Kind.SESSION, SessionText(
            format="hwloop-session", version=1, target=target_text(device.target, device), at=log.clock(),
            runs=len(self._runs), versions=versions(),
        ))  # fmt: skip
        self._recorded = len(self._runs)

    # -- what a device is ---------------------------------------------------------------------

    @property
    def target(self) -> Target:
        """What was opened."""
        return self._device.target

    @property
    def device_id(self) -> str:
        """Which device this is."""
        return self._device.device_id

    @property
    def firmware(self) -> str:
        """What runs on it."""
        return self._device.firmware

    @property
    def ran_on(self) -> RanOn:
        """What its spikes are."""
        return self._device.ran_on

    @property
    def capabilities(self) -> Capabilities:
        """Its limits."""
        return self._device.capabilities

    @property
    def writes(self) -> WriteStatistics:
        """Cells written so far."""
        return self._device.writes if self._writes is None else self._writes

    @property
    def calibration(self) -> Calibration | None:
        """That the device has."""
        return getattr(self._device, "calibration", None)

    @calibration.setter
    def calibration(self, calibration: Calibration | None) -> None:
        self._device.calibration = calibration  # type: ignore[attr-defined]  # devices that take one have it

    def __getattr__(self, name: str) -> Any:
        # what the device has besides: trim cells, membranes, its noise
        return getattr(self.__dict__["_device"], name)

    # -- runs ---------------------------------------------------------------------------------

    @property
    def logged(self) -> int:
        """Runs so far, from the first one of the log."""
        return self._next

    def seek(self, *, logged: int | None = None, **position: int) -> None:
        """Go back to where ``logged`` runs were recorded: what was recorded after that is answered from the log.

        ``position`` is that of an emulated device's noise, which is sent there.

        Raises :class:`TargetError` where the log has fewer runs.
        """
        if position:
            self._device.seek(**position)  # type: ignore[attr-defined]  # who names a position has one
        if logged is None:
            return
        if not 0 <= logged <= self._recorded:
            raise TargetError(
                f"{self.log.path} holds {self._recorded} runs, and was to go on after {logged}; give the log of that run, or "
                "begin a new one without resuming"
            )
        self._next = logged

    def load(self, program: Program) -> None:
        """Write ``program``; while the log answers, the device is left alone."""
        recorded = self.log.held.load_before(self._next, program.digest) if self._answered else None
        if recorded is not None:
            self._program, self._writes = program, recorded.writes
            return
        self._catch_up()
        self._device.load(program)
        self._program = program
        writes = self._device.writes
        self.log.entry(Kind.LOAD, LoadText(
            run=self._next, kind=type(program).__name__, program=program.digest, layers=program.layer_digests,
            at=self.log.clock(), last=writes.last, total=writes.total, loads=writes.loads, trims=writes.trims, failed=writes.failed,
        ))  # fmt: skip

    def run(self, spikes: Spikes | Mapping[str, Spikes], *, repeats: int = 1) -> Recording:
        """Run ``spikes``; the recording is in the log, on the disk, when this returns.

        Raises
        ------
        TargetError
            The device fails, or the log holds another run here: the message says what differs first.
        DataError
            What was measured cannot be recorded; nobody gets it then.
        """
        if self._program is None:
            raise TargetError(f"{self.device_id} was given no program while it is recorded; call load(program) first")
        given, repeats = together(spikes, self._program), checked_repeats(repeats)
        if self._answered:
            return self._from_log(given, repeats, self._program)
        self._catch_up()
        at = self.log.clock()
        recording = self._device.run(given, repeats=repeats)
        body = run_entry(recording, given, repeats, self._next, at, self._program.layer_digests, self._position())
        self.log.body(Kind.RUN, body)
        self._next += 1
        self._recorded += 1
        return recording

    @property
    def _answered(self) -> bool:
        """Whether the next run is in the log, from before this session."""
        return self._next < len(self._runs)

    def _from_log(self, inputs: Spikes, repeats: int, program: Program) -> Recording:
        run = self._runs[self._next]
        recorded, populations = self.log.held.events(self._next)
        found = difference(run, recorded, program.digest, program.layer_digests, inputs.detach(), repeats)
        if found is not None:
            raise TargetError(
                f"{self.log.path}, run {self._next}, was recorded otherwise: asked were {found}. Resume with the same options and "
                "data, or begin a new run and a new log"
            )
        self._next += 1
        if self._writes is None:
            self._writes = self._device.writes
        return answer(run, populations, repeat(inputs, repeats), program.names)

    def _catch_up(self) -> None:
        """Once the log has answered all it can: bring the device to where it would be."""
        if self._writes is None:
            return
        if self._program is not None:
            self._device.load(self._program)
        position = self._runs[self._next - 1].position if self._next else None
        if position is not None and hasattr(self._device, "seek"):
            self._device.seek(session=position.session, batch=position.batch)
        self._writes = None

    def _position(self) -> PositionText | None:
        if not (hasattr(self._device, "session") and hasattr(self._device, "batch")):
            return None
        return PositionText(session=int(self._device.session), batch=int(self._device.batch))

    # -- end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the log and give the device back; closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        try:
            self._device.close()
        finally:
            self.log.close()

    def __enter__(self) -> Self:
        self._device.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
