"""Torch around the GPU's passes: autograd of a layer whose tensors stay on their device.

The same checks, options and counts as :mod:`hwloop.simulate.autograd`. The host learns a few numbers a call: the
neurons' parameters, whether the weights are finite, how many spikes there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...neurons import PARAMETERS
from ...spikes import Spikes
from ..autograd import (
    LayerCall,
    Options,
    _counted,
    _derive,
    _refuse_values,
    _savable,
    neurons_of,
    refuse_infinite,
    refuse_rows,
)
from ..contract import Events, Floor, Layer
from ..endless import refuse_endless
from ..threads import begin
from . import layer_passes as passes
from .tensors import DeviceEvents, DeviceNeurons, DeviceTrace, as_array

_V_TH, _V_LEAK = PARAMETERS.index("v_th"), PARAMETERS.index("v_leak")


def prepared(
    weight: Tensor, params: Sequence[Tensor], options: Options, t_stop: float, where: str, events: int
) -> tuple[Tensor, Layer, bool]:
    """``weight [n_out, n_in]`` pre-major, its neurons as arrays (a layer without weights), and whether it is calm.

    As :func:`hwloop.simulate.autograd.to_layer`, with one transfer to the host.
    """
    largest = weight.abs().amax() if weight.numel() else weight.new_zeros(())  # of NaN it is NaN
    if params[_V_TH].ndim == 1:
        found = as_array(torch.cat([*(p.to(weight.dtype) for p in params), largest.reshape(1)]))
        neurons = neurons_of(found[:-1], params, weight.shape[0], options, t_stop, where)
        most = found[-1]
    else:
        given = [np.array(as_array(p), as_array(largest).dtype) for p in params]
        neurons, most = _derive(given, options.reset, options.max_spikes, t_stop), as_array(largest)
    if not (neurons.allowed and np.isfinite(most)):
        _refuse_values(weight, dict(zip(PARAMETERS, params, strict=True)), where)
    return weight.t().contiguous(), neurons.layer, bool(most <= neurons.calm / max(1, events))


def _refuse_endless(weight: Tensor, neurons: Layer, inputs: DeviceEvents, t_stop: float, where: str) -> None:
    """On the CPU: networks that come here are rare."""
    from .. import cpu

    arrays = Events(*(np.ascontiguousarray(as_array(x)) for x in (inputs.times, inputs.units, inputs.counts)))
    refuse_endless(neurons.with_weight(np.ascontiguousarray(as_array(weight))), arrays, t_stop, where, cpu)


class SpikingLayerOnDevice(torch.autograd.Function):
    """:class:`hwloop.simulate.autograd.SpikingLayer` on the device of ``weight``."""

    @staticmethod
    def forward(ctx: Any, call: LayerCall, times: Tensor, weight: Tensor, *params: Tensor) -> Tensor:
        begin()
        ran, options, t_stop = weight.detach(), call.options, call.t_stop
        values = [p.detach() for p in params or call.neurons]
        matrix, layer, calm = prepared(ran, values, options, t_stop, call.where, times.shape[1])
        neurons = DeviceNeurons.of(layer, weight.device)
        inputs = DeviceEvents(times.detach(), call.units, call.counts)
        if not calm and call.measured is None:
            _refuse_endless(matrix, layer, inputs, t_stop, call.where)
        measured = None if call.measured is None else DeviceEvents.of(call.measured, weight.device)
        trace = passes.forward(matrix, neurons, inputs, t_stop, measured)
        if call.measured is not None or options.policy == "raise":
            call.trace = trace.on_host()
        spikes = trace.spikes
        call.found = spikes.units, spikes.counts
        if call.trace is not None and options.policy == "raise":
            _counted(layer, call.trace, options)
        call.below_floor, call.used, call.silent = _low(neurons, trace, options.floor)
        if True in ctx.needs_input_grad:
            ctx.ran = options, t_stop, layer, trace
            read = map(_savable, (ran, times, call.units, call.counts))
            ctx.save_for_backward(*read, spikes.times, spikes.units, spikes.counts, *params)
        return spikes.times

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        options, t_stop, layer, trace = ctx.ran
        weight, times, units, counts, *answer = ctx.saved_tensors[:7]  # refuses what was changed
        needs, device = ctx.needs_input_grad, weight.device
        neurons, inputs = DeviceNeurons.of(layer, device), DeviceEvents(times.detach(), units, counts)
        spikes = DeviceEvents(answer[0].detach(), answer[1], answer[2])
        trace = DeviceTrace(spikes, trace.current, trace.release_time, trace.release_current, trace.residual)
        floor = Floor(options.floor, options.policy == "skip")
        ran = weight.t().contiguous(), neurons, inputs, t_stop, trace, _upstream(grad, spikes), floor
        d_times = d_weight = None
        if needs[1] or needs[2]:
            by_weight, d_times = passes.backward(*ran, needs[1])
            d_weight = by_weight.t()
        if len(needs) == 3:
            return None, d_times, d_weight
        refuse_rows(len(neurons.threshold))
        mem, syn, threshold, reset, t_ref = passes.sensitivities(*ran)
        found = mem, syn, threshold, -threshold - reset, reset, t_ref
        each = [x.to(weight.dtype) if need else None for x, need in zip(found, needs[3:], strict=True)]
        return None, d_times, d_weight, *each


def _low(neurons: DeviceNeurons, trace: DeviceTrace, share: float) -> tuple[int, int, int]:
    """Spikes below the floor, all spikes, samples without."""
    spikes = trace.spikes
    valid = torch.isfinite(spikes.times)
    c = torch.gather(neurons.threshold.expand(len(spikes.counts), -1), 1, spikes.units)
    low = valid & ~(trace.current - c >= share * (c - neurons.table[3][spikes.units])) & torch.isfinite(c)
    found = torch.stack([low.sum(), spikes.counts.sum(), (spikes.counts == 0).sum()]).tolist()
    return int(found[0]), int(found[1]), int(found[2])


def _upstream(grad: Tensor, spikes: DeviceEvents) -> Tensor:
    """``grad``, 0 where padded; :class:`GradientError` where it is not finite."""
    result = torch.where(torch.isfinite(spikes.times), grad, 0.0)
    refuse_infinite(bool(torch.isfinite(result).all()))
    return result.contiguous()


class MembraneMaximumOnDevice(torch.autograd.Function):
    """:class:`hwloop.simulate.autograd.MembraneMaximum` on the device of ``weight``."""

    @staticmethod
    def forward(
        ctx: Any, spikes: Spikes, mask: Tensor, times: Tensor, weight: Tensor, *params: Tensor
    ) -> Tensor:  # fmt: skip
        matrix, layer, _ = prepared(
            weight.detach(), [p.detach() for p in params], Options(), spikes.t_stop, "layer", times.shape[1]
        )
        neurons, inputs = (
            DeviceNeurons.of(layer, weight.device),
            DeviceEvents(times.detach(), spikes.units, spikes.counts),
        )
        value, when = passes.membrane_maximum(matrix, neurons, inputs, spikes.t_stop, mask)
        if any(ctx.needs_input_grad):
            ctx.ran = spikes.t_stop, layer, when
            read = map(_savable, (times, spikes.units, spikes.counts, mask))
            ctx.save_for_backward(*read, weight.detach(), *params)
        v_leak = params[_V_LEAK].detach()
        return torch.where(mask, value.to(weight.dtype) + v_leak, v_leak)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        t_stop, layer, when = ctx.ran
        times, units, counts, mask, weight = ctx.saved_tensors[:5]
        neurons, inputs = DeviceNeurons.of(layer, weight.device), DeviceEvents(times.detach(), units, counts)
        up = torch.where(mask, grad, 0.0).double()
        d_weight, d_times, d_mem, d_syn = passes.membrane_maximum_gradient(
            weight.t().contiguous(), neurons, inputs, t_stop, when, up
        )
        table = neurons.table.double()
        # where v_leak >= v_th the membrane starts at v_reset, and what is left of that start at the maximum is v_reset's
        left = (torch.exp(-when / table[0]) * (table[4] != 0)).to(grad.dtype) * mask
        by_leak, by_reset = (grad * (1.0 - left)).sum(0), (grad * left).sum(0)
        d_times, d_weight, d_mem, d_syn = (x.to(weight.dtype) for x in (d_times, d_weight, d_mem, d_syn))
        return None, None, d_times, d_weight.t(), d_mem, d_syn, None, by_leak, by_reset, None
