"""Targets and devices: the one small protocol behind which everything about hardware sits.

A *target* describes (capabilities as data) and compiles; a *device* is an opened target that loads programs and runs spikes.
Both are found by name, ``"emulator:7"`` or ``"serial:/dev/ttyUSB0"``: before the colon an entry point of group
``hwloop.backends``, a function ``(address: str, **options) -> Target``, then the address that this backend understands.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable
from weakref import WeakKeyDictionary

from ..errors import CompileError, CompileWarning, InputError, OptionError, TargetError
from ..losses import Decision
from ..mapping import Capabilities, Program, ScaleRule
from ..mapping.probe import probe_losses, silent_layers
from ..network import Network
from ..record import RanOn, Recording
from ..spikes import Spikes
from .base import DeviceBase as DeviceBase
from .base import Measured as Measured
from .base import WriteStatistics as WriteStatistics
from .base import checked_repeats as checked_repeats
from .base import earlier as earlier
from .base import repeat as repeat
from .base import repetitions as repetitions

if TYPE_CHECKING:
    from hwloop_calibration import Calibration

__all__ = [
    "ENTRY_POINT_GROUP",
    "Capabilities",
    "CompilesAs",
    "Device",
    "DeviceBase",
    "Documented",
    "Emulating",
    "Measured",
    "Program",
    "StepChoice",
    "Target",
    "WriteStatistics",
    "available",
    "checked_repeats",
    "choose_dt",
    "compile",
    "compile_quietly",
    "describe",
    "earlier",
    "factory",
    "find",
    "in_words",
    "open",
    "presets",
    "recipe",
    "repeat",
    "repetitions",
]

#: Entry-point group in which backends register.
ENTRY_POINT_GROUP = "hwloop.backends"


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
class Documented(Protocol):
    """A target with options that are documents, such as a preset of one's own; its factory reads them."""

    def documents(self) -> dict[str, str]:
        """Text of each such option that it was made with, for files."""

    @staticmethod
    def read_document(option: str, text: str) -> Any:
        """The value of ``option``; :class:`DataError` where ``text`` is none."""


@runtime_checkable
class CompilesAs(Protocol):
    """A target whose programs another one compiles too, or itself under another name."""

    @property
    def compiler(self) -> tuple[str, dict[str, Any]] | None:
        """Name and options of it; None where there is none."""


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

    def run(self, spikes: Spikes | Mapping[str, Spikes], *, repeats: int = 1) -> Recording:
        """Run ``spikes`` on the loaded program ``repeats`` times; see :meth:`DeviceBase.run`."""

    def close(self) -> None:
        """Give the device back; closing twice is allowed."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Emulating(Protocol):
    """A target that emulates an analog chip, or stands for a board that does."""

    def without_mismatch(self) -> Target | None:
        """The same noise without differences between neurons, emulated in this process; None where that cannot be had."""


class StepChoice(Protocol):
    """Time steps that were tried and the one chosen, ``dt`` (s); ``str()`` is a table."""

    @property
    def dt(self) -> float:
        """The step chosen (s)."""

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values."""


TargetFactory: TypeAlias = Callable[..., Target]

#: What each target was made of; see :func:`recipe`.
_RECIPES: WeakKeyDictionary[Target, tuple[str, dict[str, Any]]] = WeakKeyDictionary()


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
    target = factory(address, **options)
    with contextlib.suppress(TypeError):  # somebody else's target that cannot be referred to weakly
        _RECIPES[target] = (name, options)
    return target


def recipe(target: Target) -> tuple[str, dict[str, Any]] | None:
    """Name and options that :func:`find` made ``target`` of; None where it was made otherwise."""
    try:
        found = _RECIPES.get(target)
    except TypeError:
        return None
    return None if found is None else (found[0], dict(found[1]))


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


def in_words(target: Target) -> tuple[list[str], list[str]]:
    """``(emulated, not emulated)``: effects that ``target`` has and lacks, where it has an ``in_words()``; else empty."""
    said = getattr(target, "in_words", None)
    return said() if said is not None else ([], [])


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
    """Open the device called ``name``, with ``options`` of its backend; arguments and errors as for :func:`find`."""
    return find(name, **options).open()


def compile(
    net: Network,
    target: Target | Device,
    *,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    mask: Iterable[int] = (),
    like: Program | None = None,
    probe: Spikes | None = None,
    partition: bool = False,
) -> Program:
    """``net`` as a program for ``target``, a target or an opened device.

    Warns (:class:`~hwloop.errors.CompileWarning`) of what compiling lost, with a remedy that was tried; the report of the
    program begins with it too.

    Parameters
    ----------
    net : Network
    target : Target or Device
    weight_scale : rule, or one rule a layer
        ``"max"``, ``"quantile:Q"`` with Q in (0, 1], or the model weight of 1 LSB.
    mask : physical neurons not to use, e.g. those known to be dead; those that the calibration applied to a device masks
        are avoided too
    like : a program whose placement and scales are reused; ``weight_scale`` and ``mask`` are then not looked at
    probe : inputs (model s), e.g. validation data, of which up to 200 samples are simulated: layers that fall silent or
        saturate with the weights that the codes stand for are told; those that are silent in the model already stand in the
        report's notes
    partition : cut a network that is larger than the device into pieces that run one after the other, each with the recorded
        spikes of those before it; loops are never cut. The report's notes say into how many

    Raises
    ------
    CompileError
        The target cannot carry the network, or the device is calibrated, but not the neurons that it needs: names limit,
        value, layer and the cheapest fix.
    InputError
        A parameter, scale or mask is outside its bounds.
    """
    program = compile_quietly(
        net, target, weight_scale=weight_scale, mask=mask, like=like, probe=probe, partition=partition
    )
    for text in program.warnings:
        warnings.warn(text, CompileWarning, stacklevel=2)
    return program


def compile_quietly(
    net: Network,
    target: Target | Device,
    *,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    mask: Iterable[int] = (),
    like: Program | None = None,
    probe: Spikes | None = None,
    partition: bool = False,
) -> Program:
    """As :func:`compile`, for one of several candidates: what was lost stands in the program's ``warnings`` alone."""
    described = target.target if isinstance(target, Device) else target
    if not isinstance(described, Target):
        raise InputError(f"cannot compile for {type(target).__name__}; give what hwloop.open(name) returns")
    if not isinstance(mask, Iterable):
        raise InputError(f"mask = {mask!r}; allowed: a list of physical neurons, e.g. [{mask!r}]")
    calibration = getattr(target, "calibration", None)
    avoided = [*mask, *(() if calibration is None else calibration.mask)]
    if partition and like is None:
        compiling = _partitioning(described)
        program = compiling(net, weight_scale=weight_scale, mask=avoided)
    else:
        compiling = described.compile
        program = described.compile(net, weight_scale=weight_scale, mask=avoided, like=like)
    if calibration is not None:
        _check_calibrated(program, calibration)
    if probe is None:
        return program
    found = probe_losses(net, program, probe, lambda rule: compiling(net, weight_scale=rule, mask=avoided))
    notes = (*program.notes, *silent_layers(net, probe))
    return replace(program, warnings=(*program.warnings, *found), notes=notes)


def _check_calibrated(program: Program, calibration: Calibration) -> None:
    """:class:`CompileError` where ``program`` uses neurons of which the device's calibration says nothing."""
    known = set(calibration.neurons)
    for number, layer in enumerate(program.layers):
        unknown = [int(n) for n in layer.neurons if int(n) not in known]
        if unknown:
            raise CompileError(
                f"the {len(known) - len(calibration.mask)} usable neurons that calibration {calibration.id} of the device knows",
                f"{len(unknown)} others (first: physical neuron {unknown[0]})",
                f"layer {2 * number + 1} (LIF)",
                "calibrate for this network: hwloop.calibrate(device, hwloop.compile(net, device.target)), or the whole chip: "
                'neurons="all"',
            )


def _partitioning(target: Target) -> Callable[..., Program]:
    """How ``target`` compiles networks that are larger than it; :class:`OptionError` where it does not."""
    found: Callable[..., Program] | None = getattr(target, "partition", None)
    if found is None:
        raise OptionError(f"{target.name} runs no networks in pieces; leave partition out, or choose 'emulator'")
    return found


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
