"""A device whose session is recorded: what it measures is in the log before anybody can use it.

    with hl.record_session(hl.open("emulator:7"), "session.log") as device:
        hl.finetune(net, device, task, loss, checkpoint_dir="run")

A log that is there already is gone on with. A resumed fine-tuning is answered from the log until it comes to what was not
measured yet: its checkpoint says how many runs were logged when it was written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..array_file import Array
from ..device.base import WriteStatistics, checked_repeats, repeat, together
from ..device.registry import Device, Target
from ..device.target_document import target_text
from ..errors import DataError, TargetError
from ..mapping import Capabilities, Program
from ..record import RanOn, Recording
from ..results import versions
from ..spikes import Spikes
from ..storage import printable
from ..strict_documents import MOST_TEXT
from .asked import METHODS, Asked, NowText, OpenedText, RangeText, Reply, asked_entry, opened_entry
from .content import answer, difference
from .entries import Kind, LoadText, PositionText, SessionText, run_entry
from .log_file import Clock, SessionLog
from .script import Script

if TYPE_CHECKING:
    from hwloop_calibration import Calibration


def record_session(device: Device, path: Path | str, *, clock: Clock = time.time) -> RecordedDevice:
    """``device`` with everything that it is asked and answers recorded into ``path``, made or gone on with.

    ``clock`` tells the time of day (s since 1970), which every record states.

    Raises :class:`DataError` where ``path`` cannot be written, is damaged before its last record, is recorded into by
    another process, or is the log of another device.
    """
    return RecordedDevice(device, SessionLog(Path(path), clock))


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
        self._script = Script(log.held)
        self._script.skip()
        self._codes: dict[str, Array] = {}
        self._note_state()

    def _note_state(self) -> None:
        """Record where the device stands, as a session begins or goes on."""
        device: Any = self._device
        ranges = {name: RangeText(**asdict(one)) for name, one in getattr(device, "trim_ranges", {}).items()}
        self._codes = {name: device.trim_codes(name) for name in ranges}
        channels = int(getattr(device, "membrane_channels", 0))
        text = OpenedText(run=self._next, ranges=ranges, membrane_channels=channels, now=NowText.of(device))
        self.log.body(Kind.OPENED, opened_entry(text, self._codes))

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

    @property
    def temperature(self) -> float | None:
        """Kelvin above reference, where the device has one."""
        now = self._script.now
        found: float | None = self._device.temperature if self._writes is None or now is None else now.temperature  # type: ignore[attr-defined]
        return found

    @temperature.setter
    def temperature(self, kelvin: float) -> None:
        self._ask(Asked.heat, lambda value: setattr(self._device, "temperature", value), kelvin)

    def __getattr__(self, name: str) -> Any:
        # what the device has besides: trim cells, membranes, its noise
        found = getattr(self.__dict__["_device"], name)
        if name in METHODS:
            return partial(self._ask, METHODS[name], found)
        if self._writes is not None and name == "trim_codes":
            return lambda parameter: (
                self._script.codes[parameter].copy() if parameter in self._script.codes else found(parameter)
            )
        if self._writes is not None and name == "device_time":
            return self._script.clock
        return found

    def _ask(self, put: Callable[..., Asked], ask: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Ask the device, or the log where it was asked the same before; recorded with what became of it."""
        if self._runs and not self.log.held.asked:  # a log of before such things were recorded
            return ask(*arguments, **options)
        if self._script.pending(self._next) or self._answered:
            return self._asked_before(put(*arguments, **options), arguments)
        self._catch_up()
        at, found, error = self.log.clock(), None, None
        try:
            found = ask(*arguments, **options)
        except TargetError as failed:
            error = failed
        codes = self._changed_codes(error is not None)
        reply = Reply(codes, found)
        text = None if error is None else printable(str(error), MOST_TEXT - 3)
        entry = asked_entry(put(*arguments, **options), reply, self._next, at, text, NowText.of(self._device))
        self.log.body(Kind.ASKED, entry)
        if error is not None:
            raise error
        return found

    def _asked_before(self, asked: Asked, arguments: tuple[Any, ...]) -> Any:
        """What the log says to ``asked``; the device is left alone, but for the calibration that it has to be brought to."""
        reply = self._script.answer(asked, self._next)
        self._writes = self._device.writes if self._script.now is None else self._script.now.writes
        if asked.name == "apply":
            self.calibration = arguments[0]
        elif reply.codes:
            self.calibration = None
        return reply.found

    def _changed_codes(self, failed: bool) -> dict[str, Array]:
        """Codes of trim cells since they were looked at last, of the parameters where some changed."""
        device: Any = self._device
        changed = {}
        for name, before in self._codes.items():
            try:
                codes = device.trim_codes(name)
            except TargetError:  # it cannot be asked any more
                if not failed:
                    raise
                continue
            if not np.array_equal(codes, before):
                changed[name] = self._codes[name] = codes
        return changed

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
        self._script.seek(logged)
        if self._elsewhere():
            self._writes = self._device.writes

    def _elsewhere(self) -> bool:
        """Whether the device's cells or temperature are not those of the log here."""
        script, device = self._script, self._device
        other = any(not np.array_equal(codes, self._codes[name]) for name, codes in script.codes.items())
        return other or (script.now is not None and script.now.temperature != getattr(device, "temperature", None))

    def load(self, program: Program) -> None:
        """Write ``program``; while the log answers, the device is left alone."""
        recorded = self.log.held.load_before(self._next, program.digest) if self._answered else None
        if recorded is not None:
            self._program, self._writes = program, recorded.writes
            self._script.loaded_or_ran(recorded.device_time)
            return
        self._catch_up()
        self._device.load(program)
        self._program = program
        writes = self._device.writes
        self.log.entry(Kind.LOAD, LoadText(
            run=self._next, kind=type(program).__name__, program=program.digest, layers=program.layer_digests,
            at=self.log.clock(), last=writes.last, total=writes.total, loads=writes.loads, trims=writes.trims, failed=writes.failed,
            device_time=self._device_time(),
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
        body = run_entry(
            recording,
            given,
            repeats,
            self._next,
            at,
            self._program.layer_digests,
            self._position(),
            self._device_time(),
        )
        self.log.body(Kind.RUN, body)
        self._next += 1
        self._recorded += 1
        return recording

    @property
    def _answered(self) -> bool:
        """Whether the next run is in the log, from before this session."""
        return self._next < len(self._runs)

    def _from_log(self, inputs: Spikes, repeats: int, program: Program) -> Recording:
        self._script.check_run(self._next)
        run = self._runs[self._next]
        recorded, populations = self.log.held.events(self._next)
        found = difference(run, recorded, program.digest, program.layer_digests, inputs.detach(), repeats)
        if found is not None:
            raise TargetError(
                f"{self.log.path}, run {self._next}, was recorded otherwise: asked were {found}. Resume with the same options and "
                "data, or begin a new run and a new log"
            )
        self._next += 1
        self._script.loaded_or_ran(run.device_time)
        if self._writes is None:
            self._writes = self._device.writes
        return answer(run, populations, repeat(inputs, repeats), program.names)

    def _catch_up(self) -> None:
        """Once the log has answered all it can: bring the device to where it would be."""
        if self._writes is None:
            return
        device: Any = self._device
        self._writes, script, calibration = None, self._script, self.calibration
        if script.now is not None and script.now.temperature is not None:
            device.temperature = script.now.temperature
        for name, codes in script.codes.items():
            device.write_trim(name, codes)
        if script.codes:
            self.calibration = calibration  # which writes by hand drop
        if self._program is not None:
            device.load(self._program)
        position = self._runs[self._next - 1].position if self._next else None
        if position is not None and hasattr(self._device, "seek"):
            device.seek(session=position.session, batch=position.batch)
        self._note_state()

    def _device_time(self) -> float:
        return float(getattr(self._device, "device_time", 0.0))

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
