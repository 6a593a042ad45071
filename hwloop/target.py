"""Targets and devices: the one small protocol behind which everything about hardware sits.

A *target* describes (capabilities as data) and compiles; a *device* is an opened target that loads programs and
runs spikes. Both are found by name, ``"emulator:7"`` or ``"serial:/dev/ttyUSB0"``: what stands before the colon is
an entry point of group ``hwloop.backends``, what follows is the address that this backend understands. An entry
point is a function ``(address: str, **options) -> Target``; built-in backends register in no other way.
"""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable

import torch

from .errors import InputError, OptionError, TargetError
from .losses import Decision
from .mapping import Capabilities, Program, ScaleRule
from .network import Network
from .record import RanOn, Recording
from .spikes import Spikes

if TYPE_CHECKING:
    from hwloop_calibration import Calibration

__all__ = [
    "ENTRY_POINT_GROUP",
    "Capabilities",
    "Device",
    "DeviceBase",
    "Measured",
    "Program",
    "StepChoice",
    "Target",
    "WriteStatistics",
    "available",
    "choose_dt",
    "compile",
    "describe",
    "factory",
    "find",
    "open",
    "presets",
    "repeat",
    "repetitions",
]

#: Entry-point group in which backends register.
ENTRY_POINT_GROUP = "hwloop.backends"


@dataclass(frozen=True)
class WriteStatistics:
    """Cells that a device has written: by the last write, by all, the number of loads, and trim cells among all."""

    last: int = 0
    total: int = 0
    loads: int = 0
    trims: int = 0


@runtime_checkable
class Target(Protocol):
    """Declarative description of a device, that compiles for it."""

    @property
    def name(self) -> str:
        """The name under which it was found, e.g. ``emulator:7``."""

    @property
    def capabilities(self) -> Capabilities:
        """Its limits as data."""

    def compile(
        self,
        net: Network,
        *,
        weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
        mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:
        """``net`` as a program for this target; :class:`CompileError` where it cannot carry it."""

    def open(self) -> Device:
        """Open the device; :class:`TargetError` where that fails."""


@runtime_checkable
class Device(Protocol):
    """An opened target. Context manager: leaving it closes it."""

    @property
    def target(self) -> Target:
        """What was opened."""

    @property
    def device_id(self) -> str:
        """Which device this is; calibrations are bound to it."""

    @property
    def firmware(self) -> str:
        """What runs on it."""

    @property
    def ran_on(self) -> RanOn:
        """What its spikes are: of an emulator or of hardware."""

    @property
    def capabilities(self) -> Capabilities:
        """Its limits as data."""

    @property
    def writes(self) -> WriteStatistics:
        """Cells written so far."""

    def load(self, program: Program) -> None:
        """Write ``program``, and of it only what differs from what the device holds."""

    def run(self, spikes: Spikes, *, repeats: int = 1) -> Recording:
        """Run ``spikes`` on the loaded program ``repeats`` times; see :meth:`DeviceBase.run`."""

    def close(self) -> None:
        """Give the device back; closing twice is allowed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class StepChoice(Protocol):
    """Time steps that were tried and the one chosen, ``dt`` (s); ``str()`` is a table."""

    @property
    def dt(self) -> float:
        """The step chosen (s)."""

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values."""


@dataclass(frozen=True)
class Measured:
    """What a backend hands back from one run: spikes a layer (model s), and events that did not arrive in time."""

    populations: tuple[Spikes, ...]
    lost_events: int = 0
    late_events: int = 0


class DeviceBase(ABC):
    """What every device does alike: checks, counting, provenance. A backend adds ``_write`` and ``_execute``."""

    def __init__(self, target: Target, device_id: str, firmware: str, ran_on: RanOn) -> None:
        self.target = target
        self.device_id = device_id
        self.firmware = firmware
        self.program: Program | None = None
        self.writes = WriteStatistics()
        self.closed = False
        self.ran_on: RanOn = ran_on
        self.calibration: Calibration | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Limits of the device as data."""
        return self.target.capabilities

    def load(self, program: Program) -> None:
        """Write ``program``, and of it only what differs from what the device holds; see :attr:`writes`.

        Raises :class:`TargetError` where the device is closed or ``program`` is for another target.
        """
        self._check_open()
        if program.capabilities != self.capabilities:
            raise TargetError(
                f"{self.device_id} cannot load a program for {program.target}: it is {self.capabilities.name}, or has "
                "other limits; compile the network for this device"
            )
        cells = self._write(program)
        self.program = program
        self.writes = replace(self.writes, last=cells, total=self.writes.total + cells, loads=self.writes.loads + 1)

    def run(self, spikes: Spikes, *, repeats: int = 1) -> Recording:
        """Run ``spikes`` on the loaded program.

        Parameters
        ----------
        spikes : Spikes
            Inputs (model s), ``n_units`` as the program's first layer.
        repeats : int
            How often the batch runs. The recording holds ``repeats * batch`` samples, first repeat first;
            :func:`repetitions` cuts it.

        Returns
        -------
        Recording
            One population a layer, in logical neuron order, times in model seconds.

        Raises
        ------
        TargetError
            The device is closed or holds no program, the spikes do not fit program or limits, or what the backend hands
            back is no answer to them.
        """
        self._check_open()
        if self.program is None:
            raise TargetError(f"{self.device_id} holds no program; call load(program) first")
        if not isinstance(repeats, int) or repeats < 1:
            raise InputError(f"repeats = {repeats!r}; allowed: a whole number >= 1")
        self._check_inputs(spikes, self.program)
        start = time.perf_counter()
        measured = self._execute(self.program, spikes.detach(), repeats)
        _check_answer(self.device_id, measured, self.program, spikes, repeats)
        return Recording(
            populations=measured.populations,
            inputs=repeat(spikes, repeats),
            ran_on=self.ran_on,
            device_id=self.device_id,
            firmware=self.firmware,
            program_digest=self.program.digest,
            lost_events=measured.lost_events,
            late_events=measured.late_events,
            wall_time=time.perf_counter() - start,
            calibration_id=None if self.calibration is None else self.calibration.id,
            calibration_age=None if self.calibration is None else self.calibration.age(),
        )

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
            The device is closed, or a write failed; the calibration of before stays.
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


TargetFactory: TypeAlias = Callable[..., Target]


def available() -> dict[str, str]:
    """Backends that are installed: name -> ``package:object``, sorted. Nothing is imported."""
    return {name: entry.value for name, entry in sorted(_entry_points().items())}


def find(name: str, **options: Any) -> Target:
    """The target called ``name``, ``"backend:address"`` or ``"backend"``.

    Parameters
    ----------
    name : str
        E.g. ``emulator:7``, ``serial:/dev/ttyUSB0``.
    options
        Of the backend, e.g. ``preset="bss2"``.

    Raises
    ------
    TargetError
        The backend is unknown (the message lists those available) or cannot be imported (with the import's own
        message), or refuses the address.
    OptionError
        The backend has no such option.
    """
    backend, _, address = name.partition(":")
    factory = _load(backend, name)
    _check_options(backend, factory, options)
    return factory(address, **options)


def factory(backend: str) -> TargetFactory:
    """What ``backend`` registers; beside making targets it may have ``presets()``, ``doctor()`` and ``setup()``.

    Raises :class:`TargetError` as :func:`find`.
    """
    return _load(backend, backend)


def presets(backend: str) -> tuple[str, ...]:
    """Names that ``backend`` knows for its option ``preset``; none for a backend that has no ``presets()``."""
    listed = getattr(factory(backend), "presets", None)
    return tuple(listed()) if listed is not None else ()


def describe(target: Target) -> list[tuple[str, str, str]]:
    """What ``target`` does to a network, ``(name, value, source)``, where it has a ``describe()``; else empty."""
    described = getattr(target, "describe", None)
    return list(described()) if described is not None else []


def choose_dt(target: Target, net: Network, inputs: Spikes, *, decision: Decision = "first") -> StepChoice:
    """The step at which ``target`` keeps ``net``'s spikes for ``inputs`` closest, where it runs in steps.

    Raises :class:`OptionError` where it has no step to choose, and :class:`CompileError` where none carries the network.
    """
    chooser = getattr(target, "choose_dt", None)
    if chooser is None:
        raise OptionError(f"{target.name} has no time step to choose; leave --dt out, or name a target such as loihi")
    choice: StepChoice = chooser(net, inputs, decision=decision)
    return choice


def open(name: str, **options: Any) -> Device:
    """Open the device called ``name``; arguments and errors as for :func:`find`."""
    return find(name, **options).open()


def compile(
    net: Network,
    target: Target | Device,
    *,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    mask: Iterable[int] = (),
    like: Program | None = None,
) -> Program:
    """``net`` as a program for ``target``, a target or an opened device.

    Parameters
    ----------
    net : Network
    target : Target or Device
    weight_scale : rule, or one rule a layer
        ``"max"``, ``"quantile:Q"`` with Q in (0, 1], or the model weight of 1 LSB.
    mask : physical neurons not to use, e.g. those known to be dead; those that the calibration applied to a device masks
        are avoided too
    like : a program whose placement and scales are reused; ``weight_scale`` and ``mask`` are then not looked at

    Raises
    ------
    CompileError
        The target cannot carry the network: names limit, value, layer and the cheapest fix.
    InputError
        A parameter, scale or mask is outside its bounds.
    """
    described = target.target if isinstance(target, Device) else target
    if not isinstance(described, Target):
        raise InputError(f"cannot compile for {type(target).__name__}; give what hwloop.open(name) returns")
    calibration = getattr(target, "calibration", None)
    if calibration is not None:
        mask = {*mask, *calibration.mask}
    return described.compile(net, weight_scale=weight_scale, mask=mask, like=like)


def repetitions(recording: Recording, repeats: int) -> list[Recording]:
    """Cut a recording of ``repeats`` repeats into one recording each."""
    samples = len(recording.output)
    if not isinstance(repeats, int) or repeats < 1 or samples % repeats:
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


def repeat(spikes: Spikes, repeats: int) -> Spikes:
    """The batch ``repeats`` times over, first repeat first: what :func:`repetitions` cuts apart again."""
    if repeats == 1:
        return spikes
    times, units = spikes.times.repeat(repeats, 1), spikes.units.repeat(repeats, 1)
    return Spikes.trusted(times, units, torch.tile(spikes.counts, (repeats,)), spikes.n_units, spikes.t_stop)


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _load(backend: str, name: str) -> TargetFactory:
    entry = _entry_points().get(backend)
    if entry is None:
        known = ", ".join(available()) or "none (is hwloop installed? try: pip install -e .)"
        raise TargetError(f"unknown target {name!r}; available: {known}")
    try:
        factory: TargetFactory = entry.load()
    except (ImportError, AttributeError) as error:
        raise TargetError(
            f"backend {backend!r} ({entry.value}) does not import: {type(error).__name__}: {error}; "
            "install what it needs, or uninstall it"
        ) from error
    return factory


def _check_options(backend: str, factory: TargetFactory, options: dict[str, Any]) -> None:
    parameters = list(inspect.signature(factory).parameters.values())[1:]
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    for key in options:
        if key not in known:
            raise OptionError(f"backend {backend!r} has no option {key!r}; it has: {', '.join(known) or 'none'}")
