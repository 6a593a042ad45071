"""The limit: a dense torch network of the same shape, one ReLU layer, no time at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..workloads import T_INPUT, Inputs
from .base import Description


class DenseNetwork:
    """``Linear - ReLU - Linear`` with biases and cross-entropy; inputs are the spike times as intensities."""

    def __init__(self, weights: Sequence[Tensor], inputs: Inputs) -> None:
        values = np.where(np.isfinite(inputs.times), 1.0 - inputs.times / T_INPUT, 0.0)
        self._values = torch.from_numpy(np.nan_to_num(values)).to(torch.float32)
        self._labels = torch.from_numpy(inputs.labels)
        first, second = (nn.Linear(w.shape[1], w.shape[0]) for w in weights)
        self._network = nn.Sequential(first, nn.ReLU(), second)
        self.description = Description(
            torch.__version__, "float32", "exact (no spikes)", None, len(inputs.times), "not spiking: the limit"
        )

    def scale(self, factors: Sequence[float]) -> None:
        """Nothing to scale: there is no spike rate."""

    def rates(self) -> list[float]:
        """No spiking layer."""
        return []

    def step(self) -> None:
        """See :class:`Peer`."""
        self._network.zero_grad(set_to_none=True)
        torch.autograd.backward(nn.functional.cross_entropy(self._network(self._values), self._labels))
