"""Decisions of the output layer, and which samples changed class on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ..class_scores import reading
from ..errors import InputError
from ..losses import Decision, predict
from ..spikes import Spikes
from .flat_trains import Bools, Ints, check_alike


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions of both sides.

    Attributes
    ----------
    rule : "first" | "count" | with several output neurons a class "mean:3", "first:3", "count:3"
    simulated, measured : ``[batch]`` int64
        Class, or -1 where no output neuron spiked.
    labels : ``[batch]`` int64 | None
    n_classes : int
    """

    rule: Decision
    simulated: Ints
    measured: Ints
    labels: Ints | None
    n_classes: int

    @property
    def flipped(self) -> Ints:
        """Samples whose class changed."""
        return np.flatnonzero(self.simulated != self.measured)

    @property
    def broken(self) -> Ints:
        """Samples right in simulation and wrong on the device; empty without labels."""
        return np.flatnonzero(self._right(self.simulated) & ~self._right(self.measured))

    @property
    def repaired(self) -> Ints:
        """Samples wrong in simulation and right on the device; empty without labels."""
        return np.flatnonzero(~self._right(self.simulated) & self._right(self.measured))

    @property
    def accuracy_simulated(self) -> float | None:
        """Share of right decisions in simulation; None without labels."""
        return None if self.labels is None else float(self._right(self.simulated).mean())

    @property
    def accuracy_measured(self) -> float | None:
        """Share of right decisions on the device; None without labels."""
        return None if self.labels is None else float(self._right(self.measured).mean())

    def table(self, rows: Literal["simulated", "labels"], columns: Literal["simulated", "measured"]) -> Ints:
        """``[n_classes + 1, n_classes + 1]``: samples by (row, column); the last row and column are "no decision"."""
        left, right = getattr(self, rows), getattr(self, columns)
        if left is None:
            raise InputError("a table against labels needs labels; pass labels to compare()")
        size = self.n_classes + 1
        flat = (left % size) * size + right % size  # -1 becomes the last index
        return np.bincount(flat, minlength=size * size).reshape(size, size)

    def flips(self) -> list[dict[str, int]]:
        """One row a changed sample: sample, from, to and, where known, label."""
        rows = []
        for k in self.flipped.tolist():
            row = {"sample": k, "from": int(self.simulated[k]), "to": int(self.measured[k])}
            if self.labels is not None:
                row["label"] = int(self.labels[k])
            rows.append(row)
        return rows

    def _right(self, decisions: Ints) -> Bools:
        if self.labels is None:
            return np.zeros(len(decisions), dtype=np.bool_)
        return np.asarray(decisions == self.labels)


def compare_decisions(
    simulated: Spikes, measured: Spikes, labels: torch.Tensor | Ints | list[int] | None = None, rule: Decision = "first"
) -> Decisions:
    """Decisions of two output layers; raises :class:`InputError` where batches or labels do not fit.

    ``rule``: "first" spike or spike "count", ties and several output neurons a class as in :func:`hwloop.losses.predict`.
    """
    check_alike(simulated, measured, "output layer")
    classes = reading(rule).classes(simulated.n_units)
    known = None if labels is None else _check_labels(labels, len(simulated), classes)
    ours, theirs = (predict(spikes, rule).cpu().numpy() for spikes in (simulated, measured))
    return Decisions(rule, ours, theirs, known, classes)


def _check_labels(labels: torch.Tensor | Ints | list[int], batch: int, n_classes: int) -> Ints:
    raw = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if raw.shape != (batch,):
        raise InputError(f"labels have shape {raw.shape}; expected one whole number for each of {batch} samples")
    known = raw.astype(np.int64)
    wrong = np.flatnonzero((known != raw) | (known < 0) | (known >= n_classes))
    if len(wrong):
        raise InputError(f"sample {wrong[0]}: label {raw[wrong[0]]}; allowed: whole numbers 0..{n_classes - 1}")
    return known
