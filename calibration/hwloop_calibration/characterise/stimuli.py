"""Stimuli: short patterns of pulses on one synapse column, that every neuron of the chip receives at once.

A pattern is a burst of pulses, a gap, and a second burst. Strong first bursts fix latency and weight, weak ones
tau_syn and tau_mem (the first spike comes late), the second burst after a gap what is left of membrane, current and
reset. All are built from the nominal time constants alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch

from hwloop.errors import InputError
from hwloop.simulate.contract import Events
from hwloop.spikes import Spikes

#: Pulses of the first and the second burst, spacing within a burst (tau_syn), and gap between bursts (tau_mem).
FIRST, SECOND = (1, 2, 3, 4, 6), (0, 1, 2, 3)
SPACINGS, GAPS = (0.1, 0.6), (0.25, 0.7, 1.5, 3.0)
#: Time of the first pulse (tau_syn), and window after the last one (tau_mem + tau_syn).
LEAD, TAIL = 0.2, 4.0
#: Peak of the membrane that one pulse of the stimulus weight causes at rest, as a share of the swing.
PULSE_PEAK = 0.6


@dataclass(frozen=True)
class Pattern:
    """Input times of one sample (model s), sorted."""

    times: tuple[float, ...]

    def __post_init__(self) -> None:
        times = self.times
        if any(not np.isfinite(t) or t < 0 for t in times) or list(times) != sorted(times):
            raise InputError(f"pattern {times}; allowed: finite times >= 0 in order")


@dataclass(frozen=True, eq=False)
class Stimuli:
    """A batch of patterns: sample ``s`` is ``patterns[s]`` on synapse column ``columns[s]``.

    Attributes
    ----------
    patterns : tuple of Pattern
    columns : tuple of int
    n_columns : int
    t_stop : float (model s)
    """

    patterns: tuple[Pattern, ...]
    columns: tuple[int, ...]
    n_columns: int
    t_stop: float

    def __len__(self) -> int:
        return len(self.patterns)

    def spikes(self) -> Spikes:
        """The batch as it is sent to a device."""
        pairs = [(p.times, [c] * len(p.times)) for p, c in zip(self.patterns, self.columns, strict=True)]
        return Spikes.from_events(pairs, self.n_columns, self.t_stop, dtype=torch.float64)

    @cached_property
    def events(self) -> Events:
        """The batch as the simulator's kernels take it."""
        spikes = self.spikes()
        return Events(spikes.times.numpy(), spikes.units.numpy(), spikes.counts.numpy())

    def __add__(self, other: Stimuli) -> Stimuli:
        t_stop = max(self.t_stop, other.t_stop)
        n_columns = max(self.n_columns, other.n_columns)
        return Stimuli(self.patterns + other.patterns, self.columns + other.columns, n_columns, t_stop)


def on_columns(patterns: Sequence[Pattern], columns: Sequence[int], n_columns: int, t_stop: float) -> Stimuli:
    """Every pattern on every one of ``columns``."""
    pairs = list(product(patterns, columns))
    return Stimuli(tuple(p for p, _ in pairs), tuple(c for _, c in pairs), n_columns, t_stop)


def candidates(tau_mem: float, tau_syn: float) -> list[Pattern]:
    """Patterns that a design may choose from, for nominal time constants (model s)."""
    found: dict[tuple[float, ...], None] = {}
    for first, spacing, second, gap in product(FIRST, SPACINGS, SECOND, GAPS):
        start = LEAD * tau_syn
        times = [start + k * spacing * tau_syn for k in range(first)]
        begin = times[-1] + gap * tau_mem
        times += [begin + k * spacing * tau_syn for k in range(second)]
        found[tuple(times)] = None
    return [Pattern(times) for times in found]


def window(patterns: Sequence[Pattern], tau_mem: float, tau_syn: float, t_ref: float) -> float:
    """Length of a sample (model s) in which the answer to each of ``patterns`` dies away."""
    last = max((p.times[-1] for p in patterns if p.times), default=0.0)
    return last + TAIL * (tau_mem + tau_syn) + 2 * t_ref


def pulse_weight(tau_mem: float, tau_syn: float, peak: float = PULSE_PEAK) -> float:
    """Weight (units of the swing) whose single pulse lifts a resting membrane by ``peak``.

    The response ``g(s) = k (e^(-s/tau_mem) - e^(-s/tau_syn))`` peaks at ``(tau_syn/tau_mem)^(tau_syn/(tau_mem - tau_syn))``
    times ``tau_syn/tau_mem`` (:math:`1/e` where both are equal).
    """
    apart = (tau_syn - tau_mem) / tau_mem
    return peak * math.exp(math.log1p(apart) / apart if apart else 1.0)
