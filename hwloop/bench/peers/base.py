"""What a peer is given, what it has to offer, and the tuning that brings all peers to the same spike rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..workloads import Inputs, Kind, Workload, make_delays, make_inputs, make_loop, make_weights

#: Weight scales that the tuning tries, and how many bisection steps it takes (in the logarithm).
SCALE_RANGE, TUNING_STEPS = (1e-3, 1e4), 16

#: A layer whose rate comes this close (relative) to the target is taken as tuned.
RATE_TOLERANCE = 0.02

#: Beyond this relative distance from the target a peer's work is not comparable, and its row says so.
COMPARABLE = 0.15


@dataclass(frozen=True)
class Problem:
    """One network and one batch, for any peer.

    Attributes
    ----------
    weights : ``[n_out, n_in]`` a layer, before scaling; ``[maps, 1, side, side]`` of a convolution
    loop : ``[n, n]`` of the hidden population onto itself, in a recurrent network
    delays : ``[n_in]`` (s) a layer, in a network with delays
    """

    inputs: Inputs
    weights: list[Tensor]
    max_spikes: int | None = None
    kind: Kind = "plain"
    loop: Tensor | None = None
    delays: list[Tensor] | None = None

    @classmethod
    def of(cls, workload: Workload, seed: int) -> Problem:
        """The problem that ``workload`` is."""
        return cls(
            make_inputs(workload, seed),
            [torch.from_numpy(weight) for weight in make_weights(workload, seed)],
            workload.max_spikes,
            workload.kind,
            torch.from_numpy(make_loop(workload, seed)) if workload.kind == "recurrent" else None,
            [torch.from_numpy(d) for d in make_delays(workload, seed)] if workload.kind == "delays" else None,
        )

    @property
    def batch(self) -> int:
        """Samples."""
        return len(self.inputs.times)

    def plain_for(self, peer: str) -> None:
        """Raise :class:`Unavailable` where the network is more than layers one after the other."""
        lacking = {"conv": "convolutions", "recurrent": "loops", "delays": "delays"}.get(self.kind)
        if lacking is not None:
            raise Unavailable(f"{peer} has no {lacking}")


@dataclass(frozen=True)
class Description:
    """What a reader needs to know before comparing two rows.

    ``gradient`` is "exact" or the surrogate's name; ``steps`` is None where there is no clock; ``batch`` is the
    samples one step really takes (a peer may need a smaller batch than the workload's).
    """

    version: str
    dtype: str
    gradient: str
    steps: int | None
    batch: int
    note: str = ""


class Peer(Protocol):
    """A network of the workload's shape in one library."""

    description: Description

    def scale(self, factors: Sequence[float]) -> None:
        """Set the weights of each layer to its factor times the initial weights."""

    def rates(self) -> list[float]:
        """Mean spikes per neuron and sample in each spiking layer at the present weights; no gradient."""

    def step(self) -> None:
        """One forward and backward pass over the batch: gradients of all weights."""

    def fired(self) -> NDArray[np.bool_]:
        """Which neurons of the first spiking layer spike, ``[batch, n]``, at the present weights."""

    def gradients(self) -> list[NDArray[Any]] | None:
        """Gradients of the weights, ``[n_out, n_in]`` a layer, that the last step found; None of a surrogate."""


class Unavailable(Exception):
    """This peer cannot run this workload; the message is the reason, and it is printed."""


def tune(peer: Peer, target: float) -> list[float]:
    """Scale the layers one after the other until each spikes ``target`` times per neuron and sample.

    Returns the factors, which are also set. Bisection on the logarithm of the scale; the rate of a layer grows with
    its scale, though not strictly, so the best scale seen is kept. Non-spiking peers return no rates: no factors.
    """
    factors = [1.0 for _ in peer.rates()]
    for layer in range(len(factors)):
        factors[layer] = _tune_layer(peer, factors, layer, target)
    peer.scale(factors)
    return factors


def _tune_layer(peer: Peer, factors: list[float], layer: int, target: float) -> float:
    low, high = SCALE_RANGE
    best, smallest_miss = factors[layer], float("inf")
    for _ in range(TUNING_STEPS):
        middle = (low * high) ** 0.5
        peer.scale([*factors[:layer], middle, *factors[layer + 1 :]])
        rate = peer.rates()[layer]
        miss = abs(rate - target) / target
        if miss < smallest_miss:
            best, smallest_miss = middle, miss
        if miss < RATE_TOLERANCE:
            break
        low, high = (middle, high) if rate < target else (low, middle)
    return best
