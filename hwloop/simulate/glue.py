"""Torch around the kernels: autograd, dtype and device rules, checks at the border."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ..errors import GradientError, InputError, OptionError
from ..neurons import PARAMETERS, check_parameters
from ..spikes import Spikes
from .contract import Events, FloatArray, Floor, Layer, Trace

FloorPolicy: TypeAlias = Literal["clip", "skip", "raise"]

#: Floor of D_k relative to v_th - v_reset. Small: at .3, 11-16 % of the spikes of a chip with 10-20 % mismatch would
#: be floored (design note exact_gradients.md, section 4).
DEFAULT_FLOOR = 1e-3

#: Layers whose neuron parameters are kept checked and prepared between calls: a small batch would spend as long there
#: as on its spikes.
KEPT_NEURONS = 64

_V_TH = PARAMETERS.index("v_th")


@cache
def engine(name: str = "auto") -> ModuleType:
    """The implementation called ``name``: ``auto`` (= ``cpu``), ``cpu`` or ``reference``."""
    if name in ("auto", "cpu"):
        from . import cpu

        return cpu
    if name == "reference":
        from . import reference

        return reference
    raise OptionError(f"engine = {name!r}; allowed: 'auto', 'cpu', 'reference'")


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


def to_layer(weight: Tensor, params: Mapping[str, Tensor], options: Options, where: str = "layer") -> Layer:
    """Arrays of a layer from ``weight [n_out, n_in]`` and parameters ``[n_out]`` (``v_th`` may be ``[batch, n_out]``).

    Raises :class:`InputError` naming ``where``, neuron and value: weights that are not finite, parameters out of bounds.
    """
    w = np.ascontiguousarray(_array(weight.t()))
    value = [np.ascontiguousarray(_array(params[name]).astype(w.dtype, copy=False)) for name in PARAMETERS]
    neurons = _kept(w.dtype.char, *(x.tobytes() for x in value)) if value[_V_TH].ndim == 1 else _derive(value)
    if not (neurons.allowed and math.isfinite(w.sum())):  # an infinity or NaN makes the sum one
        _refuse_values(weight.detach(), params, where)
    layer = Layer(w, *neurons.arrays, subtract=options.reset == "subtract", max_spikes=options.max_spikes or 0)
    return layer.sharing(neurons.memo)


@dataclass(frozen=True)
class _Neurons:
    """Parameters of a layer's neurons: whether they are allowed, their arrays in :class:`Layer`, and its memo."""

    allowed: bool
    arrays: tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]
    memo: dict[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=KEPT_NEURONS)
def _kept(char: str, *values: bytes) -> _Neurons:
    """The neurons with these parameters. Keyed by value: what changes them in place, optimiser or user, is noticed."""
    return _derive([np.frombuffer(value, char).copy() for value in values])


def _derive(value: Sequence[FloatArray]) -> _Neurons:
    tau_mem, tau_syn, v_th, v_leak, v_reset, t_ref = value
    threshold, reset = np.atleast_2d(v_th) - v_leak, v_reset - v_leak
    allowed = (
        all(bool(np.isfinite(array).all()) for array in value)
        and bool((tau_mem > 0).all() and (tau_syn > 0).all() and (t_ref >= 0).all())
        and bool((v_th > v_reset).all())
    )
    start = np.where((threshold <= 0).any(0), reset, 0).astype(tau_mem.dtype)
    return _Neurons(allowed, (tau_mem, tau_syn, t_ref, threshold, reset, start))


def _refuse_values(weight: Tensor, params: Mapping[str, Tensor], where: str) -> None:
    """Raise for what :func:`_allowed` found; nothing where only the sum of huge weights overflowed."""
    check_parameters({name: params[name] for name in PARAMETERS}, where)
    bad = torch.nonzero(~torch.isfinite(weight))
    if len(bad):
        neuron, unit = (int(x) for x in bad[0])
        raise InputError(
            f"{where}: weight of input unit {unit} to neuron {neuron} = {weight[neuron, unit].item()}; allowed: finite. "
            "If training made it so, lower lr or raise the floor of the derivative"
        )


def to_events(spikes: Spikes, dtype: Any) -> Events:
    """Arrays of ``spikes`` with times in ``dtype``."""
    times = _array(spikes.times).astype(dtype, copy=False)
    return Events(np.ascontiguousarray(times), np.ascontiguousarray(spikes.units.numpy()), spikes.counts.numpy())


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    if tensor.device.type != "cpu":
        raise InputError(f"tensor on {tensor.device}; this build simulates on the CPU alone: move it with .to('cpu')")
    if tensor.dtype not in (torch.float32, torch.float64):
        raise InputError(f"dtype {tensor.dtype}; allowed: float32 or float64")
    return tensor.detach().numpy()


@dataclass
class LayerCall:
    """All that one call of a layer is about besides the tensors autograd follows; receives what it finds."""

    units: Tensor
    counts: Tensor
    t_stop: float
    options: Options
    measured: Events | None
    where: str = "layer"
    trace: Trace | None = None
    below_floor: int = 0

    def spikes(self, times: Tensor, n_out: int) -> Spikes:
        """The output as Spikes, once the layer has run."""
        trace = _ran(self.trace)
        return Spikes.trusted(
            times, torch.from_numpy(trace.spikes.units), torch.from_numpy(trace.spikes.counts), n_out, self.t_stop
        )


def _ran(trace: Trace | None) -> Trace:
    if trace is None:
        raise RuntimeError("the layer has not run")
    return trace


class SpikingLayer(torch.autograd.Function):
    """Spike times of a layer as a differentiable function of input times, weights and neuron parameters."""

    @staticmethod
    def forward(ctx: FunctionCtx, call: LayerCall, times: Tensor, weight: Tensor, *params: Tensor) -> Tensor:
        layer = to_layer(weight, dict(zip(PARAMETERS, params, strict=True)), call.options, call.where)
        inputs = to_events(
            Spikes.trusted(times, call.units, call.counts, weight.shape[1], call.t_stop), layer.weight.dtype
        )
        trace: Trace = engine(call.options.engine).forward(layer, inputs, call.t_stop, call.measured)
        call.trace = trace
        call.below_floor = count_below_floor(layer, trace, call.options)
        ctx.saved = (call, layer, inputs, trace)  # type: ignore[attr-defined]
        return torch.from_numpy(trace.spikes.times)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        call, layer, inputs, trace = ctx.saved
        needs = ctx.needs_input_grad
        floor = Floor(call.options.floor, call.options.policy == "skip")
        run = engine(call.options.engine)
        upstream = _upstream(grad, trace, layer)
        d_weight = d_times = None
        if needs[1] or needs[2]:
            d_weight, d_times = run.backward(layer, inputs, call.t_stop, trace, upstream, floor, needs[1])
        d_params: list[Tensor | None] = [None] * len(PARAMETERS)
        if any(needs[3:]):
            if layer.threshold.shape[0] > 1:
                raise InputError(
                    "parameters of neurons whose thresholds differ from sample to sample have no gradient; switch that "
                    "noise off (threshold=0), or give the neurons plain numbers"
                )
            s = run.sensitivities(layer, inputs, call.t_stop, trace, upstream, floor)
            by_name = {
                "tau_mem": s.tau_mem, "tau_syn": s.tau_syn, "v_th": s.threshold, "v_leak": -s.threshold - s.reset,
                "v_reset": s.reset, "t_ref": s.t_ref,
            }  # fmt: skip
            dtype = layer.weight.dtype
            d_params = [
                torch.from_numpy(by_name[name].astype(dtype)) if need else None
                for name, need in zip(PARAMETERS, needs[3:], strict=True)
            ]
        return (
            None,
            None if d_times is None else torch.from_numpy(d_times),
            None if d_weight is None else torch.from_numpy(d_weight).t(),
            *d_params,
        )


def _upstream(grad: Tensor, trace: Trace, layer: Layer) -> np.ndarray[Any, Any]:
    from .checks import masked

    upstream = np.empty(trace.spikes.times.shape, layer.weight.dtype)
    if not masked(np.ascontiguousarray(grad.detach().numpy()), trace.spikes.counts, upstream):
        raise GradientError(
            "the gradient of the loss with respect to a spike time is NaN or infinite; leave the neurons without a spike "
            "out with torch.where: their first time is inf"
        )
    return upstream


def count_below_floor(layer: Layer, trace: Trace, options: Options) -> int:
    """Spikes whose ``D_k`` lies below the floor; raises :class:`GradientError` where the policy is ``raise``."""
    from .checks import below_floor

    spikes = trace.spikes
    found, sample, spike = below_floor(
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
    return int(found)


def _least_floor(layer: Layer, trace: Trace) -> float:
    """Smallest ``D_k`` of all spikes, as a share of ``v_th - v_reset``."""
    units = trace.spikes.units
    threshold = np.take_along_axis(np.broadcast_to(layer.threshold, (len(units), layer.threshold.shape[1])), units, 1)
    share = (trace.current - threshold) / (threshold - layer.reset[units])
    return float(share[np.arange(units.shape[1]) < trace.spikes.counts[:, None]].min())


class MembraneMaximum(torch.autograd.Function):
    """Largest membrane of every neuron, without resets, as a differentiable function."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Spikes, mask: Tensor, times: Tensor, weight: Tensor, tau_mem: Tensor, tau_syn: Tensor,
        v_leak: Tensor, v_reset: Tensor, others: dict[str, Tensor],
    ) -> Tensor:  # fmt: skip
        params = {**others, "tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak, "v_reset": v_reset}
        layer = to_layer(weight, params, Options())
        events = to_events(
            Spikes.trusted(times, inputs.units, inputs.counts, inputs.n_units, inputs.t_stop), layer.weight.dtype
        )
        value, when = engine().membrane_maximum(layer, events, inputs.t_stop, np.ascontiguousarray(mask.numpy()))
        ctx.saved = (layer, events, inputs.t_stop, when, mask)
        top = torch.from_numpy(value).to(weight.dtype) + v_leak.detach()
        return torch.where(mask, top, v_leak.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layer, events, t_stop, when, mask = ctx.saved
        upstream = torch.where(mask, grad, 0.0).double().numpy()
        d_weight, d_times, d_mem, d_syn = engine().membrane_maximum_gradient(layer, events, t_stop, when, upstream)
        cast = layer.weight.dtype
        # where v_leak >= v_th the membrane starts at v_reset, and what is left of that start at the maximum is v_reset's
        left = torch.from_numpy(np.exp(-when / layer.tau_mem) * (layer.start != 0)).to(grad.dtype) * mask
        by_leak, by_reset = (grad * (1.0 - left)).sum(0), (grad * left).sum(0)
        as_tensor = [torch.from_numpy(a.astype(cast)) for a in (d_times, d_weight, d_mem, d_syn)]
        return (None, None, as_tensor[0], as_tensor[1].t(), as_tensor[2], as_tensor[3], by_leak, by_reset, None)
