"""The GPU behind the contract of arrays: what goes to the device and comes back.

A network on the device does not go this way (:mod:`.differentiable` keeps everything there); this is for parity with the
other engines, and for what has arrays of NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract import Events, FloatArray, Floor, Layer, Sensitivities, Trace
from . import layer_passes as passes
from .memory import MAX_EVENTS as MAX_EVENTS
from .place import device_for_arrays
from .tensors import DeviceEvents, DeviceNeurons, DeviceTrace, as_array, as_tensor


def _given(layer: Layer, inputs: Events) -> tuple[Tensor, DeviceNeurons, DeviceEvents]:
    device = device_for_arrays()
    return as_tensor(layer.weight, device), DeviceNeurons.of(layer, device), DeviceEvents.of(inputs, device)


def forward(layer: Layer, inputs: Events, t_stop: float, measured: Events | None = None) -> Trace:
    """Simulate, or replay at measured spikes; see :class:`~hwloop.simulate.contract.Engine`."""
    given = _given(layer, inputs)
    replayed = None if measured is None else DeviceEvents.of(measured, given[0].device)
    return passes.forward(*given, t_stop, replayed).on_host()


def backward(
    layer: Layer, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor, want_times: bool
) -> tuple[FloatArray, FloatArray | None]:
    """Gradients of weights and input times; see :class:`~hwloop.simulate.contract.Engine`."""
    given = _given(layer, inputs)
    device = given[0].device
    found = DeviceTrace.of(trace, device), as_tensor(grad, device)
    d_weight, d_times = passes.backward(*given, t_stop, *found, floor, want_times)
    return as_array(d_weight), None if d_times is None else as_array(d_times)


def sensitivities(
    layer: Layer, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor
) -> Sensitivities:
    """Gradients of the neuron parameters; see :class:`~hwloop.simulate.contract.Engine`."""
    given = _given(layer, inputs)
    device = given[0].device
    return Sensitivities(
        *as_array(passes.sensitivities(*given, t_stop, DeviceTrace.of(trace, device), as_tensor(grad, device), floor))
    )


def membrane_maximum(
    layer: Layer, inputs: Events, t_stop: float, mask: np.ndarray[Any, np.dtype[np.bool_]]
) -> tuple[FloatArray, FloatArray]:
    """Largest membrane and its time; see :class:`~hwloop.simulate.contract.Engine`."""
    given = _given(layer, inputs)
    value, when = passes.membrane_maximum(*given, t_stop, as_tensor(mask, given[0].device))
    return as_array(value), as_array(when)


def membrane_maximum_gradient(
    layer: Layer, inputs: Events, t_stop: float, when: FloatArray, grad: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """``dL`` with respect to weight, input times, tau_mem and tau_syn from ``grad = dL/dmax [batch, n_out]``."""
    given = _given(layer, inputs)
    device = given[0].device
    up = torch.from_numpy(np.ascontiguousarray(grad, np.float64)).to(device)
    found = passes.membrane_maximum_gradient(*given, t_stop, as_tensor(when, device), up)
    d_weight, d_times, d_mem, d_syn = map(as_array, found)
    return d_weight, d_times, d_mem, d_syn
