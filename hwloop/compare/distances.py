"""Distances of spike trains, for every sample and neuron of two batches: ``[batch, n_units]``.

============  ==========================  ======================================================================
distance      range                       normalisation
============  ==========================  ======================================================================
van Rossum    0 .. sqrt(spikes^2 / 2)     textbook 1/2: one spike against silence is ``sqrt(1/2)``; elephant's
                                          is sqrt(2) larger: 1
Victor-P.     0 .. spikes of both         one missing or extra spike costs 1, a shift ``q |dt|``; as elephant
ISI           0 .. 1                      as PySpike: mean over ``[0, t_stop]``
SPIKE         0 .. 1                      as PySpike: mean over ``[0, t_stop]``
============  ==========================  ======================================================================

Where one train holds equal times at its very ends, PySpike's edge intervals differ from ours (see ``reference``).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ..errors import InputError, OptionError
from ..spikes import Spikes
from .flat_trains import Floats, Trains, paired_trains, positive
from .matching import align_trains

#: Convention of the van Rossum distance; ``elephant`` is sqrt(2) times ``textbook``.
Normalisation = Literal["textbook", "elephant"]

_FACTORS = {"textbook": 1.0, "elephant": math.sqrt(2.0)}


def van_rossum(simulated: Spikes, measured: Spikes, tau: float, *, normalisation: Normalisation = "textbook") -> Floats:
    """Van Rossum's distance with time constant ``tau`` (s), ``[batch, n_units]``; closed form, O(spikes).

    ``D^2 = 1/tau * integral (f - g)^2 dt``, f and g the trains filtered with ``H(t) exp(-t / tau)``
    (van Rossum, Neural Computation 13, 2001). Raises :class:`InputError` for batches that do not fit, or
    ``tau <= 0``.
    """
    if normalisation not in _FACTORS:
        raise OptionError(f"normalisation = {normalisation!r}; allowed: {', '.join(map(repr, _FACTORS))}")
    return _FACTORS[normalisation] * van_rossum_trains(*paired_trains(simulated, measured), tau)


def victor_purpura(simulated: Spikes, measured: Spikes, q: float) -> Floats:
    """Victor and Purpura's distance, ``[batch, n_units]``: the cheapest edit, a shift costing ``q`` (1/s) times its length.

    ``q = 0`` counts the difference in spike number. Raises :class:`InputError` for batches that do not fit, or q
    not in ``[0, inf)``.
    """
    return victor_purpura_trains(*paired_trains(simulated, measured), q)


def isi_distance(simulated: Spikes, measured: Spikes) -> Floats:
    """ISI distance over ``[0, t_stop]``, ``[batch, n_units]``; parameter-free, rate-like (Kreuz et al. 2007)."""
    return isi_and_spike_trains(*paired_trains(simulated, measured))[0]


def spike_distance(simulated: Spikes, measured: Spikes) -> Floats:
    """SPIKE distance over ``[0, t_stop]``, ``[batch, n_units]``; parameter-free, timing-like (Kreuz et al. 2013)."""
    return isi_and_spike_trains(*paired_trains(simulated, measured))[1]


def van_rossum_trains(a: Trains, b: Trains, tau: float) -> Floats:
    """:func:`van_rossum` of sorted trains, textbook normalisation."""
    from .kernels import van_rossum as kernel

    squared = np.zeros(len(a.start) - 1)
    kernel(a.times, a.start, b.times, b.start, positive("tau", tau, "s"), squared)
    return np.sqrt(squared).reshape(a.batch, a.n_units)


def victor_purpura_trains(a: Trains, b: Trains, q: float) -> Floats:
    """:func:`victor_purpura` of sorted trains."""
    if not (math.isfinite(q) and q >= 0):
        raise InputError(f"q = {q} per second; allowed: finite and >= 0")
    cost = np.abs(np.diff(a.start) - np.diff(b.start)).astype(np.float64) if q == 0 else align_trains(a, b, q)[1]
    return cost.reshape(a.batch, a.n_units)


def isi_and_spike_trains(a: Trains, b: Trains) -> tuple[Floats, Floats]:
    """ISI and SPIKE distances of sorted trains, each ``[batch, n_units]``."""
    from .kernels import isi_and_spike

    isi, spike = np.zeros(len(a.start) - 1), np.zeros(len(a.start) - 1)
    isi_and_spike(a.times, a.start, b.times, b.start, a.t_stop, isi, spike)
    shape = (a.batch, a.n_units)
    return isi.reshape(shape), spike.reshape(shape)
