"""exact-event-adjoint: first spikes searched for between probes, gradient by the implicit function theorem, in torch.

Its kernel is ``tau_mem`` times the one used here, so weights are divided by it; times are in ms. A silent neuron spikes at ``t_max``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from exact_event_adjoint import ExactAdjointLinear
from numpy.typing import NDArray
from torch import Tensor, nn

from ..workloads import T_STOP, TAU_MEM, TAU_SYN
from .base import Description, Problem, Unavailable

#: Its unit of time (s).
MS = 1e-3

#: Above this many neurons in a layer, or spikes a neuron, a batch takes minutes.
LARGE_LAYER = 400

#: Samples of a batch: one with more takes seconds.
BATCH = 10


class ExactAdjoint:
    """``ExactAdjointLinear`` layers."""

    def __init__(self, problem: Problem) -> None:
        problem.plain_for("exact-event-adjoint's layers of first spikes")
        if problem.max_spikes != 1:
            raise Unavailable("set up here for one spike a neuron; with several a step takes minutes")
        if max(len(weight) for weight in problem.weights) > LARGE_LAYER:
            raise Unavailable(f"a step of more than {LARGE_LAYER} neurons takes minutes")
        batch = min(BATCH, problem.batch)
        self._stop = T_STOP / MS
        silent = torch.full((), self._stop)
        times = torch.from_numpy(problem.inputs.times[:batch]).to(torch.float32) / MS
        self._times = torch.where(torch.isfinite(times), times, silent)
        self._labels = torch.from_numpy(problem.inputs.labels[:batch])
        self._initial = [w.to(torch.float32) * (MS / TAU_MEM) for w in problem.weights]
        self._layers = [
            ExactAdjointLinear(
                w.shape[1], w.shape[0], tau_m=TAU_MEM / MS, tau_s=TAU_SYN / MS, theta=1.0, t_max=self._stop
            )
            for w in self._initial
        ]
        self.scale([1.0] * len(self._initial))
        note = "" if batch == problem.batch else f"batch {batch}, the full one takes seconds"
        name = "exact (implicit function)"
        self.description = Description(version("exact-event-adjoint"), "float32", name, None, batch, note)

    def scale(self, factors: Sequence[float]) -> None:
        """See :class:`Peer`."""
        with torch.no_grad():
            for layer, initial, factor in zip(self._layers, self._initial, factors, strict=True):
                layer.weight.copy_(initial * factor)

    def forward(self) -> list[Tensor]:
        """First spike times of every layer (ms)."""
        times, found = self._times, []
        for layer in self._layers:
            times = layer(times)
            found.append(times)
        return found

    def rates(self) -> list[float]:
        """See :class:`Peer`."""
        with torch.no_grad():
            return [float((t < self._stop).float().mean()) for t in self.forward()]

    def fired(self) -> NDArray[np.bool_]:
        """See :class:`Peer`."""
        with torch.no_grad():
            found: NDArray[np.bool_] = (self.forward()[0] < self._stop).numpy()
        return found

    def gradients(self) -> list[NDArray[Any]] | None:
        """See :class:`Peer`; by the weights in the unit used here."""
        return [layer.weight.grad.numpy() * (MS / TAU_MEM) for layer in self._layers]

    def step(self) -> None:
        """See :class:`Peer`; cross-entropy on first spike times."""
        for layer in self._layers:
            layer.zero_grad(set_to_none=True)
        scores = -self.forward()[-1] * (MS / TAU_SYN)
        torch.autograd.backward(nn.functional.cross_entropy(scores, self._labels))
