"""Which measured spike is which simulated one: optimal matching, and per neuron what it says about the device.

A pair costs its distance in time, a spike without partner ``window / 2``. So two spikes farther apart than
``window`` are never paired, and order is kept: among spikes of one neuron, pairs never cross. The cost of the best
matching in units of ``window / 2`` is the Victor-Purpura distance with ``q = 2 / window``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..spikes import Spikes
from .flat_trains import Bools, Floats, Ints, Trains, paired_trains, positive


@dataclass(frozen=True, eq=False)
class NeuronErrors:
    """What the matching says about each neuron, over all samples; NaN where a neuron has no pair.

    Attributes
    ----------
    bias, rmse, jitter : ``[n_units]`` (s)
        Mean of measured minus simulated time (positive: device late), its root mean square, and the standard
        deviation around the bias: ``rmse^2 = bias^2 + jitter^2``.
    matched, missing, extra : ``[n_units]`` int64
        Pairs; simulated spikes without partner; measured spikes without partner.
    """

    bias: Floats
    rmse: Floats
    jitter: Floats
    matched: Ints
    missing: Ints
    extra: Ints


@dataclass(frozen=True, eq=False)
class Matching:
    """The best matching of every train pair of a batch.

    Attributes
    ----------
    simulated, measured : Trains
    window : float (s)
        Largest distance of a pair; a spike without partner costs half of it.
    partner : ``[simulated events]`` int64
        Index of the measured event, -1 where there is none.
    cost : ``[trains]`` (s)
    """

    simulated: Trains
    measured: Trains
    window: float
    partner: Ints
    cost: Floats

    @cached_property
    def pairs(self) -> tuple[Ints, Ints]:
        """Indices of matched events, in the simulated and in the measured trains."""
        ours = np.flatnonzero(self.partner >= 0)
        return ours, self.partner[ours]

    @cached_property
    def errors(self) -> Floats:
        """``[pairs]`` (s): measured minus simulated time."""
        ours, theirs = self.pairs
        return self.measured.times[theirs] - self.simulated.times[ours]

    @cached_property
    def missing(self) -> Ints:
        """Indices of simulated events without partner."""
        return np.flatnonzero(self.partner < 0)

    @cached_property
    def extra(self) -> Ints:
        """Indices of measured events without partner."""
        alone: Bools = np.ones(len(self.measured.times), dtype=np.bool_)
        alone[self.pairs[1]] = False
        return np.flatnonzero(alone)

    def per_neuron(self) -> NeuronErrors:
        """Bias, RMSE, jitter (s) and counts of each neuron over all samples."""
        n = self.simulated.n_units
        unit = self.simulated.unit[self.pairs[0]]
        matched = np.bincount(unit, minlength=n)
        bias = _means(unit, self.errors, matched)
        rmse = np.sqrt(_means(unit, self.errors**2, matched))
        deviation = self.errors - bias[unit]
        jitter = np.sqrt(_means(unit, deviation**2, matched))
        missing = np.bincount(self.simulated.unit[self.missing], minlength=n)
        extra = np.bincount(self.measured.unit[self.extra], minlength=n)
        return NeuronErrors(bias, rmse, jitter, matched, missing, extra)


def match(simulated: Spikes, measured: Spikes, window: float) -> Matching:
    """Match measured to simulated spikes, neuron by neuron and sample by sample.

    ``window`` (s): largest distance of a pair. Raises :class:`InputError` where the batches cannot be compared or
    the window is not above 0.
    """
    return match_trains(*paired_trains(simulated, measured), window)


def match_trains(simulated: Trains, measured: Trains, window: float) -> Matching:
    """:func:`match` for trains that are already sorted by neuron."""
    partner, cost = align_trains(simulated, measured, 2.0 / positive("window", window, "s"))
    return Matching(simulated, measured, float(window), partner, cost * (window / 2.0))


def align_trains(simulated: Trains, measured: Trains, rate: float) -> tuple[Ints, Floats]:
    """``(partner [events], cost [trains])`` where a pair costs ``rate * |dt|`` and an unpaired spike 1."""
    from .kernels import align

    partner = np.full(len(simulated.times), -1, dtype=np.int64)
    cost = np.zeros(len(simulated.start) - 1)
    align(simulated.times, simulated.start, measured.times, measured.start, rate, partner, cost)
    return partner, cost


def _means(unit: Ints, values: Floats, count: Ints) -> Floats:
    """Mean of ``values`` for each unit; NaN where ``count`` is 0."""
    means: Floats = np.full(len(count), np.nan)
    np.divide(np.bincount(unit, values, minlength=len(count)), count, out=means, where=count > 0)
    return means
