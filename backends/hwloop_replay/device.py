"""A device that answers from a log: the same loads and inputs in the same order, the recorded spikes, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from hwloop.array_file import Array
from hwloop.device.base import WriteStatistics, checked_repeats, repeat, together
from hwloop.device.trim import TrimRange, check_codes, known_parameter
from hwloop.errors import CalibrationError, TargetError
from hwloop.mapping import Capabilities, Program
from hwloop.record import RanOn, Recording
from hwloop.session_log import Asked, LogContent, Script, answer, difference
from hwloop.spikes import Spikes

if TYPE_CHECKING:
    from hwloop_calibration import Calibration

    from .target import ReplayTarget


class ReplayDevice:
    """The opened log. It has the name of the device that was recorded, and measures nothing."""

    def __init__(self, target: ReplayTarget, log: LogContent, start: int) -> None:
        self._target, self._log, self._next = target, log, start
        recorded = target.recorded
        self.device_id, self.firmware = recorded.device_id, recorded.firmware
        self.ran_on: RanOn = recorded.ran_on
        self.program: Program | None = None
        self.writes = WriteStatistics()
        self.calibration: Calibration | None = None
        self._script = Script(log)
        if start:
            self._script.seek(start)
        #: Samples answered since the log was opened, repeats included.
        self.samples_run = 0
        self._closed = False

    @property
    def target(self) -> ReplayTarget:
        """What was opened."""
        return self._target

    @property
    def capabilities(self) -> Capabilities:
        """Limits of the device that was recorded."""
        return self._target.capabilities

    @property
    def logged(self) -> int:
        """Number of the run that is answered next."""
        return self._next

    def seek(self, *, logged: int) -> None:
        """Answer run ``logged`` next; :class:`TargetError` where the log has fewer."""
        if not 0 <= logged <= len(self._log.runs):
            raise TargetError(
                f"{self._log.path} holds {len(self._log.runs)} runs; allowed: to go on after 0..{len(self._log.runs)}"
            )
        self._next = logged
        self._script.seek(logged)

    def apply(self, calibration: Calibration, *, policy: str = "error", max_age: float | None = None) -> None:
        """Take the calibration that the recorded device had; raises :class:`CalibrationError` for another one."""
        known = {run.calibration_id for run in self._log.runs} - {None}
        if calibration.id not in known:
            raise CalibrationError(
                f"{self._log.path} was recorded with calibration {', '.join(sorted(map(str, known))) or 'none'}, not {calibration.id}; "
                "give that one, or none"
            )
        if self._script.pending(self._next):
            self._ask(Asked.calibration(calibration))
        self.calibration = calibration

    # -- what it was asked besides ------------------------------------------------------------

    def _ask(self, asked: Asked) -> Array | None:
        """What was found when the recorded device was asked the same."""
        self._check_open()
        reply = self._script.answer(asked, self._next)
        if self._script.now is not None:
            self.writes = self._script.now.writes
        return reply.found

    @property
    def trim_ranges(self) -> dict[str, TrimRange]:
        """Of the recorded device's trim cells; empty where it had none, or where the log does not tell."""
        self._script.pending(self._next)
        return dict(self._script.ranges)

    def trim_codes(self, parameter: str) -> Array:
        """Codes (int64) that the recorded device's cells of ``parameter`` held here, one a physical neuron."""
        known_parameter(self.trim_ranges, parameter, self.device_id)
        return self._script.codes[parameter].copy()

    def write_trim(self, parameter: str, codes: Array, neurons: Array | None = None, *, refresh: bool = False) -> None:
        """Write trim cells, where the same was written when the log was recorded; :class:`TargetError` otherwise.

        Arguments and errors as for :meth:`hwloop.device.trim.Trimmable.write_trim`: a write that broke off breaks off again.
        """
        self._check_open()
        allowed = known_parameter(self.trim_ranges, parameter, self.device_id)
        check_codes(allowed, parameter, codes, neurons, len(self._script.codes[parameter]))
        before = self._script.codes[parameter]
        try:
            self._ask(Asked.trim(parameter, codes, neurons, refresh=refresh))
        finally:
            if refresh or not np.array_equal(before, self._script.codes[parameter]):
                self.calibration = None

    @property
    def membrane_channels(self) -> int:
        """Of the recorded device."""
        return self._script.channels

    def read_membrane(self, spikes: Spikes, population: int, neurons: Array, times: Array) -> Array:
        """Membranes (model units) that the recorded device answered to the same; :class:`TargetError` otherwise."""
        return np.array(self._ask(Asked.membranes(spikes, population, neurons, times)))

    @property
    def device_time(self) -> float:
        """The recorded device's clock here (device s); 0 where the log does not tell."""
        return self._script.clock

    def advance(self, seconds: float) -> None:
        """Let time pass, as it was when the log was recorded."""
        self._ask(Asked.clock(seconds))

    @property
    def temperature(self) -> float | None:
        """Of the recorded device here (K above reference); None where it did not tell."""
        return None if self._script.now is None else self._script.now.temperature

    @temperature.setter
    def temperature(self, kelvin: float) -> None:
        self._ask(Asked.heat(kelvin))

    # -- loads and runs -----------------------------------------------------------------------

    def load(self, program: Program) -> None:
        """Take ``program``, where it was loaded when the log was recorded; :class:`TargetError` that says what differs first."""
        self._check_open()
        found = self._log.load_before(self._next, program.digest)
        if found is None:
            raise TargetError(
                f"{self._log.path}: program {program.digest[:12]} was not recorded; {self._nearest(program)}"
            )
        self.program, self.writes = program, found.writes
        self._script.loaded_or_ran(found.device_time)

    def _nearest(self, program: Program) -> str:
        """What differs first from the program that was loaded at this place."""
        recorded = next((load for load in self._log.loads if load.run >= self._next), None)
        if recorded is None:
            return "all that was recorded has been answered: ask for less, or record more"
        pairs = enumerate(zip(program.layer_digests, recorded.layers, strict=False))
        place = next((k for k, (ours, theirs) in pairs if ours != theirs), None)
        where = f"layer {place}" if place is not None else "the number of layers, or the target's limits"
        return (
            f"before run {recorded.run} it was {recorded.program[:12]}, and what differs first is {where}. Use the same network, seed "
            "and options"
        )

    def run(self, spikes: Spikes | Mapping[str, Spikes], *, repeats: int = 1) -> Recording:
        """What the device measured when it was asked the same; :class:`TargetError` that says what differs first otherwise."""
        self._check_open()
        if self.program is None:
            raise TargetError(f"{self.device_id} holds no program; call load(program) first")
        inputs, repeats = together(spikes, self.program), checked_repeats(repeats)
        if self._next >= len(self._log.runs):
            raise TargetError(
                f"{self._log.path} holds {len(self._log.runs)} runs, and all have been answered; ask for less, or record more"
            )
        self._script.check_run(self._next)
        run = self._log.runs[self._next]
        recorded, populations = self._log.events(self._next)
        found = difference(run, recorded, self.program.digest, self.program.layer_digests, inputs.detach(), repeats)
        if found is not None:
            raise TargetError(
                f"{self._log.path}, run {self._next}, was recorded otherwise: asked were {found}. Use the same data, seed and options"
            )
        self._next += 1
        self._script.loaded_or_ran(run.device_time)
        self.samples_run += len(inputs) * repeats
        moved = tuple(train.to(inputs.times.device) for train in populations)
        return answer(run, moved, repeat(inputs, repeats), self.program.names)

    def close(self) -> None:
        """Closing twice is allowed."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise TargetError(
                f"{self._target.name} is closed; open it again with hwloop.open({self._target.name!r}, ...)"
            )

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
