"""Neurons of several cells that may spike, followed together through an interval of their own.

As in :mod:`..kernels.crossings`, one round finds the next spike of each and leaves those that may spike again. There all neurons share
one interval; here few neurons of a cell spike between two of its events, so that those of several cells make up a vector.
A replay takes the same rounds with the measured times in the place of the search: equal bits by construction.
"""

from __future__ import annotations

import math

import numpy as np

from ..compile_kernel import kernel
from ..kernels.exponentials import decay, log_1p, respond, respond_2
from ..kernels.legs import whole_vectors
from ..kernels.neuron import MAX_ITERATIONS, RATIO_2, first_guess, halley, peak_after
from .cell_lanes import LANES

#: Cells that go through their events together, and the neurons of all.
TOGETHER = 16
WIDTH = TOGETHER * LANES
#: The rows of the table lie so far apart: not at a power of two, where all would share few places of a cache.
APART = WIDTH + LANES

#: Steps of the search that all take together; a neuron that has not settled then goes on alone.
STEPS = 4

#: Rows of the table, ``APART`` apart: membrane, current, threshold; time constant of the membrane, both rates, ratio of the
#: time constants; where the neuron stands in its interval and where that ends (s); its state there, whether that forces a
#: spike, whether it has left the common update; and for one round: the search's place and ends, whether the neuron
#: crosses, whether the search has settled, the factors of a response.
U, CURRENT, LEVEL, TAU, RATE_M, RATE_S, RATIO, POS, END, END_U, END_I, FORCED, OUTSIDE = (APART * k for k in range(13))
#: Rows that a neuron takes along when others before it have left: ``MOVED`` of them after a spike, ``FOUND`` before.
MOVED, FOUND = 13, 15
S, HIGH, CROSSES, LOW, SETTLED, E_M, E_S, G = (APART * k for k in range(MOVED, MOVED + 8))
ROWS = MOVED + 8


@kernel(inline="always")
def _respond(kind, a, m):  # type: ignore[no-untyped-def]
    """Factors ``E_M, E_S, G`` of the spans in row ``S``."""
    if kind is RATIO_2:
        for k in range(whole_vectors(m)):
            a[E_M + k], a[E_S + k], a[G + k] = respond_2(a[S + k], a[RATE_M + k])
    else:
        for k in range(whole_vectors(m)):
            a[E_M + k], a[E_S + k], a[G + k] = respond(a[S + k], a[RATE_M + k], a[RATE_S + k])


@kernel(inline="always")
def find_crossings(kind, a, m):  # type: ignore[no-untyped-def]
    """To row ``CROSSES`` whether each neuron reaches its threshold before ``END``; to ``S`` when, or to ``HIGH`` by when.

    Decided by the sign of ``u - c`` at the end of the interval (``FORCED``: rounding must not lose that spike), or at the
    maximum inside it, of which there is one at most. Without input the membrane only tends to 0.
    """
    if kind is RATIO_2:
        _in_quadratics(a, m)
    else:
        _below_maxima(a, m)


@kernel(inline="always")
def _in_quadratics(a, m):  # type: ignore[no-untyped-def]
    """``tau_mem = 2 tau_syn``: the small root of ``u(s) = u0 + p y - i0 y^2``, ``y = 1 - e^(-s/tau_mem)``, ``p = i0 - u0``."""
    for k in range(whole_vectors(m)):
        u, i, c, span = a[U + k], a[CURRENT + k], a[LEVEL + k], a[END + k] - a[POS + k]
        rest, _ = decay(span * a[RATE_M + k])
        q, p = c - u, i - u
        d = p * p - 4.0 * i * q
        root = math.sqrt(max(d, 0.0))
        rising, sum_ = p >= 0.0, p + root
        y = 2.0 * q / sum_ if rising & (sum_ > 0.0) else ((p - root) / (2.0 * i) if (i < 0.0) & (not rising) else rest)
        able = (span > 0.0) & (c < math.inf) & ((i > 0.0) | (c < 0.0))
        turns = (d >= 0.0) & (p > 0.0) & (p < 2.0 * i * rest)
        inside = y < rest
        s = -a[TAU + k] * log_1p(-max(y, 0.0) if inside else 0.0)
        a[S + k] = s if inside else span
        a[CROSSES + k] = 1.0 if able & ((a[FORCED + k] > 0.0) | turns) else 0.0


@kernel(inline="always")
def _below_maxima(a, m):  # type: ignore[no-untyped-def]
    """Any time constants."""
    turning = 0
    for k in range(whole_vectors(m)):
        u, i, c, span = a[U + k], a[CURRENT + k], a[LEVEL + k], a[END + k] - a[POS + k]
        able = (span > 0.0) & (c < math.inf) & ((i > 0.0) | (c < 0.0))
        forced = able & (a[FORCED + k] > 0.0)
        turns = able & (a[END_I + k] <= a[END_U + k]) & (i > u)
        a[CROSSES + k] = 1.0 if forced else (0.5 if turns else 0.0)
        a[HIGH + k] = span
        turning += 1 if turns & (not forced) & (k < m) else 0
    if turning > 0:
        for k in range(whole_vectors(m)):
            u, i, span = a[U + k], a[CURRENT + k], a[HIGH + k]
            top = peak_after(u, i, a[TAU + k], a[RATE_M + k], a[RATE_S + k])
            turns = a[CROSSES + k] == 0.5
            inside = turns & (top > 0.0) & (top < span)
            top = top if inside else 0.0
            e_m, _, g = respond(top, a[RATE_M + k], a[RATE_S + k])
            reaches = inside & (e_m * u + g * i >= a[LEVEL + k])
            a[HIGH + k] = top if inside else span
            a[CROSSES + k] = (1.0 if reaches else 0.0) if turns else a[CROSSES + k]


@kernel(inline="always")
def search_crossings(a, m):  # type: ignore[no-untyped-def]
    """How long after ``POS`` each neuron crosses, to row ``S``; within ``HIGH``, and known to exist. Any time constants."""
    whole, settled, step = whole_vectors(m), 0, 0
    for k in range(whole):
        a[S + k] = first_guess(a[U + k], a[CURRENT + k], a[LEVEL + k], a[TAU + k], a[RATIO + k], a[HIGH + k])
        a[LOW + k], a[SETTLED + k] = 0.0, 0.0 if k < m else 1.0
    while settled < whole and step < STEPS:
        step, settled = step + 1, 0
        for k in range(whole):
            s, lo, hi, done = halley(
                a[S + k], a[LOW + k], a[HIGH + k], a[U + k], a[CURRENT + k], a[LEVEL + k], a[TAU + k], a[RATE_M + k],
                a[RATE_S + k], a[RATIO + k],
            )  # fmt: skip
            before = a[SETTLED + k] > 0.0
            a[S + k] = a[S + k] if before else s
            a[LOW + k], a[HIGH + k] = lo, hi
            a[SETTLED + k] = 1.0 if done | before else 0.0
            settled += 1 if done | before else 0
    if settled < whole:
        for k in range(m):
            s, lo, hi, done, step = a[S + k], a[LOW + k], a[HIGH + k], a[SETTLED + k] > 0.0, STEPS
            while not done and step < MAX_ITERATIONS:
                s, lo, hi, done = halley(
                    s, lo, hi, a[U + k], a[CURRENT + k], a[LEVEL + k], a[TAU + k], a[RATE_M + k], a[RATE_S + k],
                    a[RATIO + k],
                )  # fmt: skip
                step += 1
            a[S + k] = s


@kernel(inline="always")
def round_times(a, m, like):  # type: ignore[no-untyped-def]
    """Spike times (s, rounded to the layer's dtype) to row ``HIGH``: after ``POS``, not after ``END``."""
    real, early = like.dtype.type, 0
    for k in range(whole_vectors(m)):
        t = np.float64(min(real(a[POS + k] + a[S + k]), real(a[END + k])))
        early += 1 if (t <= a[POS + k]) & (k < m) else 0
        a[HIGH + k] = t
    if early > 0:  # never on or before the event that caused it
        for k in range(m):
            if a[HIGH + k] <= a[POS + k]:
                a[HIGH + k] = np.float64(min(np.nextafter(real(a[HIGH + k]), real(np.inf)), real(a[END + k])))


@kernel(inline="always")
def go_to_spikes(kind, a, m):  # type: ignore[no-untyped-def]
    """Every neuron to its spike at ``HIGH``, just before the reset."""
    for k in range(whole_vectors(m)):
        a[S + k] = a[HIGH + k] - a[POS + k]
    _respond(kind, a, m)
    for k in range(whole_vectors(m)):
        u, i = a[U + k], a[CURRENT + k]
        a[POS + k], a[U + k], a[CURRENT + k] = a[HIGH + k], a[E_M + k] * u + a[G + k] * i, a[E_S + k] * i


@kernel(inline="always")
def look_to_ends(kind, a, m, like):  # type: ignore[no-untyped-def]
    """States at the ends of the intervals, and whether they force a spike."""
    real = like.dtype.type
    for k in range(whole_vectors(m)):
        a[S + k] = a[END + k] - a[POS + k]
    _respond(kind, a, m)
    for k in range(whole_vectors(m)):
        u, i = a[U + k], a[CURRENT + k]
        u_end = a[E_M + k] * u + a[G + k] * i
        a[END_U + k], a[END_I + k], a[OUTSIDE + k] = u_end, a[E_S + k] * i, 1.0
        a[FORCED + k] = 1.0 if real(u_end) >= real(a[LEVEL + k]) else 0.0
