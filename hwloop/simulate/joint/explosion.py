"""Loops whose activity grows without bound: when that is said, and how."""

from __future__ import annotations

from typing import NoReturn

from ...errors import InputError
from .contract import INTEGRATE, Component

#: Spikes of a neuron in one (shortest) membrane time constant beyond which a loop has exploded: a membrane driven by 1,000
#: thresholds spikes as often. Where there is none, spikes of a neuron in the whole window.
MOST_IN_TAU, MOST_IN_WINDOW = 1_000, 1_000_000

#: Spikes, for each neuron and at least, over which the rate is averaged for that.
BLOCK, LEAST_BLOCK = 64, 4096


def fastest(component: Component, t_stop: float) -> float:
    """The rate (spikes per neuron and second) beyond which a loop has exploded."""
    leaky = component.neurons.tau_mem[component.neurons.kind != INTEGRATE]
    return float(MOST_IN_TAU / leaky.min() if len(leaky) else MOST_IN_WINDOW / t_stop)


def block(neurons: int) -> int:
    """Spikes over which the rate of so many ``neurons`` is averaged."""
    return max(LEAST_BLOCK, BLOCK * neurons)


def refuse_explosion(sample: int, spikes: int, neurons: int, t: float, rate: float) -> NoReturn:
    """Raise :class:`InputError` that names sample, time ``t`` (s) and ``rate`` (spikes per neuron and second)."""
    raise InputError(
        f"a loop explodes: sample {sample} has {spikes} spikes of {neurons} neurons by t = {t:.6g} s, "
        f"{rate:.4g} spikes per neuron and second. Lower the weights of the loop, or give its neurons a refractory "
        "time, a delay, or max_spikes"
    )
