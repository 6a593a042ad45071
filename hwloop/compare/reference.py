"""Plain NumPy twins of the kernels, written from the definitions: the specification, for one train pair each.

Slow by intent; tests hold the kernels against them.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from .flat_trains import Floats


def align(a: Floats, b: Floats, rate: float) -> tuple[float, list[tuple[int, int]]]:
    """Cheapest order-preserving alignment: a pair costs ``rate * |dt|``, an unpaired spike 1.

    Returns the cost and the pairs ``(index in a, index in b)``. The cost is the Victor-Purpura distance with
    ``q = rate`` (Victor & Purpura, J Neurophysiol 76, 1996). Where costs are equal, a pair is preferred to two
    unpaired spikes, then an unpaired spike of ``a`` to one of ``b``, seen from the end of the trains.
    """
    cost = np.add.outer(np.arange(len(a) + 1.0), np.arange(len(b) + 1.0))
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            pair = cost[i - 1, j - 1] + rate * abs(a[i - 1] - b[j - 1])
            cost[i, j] = min(pair, cost[i - 1, j] + 1.0, cost[i, j - 1] + 1.0)
    pairs, i, j = [], len(a), len(b)
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + rate * abs(a[i - 1] - b[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + 1.0:
            i -= 1
        else:
            j -= 1
    return float(cost[len(a), len(b)]), pairs[::-1]


def van_rossum(a: Floats, b: Floats, tau: float) -> float:
    """Van Rossum's distance (Neural Computation 13, 2001) by its double sum, textbook normalisation.

    ``D^2 = 1/tau * integral (f - g)^2 dt`` with ``f = sum_i H(t - t_i) exp(-(t - t_i)/tau)``, which is
    ``1/2 sum_ij s_i s_j exp(-|t_i - t_j|/tau)`` over the spikes of both trains, ``s = +1`` in a and -1 in b.
    """
    times = np.concatenate([a, b])
    sign = np.concatenate([np.ones(len(a)), -np.ones(len(b))])
    overlap = np.exp(-np.abs(times[:, None] - times[None, :]) / tau)
    return math.sqrt(max(0.0, 0.5 * float(sign @ overlap @ sign)))


def isi_distance(a: Floats, b: Floats, t_stop: float) -> float:
    """ISI distance: time average of ``|x - y| / max(x, y)`` of the two current inter-spike intervals.

    Kreuz et al., J Neurosci Methods 165 (2007), with PySpike's edges: before the first spike the interval is
    the larger of the time since 0 and the first inter-spike interval, after the last one alike; a silent train has one
    interval ``[0, t_stop]``.
    """
    total = 0.0
    for left, right in _segments(a, b, t_stop):
        x, y = (float(np.diff(_around(t, 0.5 * (left + right), t_stop))[0]) for t in (a, b))
        total += (right - left) * abs(x - y) / max(x, y)
    return total / t_stop


def spike_distance(a: Floats, b: Floats, t_stop: float) -> float:
    """SPIKE distance: time average of the locally weighted distance to the nearest spikes of the other train.

    Kreuz et al., J Neurophysiol 109 (2013), eq. 19: ``S = (S_a y + S_b x) / ((x + y)^2 / 2)`` with inter-spike intervals x,
    y and ``S_a = (d_P x_F + d_F x_P) / x``, d the distance of the previous and the following spike to the nearest
    one of the other train. Edges as in PySpike: auxiliary spikes at the borders of the edge intervals (see
    :func:`isi_distance`) take the d of the outermost real spike, and count as neighbours of the other train's spikes.
    """
    total = 0.0
    for left, right in _segments(a, b, t_stop):
        middle = 0.5 * (left + right)  # S is linear within a segment
        (s_a, x), (s_b, y) = (_weighted(p, q, middle, t_stop) for p, q in ((a, b), (b, a)))
        total += (right - left) * (s_a * y + s_b * x) / (0.5 * (x + y) ** 2)
    return total / t_stop


def _segments(a: Floats, b: Floats, t_stop: float) -> list[tuple[float, float]]:
    edges = np.unique(np.clip(np.concatenate([a, b, [0.0, t_stop]]), 0.0, t_stop))
    return [(float(x), float(y)) for x, y in pairwise(edges)]


def _with_auxiliary(t: Floats, t_stop: float) -> Floats:
    t = t if len(t) else np.array([0.0, t_stop])
    first, last = (t[1] - t[0], t[-1] - t[-2]) if len(t) > 1 else (0.0, 0.0)
    return np.concatenate([[min(0.0, t[0] - first)], t, [max(t_stop, t[-1] + last)]])


def _around(t: Floats, now: float, t_stop: float) -> Floats:
    padded = _with_auxiliary(t, t_stop)
    return np.array([padded[padded <= now][-1], padded[padded > now][0]])


def _weighted(t: Floats, other: Floats, now: float, t_stop: float) -> tuple[float, float]:
    before, after = _around(t, now, t_stop)
    real = t if len(t) else np.array([0.0, t_stop])
    neighbours = _with_auxiliary(other, t_stop)
    d_before, d_after = (
        float(np.min(np.abs(neighbours - np.clip(edge, real[0], real[-1])))) for edge in (before, after)
    )
    interval = float(after - before)
    return (d_before * (after - now) + d_after * (now - before)) / interval, interval
