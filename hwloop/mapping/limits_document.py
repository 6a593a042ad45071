"""Capabilities of a target as a strict document, for files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from ..neurons import ResetKind
from ..strict_documents import Name, StrictDocument
from .capabilities import Capabilities, Range, RangeUnit

_Whole = Annotated[int, Field(ge=1, le=2**31 - 1)]
_NotNegative = Annotated[float, Field(ge=0)]


class RangeText(StrictDocument):
    """A :class:`~hwloop.mapping.Range`."""

    low: float
    high: float
    unit: RangeUnit


class LimitsText(StrictDocument):
    """Every field of :class:`~hwloop.mapping.Capabilities`."""

    name: Name
    n_neurons: _Whole
    fan_in: _Whole
    weight_bits: Annotated[int, Field(ge=2, le=32)] | None
    speedup: Annotated[float, Field(gt=0)]
    reset_kinds: tuple[ResetKind, ...]
    delays: bool
    recurrent: bool
    spike_cap: bool
    ranges: Annotated[dict[Name, RangeText], Field(max_length=100)]
    uniform: Annotated[tuple[Name, ...], Field(max_length=100)]
    max_delay: _NotNegative | None
    refractory_min: _NotNegative
    max_events: _Whole | None
    time_step: _NotNegative
    latency: float
    populations: Annotated[tuple[Name, ...], Field(max_length=100)]
    graphs: bool
    synaptic_delays: bool
    bias: bool
    initial_membrane: bool
    joined: _Whole

    @classmethod
    def of(cls, limits: Capabilities) -> LimitsText:
        """The document of ``limits``."""
        return cls.model_validate(asdict(limits))

    def capabilities(self) -> Capabilities:
        """The same as the compiler takes it."""
        ranges = {name: Range(one.low, one.high, one.unit) for name, one in self.ranges.items()}
        return Capabilities(**{**dict(self), "ranges": ranges})
