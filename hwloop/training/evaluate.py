"""Evaluation: accuracy and loss of a network, of a device, or of whatever else runs spikes, on a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..evaluation import Evaluation as Evaluation
from ..losses import Decision, Loss, predict, silent_samples
from ..network import Network
from ..ranks import ALONE, Ranks
from ..record import Record
from ..rules import Rule, StepNetwork, find
from ..simulate.threads import one_thread
from ..spikes import Spikes
from .options import Model, check_loss

#: Samples simulated at once where no gradient is kept; changes no result, bounds memory.
EVALUATION_BATCH = 1000
#: Neurons, over all samples, that are evaluated at once at most: with a few spikes each they need some 100 MB.
EVALUATION_NEURONS = 4_000_000


class Samples(Protocol):
    """What training needs of data: a :class:`hwloop.datasets.Dataset`, or a :class:`hwloop.rules.ValueSet`."""

    def __len__(self) -> int: ...

    def batches(self, size: int, generator: np.random.Generator | None = None) -> Iterator[tuple[Any, Tensor]]:
        """Batches of ``size`` samples and their labels; shuffled if a generator is given."""


#: A data set, or batches as they come: a torch ``DataLoader``, a list of ``(inputs, labels)``.
Data: TypeAlias = Samples | Iterable[tuple[Any, Any]]


class Runner(Protocol):
    """What :func:`evaluate` needs of a device: a loaded program that runs spikes."""

    def run(self, spikes: Spikes) -> Record:
        """Record of the loaded program on ``spikes``."""


def evaluate(
    net_or_device: Model | Runner,
    data: Data,
    *,
    decision: Decision | None = None,
    loss: Loss | None = None,
    batch_size: int | None = None,
    rule: str | Rule | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Accuracy of ``net_or_device``, a network or a device with a loaded program, on ``data``. No gradient is kept.

    ``data`` is a data set, or an iterable of batches ``(inputs, labels)`` such as a torch ``DataLoader``, whose own batches
    count then. ``loss`` is computed too if given; only a network has one. ``rule`` runs the network with that rule's forward
    pass (default: a network in steps by the rule that its neurons belong to, one in continuous time event by event).
    ``decision`` is the rule's by default, that of the exact rule without one; ``batch_size`` 1000, less for a large network
    in continuous time, whose spikes all stand in memory. ``ranks`` (:mod:`hwloop.ranks`) share a data set, the same on all of them;
    batches that come from elsewhere are evaluated by the first.
    """
    net = net_or_device if isinstance(net_or_device, Network | StepNetwork) else None
    if loss is not None and net is None:
        raise InputError("a loss of a device; give the network, or leave loss out")
    if net is None and rule is not None:
        raise InputError("a rule for a device; leave rule out, a device runs as it does")
    run: Callable[[Any], Record] = cast(Runner, net_or_device).run if net is None else net
    if net is not None and (rule is not None or isinstance(net, StepNetwork)):
        method = find(rule if rule is not None else cast(StepNetwork, net).rule)
        method.check(net)
        run = partial(method.forward, net)
        decision = decision or method.decision(net)
    if loss is not None:
        check_loss(loss, decision)
    if isinstance(net, Network):
        run = _moving(run, net)
    of_record = None if loss is None or net is None else partial(loss, cast(Network, net))
    with threads_for(net):
        return score(
            run,
            data,
            decision=decision or ("first" if net is None else find("exact").decision(net)),
            loss=of_record,
            batch_size=_batch_for(net) if batch_size is None else batch_size,
            ranks=ranks,
        )


def where_it_is(net: Model, inputs: Any) -> Any:
    """``inputs`` on the device of the weights of ``net``: data sets stay where they are, batch after batch is moved."""
    return moved_to(device_of(net), inputs)


def device_of(net: Model) -> torch.device | None:
    """Where the weights of ``net`` are; None where there are none."""
    first = next(net.parameters(), None)
    return None if first is None else first.device


def moved_to(device: torch.device | None, inputs: Any) -> Any:
    """``inputs`` on ``device``; values, which networks in steps move themselves, as they are."""
    if device is None or not isinstance(inputs, Spikes) or inputs.times.device == device:
        return inputs
    return inputs.to(device)


def _moving(run: Callable[[Any], Record], net: Network) -> Callable[[Any], Record]:
    return lambda inputs: run(where_it_is(net, inputs))


def _batch_for(net: Model | None) -> int:
    """Samples that a network answers at once."""
    if not isinstance(net, Network):
        return EVALUATION_BATCH
    neurons = sum(math.prod(net.structure.nodes[name].shape) for name in net.structure.populations)
    return max(1, min(EVALUATION_BATCH, EVALUATION_NEURONS // neurons))


def threads_for(net: Model | None) -> AbstractContextManager[None]:
    """One intra-op thread of torch where its tensors are small: around all but networks in steps, whose products are large."""
    return nullcontext() if isinstance(net, StepNetwork) else one_thread()


def score(
    run: Callable[[Any], Record],
    data: Data,
    *,
    decision: Decision,
    loss: Callable[[Record, Tensor], Tensor] | None = None,
    batch_size: int = EVALUATION_BATCH,
    repeats: int = 1,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Accuracy of the records that ``run(inputs)`` brings, and their mean ``loss(record, labels)`` if given.

    A record may hold every batch ``repeats`` times, first repeat first: figures are means over the repeats then. ``ranks``
    share every batch; the figures are those of all of them.
    """
    if ranks.size > 1 and not hasattr(data, "batches"):  # what a loader yields may differ from rank to rank
        found = ranks.from_first(
            lambda: asdict(score(run, data, decision=decision, loss=loss, batch_size=batch_size, repeats=repeats))
        )
        return Evaluation(**found)
    tally = Tally()
    with torch.no_grad():
        for batch in batches_of(data, batch_size):
            with ranks.share(batch) as share:
                targets = share.labels.repeat(repeats)
                record = run(share.inputs)
                value = None if loss is None else float(loss(record, targets))
            tally.add(share.samples, record, targets, decision, value)
    if not tally.batches:
        raise InputError("no samples to evaluate: the data are empty, or an iterator that was used up; give a data set")
    return tally.evaluation(ranks, repeats)


class Tally:
    """Sums over the batches of a pass over data."""

    def __init__(self) -> None:
        self.batches = 0
        self._total, self._right, self._silent, self._samples = 0.0, 0, 0, 0
        self._with_loss = False

    def add(self, samples: int, record: Record, labels: Tensor, decision: Decision, loss: float | None) -> None:
        """Count ``samples`` of the batch that ``record`` is of; where they are 0, it belongs to others."""
        self.batches += 1
        right, silent = count_right(record, labels, decision), silent_samples(record)
        self._with_loss = self._with_loss or loss is not None
        if samples:
            self._right, self._silent, self._samples = (
                self._right + right,
                self._silent + silent,
                self._samples + samples,
            )
            self._total += 0.0 if loss is None else loss * samples

    def evaluation(self, ranks: Ranks, repeats: int = 1) -> Evaluation:
        """Means over all samples of all ``ranks``; every sample was counted ``repeats`` times."""
        total, *counts = ranks.totals([self._total, self._right, self._silent, self._samples])
        right, silent, samples = map(int, counts)
        loss = total / samples if self._with_loss else None
        return Evaluation(right / (samples * repeats), samples, silent // repeats, loss)


def batches_of(data: Data, size: int, generator: np.random.Generator | None = None) -> Iterator[tuple[Any, Tensor]]:
    """Batches of a data set, ``size`` samples each; or those that ``data`` itself yields.

    Raises :class:`InputError` where it yields something else than ``(inputs, labels)``.
    """
    batches = getattr(data, "batches", None)
    if batches is not None:
        yield from batches(size, generator)
        return
    if not isinstance(data, Iterable):
        raise InputError(f"data are a {type(data).__name__}; expected a data set, or batches of (Spikes, labels)")
    for batch in data:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise InputError(f"a batch is a {type(batch).__name__}; expected (inputs, labels), inputs being Spikes")
        yield batch[0], torch.as_tensor(batch[1])


def count_right(record: Record, labels: Tensor, decision: Decision) -> int:
    """Samples of ``record`` that are decided as labelled."""
    predicted = predict(record, decision)
    if labels.shape != predicted.shape or labels.dtype.is_floating_point:
        raise InputError(
            f"labels are {labels.dtype} {tuple(labels.shape)}; expected whole numbers, one for each of {len(predicted)} samples"
        )
    return int((predicted.to(labels.device) == labels).sum())
