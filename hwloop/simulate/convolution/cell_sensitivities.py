"""Derivatives of the spike times of a convolution with respect to its neurons' parameters: :mod:`..kernels.sensitivities`, cell by cell.

Forward sensitivities ``S_x = du/dx``, neuron by neuron, for ``x`` in tau_mem, tau_syn, threshold, reset, t_ref and the
membrane at time 0.
"""

from __future__ import annotations

import math

import numpy as np

from ..compile_kernel import kernel
from ..kernels.adjoint import inverse_slope
from ..kernels.neuron import response_and_derivatives
from .cell_lanes import LANES
from .cell_lists import chain_spikes, most_synapses, sort_to_cells

#: Columns of the result.
TAU_MEM, TAU_SYN, THRESHOLD, RESET, T_REF, START = range(6)
COLUMNS = 6

#: Places in the state of a neuron, after the sensitivities: membrane, current, and the current's derivative by tau_syn.
MEMBRANE, CURRENT, D_CURRENT = range(COLUMNS, COLUMNS + 3)


@kernel()
def _carry(state, s, tau_mem, tau_syn, moves):  # type: ignore[no-untyped-def]
    """The state a time ``s`` later; ``moves`` is false while refractory."""
    e_m, e_s, g, g_m, g_s = response_and_derivatives(s, tau_mem, tau_syn)
    u, i, d_i = state[MEMBRANE], state[CURRENT], state[D_CURRENT]
    if moves:
        for x in range(COLUMNS):
            state[x] *= e_m
        state[TAU_MEM] += e_m * s / (tau_mem * tau_mem) * u + g_m * i
        state[TAU_SYN] += g_s * i + g * d_i
        state[MEMBRANE] = e_m * u + g * i
    state[CURRENT] = e_s * i
    state[D_CURRENT] = e_s * d_i + e_s * s / (tau_syn * tau_syn) * i


@kernel()
def _pass_spike(state, total, grad, current, release_current, c, r, tau_mem, slope, subtract):  # type: ignore[no-untyped-def]
    """Add ``grad dT/dx`` to ``total`` and reset the sensitivities as of the release."""
    for x in range(COLUMNS):
        late = ((1.0 if x == THRESHOLD else 0.0) - state[x]) * tau_mem * slope
        total[x] += grad * late
        late += 1.0 if x == T_REF else 0.0
        state[x] = (1.0 if x == RESET else 0.0) - (release_current - r) / tau_mem * late
    state[MEMBRANE] = state[MEMBRANE] - (c - r) if subtract and current != -math.inf else r


@kernel(allocates=True)
def sensitivities_of_cells(lo, hi, wires, inputs, weight, neurons, found, grad, limits, total):  # type: ignore[no-untyped-def]
    """Samples ``lo .. hi``: adds ``sum dL/dT dT/dx`` of every neuron to ``total [neurons, COLUMNS]``.

    ``inputs`` as in :func:`~.cell_forward.forward_cells`; ``limits``, a plain tuple: share of the floor, whether it skips.
    """
    n, cells, room = total.shape[0], wires.groups * wires.positions, found.times.shape[1]
    most = most_synapses(wires, inputs[1][lo:hi], inputs[2][lo:hi])
    space = (
        (np.empty(cells + 1, np.int64), np.empty(most, np.int32), np.empty(most, np.int32)),
        (np.empty(n, np.int64), np.empty(n, np.int64), np.empty(room, np.int64), np.zeros(COLUMNS + 3)),
    )
    _accumulate(lo, hi, wires, inputs, weight, neurons, found, grad, (*limits, total), space)


@kernel()
def _accumulate(lo, hi, wires, inputs, weight, neurons, found, grad, rest, space):  # type: ignore[no-untyped-def]
    (t_in, u_in, n_in, t_stop), (floor, skip, total) = inputs, rest
    (first, event, tap), (head, tail, following, state) = space
    positions, blocks, n, end_time = wires.positions, neurons.blocks, total.shape[0], weight.dtype.type(t_stop)
    for b in range(lo, hi):
        sample = b if neurons.level.shape[0] > 1 else 0
        sort_to_cells(wires, t_in[b], u_in[b], n_in[b], end_time, first, event, tap)
        chain_spikes(found.units[b], found.counts[b], head, following, tail)
        for neuron in range(n):
            q, wanted = head[neuron], False
            while q >= 0 and not wanted:
                wanted = grad[b, q] != 0
                q = following[q]
            if not wanted:
                continue
            channel, p = neuron // positions, neuron % positions
            group, within = channel // wires.out_group, channel % wires.out_group
            cell, lane, of_group = group * positions + p, within % LANES, within // LANES
            row, block = (cell if neurons.apart else group) * blocks + of_group, group * blocks + of_group
            tm, ts = neurons.tau[row, lane], 1.0 / neurons.rate_syn[row, lane]
            c, r = np.float64(neurons.level[sample, row, lane]), neurons.reset[row, lane]
            state[:] = 0.0
            state[MEMBRANE], state[START] = neurons.start[row, lane], 1.0
            pos, free_from, e, q = 0.0, 0.0, first[cell], head[neuron]
            while q >= 0:
                t = np.float64(found.times[b, q])
                while True:
                    t_next, arrival = t, False
                    if e < first[cell + 1] and np.float64(t_in[b, event[e]]) < t:
                        t_next, arrival = np.float64(t_in[b, event[e]]), True
                    if pos < free_from and free_from < t_next:
                        _carry(state, free_from - pos, tm, ts, False)
                        pos = free_from
                    _carry(state, t_next - pos, tm, ts, pos >= free_from)
                    pos = t_next
                    if not arrival:
                        break
                    state[CURRENT] += np.float64(weight[block, tap[e], lane])
                    e += 1
                current = np.float64(found.current[b, q])
                slope = inverse_slope(current, c, r, floor, skip)
                _pass_spike(
                    state, total[neuron], np.float64(grad[b, q]), current, np.float64(found.release_current[b, q]), c, r,
                    tm, slope, neurons.subtract,
                )  # fmt: skip
                free_from = t + neurons.t_ref[row, lane]
                q = following[q]
