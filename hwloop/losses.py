"""Losses and decisions on recorded spikes; simulated and measured records alike.

A loss is a small object called as ``loss(net, record, labels)``; it returns a scalar, the mean over the batch. Losses
add, and multiply by a number:

    loss = FirstSpike(temperature=1e-3) + 30 * SilentHinge(margin=0.1, only_label=True)

Sources: first spike, Goeltz et al., Nature Machine Intelligence 3 (2021); spike count, Bacho & Chu, arXiv 2212.09500.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from . import simulate
from .errors import InputError, OptionError
from .network import Network
from .network.populations import SpikingPopulation
from .network.readouts import without_reset
from .record import Record
from .simulate.checks import span
from .simulate.first_spikes import first_spike_cross_entropy, first_units
from .spikes import Spikes

if TYPE_CHECKING:
    from .simulate.readout import Membranes

#: How an output is read: the earliest spike wins, or the largest count, or the largest readout of the training rule; of an
#: output that does not spike the largest maximum or integral of its membranes.
Decision: TypeAlias = Literal["first", "count", "readout", "maximum", "integral"]
#: Prediction for a sample without any output spike; it equals no label, so it counts as wrong.
UNDECIDED = -1


class Loss:
    """Base of all losses: ``loss(net, record, labels)``, sums, and multiples."""

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean loss over the batch, a scalar; ``labels [batch]`` int64."""
        raise TypeError(f"{type(self).__name__} does not define what it computes; give it a __call__")

    def __add__(self, other: Loss) -> Loss:
        return WeightedSum(_terms(self) + _terms(other))

    def __mul__(self, factor: float) -> Loss:
        if not math.isfinite(factor):
            raise InputError(f"weight {factor} of a loss; allowed: finite numbers")
        return WeightedSum(tuple((factor * weight, loss) for weight, loss in _terms(self)))

    __rmul__ = __mul__


@dataclass(frozen=True)
class WeightedSum(Loss):
    """``sum weight * loss`` over ``terms``; what ``+`` and ``*`` make."""

    terms: tuple[tuple[float, Loss], ...]

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Weighted sum of the terms, a scalar."""
        return sum(weight * loss(net, record, labels) for weight, loss in self.terms)  # type: ignore[return-value]


def _terms(loss: Loss) -> tuple[tuple[float, Loss], ...]:
    return loss.terms if isinstance(loss, WeightedSum) else ((1.0, loss),)


@dataclass(frozen=True)
class FirstSpike(Loss):
    """Cross-entropy of ``softmax(-t_first / temperature)`` over the output neurons; ``temperature`` in s.

    A neuron without a spike counts as spiking at ``t_stop`` and passes no gradient. So a sample without any output
    spike costs ``ln n_out`` and has zero gradient; :func:`silent_samples` counts those. Exact in the spike times.
    """

    temperature: float

    def __post_init__(self) -> None:
        _positive("temperature", self.temperature, "s")

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch (nat)."""
        labels = class_labels(labels, len(record.output), record.output.n_units)
        return first_spike_cross_entropy(record.output, labels, self.temperature)


@dataclass(frozen=True)
class SpikeCount(Loss):
    """``1/2 sum (count - target)^2`` over the output neurons; ``wanted`` spikes of the label, ``others`` of the rest.

    A count is a step function of the spike times, its true gradient is zero. By the convention of Bacho & Chu every
    spike is given ``d count / d T := -1`` (a later spike is on its way out of the window), so each spike of neuron j
    gets ``dL/dT = target_j - count_j``. Exact is everything upstream of that. A silent neuron passes no gradient; a
    sample without any output spike has a defined loss and zero gradient.
    """

    wanted: float = 15.0
    others: float = 3.0

    def __post_init__(self) -> None:
        for name in ("wanted", "others"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} = {getattr(self, name)} spikes; allowed: finite and >= 0")

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean squared error over the batch (spikes squared)."""
        labels = class_labels(labels, len(record.output), record.output.n_units)
        counts = differentiable_counts(record.output)
        target = torch.full_like(counts, self.others).scatter(1, labels.to(counts.device)[:, None], self.wanted)
        return 0.5 * (counts - target).square().sum(1).mean()


@dataclass(frozen=True)
class CountBounds(Loss):
    """Squared excess of spike counts over ``upper`` and below ``lower``, for the neurons of ``layer``.

    ``1/2 sum (max(0, count - upper)^2 + max(0, lower - count)^2)``, with ``d count / d T := -1`` as in
    :class:`SpikeCount`. A neuron without a spike passes no gradient: :class:`SilentHinge` is what revives it.
    """

    layer: int = 0
    lower: float = 0.0
    upper: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.lower <= self.upper:
            raise InputError(f"lower = {self.lower}, upper = {self.upper} spikes; allowed: 0 <= lower <= upper")

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch (spikes squared)."""
        counts = differentiable_counts(_population(record, self.layer))
        excess, lack = torch.relu(counts - self.upper), torch.relu(self.lower - counts)
        return 0.5 * (excess.square() + lack.square()).sum(1).mean()


@dataclass(frozen=True)
class SilentHinge(Loss):
    """:func:`silent_hinge` as a loss; with ``only_label``, for the label's output neuron alone."""

    layer: int = -1
    margin: float = 0.0
    only_label: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise InputError(f"margin = {self.margin}; allowed: finite and >= 0 (membrane units)")

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch (membrane units)."""
        mask = None
        if self.only_label:
            population = _population(record, self.layer)
            labels = class_labels(labels, len(population), population.n_units)
            mask = torch.nn.functional.one_hot(labels, population.n_units).bool()
        return silent_hinge(net, record, self.layer, self.margin, mask)


@dataclass(frozen=True)
class DeadHinge(Loss):
    """:func:`silent_hinge` for the neurons of ``layer`` that stayed silent in every sample of the batch.

    A neuron that fires in some samples is left alone: being silent in the others is how it tells them apart. One that
    never fires has no other gradient.
    """

    layer: int = 0
    margin: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise InputError(f"margin = {self.margin}; allowed: finite and >= 0 (membrane units)")

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Sum over the dead neurons, mean over the batch (membrane units)."""
        population = _population(record, self.layer)
        dead = population.unit_counts().sum(0) == 0
        return silent_hinge(net, record, self.layer, self.margin, dead.expand(len(population), -1))


def silent_hinge(net: Network, record: Record, layer: int, margin: float, mask: Tensor | None = None) -> Tensor:
    """``max(0, v_th + margin - max u)``, summed over the neurons that stayed silent, mean over the batch.

    The maximum of the membrane is the model's, driven by the recorded input of the layer, and exact; so is its
    gradient in weights, input times and neuron parameters. It is what makes a dead neuron learn.

    Parameters
    ----------
    net, record : the network and what it, or a device in its place, did
    layer : int
        Spiking layer, counted as in ``record``; negative from the end.
    margin : float (membrane units)
        How far above threshold a silent neuron is pulled.
    mask : Tensor, ``[batch, n_units]`` bool, optional
        Neurons considered at all.

    Raises
    ------
    InputError
        A layer that does not exist, a record without its inputs, a mask of another shape.
    """
    population = _population(record, layer)
    wanted = population.unit_counts() == 0
    if mask is not None:
        if mask.shape != wanted.shape or mask.dtype != torch.bool:
            raise InputError(f"mask is {tuple(mask.shape)} {mask.dtype}; expected {tuple(wanted.shape)} bool")
        wanted = wanted & mask
    if not bool(wanted.any()):
        return population.times.new_zeros(())
    index = layer % len(record)
    if not net.is_plain_chain:
        return _hinge_of_graph(net, record, index, margin, wanted)
    inputs = record.inputs if index == 0 else record[index - 1]
    if inputs is None:
        raise InputError("the record holds no inputs, which the first layer's membrane needs; record them")
    dense, neurons = net.blocks[index]
    params = neurons.acting_parameters()
    received, weight = dense.transmit(inputs), dense.acting_weight()
    top = simulate.membrane_maximum(received, weight, params, wanted)
    lack = torch.relu(params["v_th"] + margin - top)
    return torch.where(wanted, lack, 0.0).sum(1).mean()


def _hinge_of_graph(net: Network, record: Record, index: int, margin: float, wanted: Tensor) -> Tensor:
    name = net.structure.populations[index]
    node = net.structure.nodes[name]
    top = without_reset(net, record, name).maximum()
    v_th = node.acting_parameters()["v_th"] if isinstance(node, SpikingPopulation) else top.new_zeros(node.n)
    return torch.where(wanted, torch.relu(v_th + margin - top), 0.0).sum(1).mean()


class _Counts(torch.autograd.Function):
    """Spikes of each unit as floats; backward, ``d count / d T := -1``."""

    @staticmethod
    def forward(ctx: Any, times: Tensor, spikes: Spikes) -> Tensor:
        ctx.save_for_backward(spikes.units, spikes.valid)
        return spikes.unit_counts().to(times.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        units, valid = ctx.saved_tensors
        return torch.where(valid, -torch.gather(grad, 1, units), 0.0), None


def differentiable_counts(spikes: Spikes) -> Tensor:
    """``[batch, n_units]`` spike counts in the dtype of the times, with ``d count / d T := -1`` (a convention)."""
    counts: Tensor = _Counts.apply(spikes.times, spikes)  # type: ignore[no-untyped-call]
    return counts


# -- decisions ------------------------------------------------------------------------------------


def predict(output: Spikes | Record, decision: Decision = "first") -> Tensor:
    """The decided class of each sample, ``[batch]`` int64; ``UNDECIDED`` (-1) where no output neuron spiked.

    ``"first"``: the neuron with the earliest spike; of equal times, the lowest unit. ``"count"``: the neuron with most
    spikes; of equal counts, the one that spiked first, then the lowest unit. ``"readout"``: the largest readout, of equal
    ones the lowest unit; for records that have one (:mod:`hwloop.rules`). ``"maximum"``, ``"integral"``: the largest maximum
    or integral of the membranes of an output that does not spike.
    """
    if decision not in get_args(Decision):
        raise OptionError(f"decision = {decision!r}; allowed: {', '.join(map(repr, get_args(Decision)))}")
    if decision == "readout":
        if not isinstance(output, Record) or output.readout is None:
            raise InputError('decision = "readout" of spikes without one; allowed for them: "first", "count"')
        readout = output.readout.detach()
        return torch.argmax(
            readout.sum(1) if readout.ndim == 3 else readout, 1
        )  # [batch, steps, n_out]: over all steps
    if decision in ("maximum", "integral"):
        with torch.no_grad():
            held = membranes_of(output)
            return torch.argmax(held.maximum() if decision == "maximum" else held.integral(), 1)
    spikes = output.output if isinstance(output, Record) else output
    if decision == "first":
        return first_units(spikes)
    spikes = spikes.detach()
    counts = spikes.unit_counts()
    first = torch.where(counts == counts.max(1, keepdim=True).values, spikes.first_times(), math.inf)
    return torch.where(spikes.counts == 0, UNDECIDED, torch.argmin(first, 1))


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of samples decided as labelled, 0..1; an undecided one is wrong."""
    labels = torch.as_tensor(labels).to(predicted.device)
    if predicted.shape != labels.shape or labels.ndim != 1 or len(labels) == 0:
        raise InputError(f"predictions {tuple(predicted.shape)}, labels {tuple(labels.shape)}; expected [n >= 1] twice")
    return float((predicted == labels).double().mean())


def silent_samples(output: Spikes | Record) -> int:
    """Samples of the batch in which no output neuron spiked."""
    return output.silent_samples if isinstance(output, Record) else int((output.counts == 0).sum())


def membranes_of(output: Spikes | Record) -> Membranes:
    """The membranes of an output that does not spike; :class:`InputError` where it does."""
    if not isinstance(output, Record) or output.output_name not in output.readouts:
        raise InputError(
            "the output spikes, its membranes are not kept; allowed: a network whose output is hl.LI, or a loss or decision on "
            'spikes ("first", "count")'
        )
    return output.readouts[output.output_name]


# -- checks ---------------------------------------------------------------------------------------


def _positive(name: str, value: float, unit: str) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{name} = {value} {unit}; allowed: finite and > 0")


def class_labels(labels: Any, samples: int, classes: int) -> Tensor:
    """``labels`` as int64 ``[samples]``: a tensor, a NumPy array or a list of whole numbers ``0..classes - 1``.

    Raises :class:`InputError` where they are others.
    """
    found = labels if isinstance(labels, Tensor) else torch.as_tensor(labels)
    kind = found.dtype
    if found.shape != (samples,) or kind.is_floating_point or kind.is_complex or kind == torch.bool:
        raise InputError(
            f"labels are {kind} {tuple(found.shape)}; expected whole numbers, one for each of {samples} samples"
        )
    found = found.long()
    if samples:
        lowest, largest = span(found.contiguous().numpy()) if found.is_cpu else map(int, torch.aminmax(found))
        if lowest < 0 or largest >= classes:
            raise InputError(f"labels {lowest}..{largest}; allowed: 0..{classes - 1}")
    return found


def _population(record: Record, layer: int) -> Spikes:
    if not -len(record) <= layer < len(record):
        raise InputError(f"layer {layer}; the record has {len(record)}: allowed {-len(record)}..{len(record) - 1}")
    return record[layer]
