"""What norse, snntorch and spikingjelly have in common: torch, 100 steps, spikes summed into class scores.

The linear layer is applied to all steps at once (one large product, the fastest way in these libraries), then the neuron runs
over the steps. A loop is stepped, as it has to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..workloads import SIDE, raster
from .base import Description, Problem, Unavailable


class Clocked:
    """A network over a raster ``[steps, batch, n_in]``; subclasses supply the neuron."""

    description: Description

    def __init__(self, problem: Problem) -> None:
        if problem.kind == "delays":
            raise Unavailable("its layers have no delays")
        self._raster = torch.from_numpy(raster(problem.inputs))
        self._labels = torch.from_numpy(problem.inputs.labels)
        self._initial = [w.to(torch.float32) for w in problem.weights]
        self._maps = [_map(w) for w in self._initial]
        self._loop = None if problem.loop is None else problem.loop.to(torch.float32)
        if self._loop is not None:
            self._loop.requires_grad_(True)
        self.scale([1.0] * len(self._initial))

    def neuron(self, layer: int, current: Tensor) -> Tensor:
        """Spikes ``[steps, batch, n]`` of layer ``layer`` for its weighted input of the same shape."""
        raise NotImplementedError

    def looped(self, layer: int, current: Tensor, loop: Tensor) -> Tensor:
        """The same for neurons that also drive each other, one step later."""
        raise Unavailable("its neurons of this kind have no loop")

    def scale(self, factors: Sequence[float]) -> None:
        """See :class:`Peer`."""
        with torch.no_grad():
            for layer, initial, factor in zip(self._maps, self._initial, factors, strict=True):
                layer.weight.copy_(initial * factor)  # type: ignore[operator]

    def forward(self) -> list[Tensor]:
        """Spikes of every layer."""
        spikes, layers = self._raster, []
        for k, layer in enumerate(self._maps):
            current = _mapped(layer, spikes)
            spikes = self.neuron(k, current) if k or self._loop is None else self.looped(k, current, self._loop)
            layers.append(spikes)
        return layers

    def rates(self) -> list[float]:
        """See :class:`Peer`."""
        with torch.no_grad():
            return [float(s.sum(0).mean()) for s in self.forward()]

    def fired(self) -> NDArray[np.bool_]:
        """See :class:`Peer`."""
        with torch.no_grad():
            found: NDArray[np.bool_] = (self.forward()[0].sum(0) > 0).numpy()
        return found

    def gradients(self) -> list[NDArray[Any]] | None:
        """None: surrogate."""
        return None

    def step(self) -> None:
        """See :class:`Peer`; cross-entropy on output spike counts."""
        for layer in self._maps:
            layer.zero_grad(set_to_none=True)
        if self._loop is not None:
            self._loop.grad = None
        loss = nn.functional.cross_entropy(self.forward()[-1].sum(0), self._labels)
        torch.autograd.backward(loss)


def _map(weight: Tensor) -> nn.Module:
    if weight.ndim == 4:
        return nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], bias=False)
    return nn.Linear(weight.shape[1], weight.shape[0], bias=False)


def _mapped(layer: nn.Module, spikes: Tensor) -> Tensor:
    """``spikes [steps, batch, n_in]`` through ``layer``, all steps at once."""
    if isinstance(layer, nn.Linear):
        mapped: Tensor = layer(spikes)
        return mapped
    maps: Tensor = layer(spikes.reshape(-1, 1, SIDE, SIDE))
    return maps.reshape(*spikes.shape[:2], -1)
