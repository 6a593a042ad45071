"""spikingjelly: clock-driven LIF (first order: no synaptic current) in multi-step mode, sigmoid surrogate."""

from __future__ import annotations

from importlib.metadata import version

import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor

from ..workloads import STEPS, T_STOP, TAU_MEM
from .base import Description, Problem
from .clocked import Clocked


class SpikingJelly(Clocked):
    """``LIFNode(step_mode="m")`` layers: all steps in one call, the library's fastest mode on a CPU."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        tau = TAU_MEM / (T_STOP / STEPS)
        self._neurons = [LIFNode(tau=tau, step_mode="m") for _ in problem.weights]
        self.description = Description(
            version("spikingjelly"), "float32", "surrogate (sigmoid)", STEPS, problem.batch, "no synaptic current"
        )

    def looped(self, layer: int, current: Tensor, loop: Tensor) -> Tensor:
        """See :class:`Clocked`."""
        neuron, spikes, spike = LIFNode(tau=self._neurons[layer].tau, step_mode="s"), [], torch.zeros_like(current[0])
        for step in current:
            spike = neuron(step + spike @ loop.t())
            spikes.append(spike)
        return torch.stack(spikes)

    def neuron(self, layer: int, current: Tensor) -> Tensor:
        """See :class:`Clocked`."""
        functional.reset_net(self._neurons[layer])
        spikes: Tensor = self._neurons[layer](current)
        return spikes
