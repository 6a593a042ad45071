"""The workloads: synthetic spikes of realistic rates, and the goals each peer is held against.

A Yin-Yang network, two first-spike MNIST networks (sparse and dense input), the sparse one with several spikes a neuron; and
three that not every peer has: a convolution, a population with a loop, and axonal delays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Time constants (s), shared by all neurons; the ratio of 2 is that of Fast & Deep and of the seed paper.
TAU_MEM, TAU_SYN = 10e-3, 5e-3

#: Inputs fall into [0, T_INPUT], the network is watched until T_STOP (s).
T_INPUT, T_STOP = 2 * TAU_SYN, 4 * TAU_SYN

#: Mean of a neuron's summed input in units of its deviation between neurons; Fast & Deep's networks start near 1 to 4.
DRIVE = 2.0

#: Steps of every clock-driven peer; their cost is proportional to it.
STEPS = 100


#: What is special about a network: nothing; its first layer is a convolution; its hidden layer also drives itself; spikes of its
#: inputs and hidden neurons arrive late, each by a delay of its own.
Kind: TypeAlias = Literal["plain", "conv", "recurrent", "delays"]

#: Side of the images of the convolution, its maps and the side of its kernels.
SIDE, MAPS, KERNEL = 14, 8, 3

#: Weights of the loop in units of those into the population, whose neurons all drive each other.
LOOP_SHARE = 0.3

#: Longest delay (s).
LONGEST_DELAY = TAU_SYN


@dataclass(frozen=True)
class Workload:
    """One network, one batch, one spike rate.

    ``layers`` are unit counts, input first. ``events`` is the mean number of input events a sample, one at most
    an input. ``rate`` is the mean number of spikes per neuron and sample to which every spiking layer is tuned.
    ``max_spikes`` caps the spikes of a neuron (None: no cap). ``goals``: smallest ratio wanted against a peer.
    """

    name: str
    layers: tuple[int, ...]
    batch: int
    events: int
    rate: float
    max_spikes: int | None
    goals: Mapping[str, float] = field(default_factory=dict)
    kind: Kind = "plain"


WORKLOADS = {
    w.name: w
    for w in (
        Workload(
            "YY",
            (5, 120, 3),
            150,
            5,
            0.7,
            1,
            {
                "norse": 40,
                "snntorch": 40,
                "spikingjelly": 25,
                "jaxsnn": 18,
                "cumsum": 4,
                "exactsnn": 35,
                "exact-adjoint": 400,
                "eventax": 500,
                "dense": 0.12,
            },
        ),
        Workload(
            "TTFS150",
            (784, 800, 10),
            50,
            148,
            0.8,
            1,
            {"norse": 25, "snntorch": 20, "spikingjelly": 15, "cumsum": 100, "dense": 0.25},
        ),
        Workload("TTFS784", (784, 800, 10), 50, 784, 0.8, 1),
        Workload(
            "MULTI",
            (784, 800, 10),
            50,
            148,
            4.0,
            None,
            {"norse": 6, "snntorch": 6, "spikingjelly": 5, "dense": 0.08},
        ),
        Workload("CONV", (SIDE**2, MAPS * (SIDE - KERNEL + 1) ** 2, 10), 20, 60, 0.8, None, kind="conv"),
        Workload("RECURRENT", (40, 120, 10), 50, 40, 2.0, None, kind="recurrent"),
        Workload("DELAYS", (100, 200, 10), 50, 50, 1.0, None, kind="delays"),
    )
}


@dataclass(frozen=True)
class Inputs:
    """One batch: first-spike times ``[batch, n_in]`` (s, ``inf`` where silent) and labels ``[batch]``."""

    times: NDArray[np.float64]
    labels: NDArray[np.int64]

    @property
    def events_per_sample(self) -> float:
        """Mean number of input events a sample."""
        return float(np.isfinite(self.times).sum(1).mean())


def make_inputs(workload: Workload, seed: int) -> Inputs:
    """Uniform spike times; each input is active with probability ``events / n_in``."""
    rng = np.random.default_rng([seed, 1])
    n_in, n_classes = workload.layers[0], workload.layers[-1]
    times = rng.uniform(0.0, T_INPUT, (workload.batch, n_in))
    times[rng.random(times.shape) >= workload.events / n_in] = np.inf
    return Inputs(times, rng.integers(0, n_classes, workload.batch))


def make_weights(workload: Workload, seed: int) -> list[NDArray[np.float64]]:
    """Weights ``[n_out, n_in]`` a layer, before each peer scales them to the workload's rate.

    Normal; the mean is such that a neuron's summed input is on average ``DRIVE`` times its deviation between neurons:
    most neurons can be made to spike, each at a time of its own (with a much larger mean all of them would sit at
    the threshold together, with none half of them could hardly reach it).
    """
    rng = np.random.default_rng([seed, 2])
    weights: list[NDArray[np.float64]] = []
    for n_out, n_in in zip(workload.layers[1:], workload.layers[:-1], strict=True):
        active = min(workload.events, n_in) if not weights else n_in * min(workload.rate, 1.0)
        shape = (n_out, n_in)
        if workload.kind == "conv" and not weights:  # [maps, 1, side, side]: a neuron sees so many inputs
            shape, active = (MAPS, 1, KERNEL, KERNEL), max(active * KERNEL**2 / n_in, 1.0)  # type: ignore[assignment]
        weights.append((rng.standard_normal(shape) + DRIVE * active**-0.5) * active**-0.5)
    return weights


def make_loop(workload: Workload, seed: int) -> NDArray[np.float64]:
    """Weights ``[n, n]`` of the hidden population onto itself, which are not scaled."""
    n = workload.layers[1]
    drawn: NDArray[np.float64] = np.random.default_rng([seed, 3]).standard_normal((n, n)) * LOOP_SHARE * n**-0.5
    return drawn


def make_delays(workload: Workload, seed: int) -> list[NDArray[np.float64]]:
    """Delays ``[n_in]`` (s) of the inputs of each layer."""
    rng = np.random.default_rng([seed, 4])
    return [rng.uniform(0.0, LONGEST_DELAY, n) for n in workload.layers[:-1]]


def raster(inputs: Inputs) -> NDArray[np.float32]:
    """``[STEPS, batch, n_in]``: the same spikes in bins of ``T_STOP / STEPS``, for clock-driven peers."""
    dense = np.zeros((STEPS, *inputs.times.shape), dtype=np.float32)
    sample, unit = np.nonzero(np.isfinite(inputs.times))
    step = np.minimum((inputs.times[sample, unit] * (STEPS / T_STOP)).astype(np.int64), STEPS - 1)
    dense[step, sample, unit] = 1.0
    return dense
