"""Refractory times and delays."""

from __future__ import annotations

import numpy as np
import torch

from ...device.registry import compile_quietly
from ...errors import CompileError
from ..claim import claim, demand, skip
from ..subject import NOISY, ROUNDING, STRONG, Array, Subject

#: Refractory time that is asked, and spacing of the strong inputs meanwhile (tau_syn).
ASKED, SPACING = 2.0, 0.25
#: Share of it that neurons of a device without exactness hold at least: theirs spread.
LEAST_SHARE = 0.5


def _intervals(times: Array, units: Array) -> Array:
    """Times between successive spikes of a neuron."""
    parts = [np.diff(times[units == unit]) for unit in np.unique(units)]
    return np.concatenate(parts) if parts else np.zeros(0)


@claim("refractory")
def holds_the_refractory_time(subject: Subject) -> None:
    """A neuron under strong drive does not fire again within its refractory time.

    A network that counts on one spike a neuron gets many otherwise.
    """
    t_ref = ASKED * subject.unit
    allowed = subject.limits.ranges.get("t_ref")
    if allowed is not None and allowed.unit == "device_s":
        t_ref = min(t_ref, allowed.high * subject.limits.speedup)
        if t_ref < 4 * SPACING * subject.unit / 2:
            skip(f"refractory times up to {t_ref:g} s are too short to be told from the neuron's own")
    many = 33 if subject.limits.max_events is None else min(33, subject.limits.max_events)
    net = subject.layer(np.full((subject.neurons(8), 1), STRONG), t_ref=t_ref)
    rows = [([1.0 + SPACING * k for k in range(many)], [0] * many)]
    _, recording = subject.measure(net, subject.spikes(rows, 1))
    intervals = _intervals(*recording.output.to_events()[0])
    demand(len(intervals) > 0, "no neuron fires twice under lasting drive")
    exact = subject.error is not None
    held = t_ref - (subject.error or 0.0) - subject.step - ROUNDING * subject.unit if exact else LEAST_SHARE * t_ref
    shortest = float(intervals.min())
    demand(shortest >= held, f"{shortest:.3g} s between two spikes of a neuron; t_ref = {t_ref:.3g} s was compiled")


def _delayed(subject: Subject, delay: Array, matrix: bool) -> None:
    """Break the claim unless first spikes are later by ``delay [n_in]`` or, where it is a ``matrix``, ``[n_out, n_in]``."""
    n_out, n_in = subject.neurons(8), delay.shape[-1]
    net = subject.layer(np.full((n_out, n_in), STRONG), delay=torch.from_numpy(delay))
    spikes = subject.spikes([([1.0], [unit]) for unit in range(n_in)], n_in, window=24.0)
    with subject.device() as device:
        try:
            program = compile_quietly(net, device)
        except CompileError as error:
            demand(not (subject.limits.synaptic_delays if matrix else subject.limits.delays), f"refused: {error}")
            skip("no such delays")
        device.load(program)
        first = device.run(spikes).output.first_times().double()
    later = (first - first[:1]).numpy()  # [input, neuron]
    asked = (delay.T if matrix else np.broadcast_to(delay[:, None], later.shape)).copy()
    off = later - (asked - asked[:1])
    off = off[np.isfinite(off)]
    demand(len(off) > n_out, "strongly driven neurons stay silent")
    exact = subject.error is not None
    # the delay itself is rounded to the clock, and each of both times
    allowed = 2 * (subject.error or 0.0) + subject.step + (ROUNDING if exact else 2 * NOISY) * subject.unit
    worst = float(np.abs(off).max() if exact else np.abs(np.median(off)))
    demand(worst <= allowed, f"spikes are {worst:.3g} s from where their delay puts them; allowed: {allowed:.3g} s")


def _longest(subject: Subject) -> float:
    """A delay that the target has (s)."""
    limit = subject.limits.max_delay
    return 4 * subject.unit if limit is None else min(4 * subject.unit, 0.9 * limit * subject.limits.speedup)


@claim("delays")
def delays_the_spikes_of_each_input(subject: Subject) -> None:
    """Axonal delays move the effect of each input unit by as much.

    Networks that learn delays are lost on a device that drops them.
    """
    if not subject.limits.delays:
        skip("no delays")
    n_in = subject.inputs(3)
    _delayed(subject, np.linspace(0.0, _longest(subject), n_in), matrix=False)


@claim("delays")
def delays_every_synapse_by_its_own(subject: Subject) -> None:
    """Delays of each synapse move the effect of each input on each neuron by as much.

    One delay of each input in their place is another network.
    """
    if not (subject.limits.delays and subject.limits.synaptic_delays):
        skip("no delays of each synapse")
    n_in, n_out = subject.inputs(3), subject.neurons(8)
    place = (np.arange(n_out)[:, None] + 2 * np.arange(n_in)[None, :]) % 5
    _delayed(subject, _longest(subject) * place / 4, matrix=True)
