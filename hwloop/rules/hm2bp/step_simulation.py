"""HM2-BP on the published discrete simulation: rasters in, rasters and weight gradients out.

Dense stages run sparse, by their spikes (:mod:`.step_kernels`). Convolutions and pooled stages run by the same products
written with linear maps: with ``P`` the unreset potentials of the inputs and ``C`` the coefficients of the output spikes,

    a = sum_t C * (W P) ;   dE/dW = sum_t (factor C) P^T ;   sum_i delta_i w_ij e_i|j = sum_t s_j * P'(W^T (delta C))

The maps commute with the filters: behind pools, potentials are those of the pooled units, and what comes back is filtered
there, against time (P', the adjoint of P), before it is read out at the spikes of each unit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...network import Dense
from ...record import Record
from ..steps.input_values import Values
from ..steps.network import StepNetwork
from ..steps.poisson import poisson_raster
from ..steps.stages import Stage
from ..steps.step_record import StepRecord
from ..steps.trace import potential
from .neurons import MAX_LOOP, SLACK, LeakyNeurons

#: Units times steps times samples that are worked on at once, for maps that are no dense matrix.
PART = 2**21


def forward(
    net: StepNetwork, values: Values, rate: float, measured: Record | None, *, keep_drive: bool = False
) -> StepRecord:
    """Simulate on Poisson spikes of ``values``, or take the rasters of ``measured``, inputs included.

    ``keep_drive``: the record keeps what the linear maps gave, which spares the gradient to apply them again.
    """
    drives: list[Tensor | None] = [None] * len(net.stages)
    if measured is not None:
        inputs, rasters = _measured(net, measured)
    else:
        inputs, rasters = poisson_raster(values, net.steps, rate), ()
        current = inputs
        for k, stage in enumerate(net.stages):
            if keep_drive and not _sparse(stage):
                drives[k] = current.new_empty((*current.shape[:2], stage.n_out), dtype=stage.connection.weight.dtype)
            current = population(stage, current, drives[k])
            rasters = (*rasters, current)
    dtype = net.stages[0].connection.weight.dtype
    output = counts(rasters[-1]).to(dtype)
    return StepRecord(rasters, output, values, net.dt, traces={"inputs": inputs, "drive": drives})


def population(stage: Stage, inputs: Tensor, kept: Tensor | None = None) -> Tensor:
    """Raster ``[batch, steps, n_out]`` uint8 of one stage on ``inputs [batch, steps, n_in]`` uint8.

    ``kept [batch, steps, n_out]`` takes what a linear map gives; not looked at for a stage that runs by its spikes.
    """
    from .map_kernels import lif_driven
    from .step_kernels import lif_steps

    neurons, weight = _neurons(stage), _acting(stage)
    kind = weight.numpy().dtype.type
    spikes = np.zeros((*inputs.shape[:2], stage.n_out), np.uint8)
    constants = kind(neurons.v_th - SLACK), kind(neurons.tau_m), kind(neurons.tau_s), neurons.t_ref
    lateral = kind(neurons.lateral)
    if _sparse(stage):
        lif_steps(inputs.numpy(), _pre_major(weight), *constants, lateral, spikes)
        return torch.from_numpy(spikes)
    for part in _parts(stage, inputs):
        drive = stage.drive(inputs[part].to(weight.dtype)).detach()
        if kept is not None:
            kept[part] = drive
        lif_driven(np.ascontiguousarray(drive.numpy()), *constants, lateral, spikes[part])
    return torch.from_numpy(spikes)


def gradients(
    net: StepNetwork, record: StepRecord, grad: Tensor, teacher: int, empty: float = 1.0
) -> dict[str, Tensor]:
    """Weight gradients from ``grad``, the loss gradient on the output counts; ``empty``: e/o of an empty train."""
    if not bool(grad.any()):
        weights = [stage.connection.weight for stage in net.stages]
        return {net.parameter_name(weight): torch.zeros_like(weight) for weight in weights}
    rasters, drives, grad = _with_error(net, record, grad)
    rasters[-1] = taught(rasters[-1], grad, teacher)
    delta = grad / _neurons(net.stages[-1]).v_th
    found: dict[str, Tensor] = {}
    for k in range(len(net.stages) - 1, -1, -1):
        stage, pre, post = net.stages[k], rasters[k], rasters[k + 1]
        with torch.no_grad():
            gradient, below = _stage_gradient(stage, pre, post, delta, drives[k], empty if k else None)
        found[net.parameter_name(stage.connection.weight)] = gradient
        if k:
            delta = below / _neurons(net.stages[k - 1]).v_th
    return found


def _with_error(net: StepNetwork, record: StepRecord, grad: Tensor) -> tuple[list[Tensor], list[Tensor | None], Tensor]:
    """Rasters (inputs first), drives and gradient of the samples with an error: the others add nothing, whatever they did."""
    rasters = [record.traces["inputs"], *(record.rasters or ())]
    drives: list[Tensor | None] = list(record.traces.get("drive", (None,) * len(net.stages)))
    wrong = grad.ne(0).any(1)
    if bool(wrong.all()):
        return rasters, drives, grad
    return [x[wrong] for x in rasters], [None if x is None else x[wrong] for x in drives], grad[wrong]


def taught(raster: Tensor, grad: Tensor, teacher: int) -> Tensor:
    """``raster`` with ``teacher`` regular spikes for every output that is silent and is asked for more (``grad < 0``)."""
    wanted = (counts(raster) == 0) & (grad < 0)
    if not teacher or not bool(wanted.any()):
        return raster
    steps = raster.shape[1]
    beats = torch.zeros((steps, 1), dtype=raster.dtype)
    beats[[k * steps // teacher - 1 for k in range(1, teacher + 1)]] = 1
    return torch.where(wanted[:, None, :], beats, raster)


def _stage_gradient(
    stage: Stage, pre: Tensor, post: Tensor, delta: Tensor, drive: Tensor | None, empty: float | None
) -> tuple[Tensor, Tensor]:
    """Gradient of the stage's weight, and ``sum_i delta_i w_ij e_i|j / o_j``, e/o being ``empty`` for empty trains.

    ``empty`` None: the second one is not wanted.
    """
    dtype = stage.connection.weight.dtype
    o, delta = counts(post), delta.to(dtype)
    side = lateral_factor(post, _neurons(stage), dtype)
    if _sparse(stage):
        gradient, effect = _sparse_gradient(stage, pre, post, o, delta, side, empty is not None)
    else:
        gradient, effect = _mapped_gradient(stage, pre, post, o, delta, side, drive, empty is not None)
    if empty is None:
        return gradient, effect
    o_pre = counts(pre).to(dtype)
    below = effect / torch.clamp(o_pre, min=1)
    if empty:
        silent = stage.adjoint(torch.where(o > 0, 0.0, delta))  # the neuron above is silent
        below = torch.where(o_pre > 0, below + empty * silent, empty * stage.adjoint(delta))  # ... or the one below
    return gradient, below


def counts(raster: Tensor) -> Tensor:
    """Spikes of every unit, ``[batch, n]`` int32, of ``raster [batch, steps, n]`` uint8."""
    from .step_kernels import count

    found = torch.zeros((raster.shape[0], raster.shape[2]), dtype=torch.int32)
    count(np.ascontiguousarray(raster.numpy()), found.numpy())
    return found


def lateral_factor(post: Tensor, neurons: LeakyNeurons, dtype: torch.dtype) -> Tensor:
    """``1 / (1 - loop_i)`` ``[batch, n]``: one turn from neuron i around each other neuron of its population and back.

    By the macro relation ``o = a / v_th``, a spike more of neuron i changes the count of l by ``lateral e_l|i / (o_i v_th)``.
    """
    o = counts(post).to(dtype)
    if neurons.lateral == 0:
        return torch.ones_like(o)
    traces = potential(post.to(dtype), neurons.tau_m, neurons.tau_s)
    effect = torch.einsum(
        "bti,btj->bij", _coefficients(post, neurons, torch.ones_like(o)), traces
    )  # e_i|j of the output trains
    both = (o[:, :, None] > 0) & (o[:, None, :] > 0)
    ratio = torch.where(both, effect / torch.clamp(o, min=1)[:, None, :], 0.5)  # e_i|j / o_j
    ratio.diagonal(dim1=1, dim2=2).zero_()
    loop = (neurons.lateral / neurons.v_th) ** 2 * (ratio * ratio.transpose(1, 2)).sum(1)
    return 1 / (1 - torch.clamp(loop, max=MAX_LOOP))


def _sparse_gradient(
    stage: Stage, pre: Tensor, post: Tensor, o: Tensor, delta: Tensor, side: Tensor, want_below: bool
) -> tuple[Tensor, Tensor]:
    """One Dense stage on one batch, by its spikes."""
    from .step_kernels import Constants, gradient_steps

    n, weight = _neurons(stage), np.ascontiguousarray(_acting(stage).numpy())
    gradient = np.zeros_like(weight)
    back = np.zeros((len(pre), weight.shape[1] if want_below else 0), weight.dtype)
    arrays = [np.ascontiguousarray(part.numpy()) for part in (post, o, delta, side)]
    constants = Constants(n.v_th, n.t_ref, n.tau_m, n.tau_s)
    gradient_steps(pre.numpy(), weight, *arrays, constants, gradient, back)
    return _with_gains(stage, torch.from_numpy(gradient)), torch.from_numpy(back)


def _mapped_gradient(
    stage: Stage,
    pre: Tensor,
    post: Tensor,
    o: Tensor,
    delta: Tensor,
    side: Tensor,
    drive: Tensor | None,
    want_below: bool,
) -> tuple[Tensor, Tensor]:
    """One stage of any linear map on one batch, part by part."""
    gradient = torch.zeros_like(stage.connection.weight)
    back = torch.empty(len(pre), stage.n_in if want_below else 0, dtype=gradient.dtype)
    for part in _parts(stage, pre):
        traces = stage.pooled(pre[part].to(gradient.dtype)).contiguous()
        current = stage.bare.drive(traces) if drive is None else drive[part]
        _mapped_part(
            stage, traces, current, pre[part], post[part], o[part], delta[part], side[part], gradient, back[part]
        )  # fmt: skip
    return gradient, back


def _mapped_part(
    stage: Stage, traces: Tensor, drive: Tensor, pre: Tensor, post: Tensor, o: Tensor, delta: Tensor, side: Tensor,
    gradient: Tensor, back: Tensor,
) -> None:  # fmt: skip
    """Add to ``gradient``, fill ``back``, unless it has no columns; ``traces``: pooled spikes, become their potentials."""
    from .map_kernels import gathered, potentials, totals

    n, bare, total = _neurons(stage), stage.bare, torch.empty_like(delta)
    totals(post.numpy(), np.ascontiguousarray(drive.detach().numpy()), n.t_ref, n.tau_m, n.tau_s, total.numpy())
    # e_i|j = 0 for a silent neuron, so what stands in its bracket (published: a ratio of 1/2) meets no gradient
    factor = delta * side * (1 + total / torch.clamp(o, min=1) / n.v_th)
    potentials(traces.numpy(), n.tau_m, n.tau_s, False)
    gradient += bare.weight_gradient(traces, _coefficients(post, n, factor))
    if not back.shape[1]:
        return
    sent = bare.adjoint(_coefficients(post, n, delta)).contiguous()
    potentials(sent.numpy(), n.tau_m, n.tau_s, True)
    place, share = stage.places
    gathered(pre.numpy(), sent.numpy(), place.numpy(), share, back.numpy())
    if stage.gain is not None:
        back *= stage.gain


def _parts(stage: Stage, inputs: Tensor) -> list[slice]:
    """Parts of a batch that are worked on at once: what they need beside rasters stays in the cache."""
    size = max(1, PART // (inputs.shape[1] * max(stage.n_in, stage.n_out)))
    return [slice(start, start + size) for start in range(0, len(inputs), size)]


def _coefficients(post: Tensor, neurons: LeakyNeurons, scale: Tensor) -> Tensor:
    """Coefficients ``[batch, steps, n]`` of the trains, each times its ``scale [batch, n]``."""
    from .map_kernels import coefficients

    found = torch.zeros(post.shape, dtype=scale.dtype)
    arrays = (np.ascontiguousarray(scale.numpy()), found.numpy())
    coefficients(np.ascontiguousarray(post.numpy()), neurons.t_ref, neurons.tau_m, *arrays)
    return found


def _measured(net: StepNetwork, measured: Record) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Rasters of a record in steps, or of a recording's event lists in bins of ``dt``."""
    if len(measured) != len(net.stages):
        raise InputError(f"the measurement has {len(measured)} populations; the network has {len(net.stages)}")
    if isinstance(measured, StepRecord):
        inputs, rasters = measured.traces.get("inputs"), measured.rasters
    else:
        inputs = None if measured.inputs is None else measured.inputs.to_dense(net.dt)
        rasters = tuple(population.to_dense(net.dt) for population in measured.populations)
    if inputs is None or rasters is None:
        raise InputError("the measurement holds no spikes of inputs or populations; HM2-BP needs both")
    found = tuple(raster[:, : net.steps].clamp(max=1).to(torch.uint8).contiguous() for raster in (inputs, *rasters))
    wanted = [(len(found[0]), net.steps, n) for n in (net.n_in, *(stage.n_out for stage in net.stages))]
    if [tuple(raster.shape) for raster in found] != wanted:
        raise InputError(f"measured rasters {[tuple(raster.shape) for raster in found]}; the network has {wanted}")
    return found[0], found[1:]


def _neurons(stage: Stage) -> LeakyNeurons:
    if not isinstance(stage.neurons, LeakyNeurons):
        raise InputError(f"{stage.name} drives {type(stage.neurons).__name__}; HM2-BP in steps takes LeakyNeurons")
    return stage.neurons


def _sparse(stage: Stage) -> bool:
    return isinstance(stage.connection, Dense) and not stage.pools


def _acting(stage: Stage) -> Tensor:
    """The weight of a stage's connection; of one that runs by its spikes, with the factors beside it."""
    weight = stage.connection.weight.detach()
    return _with_gains(stage, weight) if _sparse(stage) else weight


def _with_gains(stage: Stage, weight: Tensor) -> Tensor:
    """``h_i w_ij g_j`` of a Dense without pools; the same chain rule brings a gradient back."""
    gain, after = stage.gain, stage.gain_after
    weight = weight if gain is None else weight * gain
    return weight if after is None else weight * after[:, None]


def _pre_major(weight: Tensor) -> np.ndarray:
    return np.ascontiguousarray(weight.t().numpy())
