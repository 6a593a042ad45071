"""Passes over the events of one chip's run; what each has to do, bit for bit, the chains of the tests say.

See :mod:`.trains`, which calls them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hwloop.simulate.compile_kernel import kernel

#: Events that insertion sorts before runs of them are merged: trains leave a jitter nearly sorted.
RUN = 32


@kernel()
def thresholds(
    noise: Any, sigma: float, v_th: Any, swing: Any, v_leak: Any, v_reset: Any, share: float, out: Any
) -> Any:
    """Thresholds ``out [batch, lanes]`` above ``v_leak`` with noise ``sigma * noise`` (swing), inf in lanes beyond ``[n]``.

    At least ``share`` of a swing above reset. Returns whether all are finite and above reset, and whether any reaches
    down to ``v_leak``.
    """
    real = v_th.dtype.type
    n, k, allowed, low = len(v_th), 0, True, False
    for b in range(out.shape[0]):
        for j in range(n):
            moved = max(v_th[j] + swing[j] * real(sigma * noise[k]), v_reset[j] + real(share) * swing[j])
            allowed &= math.isfinite(moved) and moved > v_reset[j]
            level = moved - v_leak[j]
            low |= level <= 0
            out[b, j] = level
            k += 1
        for j in range(n, out.shape[1]):
            out[b, j] = np.inf
    return allowed, low


@kernel(allocates=True)
def jitter(times: Any, units: Any, counts: Any, noise: Any, sigma: float, t_stop: float, out: Any, to: Any) -> None:
    """Events moved by ``sigma * noise`` (s) within ``0..t_stop``, in order of time, to ``out, to [batch, width]``.

    ``noise`` has one draw an event and none for padding.
    """
    real = times.dtype.type
    last, k = real(t_stop), 0
    spare, other = np.empty(out.shape[1], times.dtype), np.empty(out.shape[1], np.int64)
    for b in range(out.shape[0]):
        row, place, n = out[b], to[b], counts[b]
        for e in range(n):
            t, u = min(max(times[b, e] + real(sigma * noise[k]), real(0.0)), last), units[b, e]
            k += 1
            slot = e
            while slot % RUN > 0 and row[slot - 1] > t:
                row[slot], place[slot] = row[slot - 1], place[slot - 1]
                slot -= 1
            row[slot], place[slot] = t, u
        width = RUN
        while width < n:
            for begin in range(0, n - width, 2 * width):
                _merge(row, place, spare, other, begin, begin + width, min(begin + 2 * width, n))
            width *= 2
        for e in range(n, out.shape[1]):
            row[e], place[e] = np.inf, 0


@kernel()
def _merge(row: Any, place: Any, spare: Any, other: Any, begin: int, middle: int, end: int) -> None:
    """Merge two sorted runs, of equal times those of the first run first."""
    if row[middle - 1] <= row[middle]:
        return
    for e in range(begin, middle):
        spare[e], other[e] = row[e], place[e]
    a, b, slot = begin, middle, begin
    while a < middle:
        if b < end and row[b] < spare[a]:
            row[slot], place[slot] = row[b], place[b]
            b += 1
        else:
            row[slot], place[slot] = spare[a], other[a]
            a += 1
        slot += 1


@kernel()
def read_out(
    events: Any, draws: Any, probability: float, latency: float, tick: float, t_stop: float, handed: Any
) -> Any:
    """What the read-out hands on of ``events`` (times, units, counts); how many were lost and late.

    It goes to ``handed``: times and units ``[batch, width]``, and counts ``[batch]``.

    Each event is lost where its draw is below ``probability`` (0: no draws), else stamped later by ``latency`` (s) and
    rounded down to ``tick`` (s; 0: none); it is late where the stamp lies after ``t_stop``. Third comes the latest stamp.
    """
    (times, units, counts), (out, to, left) = events, handed
    real = times.dtype.type
    last, step, shift = real(t_stop), real(tick), real(latency)
    stamped, lost, late, k, latest = latency > 0 or tick > 0, 0, 0, 0, -np.inf
    for b in range(out.shape[0]):
        n = 0
        for e in range(counts[b]):
            if probability > 0:
                k += 1
                if draws[k - 1] < probability:
                    lost += 1
                    continue
            t = times[b, e]
            if stamped:
                t = t + shift
                if tick > 0:
                    t = np.floor(t / step) * step
                if t > last:
                    late += 1
                    continue
            out[b, n], to[b, n] = t, units[b, e]
            n += 1
        if n:
            latest = max(latest, np.float64(out[b, n - 1]))
        left[b] = n
        for e in range(n, out.shape[1]):
            out[b, e], to[b, e] = np.inf, 0
    return lost, late, latest


@kernel()
def rescale(times: Any, units: Any, counts: Any, factor: float, t_stop: float, out: Any, to: Any) -> None:
    """Events with times multiplied by ``factor`` to ``out, to [batch, width]``, padded; ``t_stop`` is the new window."""
    real = times.dtype.type
    last = real(t_stop)
    for b in range(out.shape[0]):
        for e in range(counts[b]):
            out[b, e] = times[b, e] if factor == 1.0 else min(times[b, e] * real(factor), last)
            to[b, e] = units[b, e]
        for e in range(counts[b], out.shape[1]):
            out[b, e], to[b, e] = np.inf, 0
