"""Losses on a readout ``[batch, n_out]``: for all rules but the exact one, whose losses look at spike times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..losses import Loss
from ..record import Record


def readout_of(record: Record, labels: Tensor) -> Tensor:
    """The record's readout; :class:`InputError` where it has none, or labels do not fit it."""
    readout = record.readout
    if readout is None:
        raise InputError("a loss on a readout, and a record without one; use it with a rule that has a readout")
    if labels.shape != readout.shape[:1] or labels.dtype != torch.int64:
        raise InputError(f"labels are {labels.dtype} {tuple(labels.shape)}; expected int64, one of {len(readout)}")
    if int(labels.min()) < 0 or int(labels.max()) >= readout.shape[1]:
        raise InputError(f"labels {int(labels.min())}..{int(labels.max())}; allowed: 0..{readout.shape[1] - 1}")
    return readout


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
        """Mean over the batch."""
        readout = readout_of(record, labels)
        target = torch.full_like(readout, self.others).scatter(1, labels[:, None], self.wanted)
        error = readout - target
        return 0.5 * torch.where(error.abs() > self.margin, error, 0.0).square().sum(1).mean()


@dataclass(frozen=True)
class ReadoutCrossEntropy(Loss):
    """Cross-entropy of ``softmax(scale * readout)`` (nat)."""

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.scale < math.inf:
            raise InputError(f"scale = {self.scale}; allowed: finite and > 0")

    def __call__(self, net: Any, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch."""
        return functional.cross_entropy(self.scale * readout_of(record, labels), labels)
