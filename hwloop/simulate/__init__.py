"""Event-driven simulation of spiking layers and its exact gradients (docs/equations.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import DTYPES
from ..errors import InputError
from ..neurons import PARAMETERS, ResetKind
from ..spikes import Spikes
from .autograd import DEFAULT_FLOOR as DEFAULT_FLOOR
from .autograd import FloorPolicy as FloorPolicy
from .autograd import LayerCall, MembraneMaximum, SpikingLayer
from .autograd import Options as Options
from .event_arrays import remember, remembered, to_events
from .gpu.place import runs_on_device

__all__ = ["DEFAULT_FLOOR", "FloorPolicy", "Options", "layer_call", "membrane_maximum", "run"]


def layer_call(
    inputs: Spikes,
    weight: Tensor,
    params: Mapping[str, Tensor],
    options: Options,
    measured: Spikes | None = None,
    where: str = "layer",
) -> tuple[Spikes, LayerCall]:
    """Spikes of one layer, differentiable in ``inputs.times``, ``weight`` and ``params``.

    Parameters
    ----------
    inputs : Spikes of ``n_in`` units
    weight : Tensor, ``[n_out, n_in]`` (membrane units per spike)
    params : ``tau_mem, tau_syn, v_th, v_leak, v_reset, t_ref``, each ``[n_out]``; ``v_th`` may be ``[batch, n_out]``
    options : Options
    measured : Spikes of ``n_out`` units, optional
        Take these as the layer's output: values measured, derivatives the model's at the measured times. Of any device.
    where : str
        What errors call the layer.

    Returns
    -------
    The spikes, and the call with its trace (current and residual at every spike, spikes below the floor).

    Raises
    ------
    InputError
        Units, batch or window that do not fit the layer; parameters out of bounds or weights that are not finite; tensors on
        several devices, or a batch that does not fit into the GPU's memory.
    GradientError
        A derivative below the floor under policy ``raise``.
    """
    n_out = _check_inputs(inputs, weight, where)
    neurons = [params[name] for name in PARAMETERS]
    function: Any = SpikingLayer
    if _on_device(where, options.engine, inputs, weight, neurons):
        from .gpu.differentiable import SpikingLayerOnDevice

        function = SpikingLayerOnDevice
    given = None
    if measured is not None:
        _check_measured(inputs, measured, n_out)
        given = to_events(measured.to("cpu"), np.float64 if weight.dtype == torch.float64 else np.float32)
    call = LayerCall(inputs.units, inputs.counts, inputs.t_stop, options, given, where)
    if True not in [tensor.requires_grad for tensor in neurons]:
        call.neurons, neurons = neurons, []
    if function is not SpikingLayer:
        return call.spikes(function.apply(call, _in(weight.dtype, inputs.times), weight, *neurons), n_out), call
    if inputs.times.dtype is weight.dtype:
        call.arrived = remembered(inputs)
    times: Tensor = SpikingLayer.apply(call, _in(weight.dtype, inputs.times), weight, *neurons)  # type: ignore[no-untyped-call]
    spikes = call.spikes(times, n_out)
    if call.trace is not None:
        remember(spikes, call.trace.spikes)
    return spikes, call


def run(
    inputs: Spikes,
    weight: Tensor,
    params: Mapping[str, Tensor],
    *,
    reset: ResetKind = "value",
    max_spikes: int | None = None,
    engine: str = "auto",
) -> Spikes:
    """Spikes of one layer of ``weight`` ``[n_out, n_in]`` and neurons of ``params`` (by name, ``[n_out]`` each), without gradient.

    Arguments and errors as :func:`layer_call`.
    """
    with torch.no_grad():
        return layer_call(inputs, weight, params, Options(reset=reset, max_spikes=max_spikes, engine=engine))[0]


def membrane_maximum(
    inputs: Spikes, weight: Tensor, params: Mapping[str, Tensor], mask: Tensor | None = None
) -> Tensor:
    """Exact maximum of every membrane over ``[0, t_stop]`` in the absence of resets.

    Parameters
    ----------
    inputs, weight, params : as in :func:`layer_call`
    mask : Tensor, ``[batch, n_out]`` bool, optional
        Neurons wanted; elsewhere the result is ``v_leak``, without gradient but its own.

    Returns
    -------
    Tensor ``[batch, n_out]``, differentiable in input times, weight, ``tau_mem``, ``tau_syn``, ``v_leak`` and ``v_reset``. At most
    one extremum lies between two events, so the maximum is closed-form; its gradient at fixed time is exact (the slope
    there is zero, or the time is that of an event and moves with it).
    """
    _check_inputs(inputs, weight, "layer")
    shape = (len(inputs), weight.shape[0])
    if mask is None:
        mask = torch.ones(shape, dtype=torch.bool, device=weight.device)
    if tuple(mask.shape) != shape or mask.dtype != torch.bool:
        raise InputError(f"mask is {tuple(mask.shape)} {mask.dtype}; expected {shape} bool")
    neurons = [params[name] for name in PARAMETERS]
    function: Any = MembraneMaximum
    if _on_device("layer", "auto", inputs, weight, neurons):
        from .gpu.differentiable import MembraneMaximumOnDevice

        function = MembraneMaximumOnDevice
    result: Tensor = function.apply(inputs, mask, _in(weight.dtype, inputs.times), weight, *neurons)
    return result


def _on_device(where: str, engine: str, inputs: Spikes, weight: Tensor, neurons: Sequence[Tensor]) -> bool:
    """Whether the GPU runs the layer; see :func:`.gpu.place.runs_on_device`."""
    if weight.is_cpu and inputs.times.is_cpu and engine != "gpu" and False not in [value.is_cpu for value in neurons]:
        return False
    return runs_on_device(
        where, engine, weight, {"input times": inputs.times} | dict(zip(PARAMETERS, neurons, strict=True))
    )


def _in(dtype: torch.dtype, times: Tensor) -> Tensor:
    """``times`` in ``dtype``, themselves where they have it."""
    return times if times.dtype is dtype else times.to(dtype)


def _check_inputs(inputs: Spikes, weight: Tensor, where: str) -> int:
    """The neurons of a layer of ``weight``, once it and ``inputs`` are found to fit."""
    shape, times = weight.shape, inputs.times
    if len(shape) != 2 or not shape[0]:
        raise InputError(f"{where}: weights {tuple(shape)}; allowed: [n_out >= 1, n_in]")
    if inputs.n_units != shape[1]:
        raise InputError(f"the input has {inputs.n_units} units; the layer takes {shape[1]}")
    if not len(times):
        raise InputError("a batch of no samples; give at least one")
    if weight.dtype in DTYPES and times.dtype in DTYPES:
        return shape[0]
    for what, tensor in (("weights", weight), ("input times", times)):
        if tensor.dtype not in DTYPES:
            raise InputError(
                f"{where}: {what} have dtype {str(tensor.dtype).removeprefix('torch.')}; allowed: float32 or float64. "
                "Spike times are exact to rounding: use net.float() or net.double(), and spikes.to(torch.float32)"
            )
    return shape[0]


def _check_measured(inputs: Spikes, measured: Spikes, n_out: int) -> None:
    if measured.n_units != n_out or len(measured) != len(inputs) or measured.t_stop != inputs.t_stop:
        raise InputError(
            f"measured spikes of {measured.n_units} units, {len(measured)} samples, t_stop {measured.t_stop} s; "
            f"the layer has {n_out} units and the input {len(inputs)} samples, t_stop {inputs.t_stop} s"
        )
