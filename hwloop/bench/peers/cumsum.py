"""Fast & Deep in eager torch: sorted inputs, cumulative sums, closed form for ``tau_mem = 2 tau_syn``.

Written from the published equations (Goeltz et al., Nature Machine Intelligence 2021, eq. 4 to 6), with autograd
through the closed form. With ``x = exp(-t / tau_mem)`` and the inputs C that came before, the membrane is
``u = a2 x - a1 x^2``, ``a1 = sum_C w exp(t_i / tau_syn)``, ``a2 = sum_C w exp(t_i / tau_mem)``; hence

    T = tau_mem ln( 2 a1 / (a2 + sqrt(a2^2 - 4 a1 v_th)) )

for the first C whose T lies between its last input and the next one. Silent inputs are sorted to the end and cut
off, which the published code does not do: it favours this peer on sparse input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..workloads import T_STOP, TAU_MEM, TAU_SYN
from .base import Description, Problem

#: Floor under square root and logarithm in lanes that are masked out afterwards (autograd visits them too).
TINY = 1e-12

V_TH = 1.0


def first_spikes(times: Tensor, weight: Tensor, t_stop: float) -> Tensor:
    """First output spikes ``[batch, n_out]``, ``inf`` where silent; all times in units of ``tau_syn``.

    ``times`` ``[batch, n_in]`` with ``inf`` where silent; ``weight`` ``[n_out, n_in]``. Differentiable in both.
    """
    times, order = torch.sort(times, dim=1)
    active = torch.isfinite(times)
    events = max(int(active.sum(1).max()), 1)  # one empty slot keeps the reductions legal in silence
    times, order, active = times[:, :events], order[:, :events], active[:, :events]
    t = torch.where(active, times, 0.0)
    w = weight.t()[order] * active[:, :, None]
    a1 = torch.cumsum(w * torch.exp(t)[:, :, None], 1)
    a2 = torch.cumsum(w * torch.exp(t * (TAU_SYN / TAU_MEM))[:, :, None], 1)
    square = a2 * a2 - 4.0 * V_TH * a1
    denominator = a2 + torch.sqrt(torch.clamp(square, min=TINY))
    crosses = (square > 0) & (a1 > 0) & (denominator > 0)
    quotient = torch.where(crosses, 2.0 * a1 / denominator, 1.0)
    candidate = (TAU_MEM / TAU_SYN) * torch.log(torch.clamp(quotient, min=TINY))
    after = nn.functional.pad(times[:, 1:], (0, 1), value=math.inf)
    causal = crosses & (candidate >= t[:, :, None]) & (candidate < after[:, :, None]) & active[:, :, None]
    causal &= candidate <= t_stop
    which = causal.to(torch.uint8).argmax(1, keepdim=True)
    chosen = torch.gather(candidate, 1, which)[:, 0]
    return torch.where(torch.gather(causal, 1, which)[:, 0], chosen, math.inf)


class SortedCumsum:
    """Two first-spike layers and a cross-entropy on first spike times."""

    def __init__(self, problem: Problem) -> None:
        problem.plain_for("this code")
        inputs, weights = problem.inputs, problem.weights
        self._times = torch.from_numpy(inputs.times / TAU_SYN).to(torch.float32)
        self._labels = torch.from_numpy(inputs.labels)
        self._initial = [w.to(torch.float32) for w in weights]
        self._weights = [nn.Parameter(w.clone()) for w in self._initial]
        self.description = Description(
            torch.__version__, "float32", "exact (closed form)", None, len(inputs.times), "silent inputs cut off"
        )

    def scale(self, factors: Sequence[float]) -> None:
        """See :class:`Peer`."""
        with torch.no_grad():
            for weight, initial, factor in zip(self._weights, self._initial, factors, strict=True):
                weight.copy_(initial * factor)

    def forward(self) -> list[Tensor]:
        """First spike times of every layer (tau_syn)."""
        times, layers = self._times, []
        for weight in self._weights:
            times = first_spikes(times, weight, T_STOP / TAU_SYN)
            layers.append(times)
        return layers

    def rates(self) -> list[float]:
        """See :class:`Peer`."""
        with torch.no_grad():
            return [float(torch.isfinite(t).to(torch.float32).mean()) for t in self.forward()]

    def fired(self) -> NDArray[np.bool_]:
        """See :class:`Peer`."""
        with torch.no_grad():
            found: NDArray[np.bool_] = torch.isfinite(self.forward()[0]).numpy()
        return found

    def gradients(self) -> list[NDArray[Any]] | None:
        """See :class:`Peer`."""
        return [weight.grad.numpy() for weight in self._weights if weight.grad is not None]

    def step(self) -> None:
        """See :class:`Peer`; cross-entropy on first spike times, silence counting as the end of the window."""
        for weight in self._weights:
            weight.grad = None
        scores = -torch.clamp(self.forward()[-1], max=T_STOP / TAU_SYN)
        torch.autograd.backward(nn.functional.cross_entropy(scores, self._labels))
