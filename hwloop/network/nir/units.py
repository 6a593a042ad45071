"""Which unit of time a NIR graph is written in: resolved with evidence, and stated.

NIR fixes none: its equations hold in any one unit, and exporters write seconds, milliseconds or steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from ...errors import InputError, OptionError
from .values import numbers, text

#: Metadata keys of the graph.
TIME_UNIT, EXPORTER = "time_unit", "exporter"

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
#: Time constants (s) that models of neurons have. Units are three decades apart and these four wide: time constants that
#: lie in it in two units leave the doubt between them, and are refused.
PLAUSIBLE = (1e-4, 1.0)
#: norse writes ``dt / tau_inv`` with a default ``dt`` of .001: time constants too short by this.
NORSE_DT = 1e-3


@dataclass(frozen=True)
class TimeUnit:
    """Unit of a graph's times: name (None: it has no times), and why we think so; ``stated`` if we were told."""

    name: str | None
    evidence: str
    stated: bool

    @property
    def per_second(self) -> float:
        """How many of the unit make a second."""
        return 1.0 if self.name is None else PER_SECOND[self.name]

    def __str__(self) -> str:
        return f"time unit {self.name or 'none'}: {self.evidence}"


def time_unit_of(metadata: Mapping[str, Any], nodes: Mapping[str, nir.NIRNode], asked: str | None = None) -> TimeUnit:
    """Unit of the graph's times: ``asked``, else metadata, else the exporter, else the magnitude of the constants.

    Raises :class:`OptionError` for an unknown ``asked``, :class:`InputError` where the unit is not evident.
    """
    if asked is not None and asked not in PER_SECOND:
        raise OptionError(f"time_unit = {asked!r}; allowed: {', '.join(map(repr, PER_SECOND))}")
    found = _from_metadata(metadata, tolerant=asked is not None) or _from_exporter(metadata)
    if asked is not None:
        against = f", against the {found.name} of its {found.evidence}" if found and found.name != asked else ""
        return TimeUnit(asked, f"given by the caller{against}", stated=not against)
    if found is None or text(metadata.get(EXPORTER, "")).lower() == "norse":
        _refuse_short_norse(nodes)
    return found or _from_magnitude(nodes)


def _from_metadata(metadata: Mapping[str, Any], tolerant: bool) -> TimeUnit | None:
    if TIME_UNIT not in metadata:
        return None
    given = text(metadata[TIME_UNIT])
    name = SPELLINGS.get(given.lower(), given)
    if name in PER_SECOND:
        return TimeUnit(name, f"metadata {TIME_UNIT} = {given!r}", stated=True)
    if tolerant:
        return None
    raise InputError(
        f"metadata {TIME_UNIT} = {given!r}; allowed: {', '.join(PER_SECOND)}. Pass time_unit to override it"
    )


def _from_exporter(metadata: Mapping[str, Any]) -> TimeUnit | None:
    exporter = text(metadata.get(EXPORTER, ""))
    name = EXPORTERS.get(exporter.lower())
    return (
        None
        if name is None
        else TimeUnit(name, f"metadata {EXPORTER} = {exporter!r}, which writes {name}", stated=True)
    )


def _from_magnitude(nodes: Mapping[str, nir.NIRNode]) -> TimeUnit:
    taus = _taus(nodes)
    if not len(taus):
        late = [
            name
            for name, node in nodes.items()
            if isinstance(node, nir.Delay) and numbers(name, "delay", node.delay).any()
        ]
        if late:
            raise InputError(
                f"the graph states no time unit, and has delays ({', '.join(map(repr, late))}) but no time constants that would "
                f"show it; pass time_unit: {', '.join(map(repr, PER_SECOND))}"
            )
        return TimeUnit(None, "not needed, there are neither time constants nor delays", stated=True)
    low, high = float(taus.min()), float(taus.max())
    fitting = [name for name, per in PER_SECOND.items() if PLAUSIBLE[0] <= low / per and high / per <= PLAUSIBLE[1]]
    if len(fitting) == 1:
        return TimeUnit(
            fitting[0],
            f"not stated; time constants of {low:g}..{high:g} are plausible in {fitting[0]} alone",
            stated=False,
        )
    what = f"may be {' or '.join(fitting)}" if fitting else f"fit none of {', '.join(PER_SECOND)}"
    raise InputError(
        f"the graph states no time unit, and time constants of {low:g}..{high:g} {what}: pass time_unit, "
        f"one of {', '.join(map(repr, fitting or PER_SECOND))}"
    )


def _refuse_short_norse(nodes: Mapping[str, nir.NIRNode]) -> None:
    """Norse's default export: gains of 1, and time constants that are plausible once they are 1,000 times as long."""
    neurons = {name: node for name, node in nodes.items() if isinstance(node, (nir.CubaLIF, nir.CubaLI))}
    taus = _taus(nodes)
    gains = [
        np.ravel(numbers(name, key, getattr(node, key))) for name, node in neurons.items() for key in ("r", "w_in")
    ]
    if not gains or not np.all(np.concatenate(gains) == 1):
        return
    low, high = float(taus.min()), float(taus.max())
    if low < PLAUSIBLE[0] <= low / NORSE_DT and high / NORSE_DT <= PLAUSIBLE[1]:
        raise InputError(
            f"time constants of {low:g}..{high:g} s with r = 1 and w_in = 1, as norse writes them by default: too short by its "
            f"dt = {NORSE_DT:g}. Export it with norse.to_nir(net, x, dt=1); or pass time_unit, if they are meant"
        )


def _taus(nodes: Mapping[str, nir.NIRNode]) -> np.ndarray[Any, Any]:
    found = [
        np.ravel(numbers(name, key, getattr(node, key))).astype(float)
        for name, node in nodes.items()
        for key in ("tau_mem", "tau_syn", "tau")
        if hasattr(node, key)
    ]
    return np.concatenate(found) if found else np.zeros(0)
