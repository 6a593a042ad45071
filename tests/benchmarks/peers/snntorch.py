"""snntorch: clock-driven ``Synaptic`` neuron (second order), fast-sigmoid surrogate, reset to zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version

import torch
from snntorch import Synaptic, surrogate
from torch import Tensor

from ..workloads import STEPS, T_STOP, TAU_MEM, TAU_SYN, Inputs
from .base import Description
from .clocked import Clocked


class SnnTorch(Clocked):
    """``snntorch.Synaptic`` layers, stepped in a Python loop as its tutorials do."""

    def __init__(self, weights: Sequence[Tensor], inputs: Inputs) -> None:
        super().__init__(weights, inputs)
        dt = T_STOP / STEPS
        alpha, beta = math.exp(-dt / TAU_SYN), math.exp(-dt / TAU_MEM)
        self._neurons = [
            Synaptic(alpha=alpha, beta=beta, spike_grad=surrogate.fast_sigmoid(), reset_mechanism="zero")
            for _ in weights
        ]
        name = "surrogate (fast sigmoid)"
        self.description = Description(version("snntorch"), "float32", name, STEPS, len(inputs.times))

    def neuron(self, layer: int, current: Tensor) -> Tensor:
        """See :class:`Clocked`."""
        neuron, spikes = self._neurons[layer], []
        syn, mem = neuron.reset_mem()
        for step in current:
            spike, syn, mem = neuron(step, syn, mem)
            spikes.append(spike)
        return torch.stack(spikes)
