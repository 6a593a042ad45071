"""norse: clock-driven LIF with synaptic current, Euler steps, SuperSpike surrogate."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import torch
from norse.torch import LIF, LIFParameters
from torch import Tensor

from ..workloads import STEPS, T_STOP, TAU_MEM, TAU_SYN, Inputs
from .base import Description
from .clocked import Clocked


class Norse(Clocked):
    """``norse.torch.LIF`` layers."""

    def __init__(self, weights: Sequence[Tensor], inputs: Inputs) -> None:
        super().__init__(weights, inputs)
        parameters = LIFParameters(
            tau_syn_inv=torch.as_tensor(1 / TAU_SYN), tau_mem_inv=torch.as_tensor(1 / TAU_MEM), method="super"
        )
        self._neurons = [LIF(p=parameters, dt=T_STOP / STEPS) for _ in weights]
        self.description = Description(version("norse"), "float32", "surrogate (SuperSpike)", STEPS, len(inputs.times))

    def neuron(self, layer: int, current: Tensor) -> Tensor:
        """See :class:`Clocked`."""
        spikes: Tensor = self._neurons[layer](current)[0]
        return spikes
