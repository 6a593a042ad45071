"""hwloop itself: the fast path (taus shared in a layer) and the general path (taus of its own in every neuron)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import hwloop as hl

from ..workloads import T_STOP, TAU_MEM, TAU_SYN, Inputs
from .base import Description

#: Relative deviation of the taus on the general path, and where it is cut (in deviations), as on an analog chip.
SPREAD, CUT = 0.2, 2.0

#: Seed of that spread.
SPREAD_SEED = 7


class SharedTaus:
    """``Dense - LIF - Dense - LIF``, exact gradients, float32."""

    note = "shared taus, ratio 2"

    def __init__(self, weights: Sequence[Tensor], inputs: Inputs, max_spikes: int | None) -> None:
        self._generator = torch.Generator().manual_seed(SPREAD_SEED)
        self._spikes = hl.Spikes.from_first_times(torch.from_numpy(inputs.times).to(torch.float32), T_STOP)
        self._labels = torch.from_numpy(inputs.labels)
        self._initial = [w.to(torch.float32) for w in weights]
        layers: list[nn.Module] = []
        for weight in self._initial:
            n_out, n_in = weight.shape
            tau_mem, tau_syn = self.taus(n_out)
            layers += [hl.Dense(n_in, n_out), hl.LIF(n_out, tau_mem=tau_mem, tau_syn=tau_syn, max_spikes=max_spikes)]
        self._network = hl.Network(layers)
        self.scale([1.0] * len(self._initial))
        self.description = Description(
            hl.__version__, "float32", "exact (every spike)", None, len(inputs.times), self.note
        )

    def taus(self, n: int) -> tuple[float | Tensor, float | Tensor]:
        """``(tau_mem, tau_syn)`` (s) of a layer of ``n`` neurons."""
        return TAU_MEM, TAU_SYN

    def scale(self, factors: Sequence[float]) -> None:
        """See :class:`Peer`."""
        with torch.no_grad():
            for (dense, _), initial, factor in zip(self._network.blocks, self._initial, factors, strict=True):
                dense.weight.copy_(initial * factor)

    def rates(self) -> list[float]:
        """See :class:`Peer`."""
        with torch.no_grad():
            record = self._network(self._spikes)
        return [float(s.counts.sum()) / (len(s) * s.n_units) for s in record.populations]

    def step(self) -> None:
        """See :class:`Peer`; cross-entropy on the summed ``t_stop - t`` of each class.

        With one spike a neuron that is the cross-entropy on first spike times, silence counting as ``t_stop``.
        """
        self._network.zero_grad(set_to_none=True)
        output = self._network(self._spikes).output
        time_left = torch.where(output.valid, (T_STOP - output.times) / TAU_SYN, 0.0)
        scores = time_left.new_zeros(len(output), output.n_units).scatter_add(1, output.units, time_left)
        torch.autograd.backward(nn.functional.cross_entropy(scores, self._labels))

    def to(self, device: torch.device) -> None:
        """Move network, input and labels to ``device``."""
        self._network.to(device)
        self._spikes, self._labels = self._spikes.to(device), self._labels.to(device)


class PerNeuronTaus(SharedTaus):
    """The same network with another tau_mem and tau_syn in every neuron."""

    note = f"per-neuron taus, spread {SPREAD:.0%}"

    def taus(self, n: int) -> tuple[float | Tensor, float | Tensor]:
        """See :class:`SharedTaus`."""
        spread = [1 + SPREAD * torch.randn(n, generator=self._generator).clamp(-CUT, CUT) for _ in range(2)]
        return TAU_MEM * spread[0], TAU_SYN * spread[1]
