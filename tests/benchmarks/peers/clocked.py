"""What norse, snntorch and spikingjelly have in common: torch, 100 steps, spikes summed into class scores.

The linear layer is applied to all steps at once (one large product, the fastest way in these libraries), then
the neuron runs over the steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..workloads import Inputs, raster
from .base import Description


class Clocked:
    """A two-layer network over a raster ``[steps, batch, n_in]``; subclasses supply the neuron."""

    description: Description

    def __init__(self, weights: Sequence[Tensor], inputs: Inputs) -> None:
        self._raster = torch.from_numpy(raster(inputs))
        self._labels = torch.from_numpy(inputs.labels)
        self._initial = [w.to(torch.float32) for w in weights]
        self._linear = [nn.Linear(w.shape[1], w.shape[0], bias=False) for w in weights]
        self.scale([1.0] * len(weights))

    def neuron(self, layer: int, current: Tensor) -> Tensor:
        """Spikes ``[steps, batch, n]`` of layer ``layer`` for its weighted input of the same shape."""
        raise NotImplementedError

    def scale(self, factors: Sequence[float]) -> None:
        """See :class:`Peer`."""
        with torch.no_grad():
            for linear, initial, factor in zip(self._linear, self._initial, factors, strict=True):
                linear.weight.copy_(initial * factor)

    def forward(self) -> list[Tensor]:
        """Spikes of every layer."""
        spikes, layers = self._raster, []
        for i, linear in enumerate(self._linear):
            spikes = self.neuron(i, linear(spikes))
            layers.append(spikes)
        return layers

    def rates(self) -> list[float]:
        """See :class:`Peer`."""
        with torch.no_grad():
            return [float(s.sum(0).mean()) for s in self.forward()]

    def step(self) -> None:
        """See :class:`Peer`; cross-entropy on output spike counts."""
        for linear in self._linear:
            linear.weight.grad = None
        loss = nn.functional.cross_entropy(self.forward()[-1].sum(0), self._labels)
        torch.autograd.backward(loss)
