"""Which time unit a NIR graph is written in, and what a spike is there: resolved with evidence, and stated.

NIR fixes neither. Its equations hold in any one unit of time; exporters write seconds, milliseconds or steps. And where
the specification drives the synapse with deltas, simulators that count in steps of ``dt`` drive it with pulses of height
1 and width ``dt``, and scale ``w_in`` and ``r`` by ``1 / dt`` to make up for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from ...errors import InputError, OptionError

#: Metadata keys of the graph.
TIME_UNIT, SPIKE, EXPORTER = "time_unit", "spike", "exporter"

#: How many of a unit make a second.
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6}
#: Other spellings in metadata.
SPELLINGS = {
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "millisecond": "ms",
    "milliseconds": "ms",
    "µs": "us",
    "μs": "us",
}
#: Exporters that write one unit by default, read from their public source. sinabs writes steps: not in this table.
EXPORTERS = {"hwloop": "s", "norse": "s", "rockpool": "s", "snntorch": "s", "spikingjelly": "s"}
#: Numbers that time constants have where nothing else is known: all within one range, or the unit is not evident.
#: They say that models have time constants between 1 us and 1 s, and that nobody counts less than 1 ms in ms.
PLAUSIBLE = {"s": (1e-6, 1.0), "ms": (1.0, 1e3), "us": (1e3, 1e6)}
#: Relative difference up to which ``tau_mem / r`` and ``tau_syn / w_in`` are one time step: float32, three roundings.
STEP_TOLERANCE = 1e-5
#: A step is shorter than this share of every time constant; beyond it the ratios agree by chance (r = 1, equal taus).
LONGEST_STEP = 0.75


@dataclass(frozen=True)
class TimeUnit:
    """Unit of a graph's times: name, how many make a second, why we think so; ``stated`` if we were told."""

    name: str
    evidence: str
    stated: bool

    @property
    def per_second(self) -> float:
        """How many of the unit make a second."""
        return PER_SECOND[self.name]


@dataclass(frozen=True)
class SpikeArea:
    """Time integral of one input spike (in the graph's time unit): 1 for a delta, dt for a pulse of one step."""

    value: float
    evidence: str


def time_unit_of(metadata: Mapping[str, Any], neurons: Sequence[nir.CubaLIF], asked: str | None) -> TimeUnit:
    """Unit of the graph's times: ``asked``, else metadata, else the exporter, else the magnitude of the constants.

    Raises :class:`OptionError` for an unknown ``asked``, :class:`InputError` where the unit is not evident.
    """
    if asked is not None and asked not in PER_SECOND:
        raise OptionError(f"time_unit = {asked!r}; allowed: {', '.join(map(repr, PER_SECOND))}")
    found = _from_metadata(metadata, tolerant=asked is not None) or _from_exporter(metadata)
    if asked is not None:
        against = f", against the {found.name} of its {found.evidence}" if found and found.name != asked else ""
        return TimeUnit(asked, f"given by the caller{against}", stated=not against)
    return found or _from_magnitude(neurons)


def _from_metadata(metadata: Mapping[str, Any], tolerant: bool) -> TimeUnit | None:
    if TIME_UNIT not in metadata:
        return None
    text = _text(metadata[TIME_UNIT])
    name = SPELLINGS.get(text.lower(), text)
    if name in PER_SECOND:
        return TimeUnit(name, f"metadata {TIME_UNIT} = {text!r}", stated=True)
    if tolerant:
        return None
    raise InputError(
        f"metadata {TIME_UNIT} = {text!r}; allowed: {', '.join(PER_SECOND)}. Pass time_unit to override it"
    )


def _from_exporter(metadata: Mapping[str, Any]) -> TimeUnit | None:
    exporter = _text(metadata.get(EXPORTER, ""))
    name = EXPORTERS.get(exporter.lower())
    return (
        None
        if name is None
        else TimeUnit(name, f"metadata {EXPORTER} = {exporter!r}, which writes {name}", stated=True)
    )


def _from_magnitude(neurons: Sequence[nir.CubaLIF]) -> TimeUnit:
    taus = np.concatenate([np.ravel(value) for node in neurons for value in (node.tau_mem, node.tau_syn)]).astype(float)
    low, high = float(taus.min()), float(taus.max())
    for name, (least, limit) in PLAUSIBLE.items():
        if least <= low and high < limit:
            return TimeUnit(
                name, f"not stated; time constants of {low:g}..{high:g} are plausible in {name}", stated=False
            )
    raise InputError(
        f"the graph states no time unit, and time constants of {low:g}..{high:g} fit none of "
        f"{', '.join(PER_SECOND)}: pass time_unit"
    )


def spike_area(metadata: Mapping[str, Any], neurons: Sequence[nir.CubaLIF], width: float | None) -> SpikeArea:
    """Area of a spike: ``width`` (0: a delta), else metadata, else one step where the ratios show one, else a delta.

    Raises :class:`InputError` for a ``width`` that is negative, NaN or infinite.
    """
    if width is not None:
        if not 0 <= width < math.inf:
            raise InputError(f"spike_width = {width}; allowed: 0 (a delta) or a finite width in the graph's time unit")
        return SpikeArea(width or 1.0, f"{f'pulses of width {width:g}' if width else 'deltas'}, given by the caller")
    if _text(metadata.get(SPIKE, "")) == "delta":
        return SpikeArea(1.0, f"deltas, metadata {SPIKE} = 'delta'")
    step = _common_step(neurons)
    if step is not None:
        why = "the time step of the exporter, since tau_mem / r = tau_syn / w_in for every neuron"
        return SpikeArea(step, f"pulses of width {step:g}, {why}")
    return SpikeArea(1.0, "deltas, as in the NIR specification")


def _common_step(neurons: Sequence[nir.CubaLIF]) -> float | None:
    steps, taus = [], []
    for node in neurons:
        mem, syn, r, w_in = (
            np.asarray(value, dtype=np.float64) for value in (node.tau_mem, node.tau_syn, node.r, node.w_in)
        )
        if not (np.all(r > 0) and np.all(w_in > 0)):
            return None
        steps += [np.ravel(mem / r), np.ravel(syn / w_in)]
        taus += [np.ravel(mem), np.ravel(syn)]
    every, shortest = np.concatenate(steps), float(np.concatenate(taus).min())
    step = float(np.median(every))
    agree = np.all(np.abs(every - step) <= STEP_TOLERANCE * abs(step))
    return step if agree and 0 < step <= LONGEST_STEP * shortest else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
