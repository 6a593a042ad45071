"""What every device does alike: :class:`DeviceBase`, which a backend fills in, and the cutting of recordings.

The public names stand in :mod:`hwloop.device.registry`.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, SupportsIndex

import numpy as np
import torch

from ..arguments import whole
from ..errors import InputError, TargetError
from ..mapping import Capabilities, Program
from ..mapping.partition import Part, PartitionedProgram
from ..network.trains import merged, relabelled
from ..record import RanOn, Recording
from ..spikes import Spikes

if TYPE_CHECKING:
    from hwloop_calibration import Calibration

    from .registry import Target


@dataclass(frozen=True)
class WriteStatistics:
    """What a device has written.

    Attributes
    ----------
    last, total, trims : int
        Cells of the last complete write, of all of them, and trim cells among all.
    loads : int
        Complete loads.
    failed : int
        Writes of programs that broke off; nobody knows how many of their cells arrived, so none is in ``total``.
    """

    last: int = 0
    total: int = 0
    loads: int = 0
    trims: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Measured:
    """What a backend hands back from one run: spikes a layer (model s), and events that did not arrive in time.

    ``cycles`` and ``synaptic_events``: of a digital core that counts them; see :class:`~hwloop.record.Recording`.
    """

    populations: tuple[Spikes, ...]
    lost_events: int = 0
    late_events: int = 0
    cycles: int | None = None
    synaptic_events: int | None = None


class DeviceBase(ABC):
    """What every device does alike: checks, counting, provenance. A backend adds ``_write`` and ``_execute``.

    A write that fails or is interrupted, by whatever, leaves a device that holds no valid program: it refuses to run until
    a load succeeds, and that load writes everything. ``self.program`` is then None when ``_write`` is called, so that a
    backend that compares with it need do nothing; one that keeps its own account of cells forgets it in ``_forget``.
    """

    def __init__(self, target: Target, device_id: str, firmware: str, ran_on: RanOn) -> None:
        self.target = target
        self.device_id = device_id
        self.firmware = firmware
        self.program: Program | None = None
        self.writes = WriteStatistics()
        self.closed = False
        self.ran_on: RanOn = ran_on
        self.calibration: Calibration | None = None
        self._broken = False

    @property
    def capabilities(self) -> Capabilities:
        """Limits of the device as data."""
        return self.target.capabilities

    def load(self, program: Program) -> None:
        """Write ``program``, and of it only what differs from what the device holds; see :attr:`writes`.

        Raises :class:`TargetError` where the device is closed or ``program`` is for another target (the device is then as
        before), or where the write breaks off: the device then holds no program, and the next load writes everything.
        """
        self._check_open()
        if program.capabilities != self.capabilities:
            raise TargetError(
                f"{self.device_id} cannot load a program for {program.target}: it is {self.capabilities.name}, or has "
                "other limits; compile the network for this device"
            )
        self._check_program(program)
        with self._writing():
            cells, before = self._write(on_device(program)), self.writes
            written = replace(before, last=cells, total=before.total + cells, loads=before.loads + 1)
            self.program, self.writes = program, written

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """While the block runs, and after one that did not come to its end, the device holds no valid program."""
        if self._broken:
            self.program = None
            self._forget()
        self._broken = True
        try:
            yield
        except BaseException:
            self.program = None
            self.writes = replace(self.writes, failed=self.writes.failed + 1)
            raise
        self._broken = False

    def _loaded(self) -> Program:
        """The program that the device holds; :class:`TargetError` where it holds none, with the reason."""
        if self._broken:
            raise TargetError(
                f"{self.device_id} holds no program: the last write failed or was interrupted, and what arrived of it is not "
                "known; load again"
            )
        if self.program is None:
            raise TargetError(f"{self.device_id} holds no program; call load(program) first")
        return self.program

    def run(self, spikes: Spikes | Mapping[str, Spikes], *, repeats: int = 1) -> Recording:
        """Run ``spikes`` on the loaded program.

        Parameters
        ----------
        spikes : Spikes
            Inputs (model s), ``n_units`` as the program's; where the network has several inputs, of each by its name, or of
            all in one, numbered through.
        repeats : int
            How often the batch runs. The recording holds ``repeats * batch`` samples, first repeat first;
            :func:`repetitions` cuts it.

        Returns
        -------
        Recording
            One population a layer, in logical neuron order, times in model seconds, corrected for the constant latency of
            the read-out (:class:`~hwloop.record.Recording`).

        Raises
        ------
        InputError
            ``repeats`` is not a whole number >= 1.
        TargetError
            The device is closed or holds no program (none was loaded, or the last write failed), the spikes do not fit program or limits, or what the backend hands
            back is no answer to them.
        """
        self._check_open()
        program, repeats = self._loaded(), checked_repeats(repeats)
        spikes = together(spikes, program)
        self._check_inputs(spikes, program)
        start = time.perf_counter()
        if isinstance(program, PartitionedProgram):
            measured = self._run_pieces(program, repeat(spikes.detach(), repeats))
        else:
            measured = self._execute(program, spikes.detach(), repeats)
        _check_answer(self.device_id, measured, program, spikes, repeats)
        latency = self.capabilities.model_latency
        return Recording(
            populations=earlier(measured.populations, latency),
            names=program.names,
            inputs=repeat(spikes, repeats),
            latency=latency,
            ran_on=self.ran_on,
            device_id=self.device_id,
            firmware=self.firmware,
            program_digest=program.digest,
            lost_events=measured.lost_events,
            late_events=measured.late_events,
            cycles=measured.cycles,
            synaptic_events=measured.synaptic_events,
            wall_time=time.perf_counter() - start,
            calibration_id=None if self.calibration is None else self.calibration.id,
            calibration_age=None if self.calibration is None else self.calibration.age(),
        )

    def _run_pieces(self, program: PartitionedProgram, inputs: Spikes) -> Measured:
        """Write and run one piece after the other, each with what those before it recorded."""
        found: list[list[Spikes]] = [[] for _ in program.layers]
        lost = late = 0
        for piece in program.pieces:
            given = merged([_part(part, inputs, found, self.capabilities.model_latency) for part in piece.inputs])
            self._check_inputs(given, piece.program)
            with self._writing():
                cells, before = self._write(piece.program), self.writes
                self.writes = replace(before, last=cells, total=before.total + cells, loads=before.loads + 1)
            measured = self._execute(piece.program, given, 1)
            lost, late = lost + measured.lost_events, late + measured.late_events
            for part, train in zip(piece.parts, measured.populations, strict=True):
                found[part.layer].append(train)
        # a piece is driven by times without the latency of the read-out; what is returned is corrected once, as ever
        return Measured(tuple(merged(trains) for trains in found), lost, late)

    def apply(self, calibration: Calibration, *, policy: str = "error", max_age: float | None = None) -> None:
        """Write a calibration's trim codes; recordings name it from then on, and :func:`compile` avoids its masked neurons.

        Parameters
        ----------
        calibration : what :func:`hwloop.calibrate` returned or :meth:`hwloop.Calibration.load` read
        policy : "error" | "warn" | "allow", for one of another device, revision or firmware, or an old one
        max_age : age (s) above which it is old; by default a day

        Raises
        ------
        CalibrationError
            It is foreign or stale under policy "error", or the device lacks its trim cells.
        TargetError
            The device is closed, or a write failed; codes and calibration of before are then back, or, where putting them
            back fails too, the device has no calibration, and the error says so.
        """
        self._check_open()
        calibration.apply_to(self, policy, max_age)

    def close(self) -> None:
        """Give the device back; closing twice is allowed."""
        self.closed = True

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _write(self, program: Program) -> int:
        """Write what differs from what the device holds; returns the number of cells written."""

    @abstractmethod
    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        """Run ``spikes`` ``repeats`` times, first repeat first."""

    def _check_program(self, program: Program) -> None:  # noqa: B027 (most backends take all programs of their limits)
        """Refuse ``program`` before anything of it is written, where this device cannot hold it."""

    def _forget(self) -> None:  # noqa: B027 (what compares with self.program has nothing to forget)
        """Called before the write that follows one that broke off: it has to write everything."""

    def _check_open(self) -> None:
        if self.closed:
            raise TargetError(f"{self.device_id} is closed; open it again with hwloop.open({self.target.name!r}, ...)")

    def _check_inputs(self, spikes: Spikes, program: Program) -> None:
        if spikes.n_units != program.n_in:
            raise TargetError(
                f"spikes of {spikes.n_units} units for a program of {program.n_in} inputs on {self.device_id}; "
                "give spikes of the network that was compiled"
            )
        limit = self.capabilities.max_events
        if limit is not None and int(spikes.counts.max()) > limit:
            sample = int(spikes.counts.argmax())
            raise TargetError(
                f"sample {sample} has {int(spikes.counts.max())} input events; {self.device_id} takes {limit} a sample: "
                f"send {limit} or fewer (a sparser encoding, a shorter window)"
            )


def _check_answer(device: str, measured: Measured, program: Program, spikes: Spikes, repeats: int) -> None:
    """Refuse an answer of another shape than the question: a backend of somebody else's may cut or mix samples."""
    expected = [(len(spikes) * repeats, layer.n_out, spikes.t_stop) for layer in program.layers]
    found = [(len(population), population.n_units, population.t_stop) for population in measured.populations]
    if found != expected:
        raise TargetError(
            f"{device} answered with (samples, neurons, t_stop (s)) = {found}, one a layer; expected {expected}. "
            "The backend is at fault: report it to its author"
        )


def on_device(program: Program) -> Program:
    """What a device holds when ``program`` was loaded: of one in pieces the first."""
    return program.pieces[0].program if isinstance(program, PartitionedProgram) else program


def _part(part: Part, inputs: Spikes, found: Sequence[Sequence[Spikes]], latency: float = 0.0) -> Spikes:
    """The spikes of ``part``, of the inputs or of what was recorded of its population."""
    whole = inputs if part.layer < 0 else merged(earlier(tuple(found[part.layer]), latency))
    units = np.full(whole.n_units, -1)
    units[part.start : part.start + part.size] = np.arange(part.size)
    return relabelled(whole, units, part.size)


def together(spikes: Spikes | Mapping[str, Spikes], program: Program) -> Spikes:
    """The inputs of ``program`` as one train, its units numbered through; :class:`InputError` for other names."""
    if isinstance(spikes, Spikes):
        return spikes
    names = [name for name, _ in program.inputs]
    if not isinstance(spikes, Mapping) or set(spikes) != set(names):
        given = ", ".join(map(repr, spikes)) if isinstance(spikes, Mapping) else type(spikes).__name__
        known = ", ".join(map(repr, names)) or "none by name: give Spikes"
        raise InputError(f"the inputs are {given}; those of the program: {known}")
    return merged([spikes[name] for name in names])


def repetitions(recording: Recording, repeats: int) -> list[Recording]:
    """Cut a recording of ``repeats`` repeats into one recording each."""
    samples = len(recording.output)
    repeats = checked_repeats(repeats)
    if samples % repeats:
        raise InputError(f"repeats = {repeats!r}; allowed: a whole number that divides the {samples} samples recorded")
    batch = samples // repeats
    slices = [slice(i * batch, (i + 1) * batch) for i in range(repeats)]
    return [
        replace(
            recording,
            populations=tuple(population[part] for population in recording.populations),
            inputs=None if recording.inputs is None else recording.inputs[part],
        )
        for part in slices
    ]


def checked_repeats(repeats: SupportsIndex) -> int:
    """``repeats`` as an int; :class:`InputError` unless it is a whole number >= 1, Python's or NumPy's."""
    return whole("repeats", repeats)


def earlier(populations: tuple[Spikes, ...], latency: float) -> tuple[Spikes, ...]:
    """``populations`` with times earlier by ``latency`` (model s), kept within the window.

    What :meth:`DeviceBase.run` does to all it returns, and the one place that does it.
    """
    if latency == 0.0:
        return populations
    return tuple(_earlier(population, latency) for population in populations)


def _earlier(spikes: Spikes, shift: float) -> Spikes:
    times = torch.clamp(spikes.times - shift, min=0.0, max=spikes.t_stop)
    times = torch.where(spikes.valid, times, math.inf)
    return Spikes.trusted(times, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop)


def repeat(spikes: Spikes, repeats: int) -> Spikes:
    """The batch ``repeats`` times over, first repeat first: what :func:`repetitions` cuts apart again."""
    if repeats == 1:
        return spikes
    times, units = spikes.times.repeat(repeats, 1), spikes.units.repeat(repeats, 1)
    return Spikes.trusted(times, units, torch.tile(spikes.counts, (repeats,)), spikes.n_units, spikes.t_stop)
