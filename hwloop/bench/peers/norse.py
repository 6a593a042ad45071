"""norse: clock-driven LIF with synaptic current, Euler steps, SuperSpike surrogate."""

from __future__ import annotations

from importlib.metadata import version

import torch
from norse.torch import LIF, LIFParameters, lif_feed_forward_step
from torch import Tensor

from ..workloads import STEPS, T_STOP, TAU_MEM, TAU_SYN
from .base import Description, Problem
from .clocked import Clocked


class Norse(Clocked):
    """``norse.torch.LIF`` layers."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        parameters = LIFParameters(
            tau_syn_inv=torch.as_tensor(1 / TAU_SYN), tau_mem_inv=torch.as_tensor(1 / TAU_MEM), method="super"
        )
        self._parameters = parameters
        self._neurons = [LIF(p=parameters, dt=T_STOP / STEPS) for _ in problem.weights]
        self.description = Description(version("norse"), "float32", "surrogate (SuperSpike)", STEPS, problem.batch)

    def looped(self, layer: int, current: Tensor, loop: Tensor) -> Tensor:
        """See :class:`Clocked`: one step of the neuron at a time."""
        state, spike, spikes = None, torch.zeros_like(current[0]), []
        for step in current:
            spike, state = lif_feed_forward_step(step + spike @ loop.t(), state, self._parameters, T_STOP / STEPS)
            spikes.append(spike)
        return torch.stack(spikes)

    def neuron(self, layer: int, current: Tensor) -> Tensor:
        """See :class:`Clocked`."""
        spikes: Tensor = self._neurons[layer](current)[0]
        return spikes
