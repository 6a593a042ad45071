"""Neurons: base of the populations of networks that run in steps; each rule brings its own."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...errors import InputError


class Neurons(nn.Module):
    """A population: its parameters, and its bias where it has one. Size and shape come from what drives it.

    A subclass states ``rule``, the name of the rule whose dynamics it has, and its own parameters as plain numbers; it
    calls ``super().__init__(bias=...)``.

    Parameters
    ----------
    bias : bool
        A trained constant input, one for each channel of a convolution, else one for each neuron.

    Attributes
    ----------
    shape : ``(n,)``, or ``(channels, height, width)``; known once the network is built
    bias : nn.Parameter ``[n]`` or ``[channels]``, or None
    """

    rule: ClassVar[str] = ""
    bias: nn.Parameter | None

    def __init__(self, *, bias: bool = False) -> None:
        super().__init__()
        self.biased = bias
        self.shape: tuple[int, ...] = ()
        self.register_parameter("bias", None)

    @property
    def n(self) -> int:
        """Neurons."""
        return math.prod(self.shape)

    def place(self, where: str, shape: tuple[int, ...]) -> None:
        """Take the shape of the connection that drives it; called once, by the network."""
        if self.shape:
            raise InputError(f"{where}: this population is part of a network already; build one for each place")
        self.shape = shape
        if self.biased:
            self.bias = nn.Parameter(torch.zeros(shape[0]))

    def bias_current(self) -> Tensor | float:
        """The bias as ``[n]``, what every neuron gets; 0.0 where there is none."""
        if self.bias is None:
            return 0.0
        return self.bias.repeat_interleave(self.n // len(self.bias)) if len(self.shape) > 1 else self.bias

    def bias_gradient(self, y: Tensor) -> Tensor:
        """Gradient of the bias from ``y [..., n]``, the gradient of each neuron's input."""
        per_neuron = y.reshape(-1, self.n).sum(0)
        return per_neuron.reshape(self.shape[0], -1).sum(1) if len(self.shape) > 1 else per_neuron
