"""spikingjelly: clock-driven LIF (first order: no synaptic current) in multi-step mode, sigmoid surrogate."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from spikingjelly.activation_based import functional
from spikingjelly.activation_based.neuron import LIFNode
from torch import Tensor

from ..workloads import STEPS, T_STOP, TAU_MEM, Inputs
from .base import Description
from .clocked import Clocked


class SpikingJelly(Clocked):
    """``LIFNode(step_mode="m")`` layers: all steps in one call, the library's fastest mode on a CPU."""

    def __init__(self, weights: Sequence[Tensor], inputs: Inputs) -> None:
        super().__init__(weights, inputs)
        tau = TAU_MEM / (T_STOP / STEPS)
        self._neurons = [LIFNode(tau=tau, step_mode="m") for _ in weights]
        self.description = Description(
            version("spikingjelly"), "float32", "surrogate (sigmoid)", STEPS, len(inputs.times), "no synaptic current"
        )

    def neuron(self, layer: int, current: Tensor) -> Tensor:
        """See :class:`Clocked`."""
        functional.reset_net(self._neurons[layer])
        spikes: Tensor = self._neurons[layer](current)
        return spikes
