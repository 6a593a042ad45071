"""Membranes that do not spike: carried from event to event, read at given times, and the adjoint of that; float64.

Membranes are measured from their asymptote. Between two stops, as everywhere (:mod:`..kernels.exponentials`),

    u <- e_m u + g i ,   i <- e_s i ;

an arrival of weight w adds w to i, or to u where it moves the membrane itself (``jump``). An arrival at the time of a
reading is felt by it, one at ``t_stop`` or later by none.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compile_kernel import kernel
from ..kernels.exponentials import respond
from ..kernels.neuron import response_and_derivatives


class Cells(NamedTuple):
    """Leaky integrators: ``weight [n_in, n]``, ``tau_mem, tau_syn, start [n]`` (s, s, membrane at time 0), all float64."""

    weight: Any
    tau_mem: Any
    tau_syn: Any
    start: Any
    jump: bool


class Arrivals(NamedTuple):
    """Input events ``[batch, events]`` in order of time: times (s), units, and how many ``[batch]``."""

    times: Any
    units: Any
    counts: Any


class Gradients(NamedTuple):
    """What is added to: of the ``weight [n_in, n]``, of arrivals' ``times [batch, events]``, of ``cells [3, n]`` (tau_mem,
    tau_syn, start).
    """

    weight: Any
    times: Any
    cells: Any


@kernel(inline="always")
def _carry(u, i, s, cells):  # type: ignore[no-untyped-def]
    """The state a time ``s`` later."""
    for j in range(u.shape[0]):
        e_m, e_s, g = respond(s, 1.0 / cells.tau_mem[j], 1.0 / cells.tau_syn[j])
        u_j, i_j = u[j], i[j]
        u[j], i[j] = e_m * u_j + g * i_j, e_s * i_j


@kernel(allocates=True)
def read_range(lo, hi, arrivals, cells, t_stop, at, u_at, i_at):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi``: membrane and current at the sorted times ``at [1 or batch, m]``, ``[batch, m, n]``."""
    n = cells.start.shape[0]
    _read(lo, hi, arrivals, cells, t_stop, at, u_at, i_at, (np.empty(n), np.empty(n)))


@kernel()
def _read(lo, hi, arrivals, cells, t_stop, at, u_at, i_at, space):  # type: ignore[no-untyped-def]
    (t_in, u_in, n_in), (u, i), n = arrivals, space, cells.start.shape[0]
    for b in range(lo, hi):
        row, e, now = b if at.shape[0] > 1 else 0, 0, 0.0
        for j in range(n):
            u[j], i[j] = cells.start[j], 0.0
        for k in range(at.shape[1]):
            while e < n_in[b] and t_in[b, e] <= at[row, k] and t_in[b, e] < t_stop:
                _carry(u, i, t_in[b, e] - now, cells)
                for j in range(n):
                    if cells.jump:
                        u[j] += cells.weight[u_in[b, e], j]
                    else:
                        i[j] += cells.weight[u_in[b, e], j]
                now = t_in[b, e]
                e += 1
            _carry(u, i, at[row, k] - now, cells)
            now = at[row, k]
            for j in range(n):
                u_at[b, k, j], i_at[b, k, j] = u[j], i[j]


@kernel(allocates=True)
def read_gradient_range(  # type: ignore[no-untyped-def]
    lo, hi, arrivals, cells, t_stop, at, grad_u, grad_i, d_at, out
):
    """Adjoint of :func:`read_range`: adds to ``d_at [batch, m]`` and to ``out``, :class:`Gradients`."""
    n, stops = cells.start.shape[0], arrivals[0].shape[1] + at.shape[1]
    states = np.empty((stops + 1, n)), np.empty((stops + 1, n))  # after each stop, before what arrives there
    space = *states, np.empty(stops), np.empty(stops, np.int64), np.empty(n), np.empty(n)
    _read_back(lo, hi, arrivals, cells, t_stop, at, (grad_u, grad_i), d_at, out, space)


@kernel()
def _read_back(lo, hi, arrivals, cells, t_stop, at, grads, d_at, out, space):  # type: ignore[no-untyped-def]
    (t_in, u_in, n_in), (grad_u, grad_i), n, m = arrivals, grads, cells.start.shape[0], at.shape[1]
    d_weight, d_times, d_cells = out
    u, i, span, what, a_u, a_i = space
    for b in range(lo, hi):
        row, e, now, x = b if at.shape[0] > 1 else 0, 0, 0.0, 0
        for j in range(n):
            u[0, j], i[0, j] = cells.start[j], 0.0
        for k in range(m):
            while True:
                arrives = e < n_in[b] and t_in[b, e] <= at[row, k] and t_in[b, e] < t_stop
                t = t_in[b, e] if arrives else at[row, k]
                span[x], what[x] = t - now, e if arrives else -1 - k
                for j in range(n):
                    u[x + 1, j], i[x + 1, j] = u[x, j], i[x, j]
                    if x > 0 and what[x - 1] >= 0:
                        w = cells.weight[u_in[b, what[x - 1]], j]
                        u[x + 1, j] += w if cells.jump else 0.0
                        i[x + 1, j] += 0.0 if cells.jump else w
                _carry(u[x + 1], i[x + 1], span[x], cells)
                x, now = x + 1, t
                if not arrives:
                    break
                e += 1
        for j in range(n):
            a_u[j], a_i[j] = 0.0, 0.0
        for stop in range(x - 1, -1, -1):
            total = 0.0
            for j in range(n):
                tm, ts = cells.tau_mem[j], cells.tau_syn[j]
                if what[stop] < 0:
                    k = -1 - what[stop]
                    up, up_i = grad_u[b, k, j], grad_i[b, k, j]
                    a_u[j] += up
                    a_i[j] += up_i
                    total += up * (i[stop + 1, j] - u[stop + 1, j]) / tm - up_i * i[stop + 1, j] / ts
                else:
                    w, unit = cells.weight[u_in[b, what[stop]], j], u_in[b, what[stop]]
                    if cells.jump:
                        d_weight[unit, j] += a_u[j]
                        total += w * a_u[j] / tm
                    else:
                        d_weight[unit, j] += a_i[j]
                        total += w * (a_i[j] / ts - a_u[j] / tm)
                u_0, i_0 = u[stop, j], i[stop, j]
                if stop > 0 and what[stop - 1] >= 0:
                    w = cells.weight[u_in[b, what[stop - 1]], j]
                    u_0 += w if cells.jump else 0.0
                    i_0 += 0.0 if cells.jump else w
                s = span[stop]
                e_m, e_s, g, g_m, g_s = response_and_derivatives(s, tm, ts)
                d_cells[0, j] += a_u[j] * (e_m * s / (tm * tm) * u_0 + g_m * i_0)
                d_cells[1, j] += (a_u[j] * g_s + a_i[j] * e_s * s / (ts * ts)) * i_0
                a_i[j], a_u[j] = e_s * a_i[j] + g * a_u[j], e_m * a_u[j]
            if what[stop] < 0:
                d_at[b, -1 - what[stop]] += total
            else:
                d_times[b, what[stop]] += total
        for j in range(n):
            d_cells[2, j] += a_u[j]


@kernel()
def jump_maximum_range(lo, hi, arrivals, cells, t_stop, value, when, upto):  # type: ignore[no-untyped-def]
    """Largest membrane of samples ``lo .. hi`` where arrivals move it; its time, and how many arrivals it has felt by then.

    Between arrivals it only tends to 0: the largest stands at the begin, just before an arrival, after it, or at the end.
    """
    t_in, u_in, n_in = arrivals
    for b in range(lo, hi):
        for j in range(cells.start.shape[0]):
            u, now, best, at, felt = cells.start[j], 0.0, cells.start[j], 0.0, 0
            for e in range(n_in[b] + 1):
                arrives = e < n_in[b] and t_in[b, e] < t_stop
                t = t_in[b, e] if arrives else t_stop
                u, now = u * math.exp(-(t - now) / cells.tau_mem[j]), t
                if u > best:
                    best, at, felt = u, t, e
                if not arrives:
                    break
                u += cells.weight[u_in[b, e], j]
                if u > best:
                    best, at, felt = u, t, e + 1
            value[b, j], when[b, j], upto[b, j] = best, at, felt


@kernel()
def jump_maximum_gradient_range(  # type: ignore[no-untyped-def]
    lo, hi, arrivals, cells, t_stop, when, upto, grad, out
):
    """Gradient of these maxima, added to ``out``. Each stands at the begin, at the end, or at an arrival, and moves with that."""
    t_in, u_in = arrivals.times, arrivals.units
    d_weight, d_times, d_cells = out
    for b in range(lo, hi):
        for j in range(cells.start.shape[0]):
            up, at, tm, felt = grad[b, j], when[b, j], cells.tau_mem[j], upto[b, j]
            if up == 0.0:
                continue
            left = math.exp(-at / tm)
            d_cells[2, j] += up * left
            d_cells[0, j] += up * cells.start[j] * left * at / (tm * tm)
            slope = -cells.start[j] * left / tm
            for e in range(felt):
                s, w = at - t_in[b, e], cells.weight[u_in[b, e], j]
                left = math.exp(-s / tm)
                d_weight[u_in[b, e], j] += up * left
                d_cells[0, j] += up * w * left * s / (tm * tm)
                if s > 0.0:  # arrivals at the maximum itself move with it
                    d_times[b, e] += up * w * left / tm
                    slope -= w * left / tm
            if at < t_stop and (at > 0.0 or felt > 0):
                if felt > 0 and t_in[b, felt - 1] == at:
                    d_times[b, felt - 1] += up * slope
                else:
                    d_times[b, felt] += up * slope
