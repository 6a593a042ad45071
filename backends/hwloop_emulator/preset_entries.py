"""What the file of a preset holds: effects, limits and trim cells of a chip type, each with its source."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hwloop.document_errors import did_you_mean
from hwloop.neurons import ResetKind

from .effects import EFFECTS, Distribution, Mode, TimeScale, Unit

T = TypeVar("T")
#: What pydantic is told of everything in the file.
STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)
Text = Annotated[str, Field(min_length=1, max_length=2000)]
_SecondsOrNone = Annotated[float, Field(ge=0, le=1.0)]
_Interval = Annotated[list[_SecondsOrNone], Field(min_length=2, max_length=2)]
_SwingInterval = Annotated[list[Annotated[float, Field(ge=-100, le=100)]], Field(min_length=2, max_length=2)]


class Effect(BaseModel):
    """One effect: what is disturbed, how it is distributed, how strongly (``scale``, in ``unit``), and how often drawn anew."""

    model_config = STRICT

    scale: Annotated[float, Field(ge=0)]
    source: Text
    parameter: Text
    distribution: Distribution
    mode: Mode
    unit: Unit
    time_scale: TimeScale
    stream: Text


def with_defaults(name: str, entry: Any) -> Any:
    """``entry`` of a file, with all that the table of effects fixes for ``name``."""
    kind = EFFECTS.get(name)
    if kind is None or not isinstance(entry, dict):
        return entry
    fixed = {"parameter": kind.parameter, "mode": kind.mode, "unit": kind.unit, "time_scale": kind.time_scale}
    return {**fixed, "distribution": kind.distributions[0], "stream": name, **entry}


def check_effect(name: str, effect: Effect) -> None:
    """Raise ``ValueError`` where the table of effects does not have ``effect`` under ``name``."""
    kind = EFFECTS.get(name)
    if kind is None:
        raise ValueError(f"effects.{name} is unknown; known: {', '.join(EFFECTS)}{did_you_mean(name, EFFECTS)}")
    if effect.distribution not in kind.distributions:
        raise ValueError(
            f"effects.{name}.distribution = {effect.distribution!r}; allowed: {' or '.join(map(repr, kind.distributions))}"
        )
    for key in ("parameter", "mode", "unit", "time_scale"):
        if getattr(effect, key) != getattr(kind, key):
            raise ValueError(f"effects.{name}.{key} = {getattr(effect, key)!r}; allowed: {getattr(kind, key)!r}")
    if effect.scale > kind.largest:
        raise ValueError(f"effects.{name}.scale = {effect.scale:g}; allowed: 0..{kind.largest:g} ({kind.unit})")


class Stated(BaseModel, Generic[T]):
    """A value with its source: a citation, or the word "assumed"."""

    model_config = STRICT

    value: T
    source: Text


def _ideal(value: T) -> Any:
    return Stated[Any](value=value, source="ideal: no limit of a chip")


class Limits(BaseModel):
    """Limits of a chip type; what a file does not state is as in ``ideal``.

    ``membrane_channels`` is the number of neurons whose membranes can be sampled in one run. ``tau_mem``, ``tau_syn``, ``t_ref`` (device s) and ``v_leak`` (of the swing above ``v_reset``) are
    configurable ranges; ``refractory_min`` (device s) is held whatever is asked; ``speedup`` is model seconds a
    device second. ``bias`` moves the leak potential; without ``initial_membrane`` membranes start there, wherever the model's do. Up to ``joined``
    circuits make one neuron of a network that is partitioned, with the parameters of the first.
    """

    model_config = ConfigDict(**{**STRICT, "validate_default": False})

    n_neurons: Stated[Annotated[int, Field(ge=1, le=1_000_000)]] = _ideal(1_000_000)
    fan_in: Stated[Annotated[int, Field(ge=1, le=1_000_000)]] = _ideal(1_000_000)
    weight_bits: Stated[Annotated[int, Field(ge=2, le=16)]] | None = None
    speedup: Stated[Annotated[float, Field(ge=1e-6, le=1e6)]] = _ideal(1.0)
    reset_kinds: Stated[Annotated[list[ResetKind], Field(min_length=1, max_length=2)]] = _ideal(["value", "subtract"])
    delays: Stated[bool] = _ideal(True)
    spike_cap: Stated[bool] = _ideal(True)
    refractory_min: Stated[_SecondsOrNone] = _ideal(0.0)
    max_events: Stated[Annotated[int, Field(ge=1, le=10**9)]] | None = None
    tau_mem: Stated[_Interval] | None = None
    tau_syn: Stated[_Interval] | None = None
    t_ref: Stated[_Interval] | None = None
    v_leak: Stated[_SwingInterval] | None = None
    membrane_channels: Stated[Annotated[int, Field(ge=0, le=1_000_000)]] = _ideal(0)
    recurrent: Stated[bool] = _ideal(True)
    synaptic_delays: Stated[bool] = _ideal(True)
    bias: Stated[bool] = _ideal(True)
    initial_membrane: Stated[bool] = _ideal(True)
    joined: Stated[Annotated[int, Field(ge=1, le=1024)]] = _ideal(1)
    populations: Stated[Annotated[list[Literal["LIF", "DeltaLIF", "IF"]], Field(min_length=1, max_length=3)]] = _ideal(
        ["LIF", "DeltaLIF", "IF"]
    )

    @field_validator("tau_mem", "tau_syn", "t_ref", "v_leak")
    @classmethod
    def _ordered(cls, stated: Stated[list[float]] | None) -> Stated[list[float]] | None:
        if stated is not None and stated.value[0] > stated.value[1]:
            raise ValueError(
                f"[{stated.value[0]}, {stated.value[1]}] is no interval; allowed: [low, high], low <= high"
            )
        return stated


class Trim(BaseModel):
    """Trim cells of one parameter: ``codes`` from .. to, the ``default`` that moves nothing, nominal ``step`` of 1 LSB.

    The step is a logarithm (time constants, gain: .01 is 1 %) or a share of the swing (potentials); see
    :class:`hwloop.device.trim.TrimRange`.
    """

    model_config = STRICT

    codes: Annotated[list[Annotated[int, Field(ge=-65536, le=65536)]], Field(min_length=2, max_length=2)]
    default: int
    step: Annotated[float, Field(gt=0, le=1)]
    source: Text

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if not self.codes[0] <= self.default <= self.codes[1] or self.codes[0] == self.codes[1]:
            raise ValueError(
                f"default = {self.default} in codes = {self.codes}; allowed: low <= default <= high, low < high"
            )
        return self


def plain_limits(limits: Limits) -> dict[str, Any]:
    """Values without their sources; None: not limited."""
    return {
        name: None if (stated := getattr(limits, name)) is None else stated.value for name in type(limits).model_fields
    }
