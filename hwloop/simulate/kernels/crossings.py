"""The neurons of a layer that may spike in an interval, followed together through it.

By itself a neuron is a chain of operations of which each waits for the one before. Here all take each step together, as
vector instructions: one round finds the next spike of each, and leaves those that may spike again. No lane sees another:
a neuron's spikes do not depend on which others are followed with it, and replay, which takes the same steps with the same
arithmetic, gets equal bits.

Inlined where they are called, so that the compiler knows which form of the neuron each call is for.
"""

from __future__ import annotations

import math

import numpy as np

from ..compile_kernel import kernel
from .exponentials import decay, log_1p, respond, respond_2
from .legs import WIDTH, whole_vectors
from .neuron import MAX_ITERATIONS, RATIO_2, first_guess, halley, peak_after

#: Steps of the search that all take together; a neuron that has not settled then goes on alone.
STEPS = 4

#: Rows of the table, ``WIDTH`` apart: membrane, current, threshold, where the neuron stands in the interval (s), the search's
#: place and end (s after that); time constant of the membrane, both rates, ratio of the time constants; state at the end of
#: the interval, whether that forces a spike, whether the neuron has left the common update; end of its refractory time
#: (-inf: none); and for one round: whether it crosses, begin of the search, whether it has settled, factors of a response.
U, CURRENT, LEVEL, POS, S, HIGH, TAU, RATE_M, RATE_S, RATIO = (WIDTH * row for row in range(10))
END_U, END_I, FORCED, OUTSIDE, UNTIL, CROSSES, LOW, SETTLED, E_M, E_S, G = (WIDTH * row for row in range(10, 21))
ROWS = 21
#: Rows that a neuron takes along when others before it have left: those that spike (less their constants, where all share
#: them), and those that a refractory time held back.
SHARED, SPIKING, RELEASED = 6, 10, 14


@kernel(inline="always")
def respond_there(kind, a, m):  # type: ignore[no-untyped-def]
    """Factors ``E_M, E_S, G`` of the spans in row ``S``."""
    if kind is RATIO_2:
        for k in range(whole_vectors(m)):
            a[E_M + k], a[E_S + k], a[G + k] = respond_2(a[S + k], a[RATE_M + k])
    else:
        for k in range(whole_vectors(m)):
            a[E_M + k], a[E_S + k], a[G + k] = respond(a[S + k], a[RATE_M + k], a[RATE_S + k])


@kernel(inline="always")
def wait_there(kind, a, m, end):  # type: ignore[no-untyped-def]
    """Refractory neurons to the end of that time, or of the interval: their currents fade, their membranes stand still."""
    whole = whole_vectors(m)
    for k in range(whole):
        a[S + k] = max(min(a[UNTIL + k], end) - a[POS + k], 0.0)
    respond_there(kind, a, m)
    for k in range(whole):
        a[CURRENT + k], a[POS + k] = a[E_S + k] * a[CURRENT + k], max(a[POS + k], min(a[UNTIL + k], end))


@kernel(inline="always")
def find_crossings(kind, a, m, end, outside):  # type: ignore[no-untyped-def]
    """To row ``CROSSES`` whether each neuron reaches its threshold before ``end``; to ``HIGH`` how long to search for it.

    Decided by the sign of ``u - c`` at the end of the interval (``FORCED``: rounding must not lose that spike), or at the
    maximum inside it, of which there is one at most. Without input the membrane only tends to 0. ``outside``: all states
    at the end are those of :func:`arrive_there`.
    """
    if kind is RATIO_2:
        _find_in_quadratics(a, m, end, outside)
    else:
        _find_below_maxima(a, m, end)


@kernel(inline="always")
def _find_in_quadratics(a, m, end, outside):  # type: ignore[no-untyped-def]
    """``tau_mem = 2 tau_syn``: also how long after ``POS`` each crosses, to row ``S``, in closed form.

    With ``y = 1 - e^(-s/tau_mem)``: ``u(s) = u0 + p y - i0 y^2``, ``p = i0 - u0``; a quadratic in ``y`` whose small
    root has no cancellation: ``y = 2 q / (p + sqrt(p^2 - 4 i0 q))``, ``q = c - u0 > 0``.
    """
    some, whole = 0, whole_vectors(m)
    for k in range(whole):
        able = (end > a[POS + k]) & (a[LEVEL + k] < math.inf) & ((a[CURRENT + k] > 0.0) | (a[LEVEL + k] < 0.0))
        may = able & ((a[FORCED + k] > 0.0) | (not outside) | (a[END_I + k] <= a[END_U + k]))
        a[CROSSES + k] = 1.0 if may else 0.0
        some += 1 if may & (k < m) else 0
    if some > 0:
        _solve_quadratics(a, whole, end)


@kernel(inline="always")
def _solve_quadratics(a, whole, end):  # type: ignore[no-untyped-def]
    for k in range(whole):
        u, i, c, span = a[U + k], a[CURRENT + k], a[LEVEL + k], end - a[POS + k]
        rest, _ = decay(span * a[RATE_M + k])
        q, p = c - u, i - u
        d = p * p - 4.0 * i * q
        root = math.sqrt(max(d, 0.0))
        rising, sum_ = p >= 0.0, p + root
        y = 2.0 * q / sum_ if rising & (sum_ > 0.0) else ((p - root) / (2.0 * i) if (i < 0.0) & (not rising) else rest)
        turns = (d >= 0.0) & (p > 0.0) & (p < 2.0 * i * rest)
        inside = y < rest
        s = -a[TAU + k] * log_1p(-max(y, 0.0) if inside else 0.0)
        a[S + k] = s if inside else span
        a[CROSSES + k] = a[CROSSES + k] if (a[FORCED + k] > 0.0) | turns else 0.0


@kernel(inline="always")
def _find_below_maxima(a, m, end):  # type: ignore[no-untyped-def]
    """Any time constants."""
    turning, whole = 0, whole_vectors(m)
    for k in range(whole):
        u, i, c, span = a[U + k], a[CURRENT + k], a[LEVEL + k], end - a[POS + k]
        able = (span > 0.0) & (c < math.inf) & ((i > 0.0) | (c < 0.0))
        forced = able & (a[FORCED + k] > 0.0)
        turns = able & (a[END_I + k] <= a[END_U + k]) & (i > u)
        a[CROSSES + k] = 1.0 if forced else (0.5 if turns else 0.0)
        a[HIGH + k] = span
        turning += 1 if turns & (not forced) & (k < m) else 0
    if turning > 0:
        for k in range(whole):
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
def spike_there(kind, a, m, t_next, like):  # type: ignore[no-untyped-def]
    """Spike times (s, rounded to the layer's dtype) to row ``POS``, and states just before the reset."""
    real, early, whole = like.dtype.type, 0, whole_vectors(m)
    for k in range(whole):
        pos = a[POS + k]
        t = np.float64(min(real(pos + a[S + k]), t_next))
        early += 1 if (t <= pos) & (k < m) else 0
        a[HIGH + k], a[S + k] = t, t - pos
    if early > 0:  # never on or before the event that caused it
        for k in range(m):
            if a[HIGH + k] <= a[POS + k]:
                t = np.float64(min(np.nextafter(real(a[HIGH + k]), real(np.inf)), t_next))
                a[HIGH + k], a[S + k] = t, t - a[POS + k]
    respond_there(kind, a, m)
    for k in range(whole):
        u, i = a[U + k], a[CURRENT + k]
        a[POS + k], a[U + k], a[CURRENT + k] = a[HIGH + k], a[E_M + k] * u + a[G + k] * i, a[E_S + k] * i


@kernel(inline="always")
def arrive_there(kind, a, m, end, like):  # type: ignore[no-untyped-def]
    """States at the end of the interval of the neurons that have left the common update, and whether they force a spike."""
    real, whole = like.dtype.type, whole_vectors(m)
    for k in range(whole):
        a[S + k] = end - a[POS + k]
    respond_there(kind, a, m)
    for k in range(whole):
        u, i, left = a[U + k], a[CURRENT + k], a[OUTSIDE + k] > 0.0
        u_end = a[E_M + k] * u + a[G + k] * i
        a[END_U + k] = u_end if left else a[END_U + k]
        a[END_I + k] = a[E_S + k] * i if left else a[END_I + k]
        forced = 1.0 if real(u_end) >= real(a[LEVEL + k]) else 0.0
        a[FORCED + k] = forced if left else a[FORCED + k]
