"""Loops over recorded spikes: tables by neuron, and what many repeats agree on."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from hwloop.simulate.compile_kernel import kernel


class Predicted(NamedTuple):
    """Spikes of the model: ``times, gradient, bias [samples, n, room]`` (s, by the threshold, s), ``rows [samples, n, room, p + 1]``
    (by the shared coordinates and the own weight).
    """

    times: Any
    rows: Any
    gradient: Any
    bias: Any


class Seen(NamedTuple):
    """Spikes of the device: ``mean, support [samples, n, keep]``, ``agreed [samples, n]``, and how many ``repeats`` were run."""

    mean: Any
    support: Any
    agreed: Any
    repeats: int


class Sums(NamedTuple):
    """Normal equations: ``shared [n, p, p]``, ``right [n, p]``; by column ``cross [n, columns, p]``, ``own, own_right, cost, used,
    missing [n, columns]``.
    """

    shared: Any
    right: Any
    cross: Any
    own: Any
    own_right: Any
    cost: Any
    used: Any
    missing: Any


#: Repeats agree on a spike that lies within so many robust deviations of their median.
GATE = 6.0


@kernel()
def tabulate(times, units, counts, table, found):  # type: ignore[no-untyped-def]
    """Spikes ``[batch, events]`` into ``table [batch, n, room]`` in order, ``found [batch, n]`` counts them all."""
    room = table.shape[2]
    for b in range(times.shape[0]):
        for e in range(counts[b]):
            unit = units[b, e]
            k = found[b, unit]
            if k < room:
                table[b, unit, k] = times[b, e]
            found[b, unit] = k + 1


@kernel()
def tabulate_rows(rows, units, counts, found, table):  # type: ignore[no-untyped-def]
    """Rows ``[batch, events, p]`` into ``table [batch, n, room, p]``; ``found [batch, n]`` starts at 0."""
    room = table.shape[2]
    for b in range(rows.shape[0]):
        for e in range(counts[b]):
            unit = units[b, e]
            k = found[b, unit]
            if k < room:
                for x in range(rows.shape[2]):
                    table[b, unit, k, x] = rows[b, e, x]
            found[b, unit] = k + 1


@kernel(allocates=True)
def _median(values, n):  # type: ignore[no-untyped-def]
    ordered = np.sort(values[:n])
    return ordered[n // 2] if n % 2 else 0.5 * (ordered[n // 2 - 1] + ordered[n // 2])


@kernel(allocates=True)
def agree(times, found, least, resolution, mean, variance, support, agreed, extra):  # type: ignore[no-untyped-def]
    """What repeats agree on, by sample and neuron.

    ``times [repeats, samples, n, room]``, ``found [repeats, samples, n]``. The template has as many spikes as most
    repeats have, each at the median of those repeats; a repeat supports a template's spike with its nearest spike
    inside the gate. Spikes that fewer than ``least`` (a share) of the repeats support end the template: whether they
    occur depends on the noise. Written: ``mean, variance, support [samples, n, keep]``, ``agreed [samples, n]`` (length of the
    template), ``extra [n]`` (samples in which some repeat has more spikes than the template).
    """
    repeats, samples, n, room = times.shape
    keep = mean.shape[2]
    values, spread = np.empty(repeats), np.empty(repeats)
    template, gate = np.empty(room), np.empty(room)
    votes = np.zeros(room + 1, np.int64)
    for s in range(samples):
        for j in range(n):
            votes[:] = 0
            for r in range(repeats):
                votes[min(found[r, s, j], room)] += 1
            length = 0
            for k in range(room + 1):
                if votes[k] > votes[length]:
                    length = k
            for k in range(length):
                m = 0
                for r in range(repeats):
                    if min(found[r, s, j], room) == length:
                        values[m] = times[r, s, j, k]
                        m += 1
                template[k] = _median(values, m)
                for q in range(m):
                    spread[q] = abs(values[q] - template[k])
                gate[k] = GATE * (1.4826 * _median(spread, m) + resolution)
            for k in range(length):
                if k > 0:
                    gate[k] = min(gate[k], 0.5 * (template[k] - template[k - 1]))
                if k + 1 < length:
                    gate[k] = min(gate[k], 0.5 * (template[k + 1] - template[k]))
            stop = length
            for k in range(length):
                total, square, m = 0.0, 0.0, 0
                for r in range(repeats):
                    best = math.inf
                    for q in range(min(found[r, s, j], room)):
                        d = times[r, s, j, q] - template[k]
                        if abs(d) < abs(best):
                            best = d
                    if abs(best) <= gate[k]:
                        total += best
                        square += best * best
                        m += 1
                if m < min(least * repeats, repeats - 1.0) or m < 1:
                    stop = min(stop, k)
                if k < keep:
                    support[s, j, k] = m
                    if m > 0:
                        mean[s, j, k] = template[k] + total / m
                    if m > 1:
                        variance[s, j, k] = max(0.0, (square - total * total / m) / (m - 1))
            agreed[s, j] = stop
            beyond = False
            for r in range(repeats):
                beyond = beyond or (stop == length and found[r, s, j] > length)
            extra[j] += beyond


@kernel()
def pair(seen, n_seen, model, n_model, table, match):  # type: ignore[no-untyped-def]
    """``match[k]``: the model's spike that belongs to seen spike ``k``, -1 for none; in order, as many as can be, nearest.

    Equal numbers pair one by one. Otherwise the shorter train is laid into the longer one such that the sum of distances
    is least (dynamic programming): a spike that one of the two has beyond the other must not shift all that follow.
    """
    if n_seen == n_model:
        for k in range(n_seen):
            match[k] = k
        return
    for k in range(n_seen):
        match[k] = -1
    short = min(n_seen, n_model)
    long = max(n_seen, n_model)
    for i in range(short + 1):
        for j in range(long + 1):
            if i == 0:
                table[i, j] = 0.0
            elif j < i:
                table[i, j] = math.inf
            else:
                d = abs(seen[i - 1] - model[j - 1]) if n_seen < n_model else abs(seen[j - 1] - model[i - 1])
                table[i, j] = min(table[i, j - 1], table[i - 1, j - 1] + d)
    i, j = short, long
    while i > 0:
        if table[i, j] == table[i, j - 1]:
            j -= 1
        else:
            if n_seen < n_model:
                match[i - 1] = j - 1
            else:
                match[j - 1] = i - 1
            i, j = i - 1, j - 1


@kernel(allocates=True)
def accumulate(model, seen, place, driven, noise, huber, lacking, sums):  # type: ignore[no-untyped-def]
    """Normal equations of all neurons, added to ``sums``, from :class:`Predicted` and :class:`Seen` times.

    ``place [samples]``: column of a sample, ``driven [n, columns]``, ``noise``: variances of threshold, spike and rounding.
    Threshold noise is common to a sample's spikes: Sherman and Morrison's formula; a sample beyond ``huber`` deviations
    counts less (Huber 1964).
    """
    times, rows, gradient, bias = model
    mean, support, agreed, repeats = seen
    shared, right, cross, own, own_right, cost, used, missing = sums
    samples, n, room = times.shape
    keep = mean.shape[2]
    p = shared.shape[1]
    table, match = np.empty((room + 1, room + 1)), np.empty(room, np.int64)
    jg, jr = np.empty(p + 1), np.empty(p + 1)
    for s in range(samples):
        column = place[s]
        for j in range(n):
            if not driven[j, column]:
                continue
            count, least = 0, float(repeats)
            square, rg, gg = 0.0, 0.0, 0.0
            jg[:] = 0.0
            jr[:] = 0.0
            stop, present = min(agreed[s, j], keep), 0
            while present < room and not math.isnan(times[s, j, present]):
                present += 1
            # beyond what is looked at a seen train may go on: the model's further spikes belong there
            if stop == keep:
                present = min(present, keep)
            pair(mean[s, j], stop, times[s, j], present, table, match)
            for k in range(stop):
                m = match[k]
                if m < 0:
                    missing[j, column] += 1
                    cost[j, column] += lacking
                elif not math.isnan(bias[s, j, m]):
                    count += 1
                    least = min(least, support[s, j, k])
            if count == 0:
                continue
            d = noise[1] / least + noise[2]
            a = noise[0] / least
            for k in range(stop):
                m = match[k]
                if m < 0 or math.isnan(bias[s, j, m]):
                    continue
                r, g = mean[s, j, k] - times[s, j, m] - bias[s, j, m], gradient[s, j, m]
                square += r * r / d
                rg += r * g / d
                gg += g * g / d
                for x in range(p + 1):
                    jg[x] += rows[s, j, m, x] * g / d
                    jr[x] += rows[s, j, m, x] * r / d
            common = a / (1.0 + a * gg)
            square = max(0.0, square - common * rg * rg)
            off = math.sqrt(square / count)
            w = huber / off if off > huber else 1.0
            cost[j, column] += count * huber * (2.0 * off - huber) if off > huber else square
            used[j, column] += count
            for x in range(p + 1):
                for y in range(x + 1):
                    value = -common * jg[x] * jg[y]
                    for k in range(stop):
                        m = match[k]
                        if m >= 0 and not math.isnan(bias[s, j, m]):
                            value += rows[s, j, m, x] * rows[s, j, m, y] / d
                    value *= w
                    if x < p:
                        shared[j, x, y] += value
                        if x != y:
                            shared[j, y, x] += value
                    elif y < p:
                        cross[j, column, y] += value
                    else:
                        own[j, column] += value
                force = w * (jr[x] - common * rg * jg[x])
                if x < p:
                    right[j, x] += force
                else:
                    own_right[j, column] += force
