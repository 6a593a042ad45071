"""Parameters of the leaky integrate-and-fire neuron, their bounds, and the reset kinds."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .arguments import floats
from .errors import InputError, OptionError

#: What happens to the membrane at a spike: it is set to ``v_reset``, or lowered by ``v_th - v_reset``.
ResetKind: TypeAlias = Literal["value", "subtract"]

#: Order in which kernels take the neuron parameters.
PARAMETERS = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref")

#: A parameter as users write it: one number for all neurons, or one value per neuron.
ParameterValue: TypeAlias = "float | list[float] | NDArray[np.floating] | Tensor"


def as_parameter(name: str, value: ParameterValue, n: int) -> Tensor:
    """``value`` as a tensor ``[n]`` of float32 or float64; an ``nn.Parameter`` of that shape is passed through.

    Raises :class:`InputError` where the shape does not fit ``n`` neurons, and where ``value`` is text, boolean or has a
    unit that would be dropped.
    """
    tensor = floats(name, value)
    if isinstance(value, nn.Parameter) and tensor is not value:
        raise InputError(f"{name} is a parameter of {value.dtype}; allowed: float32 or float64")
    if tensor.ndim == 0:
        return tensor.expand(n).clone()
    if tensor.shape != (n,):
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}; allowed: one number, or one value for each of {n} neurons"
        )
    return tensor


def check_reset(reset: str) -> ResetKind:
    """``reset`` if it is a known kind; :class:`OptionError` otherwise."""
    if reset not in get_args(ResetKind):
        raise OptionError(f"reset = {reset!r}; allowed: {', '.join(map(repr, get_args(ResetKind)))}")
    return reset  # type: ignore[return-value]  # narrowed by the test above


def check_parameters(values: dict[str, Tensor], where: str) -> None:
    """Refuse parameters outside their bounds, naming neuron and value.

    Allowed: all finite; ``tau_mem > 0``, ``tau_syn > 0`` (s); ``t_ref >= 0`` (s); ``v_th > v_reset``.
    """
    for name in PARAMETERS:
        value = values[name].detach()
        _refuse(~torch.isfinite(value), value, where, name, "finite")
        if name in ("tau_mem", "tau_syn"):
            _refuse(value <= 0, value, where, name, "> 0 s")
    t_ref = values["t_ref"].detach()
    _refuse(t_ref < 0, t_ref, where, "t_ref", ">= 0 s")
    v_th, v_reset = values["v_th"].detach(), values["v_reset"].detach()
    swing = v_th - v_reset
    _refuse(swing <= 0, swing, where, "v_th - v_reset", "> 0 (the threshold must lie above the reset)")


def _refuse(bad: Tensor, values: Tensor, where: str, what: str, allowed: str) -> None:
    if bool(bad.any()):
        neuron = torch.nonzero(bad)[0, -1].item()
        raise InputError(f"{where}, neuron {neuron}: {what} = {values[bad][0].item():g}; allowed: {allowed}")
