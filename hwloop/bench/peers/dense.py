"""The limit: a dense torch network of the same shape, one ReLU layer, no time at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..workloads import SIDE, T_INPUT
from .base import Description, Problem, Unavailable


class DenseNetwork:
    """``Linear - ReLU - Linear`` (or a convolution first) with biases and cross-entropy; inputs are the spike times as intensities."""

    def __init__(self, problem: Problem) -> None:
        if problem.kind in ("recurrent", "delays"):
            raise Unavailable("a network without time has no loops or delays")
        inputs = problem.inputs
        values = np.where(np.isfinite(inputs.times), 1.0 - inputs.times / T_INPUT, 0.0)
        self._values = torch.from_numpy(np.nan_to_num(values)).to(torch.float32)
        self._labels = torch.from_numpy(inputs.labels)
        layers: list[nn.Module] = []
        for weight in problem.weights:
            if weight.ndim == 4:
                layers += [
                    nn.Unflatten(1, (1, SIDE, SIDE)),
                    nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2]),
                ]
                layers += [nn.ReLU(), nn.Flatten()]
            else:
                layers += [nn.Linear(weight.shape[1], weight.shape[0]), nn.ReLU()]
        self._network = nn.Sequential(*layers[:-1])
        self.description = Description(
            torch.__version__, "float32", "exact (no spikes)", None, len(inputs.times), "not spiking: the limit"
        )

    def scale(self, factors: Sequence[float]) -> None:
        """Nothing to scale: there is no spike rate."""

    def rates(self) -> list[float]:
        """No spiking layer."""
        return []

    def fired(self) -> NDArray[np.bool_]:
        """No spiking layer."""
        raise Unavailable("does not spike")

    def gradients(self) -> list[NDArray[Any]] | None:
        """None: of another network."""
        return None

    def step(self) -> None:
        """See :class:`Peer`."""
        self._network.zero_grad(set_to_none=True)
        torch.autograd.backward(nn.functional.cross_entropy(self._network(self._values), self._labels))
