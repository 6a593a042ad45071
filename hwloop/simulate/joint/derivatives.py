"""What the specification finds of a sample: its spikes, each with the derivatives of its time with respect to everything."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ..contract import Events, FloatArray
from .contract import COLUMNS, Component


@dataclass(frozen=True)
class Layout:
    """Where each parameter stands in a row of derivatives."""

    synapses: int
    bundles: int
    events: int
    neurons: int

    @property
    def size(self) -> int:
        """Length of a row."""
        return self.synapses + self.bundles + self.events + 7 * self.neurons

    def delay(self, bundle: int) -> int:
        """Place of a bundle's delay."""
        return self.synapses + bundle

    def event(self, event: int) -> int:
        """Place of an external event's time."""
        return self.synapses + self.bundles + event

    def own(self, neuron: int, parameter: int) -> int:
        """Place of a neuron's parameter."""
        return self.synapses + self.bundles + self.events + 7 * neuron + parameter


@dataclass
class Spiked:
    """One spike: its time (s), neuron, current, residual, the arrival that fired it, and its derivatives."""

    time: float
    unit: int
    current: float
    residual: float
    after: int
    cause: int
    row: FloatArray
    release_time: float = math.inf
    release_current: float = 0.0


@dataclass
class Run:
    """One sample: its spikes, and its arrivals ``(bundle, origin)``, in the order in which they happened."""

    spikes: list[Spiked] = field(default_factory=list)
    arrivals: list[tuple[int, int]] = field(default_factory=list)


def contracted(
    component: Component, inputs: Events, runs: Iterable[Run], grad: Callable[[int, int], float]
) -> dict[str, FloatArray]:
    """Gradients by name from ``grad(sample, spike) = dL/dT``: weight, delay, times, and the neurons' parameters."""
    s, n = component.synapses, component.size
    layout = Layout(len(s.weight), len(s.delay), inputs.times.shape[1], n)
    total = np.zeros(layout.size)
    d_times = np.zeros(inputs.times.shape)
    first, last = layout.event(0), layout.event(layout.events)
    for b, run in enumerate(runs):
        row = sum((grad(b, k) * spike.row for k, spike in enumerate(run.spikes)), np.zeros(layout.size))
        d_times[b] = row[first:last]
        total += row
    parameters = total[last:].reshape(n, 7).T
    named = dict(zip(COLUMNS, parameters, strict=True))
    return {"weight": total[: layout.synapses], "delay": total[layout.synapses : first], "times": d_times, **named}
