"""Losses on a readout, ``[batch, n_out]`` or ``[batch, steps, n_out]``: for all rules but the exact one.

(The exact rule's losses look at spike times: :mod:`hwloop.losses`.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import InputError
from ...losses import Loss, class_labels
from ...record import Record
from .trace import trace


def readout_of(record: Record, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The record's readout and the labels as int64; :class:`InputError` where it has none, or labels do not fit it."""
    readout = record.readout
    if readout is None:
        raise InputError("a loss on a readout, and a record without one; use it with a rule that has a readout")
    return readout, class_labels(labels, len(readout), readout.shape[-1])


def _targets(readout: Tensor, labels: Tensor, wanted: Tensor | float, others: float) -> Tensor:
    """``wanted`` where the label's output stands, ``others`` elsewhere, of the readout's shape."""
    label = functional.one_hot(labels, readout.shape[-1]).bool()
    if readout.ndim == 3:
        label = label[:, None].expand(readout.shape)
    return torch.where(label, wanted, torch.full_like(readout, others))


@dataclass(frozen=True)
class ReadoutError(Loss):
    """``1/2 sum (readout - target)^2``: ``wanted`` for the label, ``others`` for the rest; no error within ``margin``.

    With a margin, an output whose distance from its target is at most that costs nothing (HM2-BP: targets 35 and 5,
    margin 5, in spikes); elsewhere the full distance counts.
    """

    wanted: float = 1.0
    others: float = 0.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("wanted", "others", "margin"):
            if not math.isfinite(getattr(self, name)) or self.margin < 0:
                raise InputError(f"{name} = {getattr(self, name)}; allowed: finite, margin >= 0")

    def __call__(self, net: Any, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch; summed over steps where the readout has them."""
        readout, labels = readout_of(record, labels)
        error = readout - _targets(readout, labels, self.wanted, self.others)
        return 0.5 * torch.where(error.abs() > self.margin, error, 0.0).square().sum() / len(readout)


@dataclass(frozen=True)
class TraceError(Loss):
    """``1/2 sum (a - y)^2`` over steps: y the trace of a spike in every step for the label's output, 0 for the rest.

    For readouts with steps (NA); ``tau_s`` (steps) is that of the output's neurons.
    """

    tau_s: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.tau_s < math.inf:
            raise InputError(f"tau_s = {self.tau_s} steps; allowed: finite and >= 1")

    def __call__(self, net: Any, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch."""
        readout, labels = readout_of(record, labels)
        if readout.ndim != 3:
            raise InputError(
                f"readout {tuple(readout.shape)}; TraceError needs [batch, steps, n_out], ReadoutError does not"
            )
        wanted = trace(torch.ones_like(readout[:1]), 1 - 1 / self.tau_s, 1 / self.tau_s)
        return 0.5 * (readout - _targets(readout, labels, wanted, 0.0)).square().sum() / len(readout)


@dataclass(frozen=True)
class ReadoutCrossEntropy(Loss):
    """Cross-entropy of ``softmax(scale * readout)`` (nat)."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise InputError(f"scale = {self.scale}; allowed: finite and > 0")

    def __call__(self, net: Any, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch; of the sum over steps where the readout has them."""
        readout, labels = readout_of(record, labels)
        return functional.cross_entropy(self.scale * (readout.sum(1) if readout.ndim == 3 else readout), labels)
