"""Losses and decisions on recorded spikes; simulated and measured records alike.

A loss is a small object called as ``loss(net, record, labels)``; it returns a scalar, the mean over the batch. Losses
add, and multiply by a number:

    loss = FirstSpike(temperature=1e-3) + 30 * SilentHinge(margin=0.1, only_label=True)

Sources: first spike, Goeltz et al., Nature Machine Intelligence 3 (2021); spike count, Bacho & Chu, arXiv 2212.09500.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from . import simulate
from .arguments import whole
from .class_scores import Decision as Decision
from .class_scores import Pool, Reading, class_scores, class_times, leaders, reading
from .errors import InputError, OptionError
from .network import Network
from .network.readouts import without_reset
from .ranks.sharing import summed
from .record import Record
from .simulate.checks import span
from .simulate.first_spikes import first_spike_cross_entropy, first_units
from .spikes import Spikes

if TYPE_CHECKING:
    from .network.populations import SpikingPopulation
    from .simulate.readout import Membranes

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


def _options(loss: Any) -> str:
    """``repr`` of ``loss``, as checkpoints hold it; of one neuron a class nothing is said, as before there could be several."""
    said = [field.name for field in fields(loss) if loss.neurons > 1 or field.name not in ("neurons", "pool")]
    return f"{type(loss).__name__}({', '.join(f'{name}={getattr(loss, name)!r}' for name in said)})"


def neurons_of(loss: Any) -> set[int]:
    """Output neurons a class that the terms of ``loss`` are of; empty where none says so (functions, losses of hidden layers)."""
    if isinstance(loss, WeightedSum):
        return {number for _, term in loss.terms for number in neurons_of(term)}
    if isinstance(loss, SilentHinge) and not loss.only_label:
        return set()
    number = getattr(loss, "neurons", None) if isinstance(loss, Loss) else None
    return set() if number is None else {int(number)}


def _terms(loss: Loss) -> tuple[tuple[float, Loss], ...]:
    return loss.terms if isinstance(loss, WeightedSum) else ((1.0, loss),)


@dataclass(frozen=True, repr=False)
class FirstSpike(Loss):
    """Cross-entropy of ``softmax(-t_first / temperature)`` over the classes; ``temperature`` in s.

    A neuron without a spike counts as spiking at ``t_stop`` and passes no gradient. So a sample without any output
    spike costs ``ln n_classes`` and has zero gradient; :func:`silent_samples` counts those. Exact in the spike times.
    With several ``neurons`` a class, ``t_first`` is the mean of theirs, or the earliest (``pool``): as ``"mean:3"`` or
    ``"first:3"`` decides (:mod:`hwloop.class_scores`).
    """

    temperature: float
    neurons: int = 1
    pool: Pool = "mean"

    __repr__ = _options

    def __post_init__(self) -> None:
        _positive("temperature", self.temperature, "s")
        check_pool(self.neurons, self.pool)

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch (nat)."""
        output = record.output
        labels = class_labels(labels, len(output), Reading(self.pool, self.neurons).classes(output.n_units))
        if self.neurons == 1:
            return first_spike_cross_entropy(output, labels, self.temperature)
        times = class_times(output, self.neurons, self.pool)
        return torch.nn.functional.cross_entropy(-times / self.temperature, labels.to(times.device))


@dataclass(frozen=True, repr=False)
class SpikeCount(Loss):
    """``1/2 sum (count - target)^2`` over the output neurons; ``wanted`` spikes of the label, ``others`` of the rest.

    A count is a step function of the spike times, its true gradient is zero. By the convention of Bacho & Chu every
    spike is given ``d count / d T := -1`` (a later spike is on its way out of the window), so each spike of neuron j
    gets ``dL/dT = target_j - count_j``. Exact is everything upstream of that. A silent neuron passes no gradient; a
    sample without any output spike has a defined loss and zero gradient. With several ``neurons`` a class, each of the
    label's is to have ``wanted`` spikes.
    """

    wanted: float = 15.0
    others: float = 3.0
    neurons: int = 1

    __repr__ = _options

    def __post_init__(self) -> None:
        check_pool(self.neurons)
        for name in ("wanted", "others"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} = {getattr(self, name)} spikes; allowed: finite and >= 0")

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean squared error over the batch (spikes squared)."""
        counts = differentiable_counts(record.output)
        mine = _of_label(record.output, labels, self.neurons)
        target = torch.full_like(counts, self.others).masked_fill(mine, self.wanted)
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


@dataclass(frozen=True, repr=False)
class SilentHinge(Loss):
    """:func:`silent_hinge` as a loss; with ``only_label``, for the label's output neurons alone, ``neurons`` a class.

    ``layer`` is the population, -1 the output; ``margin`` (membrane units) is asked for beyond the threshold.
    """

    layer: int = -1
    margin: float = 0.0
    only_label: bool = False
    neurons: int = 1

    __repr__ = _options

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise InputError(f"margin = {self.margin}; allowed: finite and >= 0 (membrane units)")
        check_pool(self.neurons)

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch (membrane units)."""
        mask = _of_label(_population(record, self.layer), labels, self.neurons) if self.only_label else None
        return silent_hinge(net, record, self.layer, self.margin, mask)


@dataclass(frozen=True)
class DeadHinge(Loss):
    """:func:`silent_hinge` for the neurons of ``layer`` that stayed silent in every sample of the batch, with a ``margin``
    (membrane units) beyond the threshold.

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
        dead = summed(population.unit_counts().sum(0)) == 0  # in the whole batch, where this is one rank's share
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
    node = cast("SpikingPopulation", net.structure.nodes[name])  # a record counts populations that spike
    top, v_th = without_reset(net, record, name).maximum(), node.acting_parameters()["v_th"]
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

    ``decision`` is one of these. ``"first"``: the neuron with the earliest spike; of equal times, the lowest unit. ``"count"``: the neuron with most
    spikes; of equal counts, the one that spiked first, then the lowest unit. ``"readout"``: the largest readout, of equal
    ones the lowest unit; for records that have one (:mod:`hwloop.rules`). ``"maximum"``, ``"integral"``: the largest maximum
    or integral of the membranes of an output that does not spike.

    With several output neurons a class (:mod:`hwloop.class_scores`): ``"first:3"``, the class of the earliest spike;
    ``"mean:3"``, that whose first spikes are earliest in the mean, a silent neuron counting as spiking at ``t_stop``;
    ``"count:3"``, that with most spikes. Ties as above.
    """
    kind, neurons = reading(decision)
    if kind == "readout":
        if not isinstance(output, Record) or output.readout is None:
            raise InputError('decision = "readout" of spikes without one; allowed for them: "first", "count"')
        readout = output.readout.detach()
        return torch.argmax(
            readout.sum(1) if readout.ndim == 3 else readout, 1
        )  # [batch, steps, n_out]: over all steps
    if kind in ("maximum", "integral"):
        with torch.no_grad():
            held = membranes_of(output)
            return torch.argmax(held.maximum() if kind == "maximum" else held.integral(), 1)
    spikes = output.output if isinstance(output, Record) else output
    if kind == "first" and neurons == 1:
        return first_units(spikes)
    spikes = spikes.detach()
    earliest = -class_times(spikes, neurons, "first")
    return torch.where(spikes.counts == 0, UNDECIDED, leaders(class_scores(spikes, decision), earliest))


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of samples decided as labelled, 0..1, of ``predicted`` and ``labels`` ``[n]``; an undecided one is wrong."""
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


def check_pool(neurons: int, pool: str = "mean") -> None:
    """Refuse a number of neurons a class that is none, and a pool that is not known."""
    whole("neurons", neurons)
    if pool not in ("mean", "first"):
        raise OptionError(f"pool = {pool!r}; allowed: 'mean', 'first'")


def _of_label(output: Spikes, labels: Any, neurons: int) -> Tensor:
    """``[batch, n_units]`` bool: the output neurons of each sample's label."""
    classes = Reading("count", neurons).classes(output.n_units)
    known = class_labels(labels, len(output), classes).to(output.times.device)
    return torch.nn.functional.one_hot(known, classes).bool().repeat_interleave(neurons, 1)


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
