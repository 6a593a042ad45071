"""Membranes at sample times: what a converter on the chip sees, before its noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from hwloop.simulate.compile_kernel import kernel
from hwloop.simulate.kernels.neuron import response
from hwloop.spikes import Spikes

from .streams import Array


class Trains(NamedTuple):
    """Spikes as a kernel reads them: ``times``, ``units`` ``[batch, spikes]``, ``counts [batch]``."""

    times: Array
    units: Array
    counts: Array

    @classmethod
    def of(cls, spikes: Spikes) -> Trains:
        """Those of ``spikes``, times in float64."""
        return cls(spikes.times.double().numpy(), spikes.units.numpy(), spikes.counts.numpy())


def sampled(
    inputs: Spikes,
    weight: Tensor,
    parameters: dict[str, Tensor],
    fired: Spikes,
    neurons: Array,
    times: Array,
    subtract: bool,
    start: Tensor | None = None,
) -> Array:
    """Membranes ``[batch, k, samples]`` of ``neurons [k]`` at ``times [samples]`` (s, sorted), float64.

    Parameters
    ----------
    inputs, fired : spikes that reach the layer; spikes that it fired, at which its membranes were reset
    weight : ``[n_out, n_in]``
    parameters : ``[n_out]``; ``v_th`` may be ``[batch, n_out]``
    start : ``[n_out]`` membranes at time 0; None: at the leak potential, at the reset potential where that is above threshold
    """
    value = {name: tensor.double().numpy() for name, tensor in parameters.items()}
    v_th = np.broadcast_to(value["v_th"], (len(inputs), weight.shape[0]))
    result = np.empty((len(inputs), len(neurons), len(times)))
    table = np.array([value[name] for name in ("tau_mem", "tau_syn", "v_leak", "v_reset", "t_ref")])
    begin = np.where(value["v_leak"] >= v_th, value["v_reset"], value["v_leak"])
    if start is not None:
        begin = np.where(start.double().numpy() >= v_th, value["v_reset"], start.double().numpy())
    sample_range(
        Trains.of(inputs), Trains.of(fired), weight.double().numpy().copy(), table, np.ascontiguousarray(v_th),
        neurons.astype(np.int64), times.astype(np.float64), subtract, np.ascontiguousarray(begin), result,
    )  # fmt: skip
    return result


@kernel()
def sample_range(  # type: ignore[no-untyped-def]
    inputs: Trains, fired: Trains, weight: Any, table: Any, v_th: Any, neurons: Any, times: Any, subtract: bool,
    begin: Any, result: Any,
):  # fmt: skip
    """Carry ``(u, i)`` of each neuron through its inputs, its spikes and the ends of its refractory times.

    Between events, from ``v_leak``: ``u(s) = u e^(-s/tau_mem) + i g(s)``, ``i(s) = i e^(-s/tau_syn)``.
    """
    t_in, u_in, n_in = inputs
    t_out, u_out, n_out = fired
    for b in range(len(n_in)):
        for k in range(len(neurons)):
            n = neurons[k]
            tau_mem, tau_syn, v_leak, v_reset, t_ref = table[0, n], table[1, n], table[2, n], table[3, n], table[4, n]
            u = begin[b, n] - v_leak
            i, now, until, e, m = 0.0, 0.0, -1.0, 0, 0
            for s in range(len(times)):
                goal = times[s]
                while True:
                    while m < n_out[b] and u_out[b, m] != n:
                        m += 1
                    # the next thing to happen: end of the hold, a spike of its own, an input; in this order at a tie
                    t, what = goal, 0
                    if until > now and until <= t:
                        t, what = until, 1
                    if m < n_out[b] and t_out[b, m] <= t and not (what == 1 and until <= t_out[b, m]):
                        t, what = t_out[b, m], 2
                    if e < n_in[b] and t_in[b, e] < t:
                        t, what = t_in[b, e], 3
                    e_m, e_s, g = response(max(t - now, 0.0), tau_mem, tau_syn)
                    if until <= now:
                        u = e_m * u + g * i
                    i *= e_s
                    now = max(t, now)
                    if what == 0:
                        break
                    if what == 1:
                        until = -1.0
                    elif what == 2:
                        u = u - (v_th[b, n] - v_reset) if subtract else v_reset - v_leak
                        until = now + t_ref
                        m += 1
                    else:
                        i += weight[n, u_in[b, e]]
                        e += 1
                result[b, k, s] = u + v_leak
