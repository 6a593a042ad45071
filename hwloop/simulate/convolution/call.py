"""Torch around the kernels of a convolution: autograd, and checks at the border."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...arguments import DTYPES
from ...errors import InputError, OptionError
from ...spikes import Spikes
from ..autograd import LayerCall, Options, _counted, _savable, _upstream
from ..contract import FloatArray, Floor, Trace
from ..event_arrays import events_of, to_events
from ..gpu.place import runs_on_device
from ..threads import begin
from . import engine, unrolled
from .engine import Convolution
from .geometry import Geometry
from .neurons_of_maps import gradients, names_of, population


@dataclass
class ConvolutionCall(LayerCall):
    """All that one call of a convolution is about besides the tensors autograd follows; receives what it finds."""

    geometry: Geometry | None = None
    names: Sequence[str] = field(default_factory=tuple)


def convolution_call(
    inputs: Spikes,
    weight: Tensor,
    geometry: Geometry,
    params: Mapping[str, Tensor],
    options: Options,
    measured: Spikes | None = None,
    where: str = "convolution",
) -> tuple[Spikes, LayerCall]:
    """Spikes of a population behind a convolution, differentiable in ``inputs.times``, ``weight`` and ``params``.

    Parameters
    ----------
    inputs : Spikes of ``geometry.n_in`` units
    weight : Tensor, ``[out_channels, in_channels / groups, kernel height, kernel width]`` (membrane units per spike)
    geometry : Geometry
    params : ``tau_mem, tau_syn, v_th, v_leak, v_reset, t_ref``, and ``bias`` and ``v_init`` where wanted
        Each ``[out_channels]``, the same at all positions, or ``[n_out]``; ``v_th`` may have a row for each sample.
    options : Options
    measured : Spikes of ``geometry.n_out`` units, optional
        Take these as the output: values measured, derivatives the model's at the measured times.
    where : str
        What errors call the population.

    Returns
    -------
    The spikes of ``geometry.n_out`` units, and the call with its trace.

    Raises
    ------
    InputError
        Units, batch, window or shapes that do not fit; parameters out of bounds or weights that are not finite.
    GradientError
        A derivative below the floor under policy ``raise``.
    """
    _check(inputs, weight, geometry, where)
    given = None
    if measured is not None:
        if measured.n_units != geometry.n_out or len(measured) != len(inputs) or measured.t_stop != inputs.t_stop:
            raise InputError(
                f"{where}: measured spikes of {measured.n_units} units, {len(measured)} samples, t_stop {measured.t_stop} s; "
                f"it has {geometry.n_out} neurons and its input {len(inputs)} samples, t_stop {inputs.t_stop} s"
            )
        given = to_events(measured.to("cpu"), np.float64 if weight.dtype == torch.float64 else np.float32)
    names = names_of(params, where)
    neurons = [params[name] for name in names]
    if runs_on_device(where, options.engine, weight, {"input times": inputs.times} | dict(params)):
        from .. import layer_call
        from ..gpu.unrolled_convolution import as_dense

        return layer_call(inputs, *as_dense(weight, params, geometry, where), options, measured, where)
    if neurons[2].ndim == 2 and len(neurons[2]) not in (1, len(inputs)):
        raise InputError(
            f"{where}: v_th has {len(neurons[2])} rows; allowed: one, or one for each of {len(inputs)} samples"
        )
    call = ConvolutionCall(
        inputs.units, inputs.counts, inputs.t_stop, options, given, where, geometry=geometry, names=names
    )
    if not any(value.requires_grad for value in neurons):
        call.neurons, neurons = neurons, []
    times = inputs.times if inputs.times.dtype is weight.dtype else inputs.times.to(weight.dtype)
    result = SpikingConvolution.apply(call, times, weight, *neurons)  # type: ignore[no-untyped-call]
    return call.spikes(result, geometry.n_out), call


class SpikingConvolution(torch.autograd.Function):
    """Spike times of a convolution as a differentiable function of input times, weights and neuron parameters.

    What the backward pass reads is private or saved through torch, which refuses a gradient of what was changed in place.
    """

    @staticmethod
    def forward(ctx: Any, call: ConvolutionCall, times: Tensor, weight: Tensor, *params: Tensor) -> Tensor:
        begin()
        geometry, options = call.geometry, call.options
        if geometry is None:
            raise RuntimeError("a call without a geometry")
        neurons = params or call.neurons or ()
        found = population(call.names, neurons, geometry, weight.dtype, options.reset, options.max_spikes, call.where)
        layer = Convolution(geometry, _array(weight), found.neurons)
        inputs = events_of(times, call.units, call.counts, layer.weight.dtype)
        trace: Trace = _implementation(options).forward(layer, inputs, call.t_stop, call.measured)
        spikes = trace.spikes
        result, units, counts = map(torch.from_numpy, (spikes.times, spikes.units, spikes.counts))
        call.trace, call.found = trace, (units, counts)
        call.below_floor, call.used, call.silent = _counted(layer.neurons, trace, options)
        if any(ctx.needs_input_grad):
            ctx.ran = (call, found, trace)
            ctx.save_for_backward(
                *map(_savable, (times, call.units, call.counts, weight)), result, units, counts, *params
            )
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        call, found, trace = ctx.ran
        times, units, counts, weight, *answer = ctx.saved_tensors[:7]  # refuses what was changed
        params, needs = ctx.saved_tensors[7:], ctx.needs_input_grad
        layer = Convolution(call.geometry, _array(weight), found.neurons)
        inputs = events_of(times, units, counts, layer.weight.dtype)
        trace = replace(trace, spikes=events_of(answer[0], answer[1], answer[2], layer.weight.dtype))
        floor = Floor(call.options.floor, call.options.policy == "skip")
        run, upstream = _implementation(call.options), _upstream(grad, trace, found.neurons)
        d_weight = d_times = None
        if needs[1] or needs[2]:
            d_w, d_t = run.backward(layer, inputs, call.t_stop, trace, upstream, floor, needs[1])
            d_weight, d_times = torch.from_numpy(d_w), None if d_t is None else torch.from_numpy(d_t)
        d_params: list[Tensor | None] = [None] * len(params)
        if any(needs[3:]):
            if found.neurons.threshold.shape[0] > 1:
                raise InputError(
                    f"{call.where}: parameters of neurons whose thresholds differ from sample to sample have no gradient; "
                    "switch that noise off (threshold=0), or give the neurons plain numbers"
                )
            s, start = run.sensitivities(layer, inputs, call.t_stop, trace, upstream, floor)
            every = gradients(call.names, params, found, s, start, call.geometry)
            d_params = [value if need else None for value, need in zip(every, needs[3:], strict=True)]
        return (None, d_times, d_weight, *d_params)


def _array(tensor: Tensor) -> FloatArray:
    """The values of ``tensor``."""
    found: FloatArray = tensor.detach().numpy()
    return found


def _implementation(options: Options) -> ModuleType:
    """The functions that ``options.engine`` names."""
    if options.engine not in ("auto", "cpu", "reference"):
        raise OptionError(f"engine = {options.engine!r}; allowed: 'auto', 'cpu', 'reference', and on a GPU 'gpu'")
    return unrolled if options.engine == "reference" else engine


def _check(inputs: Spikes, weight: Tensor, geometry: Geometry, where: str) -> None:
    """Raise :class:`InputError` for inputs and weights that do not fit ``geometry``."""
    if inputs.n_units != geometry.n_in:
        raise InputError(
            f"{where}: the input has {inputs.n_units} units; allowed: {geometry.n_in}, an image of {geometry.in_shape} "
            "(channels, height, width)"
        )
    if inputs.times.shape[0] == 0:
        raise InputError(f"{where}: a batch of no samples; give at least one")
    for name, tensor in (("input times", inputs.times), ("weight", weight)):
        if tensor.dtype not in DTYPES:
            raise InputError(f"{where}: {name} of dtype {tensor.dtype}; allowed: float32 or float64, as in .float()")
    if tuple(weight.shape) != geometry.weight_shape:
        raise InputError(
            f"{where}: weight is {tuple(weight.shape)}; allowed: {geometry.weight_shape}, that is (out_channels, "
            "in_channels / groups, kernel height, kernel width)"
        )
    if not bool(torch.isfinite(weight.detach()).all()):
        place = [int(x) for x in torch.nonzero(~torch.isfinite(weight))[0]]
        raise InputError(
            f"{where}: weight{place} = {weight.detach()[tuple(place)].item()}; allowed: finite. If training made it so, "
            "lower lr or raise the floor of the derivative"
        )
