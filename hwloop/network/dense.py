"""Dense: every input unit drives every neuron, after an axonal or a synaptic delay."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from ..arguments import floats, whole
from ..errors import InputError
from ..machine_memory import check_fits
from ..neurons import ParameterValue, as_parameter
from ..spikes import Spikes
from .elementwise import check_delays
from .linear_map import LinearMap, Shape, Synapses, size_of
from .trains import delayed

#: Why a Dense or a LIF is not called.
HALF_A_LAYER = (
    "it is half a spiking layer and is not called by itself, nor in nn.Sequential; put the layers into a network: "
    "net = hl.Network([hl.Dense(n_in, n), hl.LIF(n, tau_mem, tau_syn)]), and call net(spikes)"
)


class Dense(LinearMap):
    """Weights from ``n_in`` units to ``n_out`` neurons; delays of each input unit, or of each synapse.

    Parameters
    ----------
    n_in, n_out : int
    delay : number, ``[n_in]`` or ``[n_out, n_in]`` (s), optional
        Time from a spike of unit j to its effect, on all neurons (axonal) or on each (synaptic); an ``nn.Parameter`` is
        trained. A delay of each neuron (dendritic) is a :class:`~hwloop.network.Delay` after the weights.
    bias : bool
        A constant current of each neuron, trained, 0 at first.
    generator : torch.Generator, optional
        Source of the initial weights, normal with mean ``6 / n_in`` and deviation ``3 / sqrt(n_in)`` (in units of a
        threshold of 1: a layer whose inputs all fire within some tau_syn spikes about once).

    Attributes
    ----------
    weight : nn.Parameter, ``[n_out, n_in]``, stored pre-major (a transposed view), as the event-driven kernels read it.

    Raises
    ------
    InputError
        Sizes below 1, or of more weights than the machine's memory holds; a delay that is negative, NaN or infinite.
    """

    delay: Tensor | None
    bias: nn.Parameter | None
    mismatch: Tensor | None
    bend: Tensor | None
    full_scale: Tensor | None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        delay: ParameterValue | None = None,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        n_in, n_out = whole("Dense: n_in", n_in), whole("Dense: n_out", n_out)
        size = n_in * n_out * torch.get_default_dtype().itemsize
        check_fits(f"Dense({n_in}, {n_out})", size, "fewer units in or out; every input drives every neuron here")
        self.n_in, self.n_out = n_in, n_out
        self.weight = nn.Parameter(torch.empty(n_in, n_out).t())
        for name in ("mismatch", "bend", "full_scale"):
            self.register_buffer(name, None, persistent=False)
        self.init_normal_(6.0 / n_in, 3.0 / math.sqrt(n_in), generator)
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        if delay is None:
            self.delay = None
        else:
            tensor = _delay(delay, n_in, n_out)
            if isinstance(tensor, nn.Parameter):
                self.delay = tensor
            else:
                # a copy: what the caller does to a tensor later is no matter of the layer
                self.register_buffer("delay", tensor if tensor.requires_grad else tensor.clone())
            self._check_delay(tensor)

    @torch.no_grad()
    def init_normal_(self, mean: float, std: float, generator: torch.Generator | None = None) -> Dense:
        """Draw all weights anew from N(mean, std^2); returns the layer."""
        self.weight.normal_(mean, std, generator=generator)
        return self

    def acting_weight(self) -> Tensor:
        """``[n_out, n_in]``: what the neurons feel. The weight itself, or in a device twin :meth:`transmitted`."""
        held = self._buffers  # an attribute of a module takes ten times as long
        weight = self._parameters.get("weight")
        weight = self.weight if weight is None else weight  # a parametrised one is no longer a parameter
        return weight if held.get("mismatch", self) is None else self.transmitted(weight)

    def transmitted(self, weight: Tensor) -> Tensor:
        """What the synapses of a device make of ``weight [n_out, n_in]``: the same where this is no device twin.

        In one it is ``weight * mismatch * (1 + bend * (1 - |weight| / full_scale))``: the synapse's factor at full scale, and
        the bow of its converter below (``bend [n_out, n_in]``, ``full_scale`` a number or ``[n_out, 1]``; None: straight).
        """
        if self.mismatch is None:
            return weight
        if self.bend is None or self.full_scale is None:
            return weight * self.mismatch
        share = torch.clamp(weight.abs() / self.full_scale, max=1.0)
        return weight * self.mismatch * (1.0 + self.bend * (1.0 - share))

    def transmit(self, spikes: Spikes) -> Spikes:
        """Input spikes as the neurons receive them: delayed, sorted again; differentiable in times and delay."""
        if self.delay is None:
            return spikes
        self._check_delay(self.delay)
        return delayed(spikes, self.delay)

    def out_shape(self, shape: Shape, where: str) -> Shape:
        if size_of(shape) != self.n_in:
            raise InputError(
                f"{where}: takes {self.n_in} inputs, the units before it are {shape}; build Dense({size_of(shape)}, ...)"
            )
        return (self.n_out,)

    def synapses(self, shape: Shape) -> Synapses:
        sources = np.repeat(np.arange(self.n_in), self.n_out)
        targets = np.tile(np.arange(self.n_out), self.n_in)
        each = targets * self.n_in + sources
        delays = None if self.delay is None else (sources if self.delay.ndim == 1 else each)
        return Synapses(sources, targets, each, delays=delays)

    def apply_to(self, x: Tensor, shape: Shape) -> Tensor:
        return x @ self.weight.t()

    def values(self) -> Tensor:
        return self.acting_weight()

    def delays(self) -> Tensor | None:
        if self.delay is not None:
            self._check_delay(self.delay)
        return self.delay

    def offset(self, shape: Shape) -> Tensor | None:
        return self.bias

    def forward(self, *_: Any) -> NoReturn:
        """No step of its own; raises :class:`InputError` that says what runs it."""
        raise InputError(f"Dense: {HALF_A_LAYER}")

    def extra_repr(self) -> str:
        kind = "" if self.delay is None else (", delayed" if self.delay.ndim == 1 else ", delayed synapse by synapse")
        return f"{self.n_in}, {self.n_out}{kind}" + ("" if self.bias is None else ", bias=True")

    def _check_delay(self, delay: Tensor) -> None:
        if delay.ndim == 2:
            check_delays(delay, "Dense")
            return
        value = delay.detach()
        bad = ~torch.isfinite(value) | (value < 0)
        if bool(bad.any()):
            unit = int(torch.nonzero(bad)[0])
            raise InputError(
                f"Dense: delay of input unit {unit} = {value[unit].item():g} s; allowed: finite and >= 0 s"
            )


def _delay(value: ParameterValue, n_in: int, n_out: int) -> Tensor:
    """``[n_in]`` or ``[n_out, n_in]`` of what the user gave."""
    tensor = floats("delay", value)
    if tensor.ndim == 2 and tensor.shape == (n_out, n_in):
        return tensor
    if tensor.ndim == 2:
        raise InputError(
            f"delay has shape {tuple(tensor.shape)}; allowed: one number, ({n_in},) of the input units, "
            f"or ({n_out}, {n_in}) of the synapses"
        )
    return as_parameter("delay", value, n_in)
