"""Torch around the kernels: autograd, dtype and device rules, checks at the border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import GradientError, InputError, OptionError
from ..neurons import PARAMETERS, check_parameters
from ..spikes import Spikes
from .checks import below_floor, masked, within
from .contract import Events, FloatArray, Floor, Layer, Sensitivities, Trace
from .endless import calm_sum, refuse_endless
from .event_arrays import events_of
from .parameter_values import Recent
from .threads import begin

FloorPolicy: TypeAlias = Literal["clip", "skip", "raise"]

#: Floor of D_k relative to v_th - v_reset. Small: at .3, 11-16 % of the spikes of a chip with 10-20 % mismatch would
#: be floored.
DEFAULT_FLOOR = 1e-3

#: Layers whose neuron parameters are kept checked and prepared between calls: a small batch would spend as long there
#: as on its spikes.
KEPT_NEURONS = 64

#: Largest numbers of the dtypes.
_LARGEST = {dtype().dtype.char: float(np.finfo(dtype).max) for dtype in (np.float32, np.float64)}

_V_TH, _V_LEAK = PARAMETERS.index("v_th"), PARAMETERS.index("v_leak")


@cache
def engine(name: str = "auto") -> ModuleType:
    """The implementation called ``name``: ``auto`` (of arrays: ``cpu``), ``cpu``, ``gpu`` or ``reference``."""
    if name in ("auto", "cpu"):
        from . import cpu

        return cpu
    if name == "reference":
        from .reference import layer as reference

        return reference
    if name == "gpu":
        from .gpu import engine as gpu

        return gpu
    raise OptionError(f"engine = {name!r}; allowed: 'auto', 'cpu', 'reference', and on a GPU 'gpu'")


@dataclass(frozen=True)
class Options:
    """How a layer is run: reset kind, spike cap, floor of the derivative, implementation."""

    reset: str = "value"
    max_spikes: int | None = None
    floor: float = DEFAULT_FLOOR
    policy: FloorPolicy = "clip"
    engine: str = "auto"

    def __post_init__(self) -> None:
        if not 0.0 <= self.floor < float("inf"):
            raise InputError(f"floor = {self.floor}; allowed: finite and >= 0 (a share of v_th - v_reset)")
        if self.policy not in ("clip", "skip", "raise"):
            raise OptionError(f"policy = {self.policy!r}; allowed: 'clip', 'skip', 'raise'")
        if self.max_spikes is not None and self.max_spikes < 1:
            raise InputError(f"max_spikes = {self.max_spikes}; allowed: None (no cap) or a whole number >= 1")


def to_layer(
    weight: Tensor, params: Sequence[Tensor], options: Options, t_stop: float, where: str = "layer", events: int = 1
) -> tuple[Layer, bool]:
    """Arrays of a layer from ``weight [n_out, n_in]`` and its neurons' :data:`~hwloop.neurons.PARAMETERS`, each ``[n_out]``.

    Both without a gradient, or called where none is recorded. ``v_th`` may be ``[batch, n_out]``. The layer's weights are a
    view where they are stored pre-major; its neurons are a copy. Also whether it is calm: no neuron can spike without end
    (:mod:`.endless`) in a sample of so many ``events`` until ``t_stop``.

    Raises :class:`InputError` naming ``where``, neuron and value: weights that are not finite, parameters out of bounds.
    """
    w = np.ascontiguousarray(weight.numpy().T)
    if params[_V_TH].ndim == 1:
        kept = where, w.shape[1], w.dtype.char, options.reset, options.max_spikes, t_stop
        found = _recent.find(kept, params)
        if found is None:
            values = torch.cat(tuple(params)).numpy().astype(w.dtype, copy=False)
            found = neurons_of(values, params, w.shape[1], options, t_stop, where)
            _recent.keep(kept, values.reshape(len(params), -1), found)
        neurons = found
    else:
        given = [np.array(p.detach().numpy(), w.dtype) for p in params]
        neurons = _derive(given, options.reset, options.max_spikes, t_stop)
    calm = within(w, w.dtype.type(min(neurons.calm / max(1, events), _LARGEST[w.dtype.char])))
    if not (neurons.allowed and calm):
        _refuse_values(weight.detach(), dict(zip(PARAMETERS, params, strict=True)), where)
    return neurons.layer.with_weight(w), calm


def neurons_of(
    values: FloatArray, params: Sequence[Tensor], n: int, options: Options, t_stop: float, where: str
) -> Neurons:
    """``n`` neurons whose parameters ``params``, one after the other, have these ``values``."""
    if len(values) != n * len(PARAMETERS):
        raise InputError(
            f"{where}: {', '.join(f'{name} has {len(p)}' for name, p in zip(PARAMETERS, params, strict=True))} values; "
            f"allowed: one for each of {n} neurons"
        )
    return _kept(values.dtype.char, values.tobytes(), options.reset, options.max_spikes, t_stop)


class Neurons(NamedTuple):
    """Neurons of a layer: whether their parameters are allowed, :func:`.calm_sum`, and a :class:`Layer` without weights."""

    allowed: bool
    calm: float
    layer: Layer


#: Neurons of the latest call of every layer, which are the next one's unless a parameter has changed.
_recent: Recent[Neurons] = Recent(KEPT_NEURONS)


@lru_cache(maxsize=KEPT_NEURONS)
def _kept(char: str, values: bytes, reset: str, max_spikes: int | None, t_stop: float) -> Neurons:
    """The neurons with these parameters. Keyed by value: what changes them in place, optimiser or user, is noticed."""
    return _derive(np.frombuffer(values, char).copy().reshape(len(PARAMETERS), -1), reset, max_spikes, t_stop)


def _derive(value: Sequence[FloatArray] | FloatArray, reset: str, max_spikes: int | None, t_stop: float) -> Neurons:
    tau_mem, tau_syn, v_th, v_leak, v_reset, t_ref = value
    threshold, lowest = np.atleast_2d(v_th) - v_leak, v_reset - v_leak
    allowed = (
        all(bool(np.isfinite(array).all()) for array in value)
        and bool((tau_mem > 0).all() and (tau_syn > 0).all() and (t_ref >= 0).all())
        and bool((v_th > v_reset).all())
    )
    start = np.where((threshold <= 0).any(0), lowest, 0).astype(tau_mem.dtype)
    none: FloatArray = np.empty((0, len(tau_mem)), tau_mem.dtype)
    neurons = (tau_mem, tau_syn, t_ref, threshold, lowest, start)
    layer = Layer(none, *neurons, subtract=reset == "subtract", max_spikes=max_spikes or 0)
    return Neurons(allowed, calm_sum(layer, t_stop) if allowed else 0.0, layer)


def _refuse_values(weight: Tensor, params: dict[str, Tensor], where: str) -> None:
    """Raise where a parameter is out of bounds or a weight is not finite."""
    check_parameters(params, where)
    bad = torch.nonzero(~torch.isfinite(weight))
    if len(bad):
        neuron, unit = (int(x) for x in bad[0])
        raise InputError(
            f"{where}: weight of input unit {unit} to neuron {neuron} = {weight[neuron, unit].item()}; allowed: finite. "
            "If training made it so, lower lr or raise the floor of the derivative"
        )


@dataclass
class LayerCall:
    """All that one call of a layer is about besides the tensors autograd follows; receives what it finds.

    ``neurons`` are the parameters where none of them needs a gradient: autograd is handed as few tensors as possible.
    ``arrived`` are the inputs as arrays, where they are known already.
    """

    units: Tensor
    counts: Tensor
    t_stop: float
    options: Options
    measured: Events | None
    where: str = "layer"
    neurons: Sequence[Tensor] = ()
    arrived: Events | None = None
    trace: Trace | None = None
    found: tuple[Tensor, Tensor] | None = None
    below_floor: int = 0
    used: int = 0
    silent: int = 0

    def spikes(self, times: Tensor, n_out: int) -> Spikes:
        """The output as Spikes, once the layer has run."""
        if self.found is None:
            raise RuntimeError("the layer has not run")
        return Spikes.trusted(times, *self.found, n_out, self.t_stop)


#: Equal floors are made once.
_floor = lru_cache(Floor)


class SpikingLayer(torch.autograd.Function):
    """Spike times of a layer as a differentiable function of input times, weights and neuron parameters.

    What the backward pass reads is either private or saved through torch, inputs and outputs alike: torch then refuses a
    gradient of anything that was changed in place since it ran.
    """

    @staticmethod
    def forward(ctx: Any, call: LayerCall, times: Tensor, weight: Tensor, *params: Tensor) -> Tensor:
        begin()
        ran = weight.detach()  # the same values and count of changes, and these also when weight.data becomes another
        options, units, counts = call.options, call.units, call.counts
        layer, calm = to_layer(ran, params or call.neurons, options, call.t_stop, call.where, times.shape[1])
        run, inputs = engine(options.engine), call.arrived
        if inputs is None:
            inputs = events_of(times.detach(), units, counts, layer.weight.dtype)
        if not calm and call.measured is None:
            refuse_endless(layer, inputs, call.t_stop, call.where, run)
        trace: Trace = run.forward(layer, inputs, call.t_stop, call.measured)
        spikes = trace.spikes
        result = torch.from_numpy(spikes.times)
        found = torch.from_numpy(spikes.units), torch.from_numpy(spikes.counts)
        call.trace, call.found = trace, found
        call.below_floor, call.used, call.silent = _counted(layer, trace, options)
        if True in ctx.needs_input_grad:
            ctx.ran = (options, call.t_stop, layer, inputs, trace, ran)
            times, units, counts = _savable(times), _savable(units), _savable(counts)
            ctx.save_for_backward(ran, times, units, counts, result, *found, *params)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # torch's own wrapper takes as long as the spikes of a sample; it refuses second derivatives, which alone need it
        return _second_refused(ctx, grad) if torch.is_grad_enabled() else _gradients(ctx, grad)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    options, t_stop, layer, inputs, trace, ran = ctx.ran
    weight, times, units, counts, *answer = ctx.saved_tensors[:7]  # refuses what was changed
    needs, dtype = ctx.needs_input_grad, layer.weight.dtype
    if weight is not ran:  # hooks of saved tensors: everything may lie elsewhere by now
        inputs = events_of(times.detach(), units, counts, dtype)
        layer = layer.with_weight(np.ascontiguousarray(weight.numpy().T))
        trace = replace(trace, spikes=events_of(answer[0].detach(), answer[1], answer[2], dtype))
    floor = _floor(options.floor, options.policy == "skip")
    run = engine(options.engine)
    upstream = _upstream(grad, trace, layer)
    d_times = d_weight = None
    if needs[1] or needs[2]:
        by_weight, by_time = run.backward(layer, inputs, t_stop, trace, upstream, floor, needs[1])
        d_times, d_weight = None if by_time is None else torch.from_numpy(by_time), torch.from_numpy(by_weight.T)
    if len(needs) == 3:
        return None, d_times, d_weight
    s = run.sensitivities(layer, inputs, t_stop, trace, upstream, floor)
    return None, d_times, d_weight, *_of_parameters(s, layer, needs[3:])


def _second_refused(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    found: tuple[Tensor | None, ...] = once_differentiable(_gradients)(ctx, grad)
    return found


def _savable(tensor: Tensor) -> Tensor:
    """``tensor``, or a copy where it was made in ``torch.inference_mode``: torch counts no changes of those."""
    return tensor.clone() if tensor.is_inference() else tensor


def _of_parameters(s: Sensitivities, layer: Layer, needs: Sequence[bool]) -> list[Tensor | None]:
    """Gradients of :data:`~hwloop.neurons.PARAMETERS`, where they are needed."""
    refuse_rows(layer.threshold.shape[0])
    found = (s.tau_mem, s.tau_syn, s.threshold, -s.threshold - s.reset, s.reset, s.t_ref)
    dtype = layer.weight.dtype
    return [torch.from_numpy(array.astype(dtype)) if need else None for array, need in zip(found, needs, strict=True)]


def refuse_rows(rows: int) -> None:
    """Raise :class:`InputError` where thresholds have several ``rows``, one a sample: parameters have no gradient then."""
    if rows > 1:
        raise InputError(
            "parameters of neurons whose thresholds differ from sample to sample have no gradient; switch that "
            "noise off (threshold=0), or give the neurons plain numbers"
        )


def _upstream(grad: Tensor, trace: Trace, layer: Layer) -> np.ndarray[Any, Any]:
    upstream = np.empty(trace.spikes.times.shape, layer.weight.dtype)
    refuse_infinite(masked(np.ascontiguousarray(grad.detach().numpy()), trace.spikes.counts, upstream))
    return upstream


def refuse_infinite(finite: bool) -> None:
    """Raise :class:`GradientError` where an upstream gradient is not ``finite``."""
    if not finite:
        raise GradientError(
            "the gradient of the loss with respect to a spike time is NaN or infinite; leave the neurons without a spike "
            "out with torch.where: their first time is inf"
        )


def _counted(layer: Layer, trace: Trace, options: Options) -> tuple[int, int, int]:
    """Spikes below the floor, all spikes, samples without; :class:`GradientError` where the policy is ``raise``."""
    spikes = trace.spikes
    found, sample, spike, used, silent = below_floor(
        trace.current, spikes.units, spikes.counts, layer.threshold, layer.reset, options.floor
    )
    if options.policy == "raise" and found:
        neuron = spikes.units[sample, spike]
        slope = trace.current[sample, spike] - layer.threshold[sample if len(layer.threshold) > 1 else 0, neuron]
        least = _least_floor(layer, trace)
        # rounded down: the printed floor is one that every spike passes
        lower = f"lower the floor to {0.9995 * least:.4g} or less, or " if least > 0 else ""
        raise GradientError(
            f"sample {sample}, neuron {neuron}, t = {spikes.times[sample, spike]:g} s: tau_mem u' = {slope:g} lies "
            f"below the floor {options.floor:g} (v_th - v_reset); {lower}use policy 'clip' or 'skip'"
        )
    return found, used, silent


def _least_floor(layer: Layer, trace: Trace) -> float:
    """Smallest ``D_k`` of all spikes, as a share of ``v_th - v_reset``."""
    units = trace.spikes.units
    threshold = np.take_along_axis(np.broadcast_to(layer.threshold, (len(units), layer.threshold.shape[1])), units, 1)
    share = (trace.current - threshold) / (threshold - layer.reset[units])
    return float(share[np.arange(units.shape[1]) < trace.spikes.counts[:, None]].min())


class MembraneMaximum(torch.autograd.Function):
    """Largest membrane of every neuron, without resets, as a differentiable function of inputs, weights and neurons."""

    @staticmethod
    def forward(
        ctx: Any, spikes: Spikes, mask: Tensor, times: Tensor, weight: Tensor, *params: Tensor
    ) -> Tensor:  # fmt: skip
        layer, _ = to_layer(weight.detach(), params, Options(), spikes.t_stop)
        inputs = events_of(times.detach(), spikes.units, spikes.counts, layer.weight.dtype)
        v_leak = params[_V_LEAK]
        value, when = engine().membrane_maximum(layer, inputs, spikes.t_stop, np.ascontiguousarray(mask.numpy()))
        if any(ctx.needs_input_grad):
            ctx.ran = (spikes.t_stop, layer, when)
            read = map(_savable, (times, spikes.units, spikes.counts, mask))
            ctx.save_for_backward(*read, weight.detach(), *params)
        top = torch.from_numpy(value).to(weight.dtype) + v_leak
        return torch.where(mask, top, v_leak)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        t_stop, layer, when = ctx.ran
        times, units, counts, mask, weight = ctx.saved_tensors[:5]
        layer = layer.with_weight(np.ascontiguousarray(weight.numpy().T))
        inputs = events_of(times.detach(), units, counts, layer.weight.dtype)
        upstream = torch.where(mask, grad, 0.0).double().numpy()
        d_weight, d_times, d_mem, d_syn = engine().membrane_maximum_gradient(layer, inputs, t_stop, when, upstream)
        cast = layer.weight.dtype
        # where v_leak >= v_th the membrane starts at v_reset, and what is left of that start at the maximum is v_reset's
        left = torch.from_numpy(np.exp(-when / layer.tau_mem) * (layer.start != 0)).to(grad.dtype) * mask
        by_leak, by_reset = (grad * (1.0 - left)).sum(0), (grad * left).sum(0)
        as_tensor = [torch.from_numpy(a.astype(cast)) for a in (d_times, d_weight, d_mem, d_syn)]
        return (
            None, None, as_tensor[0], as_tensor[1].t(), as_tensor[2], as_tensor[3], None, by_leak, by_reset, None
        )  # fmt: skip
