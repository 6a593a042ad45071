"""How the output neurons of a class answer together: one neuron a class, or several, pooled.

With ``k`` neurons a class, neurons ``k c .. k c + k - 1`` of the output are those of class ``c``. A decision names the pool
and their number: ``"mean:3"`` takes the class whose three neurons fire earliest on average. Noise that differs from neuron
to neuron shrinks by the mean as it does by the mean over ``k`` runs; what reached all of them from the hidden layer does not.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from .arguments import whole
from .errors import InputError, OptionError
from .spikes import Spikes

#: How an output is read: ``"first"`` (the earliest spike wins), ``"mean"`` (the earliest mean of first spikes), ``"count"`` (most
#: spikes), ``"readout"`` of a training rule, and of an output that does not spike ``"maximum"`` or ``"integral"`` of its
#: membranes. The first three may name the neurons of a class: ``"first:3"``, ``"mean:3"``, ``"count:3"``.
Decision: TypeAlias = str
#: How several neurons of a class are taken together.
Pool: TypeAlias = Literal["first", "mean"]
#: Decisions on spikes, which several neurons of a class can take together, and those on other things.
POOLED, OTHERS = ("first", "count", "mean"), ("readout", "maximum", "integral")


class Reading(NamedTuple):
    """What a decision looks at, and how many output neurons each class has."""

    kind: str
    neurons: int

    def classes(self, n_units: int) -> int:
        """Classes of an output of ``n_units`` neurons; :class:`InputError` where they are no whole number."""
        if n_units % self.neurons:
            raise InputError(
                f"{self.neurons} output neurons a class, and the output has {n_units}; allowed: a multiple of {self.neurons}"
            )
        return n_units // self.neurons


def reading(decision: Decision) -> Reading:
    """``decision`` in its parts; :class:`OptionError` that lists what is known."""
    kind, colon, number = str(decision).partition(":")
    if kind in POOLED and not colon:
        return Reading(kind, 1)
    if kind in POOLED and number.isascii() and number.isdigit() and int(number) > 0:
        return Reading(kind, int(number))
    if kind in OTHERS and not colon:
        return Reading(kind, 1)
    known = ", ".join(map(repr, ("first", "count", *OTHERS, "mean")))
    raise OptionError(
        f"decision = {decision!r}; allowed: {known}; with several output neurons a class 'first:3', 'mean:3', 'count:3'"
    )


def decision_of(kind: str, neurons: int) -> Decision:
    """The decision ``kind`` with ``neurons`` output neurons a class, as :func:`reading` takes it."""
    neurons = whole("neurons", neurons)
    return kind if neurons == 1 else f"{kind}:{neurons}"


def class_times(output: Spikes, neurons: int, pool: Pool = "mean") -> Tensor:
    """``[batch, classes]`` (s): mean or earliest first spike of each class; a silent neuron counts as spiking at ``t_stop``.

    Differentiable in the spike times; a neuron without a spike passes no gradient. Raises :class:`InputError` where the
    output's neurons are no multiple of ``neurons``.
    """
    classes = Reading(pool, neurons).classes(output.n_units)
    first = output.first_times()
    first = torch.where(torch.isfinite(first), first, output.t_stop)
    if neurons == 1:
        return first
    grouped = first.reshape(len(output), classes, neurons)
    return grouped.mean(2) if pool == "mean" else grouped.amin(2)


def class_counts(output: Spikes, neurons: int) -> Tensor:
    """``[batch, classes]`` int64: spikes of all neurons of each class."""
    classes = Reading("count", neurons).classes(output.n_units)
    return output.unit_counts().reshape(len(output), classes, neurons).sum(2)


def class_scores(output: Spikes, decision: Decision) -> Tensor:
    """``[batch, classes]`` float64, the larger the better: minus pooled first times (s), or spike counts.

    What :func:`hwloop.losses.predict` takes the largest of, and what repeated runs add up.
    """
    kind, neurons = reading(decision)
    if kind == "count":
        return class_counts(output, neurons).double()
    if kind not in POOLED:
        raise InputError(f"decision = {decision!r} has no scores of spikes; allowed: {', '.join(map(repr, POOLED))}")
    return -class_times(output.detach(), neurons, "mean" if kind == "mean" else "first").double()


def leaders(scores: Tensor, earliest: Tensor) -> Tensor:
    """``[batch]`` int64 class of the largest of ``scores [batch, classes]``; of equal ones the largest ``earliest``, then the lowest."""
    best = scores == scores.amax(1, keepdim=True)
    return torch.argmax(torch.where(best, earliest, -torch.inf), 1)
