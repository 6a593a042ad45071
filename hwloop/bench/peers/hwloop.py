"""hwloop itself: the fast path (taus shared in a layer) and the general path (taus of its own in every neuron)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import hwloop as hl

from ..workloads import KERNEL, MAPS, SIDE, T_STOP, TAU_MEM, TAU_SYN
from .base import Description, Problem

#: Relative deviation of the taus on the general path, and where it is cut (in deviations), as on an analog chip.
SPREAD, CUT = 0.2, 2.0

#: Seed of that spread.
SPREAD_SEED = 7


class SharedTaus:
    """``Dense - LIF - Dense - LIF`` and its relatives, exact gradients, float32."""

    note = "shared taus, ratio 2"
    dtype = torch.float32

    def __init__(self, problem: Problem) -> None:
        self._generator = torch.Generator().manual_seed(SPREAD_SEED)
        self._spikes = hl.Spikes.from_first_times(torch.from_numpy(problem.inputs.times).to(self.dtype), T_STOP)
        self._labels = torch.from_numpy(problem.inputs.labels)
        self._initial = [w.to(self.dtype) for w in problem.weights]
        self._maps: list[hl.Dense | hl.Conv2d] = []
        self._network = self._built(problem).to(self.dtype)
        self.scale([1.0] * len(self._initial))
        kind = str(self.dtype).removeprefix("torch.")
        self.description = Description(hl.__version__, kind, "exact (every spike)", None, problem.batch, self.note)

    def _built(self, problem: Problem) -> hl.Network:
        last = len(self._initial) - 1
        layers: list[nn.Module] = []
        for k, weight in enumerate(self._initial):
            if weight.ndim == 4:
                self._maps.append(hl.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2]))
                side = SIDE - KERNEL + 1
                layers += [self._maps[-1], self._neurons((MAPS, side, side), problem.max_spikes), hl.Flatten()]
                continue
            delay = None if problem.delays is None else problem.delays[k].to(self.dtype)
            self._maps.append(hl.Dense(weight.shape[1], weight.shape[0], delay=delay))
            layers += [self._maps[-1], self._neurons(weight.shape[0], problem.max_spikes)]
        if problem.loop is None:
            return hl.Network(layers, in_shape=(1, SIDE, SIDE) if problem.kind == "conv" else None)
        n = len(problem.loop)
        again = hl.Dense(n, n)
        with torch.no_grad():
            again.weight.copy_(problem.loop)
        nodes = {"in": hl.Input(self._initial[0].shape[1]), "hidden": layers[1], "out": layers[2 * last + 1]}
        links = [("in", "hidden", layers[0]), ("hidden", "hidden", again), ("hidden", "out", layers[2 * last])]
        return hl.Network.graph(nodes, [hl.Projection(*link) for link in links], "out")  # type: ignore[arg-type]

    def _neurons(self, shape: int | tuple[int, ...], max_spikes: int | None) -> hl.LIF:
        tau_mem, tau_syn = self.taus(math.prod(shape) if isinstance(shape, tuple) else shape)
        return hl.LIF(shape, tau_mem=tau_mem, tau_syn=tau_syn, max_spikes=max_spikes)

    def taus(self, n: int) -> tuple[float | Tensor, float | Tensor]:
        """``(tau_mem, tau_syn)`` (s) of a layer of ``n`` neurons."""
        return TAU_MEM, TAU_SYN

    def scale(self, factors: Sequence[float]) -> None:
        """See :class:`Peer`."""
        with torch.no_grad():
            for layer, initial, factor in zip(self._maps, self._initial, factors, strict=True):
                layer.weight.copy_(initial * factor)

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

    def fired(self) -> NDArray[np.bool_]:
        """See :class:`Peer`."""
        with torch.no_grad():
            found: NDArray[np.bool_] = (self._network(self._spikes)[0].unit_counts() > 0).numpy()
        return found

    def gradients(self) -> list[NDArray[Any]] | None:
        """See :class:`Peer`."""
        return [layer.weight.grad.numpy() for layer in self._maps if layer.weight.grad is not None]

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


class DoublePrecision(SharedTaus):
    """The same in float64; for the table of exactness."""

    note = "float64"
    dtype = torch.float64

    def taus(self, n: int) -> tuple[float | Tensor, float | Tensor]:
        """See :class:`SharedTaus`; as tensors, since numbers would take torch's default precision."""
        return torch.full((n,), TAU_MEM, dtype=self.dtype), torch.full((n,), TAU_SYN, dtype=self.dtype)
