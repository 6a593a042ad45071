"""The specification of the readout in plain NumPy: sums over the arrivals, straight from the equations, in float64.

With ``a = v_leak + bias`` and ``k(s)`` what an arrival of weight one leaves after a time s,

    u(t) = a + (v_init - a) e^(-t/tau_mem) + sum_j w_j k(t - t_j) ,

``k = g`` of :mod:`..reference.neuron` where the arrival moves the current, ``k = e^(-s/tau_mem)`` where it moves the membrane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..contract import Events, FloatArray, Layer
from ..reference import layer as reference
from ..reference.neuron import response


@dataclass(frozen=True)
class Integrators:
    """Leaky integrators: ``weight [n_in, n]``, parameters ``[n]``; ``tau_syn`` is None where arrivals move the membrane."""

    weight: FloatArray
    tau_mem: FloatArray
    tau_syn: FloatArray | None
    v_leak: FloatArray
    v_init: FloatArray
    bias: FloatArray


def at(cells: Integrators, inputs: Events, t_stop: float, times: FloatArray) -> FloatArray:
    """Membranes at ``times [batch, m]``, ``[batch, m, n]``."""
    result = np.empty((*times.shape, len(cells.tau_mem)))
    for b, k, j in np.ndindex(result.shape):
        result[b, k, j] = _membrane(cells, inputs, t_stop, b, j, float(times[b, k]))
    return result


def integral(cells: Integrators, inputs: Events, t_stop: float) -> FloatArray:
    """Time integrals, ``[batch, n]``: the integral of every term of the sum."""
    result = np.empty((len(inputs.counts), len(cells.tau_mem)))
    for b, j in np.ndindex(result.shape):
        tm, rest = float(cells.tau_mem[j]), float(cells.v_leak[j] + cells.bias[j])
        total = rest * t_stop - (float(cells.v_init[j]) - rest) * tm * np.expm1(-t_stop / tm)
        for t, w in _arrivals(cells, inputs, t_stop, b, j):
            s = t_stop - t
            if cells.tau_syn is None:
                total -= w * tm * np.expm1(-s / tm)
            else:
                ts = float(cells.tau_syn[j])
                total -= w * (ts * np.expm1(-s / ts) + tm * response(s, tm, ts))
        result[b, j] = total
    return result


def fading_integral(cells: Integrators, inputs: Events, t_stop: float) -> FloatArray:
    """Time integrals of ``(1 - t / t_stop) u``, ``[batch, n]``: of every term k the integral of ``(s - x) k(x)`` over 0..s.

    Of ``e^(-x/tau)`` that is ``tau s - tau^2 (1 - e^(-s/tau))``. Of g, which ``tau_mem g' = -g + e^(-x/tau_syn)`` defines, it
    is the one of ``e^(-x/tau_syn)`` less ``tau_mem`` times the plain integral of g.
    """
    result = np.empty((len(inputs.counts), len(cells.tau_mem)))
    for b, j in np.ndindex(result.shape):
        tm, rest = float(cells.tau_mem[j]), float(cells.v_leak[j] + cells.bias[j])
        total = rest * t_stop**2 / 2 + (float(cells.v_init[j]) - rest) * _fading(t_stop, tm)
        for t, w in _arrivals(cells, inputs, t_stop, b, j):
            s = t_stop - t
            if cells.tau_syn is None:
                total += w * _fading(s, tm)
            else:
                ts = float(cells.tau_syn[j])
                total += w * (_fading(s, ts) + tm * (ts * np.expm1(-s / ts) + tm * response(s, tm, ts)))
        result[b, j] = total / t_stop
    return result


def _fading(s: float, tau: float) -> float:
    return float(tau * s + tau**2 * np.expm1(-s / tau))


def maximum(cells: Integrators, inputs: Events, t_stop: float) -> FloatArray:
    """Largest membranes over ``[0, t_stop]``, ``[batch, n]``."""
    rest, shape = cells.v_leak + cells.bias, (len(inputs.counts), len(cells.tau_mem))
    if cells.tau_syn is not None:
        none = np.zeros(shape[1])
        layer = Layer(cells.weight, cells.tau_mem, cells.tau_syn, none, none[None], none, cells.v_init - rest)
        return rest + reference.membrane_maximum(layer, inputs, t_stop, np.ones(shape, bool))[0]
    result = np.empty(shape)
    for b, j in np.ndindex(shape):
        times = [t for t, _ in _arrivals(cells, inputs, t_stop, b, j)]
        values = [_membrane(cells, inputs, t_stop, b, j, t, n) for n, t in enumerate(times)]
        values += [_membrane(cells, inputs, t_stop, b, j, t, n + 1) for n, t in enumerate(times)]
        result[b, j] = max(*values, float(cells.v_init[j]), _membrane(cells, inputs, t_stop, b, j, t_stop))
    return result


def _arrivals(cells: Integrators, inputs: Events, t_stop: float, b: int, j: int) -> list[tuple[float, float]]:
    n = int(np.searchsorted(inputs.times[b, : inputs.counts[b]], t_stop))
    return [
        (float(t), float(cells.weight[u, j])) for t, u in zip(inputs.times[b, :n], inputs.units[b, :n], strict=True)
    ]


def _membrane(
    cells: Integrators, inputs: Events, t_stop: float, b: int, j: int, t: float, felt: int | None = None
) -> float:
    """One membrane at ``t``, after the first ``felt`` arrivals, or all up to ``t``."""
    tm, rest = float(cells.tau_mem[j]), float(cells.v_leak[j] + cells.bias[j])
    u = rest + (float(cells.v_init[j]) - rest) * np.exp(-t / tm)
    for t_j, w in _arrivals(cells, inputs, t_stop, b, j)[:felt]:
        if t_j <= t:
            u += w * (
                np.exp(-(t - t_j) / tm) if cells.tau_syn is None else response(t - t_j, tm, float(cells.tau_syn[j]))
            )
    return float(u)
