"""Losses on the membranes of an output that does not spike (``hl.LI``): its maximum, its integral, or samples of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .errors import InputError
from .losses import Loss, class_labels, membranes_of
from .network import Network
from .record import Record


@dataclass(frozen=True)
class MembraneMaximum(Loss):
    """Cross-entropy of ``softmax(max_t u / scale)`` over the output; ``scale`` in membrane units. Exact."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        _positive("scale", self.scale)

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch (nat)."""
        return _cross_entropy(membranes_of(record).maximum() / self.scale, labels)


@dataclass(frozen=True)
class MembraneIntegral(Loss):
    """Cross-entropy of ``softmax(1/T int u dt / scale)`` over the output, T the window; ``scale`` in membrane units. Exact.

    ``fading``: of ``softmax(1/T int u (1 - t/T) dt / scale)``. How much a spike adds to the plain integral does not depend on
    when it arrives, so that the gradient in its time, which is all that reaches hidden layers, is next to none. In the fading
    one an earlier spike adds more, and what makes a neuron spike earlier makes it spike more often.
    """

    scale: float = 1.0
    fading: bool = False

    def __post_init__(self) -> None:
        _positive("scale", self.scale)

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch (nat)."""
        held = membranes_of(record)
        integral = held.fading_integral() if self.fading else held.integral()
        return _cross_entropy(integral / (held.t_stop * self.scale), labels)


@dataclass(frozen=True)
class SampledMembrane(Loss):
    """Mean over ``times`` (s) of the cross-entropy of ``softmax(u(t) / scale)``; ``scale`` in membrane units. Exact."""

    times: Sequence[float]
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", tuple(float(t) for t in self.times))
        if not self.times or not all(0 <= t < math.inf for t in self.times):
            raise InputError(f"times = {self.times} s; allowed: at least one, finite and >= 0, within the window")
        _positive("scale", self.scale)

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch and the times (nat)."""
        values = membranes_of(record).at(torch.tensor(self.times, dtype=torch.float64))  # [batch, times, n]
        each = [_cross_entropy(values[:, k] / self.scale, labels) for k in range(values.shape[1])]
        return torch.stack(each).mean()


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, class_labels(labels, len(logits), logits.shape[1]))


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{name} = {value}; allowed: finite and > 0 (membrane units)")
