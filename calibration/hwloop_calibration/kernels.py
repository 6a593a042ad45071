"""Loops over recorded spikes: tables by neuron, and what many repeats agree on."""

from __future__ import annotations

import math

import numpy as np

from hwloop.simulate.kernel import kernel

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


@kernel()
def _median(values, n):  # type: ignore[no-untyped-def]
    ordered = np.sort(values[:n])
    return ordered[n // 2] if n % 2 else 0.5 * (ordered[n // 2 - 1] + ordered[n // 2])


@kernel()
def agree(times, found, least, resolution, mean, variance, support, agreed, extra):  # type: ignore[no-untyped-def]
    """What repeats agree on, by sample and neuron.

    ``times [repeats, samples, n, room]``, ``found [repeats, samples, n]``. The template has as many spikes as most
    repeats have, each at the median of those repeats; a repeat supports a template's spike with its nearest spike
    inside the gate. Spikes that fewer than ``least`` (a share) of the repeats support end the template: whether they
    occur depends on the noise. Written: ``mean, variance, support [samples, n, keep]``, ``agreed [samples, n]`` (length of the
    template), ``extra [n]`` (spikes of repeats that support nothing, beyond the template's own end not counted).
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
            for r in range(repeats):
                if stop == length and found[r, s, j] > length:
                    extra[j] += found[r, s, j] - length


@kernel()
def accumulate(  # type: ignore[no-untyped-def]
    times, rows, gradient, mean, support, agreed, repeats, bias, place, driven, noise, huber, lacking,
    shared, right, cross, own, own_right, cost, used, missing,
):  # fmt: skip
    """Normal equations of all neurons, from predicted and seen times.

    ``times, gradient, mean, support, bias [samples, n, k]``, ``rows [samples, n, k, p + 1]`` (shared coordinates, own
    weight), ``agreed [samples, n]``, ``place [samples]``: column of a sample, ``driven [n, columns]``, ``noise``: variances
    of threshold, spike and rounding. Added to: ``shared [n, p, p]``, ``right [n, p]``; by column ``cross [n, columns, p]``,
    ``own, own_right, cost, used, missing [n, columns]``. Threshold noise is common to a sample's spikes: Sherman and
    Morrison's formula; a sample beyond ``huber`` deviations counts less (Huber 1964).
    """
    samples, n, keep = times.shape
    p = shared.shape[1]
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
            stop = min(agreed[s, j], keep)
            for k in range(stop):
                if math.isnan(times[s, j, k]):
                    missing[j, column] += 1
                    cost[j, column] += lacking
                elif not math.isnan(bias[s, j, k]):
                    count += 1
                    least = min(least, support[s, j, k])
            if count == 0:
                continue
            d = noise[1] / least + noise[2]
            a = noise[0] / least
            for k in range(stop):
                if math.isnan(times[s, j, k]) or math.isnan(bias[s, j, k]):
                    continue
                r, g = mean[s, j, k] - times[s, j, k] - bias[s, j, k], gradient[s, j, k]
                square += r * r / d
                rg += r * g / d
                gg += g * g / d
                for x in range(p + 1):
                    jg[x] += rows[s, j, k, x] * g / d
                    jr[x] += rows[s, j, k, x] * r / d
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
                        if not (math.isnan(times[s, j, k]) or math.isnan(bias[s, j, k])):
                            value += rows[s, j, k, x] * rows[s, j, k, y] / d
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
