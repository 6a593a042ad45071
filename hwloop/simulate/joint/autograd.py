"""A component as a differentiable function of input times, weights, delays and neuron parameters: torch around the kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import GradientError, InputError, OptionError
from ...neurons import PARAMETERS, check_parameters
from ...spikes import Spikes
from .. import DEFAULT_FLOOR, FloorPolicy
from ..contract import Events, FloatArray, Floor, IntArray
from ..gpu.place import check_on_cpu
from ..threads import begin
from . import by_specification, engine
from .contract import COLUMNS, INTEGRATE, Component, Gradients, JointTrace, Neurons, Synapses

#: Parameters that a component may have besides :data:`~hwloop.neurons.PARAMETERS`, each ``[N]``: constant current (membrane
#: units), initial membrane, and of INTEGRATE neurons the drive (membrane units per s).
OPTIONAL = ("bias", "v_init", "ramp")


@dataclass(frozen=True)
class Structure:
    """What of a component has no gradient.

    ``n_external`` units of the input; ``bundle_starts, first, target`` as in :class:`~.contract.Synapses`;
    ``kind, subtract, max_spikes [N]`` as in :class:`~.contract.Neurons`. ``memo`` keeps what follows from them.
    """

    n_external: int
    bundle_starts: IntArray
    first: IntArray
    target: IntArray
    kind: IntArray
    subtract: Any
    max_spikes: IntArray
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        n, sources, bundles = len(self.kind), len(self.bundle_starts) - 1, len(self.first) - 1
        if sources != self.n_external + n:
            raise InputError(f"bundles of {sources} sources; allowed: {self.n_external} inputs and {n} neurons")
        for name, starts, most in (
            ("bundle_starts", self.bundle_starts, bundles),
            ("first", self.first, len(self.target)),
        ):
            if starts[0] != 0 or starts[-1] != most or (np.diff(starts) < 0).any():
                raise InputError(f"{name} runs from {starts[0]} to {starts[-1]}; allowed: ascending from 0 to {most}")
        if len(self.target) and not 0 <= self.target.min() <= self.target.max() < n:
            raise InputError(f"synapses onto neurons {self.target.min()} .. {self.target.max()}; allowed: 0 .. {n - 1}")

    @property
    def size(self) -> int:
        """Number of neurons."""
        return len(self.kind)


@dataclass
class JointCall:
    """All that one call is about besides the tensors that autograd follows; receives what it finds.

    ``below_floor`` of ``used`` spikes had a ``D_k`` below the floor; ``silent`` samples had no spike.
    """

    structure: Structure
    inputs: Spikes
    floor: float
    policy: FloorPolicy
    measured: Events | None
    where: str
    engine: str = "auto"
    trace: JointTrace | None = None
    found: tuple[Tensor, Tensor] | None = None
    below_floor: int = 0
    used: int = 0
    silent: int = 0
    low: Any = None

    def low_of_neurons(self) -> IntArray:
        """``[N]`` spikes of each neuron whose ``D_k`` lay below the floor."""
        if self.trace is None:
            raise RuntimeError("the component has not run")
        return np.bincount(self.trace.spikes.units[self.low], minlength=self.structure.size)

    def residuals(self) -> FloatArray:
        """Mean ``u(T_k) - threshold`` of each neuron's spikes ``[N]``, those left out that an arrival fired at its own instant."""
        if self.trace is None:
            raise RuntimeError("the component has not run")
        counted = np.arange(self.trace.current.shape[1]) < self.trace.spikes.counts[:, None]
        counted &= self.trace.cause < 0
        units, n = self.trace.spikes.units[counted], self.structure.size
        total = np.bincount(units, self.trace.residual[counted], n)
        result: FloatArray = total / np.maximum(np.bincount(units, minlength=n), 1)
        return result


def component_call(
    inputs: Spikes,
    structure: Structure,
    weight: Tensor,
    delay: Tensor,
    params: Mapping[str, Tensor],
    *,
    floor: float = DEFAULT_FLOOR,
    policy: FloorPolicy = "clip",
    measured: Spikes | None = None,
    where: str = "component",
    engine: str = "auto",
) -> tuple[Spikes, JointCall]:
    """Spikes of all neurons of a component, differentiable in ``inputs.times``, ``weight``, ``delay`` and ``params``.

    Parameters
    ----------
    inputs : Spikes of ``structure.n_external`` units
    structure : Structure
    weight : Tensor ``[synapses]`` (membrane units per spike), float32 or float64
    delay : Tensor ``[bundles]`` (s), >= 0
    params : :data:`~hwloop.neurons.PARAMETERS`, each ``[N]``, ``v_th`` may be ``[batch, N]``; and any of :data:`OPTIONAL`
    floor, policy : floor of ``D_k`` as a share of ``v_th - v_reset``, and what happens below it: 'clip', 'skip', 'raise'
    measured : Spikes of ``N`` units, optional
        Take these as the component's output: values measured, derivatives the model's at the measured times.
    where : str
        What errors call the component.
    engine : "auto" | "cpu" | "reference"
        Compiled kernels, or the specification in plain Python.

    Raises
    ------
    InputError
        What does not fit together or is out of bounds; a loop without delay through delta synapses; a loop that explodes.
    GradientError
        A derivative below the floor under policy ``raise``.
    """
    if policy not in ("clip", "skip", "raise") or not 0.0 <= floor < math.inf:
        raise InputError(f"floor = {floor}, policy = {policy!r}; allowed: finite and >= 0; 'clip', 'skip' or 'raise'")
    _implementation(engine)
    _check(inputs, structure, weight, delay, measured, where)
    values = {name: params[name].to(weight.dtype) for name in (*PARAMETERS, *OPTIONAL) if name in params}
    neurons = _relative(values, structure, where)
    given = None
    if measured is not None:
        given = Events(_real(measured.times, weight.dtype), _whole(measured.units), _whole(measured.counts))
    call = JointCall(structure, inputs, floor, policy, given, where, engine)
    times = SpikingComponent.apply(  # type: ignore[no-untyped-call]
        call, inputs.times.to(weight.dtype), weight, delay.to(weight.dtype), *(neurons[name] for name in COLUMNS)
    )
    if call.found is None:
        raise RuntimeError("the component has not run")
    return Spikes.trusted(times, *call.found, structure.size, inputs.t_stop), call


def _relative(values: dict[str, Tensor], structure: Structure, where: str) -> dict[str, Tensor]:
    """:data:`~.contract.COLUMNS` as tensors: membranes relative to the asymptote ``v_leak + bias``.

    A membrane starts at ``v_init``, else at ``v_leak``, or at ``v_reset`` where that is not below ``v_th``.
    """
    n = structure.size
    for name, value in values.items():
        if value.shape[-1:] != (n,) or (value.ndim != 1 and name != "v_th"):
            raise InputError(
                f"{where}: {name} has shape {tuple(value.shape)}; allowed: one value for each of {n} neurons"
            )
    check_parameters(values, where)
    zero = torch.zeros(n, dtype=values["v_th"].dtype)
    bias, ramp = values.get("bias", zero), values.get("ramp", zero)
    ramps = torch.from_numpy(structure.kind == INTEGRATE)
    v_th, v_leak, v_reset = values["v_th"], values["v_leak"], values["v_reset"]
    lowest = v_th.detach() if v_th.ndim == 1 else v_th.detach().amin(0)
    start = values.get("v_init", torch.where(v_leak.detach() >= lowest, v_reset, v_leak))
    _refuse(
        ~torch.isfinite(bias) | (ramps & (bias != 0)), bias, where, "bias", "finite, and 0 without leak (give ramp)"
    )
    _refuse(
        ~torch.isfinite(ramp) | (~ramps & (ramp != 0)), ramp, where, "ramp", "finite, and 0 with a leak (give bias)"
    )
    _refuse(~(start < lowest) | torch.isinf(start), start, where, "v_init", "finite and below v_th")
    asymptote = v_leak + bias if "bias" in values else v_leak
    return {
        "tau_mem": values["tau_mem"],
        "tau_syn": values["tau_syn"],
        "threshold": v_th - asymptote,
        "reset": v_reset - asymptote,
        "t_ref": values["t_ref"],
        "start": start - asymptote,
        "ramp": ramp,
    }


def _refuse(bad: Tensor, values: Tensor, where: str, name: str, allowed: str) -> None:
    if bool(bad.any()):
        k = int(torch.nonzero(bad)[0, 0])
        raise InputError(f"{where}, {name}[{k}] = {values[k].item():g}; allowed: {allowed}")


def _check(
    inputs: Spikes, structure: Structure, weight: Tensor, delay: Tensor, measured: Spikes | None, where: str
) -> None:  # fmt: skip
    check_on_cpu(
        where, "populations simulated together", {"weights": weight, "delays": delay, "input times": inputs.times}
    )
    if weight.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{where}: weights have dtype {weight.dtype}; allowed: float32 or float64")
    for name, tensor, n in (("weight", weight, len(structure.target)), ("delay", delay, len(structure.first) - 1)):
        if tuple(tensor.shape) != (n,):
            raise InputError(f"{where}: {name} is {tuple(tensor.shape)} on {tensor.device}; allowed: ({n},) on the CPU")
    _refuse(~torch.isfinite(weight.detach()), weight, where, "weight", "finite. If training made it so, lower lr")
    _refuse(~((delay.detach() >= 0) & torch.isfinite(delay.detach())), delay, where, "delay", "finite and >= 0 s")
    if inputs.n_units != structure.n_external or len(inputs) == 0:
        raise InputError(
            f"{where}: the input has {inputs.n_units} units and {len(inputs)} samples; allowed: {structure.n_external} units, "
            "at least one sample"
        )
    if measured is not None and (
        measured.n_units != structure.size or len(measured) != len(inputs) or measured.t_stop != inputs.t_stop
    ):
        raise InputError(
            f"{where}: measured spikes of {measured.n_units} units, {len(measured)} samples, t_stop {measured.t_stop} s; "
            f"allowed: {structure.size} units, {len(inputs)} samples, t_stop {inputs.t_stop} s"
        )


def _implementation(name: str) -> ModuleType:
    """What runs a component: ``auto`` (= ``cpu``), ``cpu`` or ``reference``."""
    if name not in ("auto", "cpu", "reference"):
        raise OptionError(f"engine = {name!r}; allowed: 'auto', 'cpu', 'reference'")
    return by_specification if name == "reference" else engine


def _real(tensor: Tensor, dtype: torch.dtype) -> FloatArray:
    """A private copy, so that nothing that is read later depends on what the caller changes."""
    return np.array(tensor.detach().to(dtype).numpy(), order="C")


def _whole(tensor: Tensor) -> IntArray:
    return np.array(tensor.numpy(), np.int64, order="C")


class SpikingComponent(torch.autograd.Function):
    """Spike times of a component as a differentiable function of input times, weights, delays and neurons.

    The kernels read private copies; inputs and outputs are saved through torch as well, which then refuses a gradient of
    anything that was changed in place since it ran.
    """

    @staticmethod
    def forward(ctx: Any, call: JointCall, times: Tensor, weight: Tensor, delay: Tensor, *neurons: Tensor) -> Tensor:
        begin()
        s, spikes, dtype = call.structure, call.inputs, weight.dtype
        real = {name: _real(tensor, dtype) for name, tensor in zip(COLUMNS, neurons, strict=True)}
        real["threshold"] = np.atleast_2d(real["threshold"])
        made = Neurons(**real, subtract=s.subtract, max_spikes=s.max_spikes, kind=s.kind)
        joined = Synapses(s.bundle_starts, _real(delay, dtype), s.first, s.target, _real(weight, dtype))
        component = Component(s.n_external, made, joined, s.memo)
        inputs = Events(_real(times, dtype), _whole(spikes.units), _whole(spikes.counts))
        try:
            trace = _implementation(call.engine).forward(component, inputs, spikes.t_stop, call.measured)
        except InputError as error:
            raise InputError(f"{call.where}: {error}") from None
        result, units, counts = map(torch.from_numpy, (trace.spikes.times, trace.spikes.units, trace.spikes.counts))
        call.trace, call.found = trace, (units, counts)
        _count(call, component)
        if any(ctx.needs_input_grad):
            floor = Floor(call.floor, call.policy == "skip")
            ctx.ran = (_implementation(call.engine), component, inputs, spikes.t_stop, trace, floor)
            ctx.save_for_backward(times, weight, delay, *neurons, result, units, counts)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        run, component, inputs, t_stop, trace, floor = ctx.ran
        _ = ctx.saved_tensors  # refuses what was changed
        needs = ctx.needs_input_grad
        valid = np.arange(trace.current.shape[1]) < trace.spikes.counts[:, None]
        upstream = np.where(valid, grad.detach().numpy(), 0).astype(component.neurons.tau_mem.dtype)
        if not np.isfinite(upstream).all():
            raise GradientError(
                "the gradient of the loss with respect to a spike time is NaN or infinite; leave the neurons without a spike "
                "out with torch.where: their first time is inf"
            )
        if needs[4 + COLUMNS.index("threshold")] and len(component.neurons.threshold) > 1:
            raise InputError(
                "thresholds that differ from sample to sample have no gradient; switch that noise off (threshold=0), or "
                "give v_th, v_leak and bias as plain numbers"
            )
        found: Gradients = run.gradients(component, inputs, t_stop, trace, upstream, floor, any(needs[4:]))
        first = [torch.from_numpy(array) for array in (found.times, found.weight, found.delay)]
        own: list[Tensor | None] = [None] * len(COLUMNS)
        if found.own:
            own = [torch.from_numpy(found.own[name]).to(grad.dtype) if need else None for name, need in zip(COLUMNS, needs[4:], strict=True)]  # fmt: skip
        return (None, *(tensor if need else None for tensor, need in zip(first, needs[1:4], strict=True)), *own)


def _count(call: JointCall, component: Component) -> None:
    """Health of a call: spikes used, below the floor, samples without; :class:`GradientError` where the policy is 'raise'."""
    trace, neurons = call.trace, component.neurons
    if trace is None:
        raise RuntimeError("the component has not run")
    units, counts = trace.spikes.units, trace.spikes.counts
    rows = np.arange(len(counts))[:, None] if len(neurons.threshold) > 1 else 0
    c = neurons.threshold[rows, units]
    with np.errstate(invalid="ignore"):
        low = ~(trace.current - c >= call.floor * (c - neurons.reset[units])) & np.isfinite(c)
    low &= np.arange(units.shape[1]) < counts[:, None]
    call.low = low
    call.used, call.silent, call.below_floor = int(counts.sum()), int((counts == 0).sum()), int(low.sum())
    if call.policy == "raise" and call.below_floor:
        b, k = np.argwhere(low)[0]
        raise GradientError(
            f"{call.where}: sample {b}, neuron {units[b, k]}, t = {trace.spikes.times[b, k]:g} s: tau_mem u' = "
            f"{trace.current[b, k] - c[b, k]:g} lies below the floor {call.floor:g} (v_th - v_reset); lower the floor, or use "
            "policy 'clip' or 'skip'"
        )
