"""Random convolutions and what they are compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwloop.simulate.contract import Events, Layer
from hwloop.simulate.convolution.engine import Convolution
from hwloop.simulate.convolution.geometry import Geometry

from ..support import TAUS, events, layer

T_STOP = 60e-3

#: Every option of a geometry at once: groups, stride, padding, dilation, sides that differ; and one of two blocks of channels.
MANY = Geometry((4, 6, 5), 6, (3, 2), (2, 1), (1, 1), (1, 2), 2)
WIDE = Geometry((1, 4, 5), 18, (2, 3))


@dataclass(frozen=True)
class Case:
    """A convolution and its input."""

    layer: Convolution
    inputs: Events

    def with_neurons(self, **changes: Any) -> Case:
        """The same with other fields of its neurons."""
        return replace(self, layer=replace(self.layer, neurons=replace(self.layer.neurons, **changes)))


def random_convolution(
    seed: int,
    geometry: Geometry = MANY,
    taus: str | None = "ratio 2",
    *,
    dtype: Any = np.float64,
    t_ref: float = 0.0,
    subtract: bool = False,
    max_spikes: int = 0,
    restless: bool = False,
    batch: int = 2,
    n_events: int = 40,
    per_sample: bool = False,
) -> Case:
    """A population that spikes; ``taus=None`` draws every parameter of every neuron, ``restless`` some that need no input."""
    r = np.random.default_rng(seed)
    n = geometry.n_out
    weight = (r.normal(0.8, 1.2, geometry.weight_shape) * 3 / np.sqrt(geometry.taps)).astype(dtype)
    tau_mem, tau_syn = TAUS[taus] if taus else (10e-3, 5e-3)
    neurons: Layer = layer(
        np.zeros((0, n)), tau_mem, tau_syn, 0.6, 0.0, t_ref, 0.0, subtract, max_spikes, dtype
    )  # fmt: skip

    def draw(low: float, high: float, *shape: int) -> Any:
        return r.uniform(low, high, (*shape, n)).astype(dtype)

    if taus is None:
        neurons = replace(
            neurons, tau_mem=draw(5e-3, 15e-3), tau_syn=draw(3e-3, 12e-3), threshold=draw(0.4, 0.8, 1), reset=draw(-0.3, 0.1),
            t_ref=neurons.t_ref * draw(0.5, 1.5), start=draw(-0.2, 0.2),
        )  # fmt: skip
    if restless:
        some, low = np.arange(n) % 3 == 0, neurons.reset - 0.9
        neurons = replace(
            neurons, threshold=np.where(some, -0.2, neurons.threshold).astype(dtype),
            reset=np.where(some, low, neurons.reset).astype(dtype), start=np.where(some, low, neurons.start).astype(dtype),
        )  # fmt: skip
    if per_sample:
        neurons = replace(neurons, threshold=draw(0.4, 0.8, batch))
    samples = [(r.uniform(0, 45e-3, n_events), r.integers(0, geometry.n_in, n_events)) for _ in range(batch)]
    return Case(Convolution(geometry, weight, neurons), events(samples, dtype))
