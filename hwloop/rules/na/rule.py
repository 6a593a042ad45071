"""NA: gradients by neighbourhood aggregation (Yang, Zhang, Li, ICML 2021, arXiv 2107.06861).

A spiking neuron's loss is piecewise constant in its membrane, so its derivative is replaced by a finite difference: neighbour
k flips the decision of step k by the smallest injection that does, ``v_th - u[k]``, and lets the neuron run on; its trace is
``a^(k)``. With ``g[t] = dL/da[t]`` and ``e[t] = g[t] + (1 - 1/tau_s) e[t+1]``,

    delta[k] = sum_t e[t] (a^(k) - a)[t] / (v_th - u[k]) ;     dL/dw_ij = sum_t delta_i[t] a_j[t]

``credit="e"`` is that, the published form. It counts the synaptic filter twice (``e`` carries it, and so does ``a^(k) - a``);
the first-order change of the loss is ``credit="g"``, ``g . (a^(k) - a)``, and ``credit="g+quad"`` adds ``curvature/2 |a^(k) -
a|^2`` at the output, which makes it exact for a squared error.

``variant="authors"`` is their code where it differs from the paper: ``1/(v_th - u)^3`` clipped at +-5 in the place of
``1/(v_th - u)``, and ``delta *= 1.2 log(r + 1.02)`` in hidden layers, with r the ratio of the output layer's mean ``|delta|``
to the layer's own. That scale is one of the whole batch, so this variant is not additive over batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError, OptionError
from ...record import Record
from ..base import Needs, Rule
from ..steps.input_values import Values
from ..steps.network import StepNetwork
from ..steps.stages import Stage
from ..steps.step_record import StepRecord
from ..steps.trace import trace
from .neurons import TracedNeurons as TracedNeurons

Credit: TypeAlias = Literal["e", "g", "g+quad"]
Variant: TypeAlias = Literal["paper", "authors"]

#: Bound of the distance factor of the authors' variant.
DISTANCE_CLIP = 5.0


@dataclass(frozen=True)
class NA(Rule):
    """The rule and its options.

    Parameters
    ----------
    credit : "e" | "g" | "g+quad"
    variant : "paper" | "authors"
    nearest : float, > 0
        Smallest distance ``|v_th - u|`` that the paper's form divides by: at the threshold itself the finite difference is
        unbounded. 0.2 bounds the factor at 5, as the authors do.
    curvature : float, > 0
        For "g+quad": second derivative of the loss of the batch in a readout; ``1 / batch`` for a mean of ``1/2 |a - y|^2``.
    """

    name: ClassVar[str] = "na"
    needs: ClassVar[Needs] = Needs(("step",), ("value",), "binary", "spikes and membrane")

    credit: Credit = "e"
    variant: Variant = "paper"
    nearest: float = 0.2
    curvature: float = 1.0

    def __post_init__(self) -> None:
        for option, kind in (("credit", Credit), ("variant", Variant)):
            if getattr(self, option) not in get_args(kind):
                allowed = ", ".join(map(repr, get_args(kind)))
                raise OptionError(f"{option} = {getattr(self, option)!r}; allowed: {allowed}")
        for option in ("nearest", "curvature"):
            if not 0 < getattr(self, option) < float("inf"):
                raise InputError(f"{option} = {getattr(self, option)}; allowed: finite and > 0")

    def check(self, net: nn.Module) -> None:
        """A StepNetwork of TracedNeurons."""
        if not isinstance(net, StepNetwork) or net.rule != self.name:
            raise InputError("rule 'na' trains a StepNetwork of TracedNeurons")
        if net.feedback is not None:
            raise InputError("rule 'na' knows no feedback; build the StepNetwork without it")

    def forward(self, net: StepNetwork, inputs: Values, measured: Record | None = None) -> StepRecord:
        """Simulate; or take measured spikes, and simulate the membranes that go with them.

        The readout is the output's trace, ``[batch, steps, n_out]``.
        """
        given = None if measured is None else _rasters(net, measured)
        dtype = net.stages[0].connection.weight.dtype
        device = net.stages[0].connection.weight.device
        drives, membranes, rasters, traces = [], [], [], []
        trace_in = inputs.real(dtype).to(device)[:, None]
        for k, stage in enumerate(net.stages):
            with torch.no_grad():
                drive = stage.drive(trace_in).expand(-1, net.steps, -1)
            membrane, spikes = run_on(neurons_of(stage), drive, None if given is None else given[k])
            trace_in = trace(spikes, neurons_of(stage).keep_s, 1 / neurons_of(stage).tau_s)
            drives.append(drive)
            membranes.append(membrane)
            rasters.append(spikes)
            traces.append(trace_in)
        kept = {"drive": tuple(drives), "membrane": tuple(membranes), "trace": tuple(traces)}
        return StepRecord(tuple(rasters), traces[-1], inputs, net.dt, traces=kept)

    def gradients(self, net: StepNetwork, record: Record, grad: Tensor) -> dict[str, Tensor]:
        """Weight gradients from ``grad [batch, steps, n_out]``, the loss gradient on the output's trace."""
        if not isinstance(record, StepRecord) or record.rasters is None:
            raise InputError(f"rule 'na' needs its own record of a run in steps, not a {type(record).__name__}")
        found: dict[str, Tensor] = {}
        last = None
        with torch.no_grad():
            for k in range(len(net.stages) - 1, -1, -1):
                stage = net.stages[k]
                curvature = self.curvature if self.credit == "g+quad" and last is None else 0.0
                run = (record.traces["drive"][k], record.traces["membrane"][k], record.rasters[k])
                delta = self.delta(neurons_of(stage), run, grad, curvature)
                last, delta = self._equalised(delta, last)
                if k:
                    gradient = stage.weight_gradient(record.traces["trace"][k - 1], delta)
                    grad = stage.adjoint(delta)
                else:
                    gradient = stage.weight_gradient(record.values.real(delta.dtype).to(delta.device), delta.sum(1))
                found[net.parameter_name(stage.connection.weight)] = gradient
        return found

    def delta(
        self, neurons: TracedNeurons, run: tuple[Tensor, Tensor, Tensor], grad: Tensor, curvature: float = 0.0
    ) -> Tensor:
        """``delta [batch, steps, n]`` from ``(drive, membrane, spikes)`` and ``grad = dL/da``, all of that shape."""
        drive, membrane, spikes = run
        keep = neurons.keep_s if self.credit == "e" else 0.0
        delta = credited_changes(neurons, drive, spikes, grad, curvature, keep)
        if self.variant == "authors":
            return delta * torch.clamp((neurons.v_th - membrane) ** -3, -DISTANCE_CLIP, DISTANCE_CLIP)
        return _over_distance(neurons, delta, membrane, spikes, self.nearest)

    def _equalised(self, delta: Tensor, last: Tensor | None) -> tuple[Tensor, Tensor]:
        """The output layer's mean ``|delta|``, and ``delta`` scaled by it in the layers below, for the authors' variant."""
        if self.variant == "paper":
            return (delta.new_zeros(()) if last is None else last), delta
        own = delta.abs().mean()
        if last is None:
            return own, delta
        return last, delta * 1.2 * torch.log(last / (own + 1e-5) + 1.02)


def run_on(neurons: TracedNeurons, drive: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Membranes and spikes ``[batch, steps, n]`` on ``drive``; with ``given`` spikes, the membranes that go with them."""
    membrane = torch.empty_like(drive, memory_format=torch.contiguous_format)
    if given is None and drive.device.type == "cpu":
        from .kernels import run_steps

        spikes, kind = torch.empty_like(membrane), drive.numpy().dtype.type
        run_steps(_distinct(drive), kind(neurons.v_th), kind(neurons.keep_m), membrane.numpy(), spikes.numpy())
        return membrane, spikes
    spikes = torch.empty_like(membrane) if given is None else given.to(drive)
    left = torch.zeros_like(drive[:, 0])
    for t in range(drive.shape[1]):
        u = membrane[:, t] = neurons.keep_m * left + drive[:, t]
        if given is None:
            spikes[:, t] = (u > neurons.v_th).to(u.dtype)
        left = u * (1 - spikes[:, t])
    return membrane, spikes


def credited_changes(
    neurons: TracedNeurons, drive: Tensor, spikes: Tensor, grad: Tensor, curvature: float = 0.0, keep: float = 0.0
) -> Tensor:
    """``sum_t e c + curvature/2 c^2`` over the changes ``c = a^(k) - a`` of every neighbour k, ``[batch, steps, n]``.

    ``e[t] = grad[t] + keep e[t+1]``: 0 for the gradient itself.
    """
    if drive.device.type == "cpu":
        from .kernels import credited

        found, kind = torch.empty_like(grad, memory_format=torch.contiguous_format), grad.numpy().dtype.type
        constants = (0.5 * curvature, neurons.v_th, neurons.keep_m, neurons.keep_s, 1 / neurons.tau_s, keep)
        arrays = (_distinct(drive.to(grad)), _array(spikes.to(grad)), _array(grad))
        credited(*arrays, *map(kind, constants), found.numpy())
        return found
    return credited_changes_by_step(neurons, drive, spikes, _accumulated(grad, keep) if keep else grad, curvature)


def credited_changes_by_step(
    neurons: TracedNeurons, drive: Tensor, spikes: Tensor, credit: Tensor, curvature: float = 0.0
) -> Tensor:
    """:func:`credited_changes` in torch alone, neighbour by neighbour: for other devices than the CPU."""
    found = torch.empty_like(credit)
    for k in range(drive.shape[1]):
        change = neighbour_change(neurons, drive, spikes, k)
        found[:, k] = (credit[:, k:] * change + 0.5 * curvature * change.square()).sum(1)
    return found


def _over_distance(neurons: TracedNeurons, delta: Tensor, membrane: Tensor, spikes: Tensor, nearest: float) -> Tensor:
    """``delta / (v_th - u)``, in the memory of ``delta`` where it can be; nearer ones count as ``nearest``."""
    if delta.device.type == "cpu":
        from .kernels import divide_by_distance

        kind = delta.numpy().dtype.type
        arrays = (_array(membrane.to(delta)).reshape(-1), _array(spikes.to(delta)).reshape(-1))
        divide_by_distance(delta.view(-1).numpy(), *arrays, kind(neurons.v_th), kind(nearest))
        return delta
    sign = torch.where(spikes > 0, -1.0, 1.0)
    return delta * sign / torch.clamp((neurons.v_th - membrane).abs(), min=nearest)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy())


def _distinct(drive: Tensor) -> np.ndarray:
    """``drive [batch, steps, n]`` as an array; ``[batch, 1, n]`` where it is one step seen several times."""
    return _array(drive[:, :1] if drive.shape[1] > 1 and drive.stride(1) == 0 else drive)


def neighbour_change(neurons: TracedNeurons, drive: Tensor, spikes: Tensor, k: int) -> Tensor:
    """``(a^(k) - a)[t]`` for ``t >= k``, ``[batch, steps - k, n]``: the decision of step k flipped, the neuron run on.

    The injection brings the membrane to the threshold; where that takes a spike away, it stays there and is not reset.
    """
    flipped = 1 - spikes[:, k]
    left = neurons.v_th * (1 - flipped)
    change = [(flipped - spikes[:, k]) / neurons.tau_s]
    for t in range(k + 1, spikes.shape[1]):
        u = neurons.keep_m * left + drive[:, t]
        spike = (u > neurons.v_th).to(u.dtype)
        left = u * (1 - spike)
        change.append(neurons.keep_s * change[-1] + (spike - spikes[:, t]) / neurons.tau_s)
    return torch.stack(change, 1)


def _accumulated(grad: Tensor, keep: float) -> Tensor:
    """``e[t] = g[t] + keep e[t+1]``."""
    return trace(grad.flip(1), keep).flip(1)


def _rasters(net: StepNetwork, measured: Record) -> tuple[Tensor, ...]:
    """Rasters of a record in steps, or of a recording's event lists in bins of ``dt``."""
    if isinstance(measured, StepRecord):
        rasters = measured.rasters or ()
    else:
        rasters = tuple(p.to_dense(net.dt)[:, : net.steps].clamp(max=1) for p in measured.populations)
    found = [tuple(raster.shape[1:]) for raster in rasters]
    wanted = [(net.steps, stage.n_out) for stage in net.stages]
    if found != wanted:
        raise InputError(f"measured rasters [steps, n] {found}; the network has {wanted}")
    return rasters


def neurons_of(stage: Stage) -> TracedNeurons:
    """The stage's neurons; :class:`InputError` where they are others."""
    if not isinstance(stage.neurons, TracedNeurons):
        raise InputError(f"{stage.name} drives {type(stage.neurons).__name__}; rule 'na' takes TracedNeurons")
    return stage.neurons
