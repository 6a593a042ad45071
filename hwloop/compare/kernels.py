"""Numba kernels over flat spike trains; each has a slow twin in :mod:`.reference`, which is its specification.

All take trains in the layout of :class:`.flat_trains.Trains` (times in s, start offsets) and write into arrays that
the caller made. No allocation grows with the number of trains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from .flat_trains import Floats, Ints

_F = TypeVar("_F", bound=Callable[..., Any])

_PAIR, _MISSING, _EXTRA = np.uint8(0), np.uint8(1), np.uint8(2)


def _kernel(function: _F) -> _F:
    # Numba's decorator carries no types; this one keeps the function's own
    return cast(_F, numba.njit(cache=True, nogil=True)(function))


@_kernel
def align(ts: Floats, ps: Ints, tm: Floats, pm: Ints, rate: float, partner: Ints, cost: Floats) -> None:
    """Cheapest order-preserving alignment of each train pair; see :func:`.reference.align`.

    Writes ``partner [events of ts]`` (index into ``tm``, -1 where unpaired) and ``cost [trains]``. Events farther
    than ``2 / rate`` from their neighbours cannot be paired across that gap, so each cluster is solved alone:
    time and memory go with the square of the events in a cluster, not in a train.
    """
    reach = 2.0 / rate if rate > 0 else np.inf
    choice = np.empty(64, np.uint8)
    above = np.empty(8, np.float64)
    for k in range(len(ps) - 1):
        i, i_end, j, j_end = ps[k], ps[k + 1], pm[k], pm[k + 1]
        total = 0.0
        while i < i_end or j < j_end:
            i0, j0 = i, j
            last = min(ts[i] if i < i_end else np.inf, tm[j] if j < j_end else np.inf)
            while True:  # extend the cluster while the next event of either train is within reach
                if i < i_end and ts[i] - last <= reach and (j >= j_end or ts[i] <= tm[j]):
                    last = ts[i]
                    i += 1
                elif j < j_end and tm[j] - last <= reach:
                    last = tm[j]
                    j += 1
                else:
                    break
            n, m = i - i0, j - j0
            if n == 0 or m == 0:
                total += n + m
            elif n == 1 and m == 1:
                total += rate * abs(ts[i0] - tm[j0])
                partner[i0] = j0
            else:
                if len(choice) < (n + 1) * (m + 1):
                    choice = np.empty(2 * (n + 1) * (m + 1), np.uint8)
                if len(above) < m + 1:
                    above = np.empty(2 * (m + 1), np.float64)
                total += _align_cluster(ts, tm, i0, n, j0, m, rate, partner, choice, above)
        cost[k] = total


@_kernel
def _align_cluster(
    ts: Floats, tm: Floats, i0: int, n: int, j0: int, m: int, rate: float, partner: Ints, choice: Any, above: Floats
) -> float:
    width = m + 1
    for j in range(width):
        above[j] = j
        choice[j] = _EXTRA
    for i in range(1, n + 1):
        diagonal = above[0]
        above[0] = i
        choice[i * width] = _MISSING
        for j in range(1, width):
            pair = diagonal + rate * abs(ts[i0 + i - 1] - tm[j0 + j - 1])
            missing, extra = above[j] + 1.0, above[j - 1] + 1.0
            diagonal = above[j]
            if pair <= missing and pair <= extra:
                above[j], choice[i * width + j] = pair, _PAIR
            elif missing <= extra:
                above[j], choice[i * width + j] = missing, _MISSING
            else:
                above[j], choice[i * width + j] = extra, _EXTRA
    result: float = above[m]
    i, j = n, m
    while i > 0 or j > 0:
        step = choice[i * width + j]
        if step == _PAIR:
            i, j = i - 1, j - 1
            partner[i0 + i] = j0 + j
        elif step == _MISSING:
            i -= 1
        else:
            j -= 1
    return result


@_kernel
def van_rossum(ts: Floats, ps: Ints, tm: Floats, pm: Ints, tau: float, squared: Floats) -> None:
    """Squared van Rossum distance of each train pair, textbook normalisation; O(events).

    The difference of the two filtered trains is one exponential that jumps by +-1; the integral of its square
    between events is closed. A sum of terms >= 0: equal trains give exactly 0, and nothing cancels.
    """
    for k in range(len(ps) - 1):
        i, i_end, j, j_end = ps[k], ps[k + 1], pm[k], pm[k + 1]
        trace, now, total = 0.0, 0.0, 0.0
        while i < i_end or j < j_end:
            ours = j >= j_end or (i < i_end and ts[i] <= tm[j])
            t = ts[i] if ours else tm[j]
            if trace != 0.0:
                passed = (t - now) / tau
                total -= 0.5 * trace * trace * np.expm1(-2.0 * passed)
                trace *= np.exp(-passed)
            if ours:
                trace += 1.0
                i += 1
            else:
                trace -= 1.0
                j += 1
            now = t
        squared[k] = total + 0.5 * trace * trace


@_kernel
def _pad(t: Floats, first: int, last: int, t_stop: float, out: Floats) -> int:
    """Spikes ``t[first:last]`` between their auxiliary spikes; returns how many entries of ``out`` are used."""
    n = last - first
    if n == 0:
        out[0], out[1], out[2], out[3] = -t_stop, 0.0, t_stop, 2.0 * t_stop
        return 4
    for i in range(n):
        out[i + 1] = t[first + i]
    out[0] = min(0.0, 2.0 * out[1] - out[2]) if n > 1 else 0.0
    out[n + 1] = max(t_stop, 2.0 * out[n] - out[n - 1]) if n > 1 else t_stop
    return n + 2


@_kernel
def _nearest(a: Floats, n: int, b: Floats, m: int, out: Floats) -> None:
    """``out[i]``: distance of spike ``a[i]`` to the nearest of ``b``; an auxiliary spike takes its neighbour's."""
    j = 0
    for i in range(1, n - 1):
        while j + 1 < m and abs(b[j + 1] - a[i]) <= abs(b[j] - a[i]):
            j += 1
        out[i] = abs(b[j] - a[i])
    out[0], out[n - 1] = out[1], out[n - 2]


@_kernel
def isi_and_spike(ts: Floats, ps: Ints, tm: Floats, pm: Ints, t_stop: float, isi: Floats, spike: Floats) -> None:
    """ISI distance and SPIKE distance of each train pair over ``[0, t_stop]``; see :mod:`.reference`.

    Both profiles are linear between events, so the midpoint rule is exact.
    """
    size = 4
    for k in range(len(ps) - 1):
        size = max(size, ps[k + 1] - ps[k] + 2, pm[k + 1] - pm[k] + 2)
    a, b, da, db = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    for k in range(len(ps) - 1):
        isi[k], spike[k] = 0.0, 0.0
        if ps[k] == ps[k + 1] and pm[k] == pm[k + 1]:
            continue
        n, m = _pad(ts, ps[k], ps[k + 1], t_stop, a), _pad(tm, pm[k], pm[k + 1], t_stop, b)
        _nearest(a, n, b, m, da)
        _nearest(b, m, a, n, db)
        i, j, t = 0, 0, 0.0
        while t < t_stop:
            while i + 2 < n and a[i + 1] <= t:
                i += 1
            while j + 2 < m and b[j + 1] <= t:
                j += 1
            end = min(a[i + 1], b[j + 1], t_stop)
            x, y, middle = a[i + 1] - a[i], b[j + 1] - b[j], 0.5 * (t + end)
            s_a = (da[i] * (a[i + 1] - middle) + da[i + 1] * (middle - a[i])) / x
            s_b = (db[j] * (b[j + 1] - middle) + db[j + 1] * (middle - b[j])) / y
            isi[k] += (end - t) * abs(x - y) / max(x, y)
            spike[k] += (end - t) * (s_a * y + s_b * x) / (0.5 * (x + y) ** 2)
            t = end
        isi[k] /= t_stop
        spike[k] /= t_stop
