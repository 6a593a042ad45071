"""Losses that ask the label for a lead over the other classes, in units of the noise that may take it away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .class_scores import Pool, class_times
from .errors import InputError
from .losses import Loss, check_pool, class_labels
from .network import Network
from .record import Record


@dataclass(frozen=True)
class FirstSpikeMargin(Loss):
    """``max(0, margin - (t_other - t_label) / noise)``: the label is to be first by ``margin`` times the ``noise``.

    ``t_other`` is the earliest of the other classes, as in the multiclass hinge of Crammer & Singer, JMLR 2, 265 (2001). A
    sample that leads by more passes no gradient, so all of it goes to those that noise can turn. Exact in the spike times.
    A neuron without a spike counts as spiking at ``t_stop`` and passes no gradient.

    Attributes
    ----------
    margin : float
        In units of ``noise``: of normal noise, 2 leaves 2.3 % of the runs wrong, 3 leaves .13 %.
    noise : float (s)
        Standard deviation of the difference of two classes' times from run to run.
    neurons, pool : as of :class:`hwloop.losses.FirstSpike`
    """

    margin: float
    noise: float
    neurons: int = 1
    pool: Pool = "mean"

    def __post_init__(self) -> None:
        for name, unit in (("margin", "(units of the noise)"), ("noise", "s")):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} = {getattr(self, name)}; allowed: finite and > 0 {unit}")
        check_pool(self.neurons, self.pool)

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch (units of the noise)."""
        times = class_times(record.output, self.neurons, self.pool)
        labels = class_labels(labels, len(times), times.shape[1]).to(times.device)
        label = torch.nn.functional.one_hot(labels, times.shape[1]).bool()
        other = torch.where(label, math.inf, times).amin(1)
        mine = times.gather(1, labels[:, None])[:, 0]
        return torch.relu(self.margin - (other - mine) / self.noise).mean()
