"""snntorch: clock-driven ``Synaptic`` neuron (second order), fast-sigmoid surrogate, reset to zero."""

from __future__ import annotations

import math
from importlib.metadata import version

import torch
from snntorch import Synaptic, surrogate
from torch import Tensor

from ..workloads import STEPS, T_STOP, TAU_MEM, TAU_SYN
from .base import Description, Problem
from .clocked import Clocked


class SnnTorch(Clocked):
    """``snntorch.Synaptic`` layers, stepped in a Python loop as its tutorials do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        dt = T_STOP / STEPS
        alpha, beta = math.exp(-dt / TAU_SYN), math.exp(-dt / TAU_MEM)
        self._neurons = [
            Synaptic(alpha=alpha, beta=beta, spike_grad=surrogate.fast_sigmoid(), reset_mechanism="zero")
            for _ in problem.weights
        ]
        name = "surrogate (fast sigmoid)"
        self.description = Description(version("snntorch"), "float32", name, STEPS, problem.batch)

    def looped(self, layer: int, current: Tensor, loop: Tensor) -> Tensor:
        """See :class:`Clocked`."""
        neuron, spikes, spike = self._neurons[layer], [], torch.zeros_like(current[0])
        syn, mem = neuron.reset_mem()
        for step in current:
            spike, syn, mem = neuron(step + spike @ loop.t(), syn, mem)
            spikes.append(spike)
        return torch.stack(spikes)

    def neuron(self, layer: int, current: Tensor) -> Tensor:
        """See :class:`Clocked`."""
        neuron, spikes = self._neurons[layer], []
        syn, mem = neuron.reset_mem()
        for step in current:
            spike, syn, mem = neuron(step, syn, mem)
            spikes.append(spike)
        return torch.stack(spikes)
