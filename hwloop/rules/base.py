"""The rule interface: what a training rule needs of a network, how it runs it, how a record becomes gradients.

    forward(net, inputs)                   -> record        simulated; or a measured record in its place
    gradients(net, record, loss gradient)  -> {parameter name: gradient}

The loss gradient is that on the rule's *readout*, one tensor of the record: output spike times (exact), spike counts,
rates or filtered spikes. Nothing else differs between rules, so data, losses, trainer, checkpoints, targets and
reports are shared: :meth:`Rule.differentiable` hangs the readout into torch's graph, and a loss's ``backward()`` then
calls ``gradients``.

Registry by name (:func:`find`, :func:`names`): a rule is a frozen dataclass of its options, e.g. ``NA(credit="g")``;
:func:`register` adds one from outside.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import GradientError, InputError, OptionError
from ..losses import Decision
from ..record import Record

#: Time in which a rule's forward pass runs: continuous time, event by event, or discrete steps.
TimeKind: TypeAlias = Literal["event", "step"]
#: What a rule has to know of a run: every spike, net counts alone, or spikes and membranes.
RecordKind: TypeAlias = Literal["spikes", "counts", "spikes and membrane"]


@dataclass(frozen=True)
class Needs:
    """Forward semantics that a rule needs.

    Attributes
    ----------
    time : kinds of time in which it runs
    reset : "value" (u <- reset potential), "subtract" (u <- u - quantum)
    spikes : "binary" (0, 1) or "ternary" (-1, 0, 1)
    record : what of a run it has to know; decides what can be measured in its place
    """

    time: tuple[TimeKind, ...]
    reset: tuple[str, ...]
    spikes: Literal["binary", "ternary"]
    record: RecordKind


class Rule(ABC):
    """Base of all rules; a subclass is a frozen dataclass of its options."""

    name: ClassVar[str]
    needs: ClassVar[Needs]

    def decision(self, net: nn.Module) -> Decision:
        """How an output of ``net`` is read, where the caller does not say."""
        return "readout"

    @property
    def key(self) -> str:
        """Name and options, as checkpoints bind them."""
        return repr(self)

    @abstractmethod
    def check(self, net: nn.Module) -> None:
        """Refuse a network that this rule cannot train: :class:`InputError` naming layer, value and fix."""

    @abstractmethod
    def forward(self, net: Any, inputs: Any, measured: Record | None = None) -> Record:
        """Simulate ``net`` on ``inputs``; or take ``measured`` in the place of what would be simulated.

        No gradient is attached (but for the exact rule, whose record carries its graph).
        """

    @abstractmethod
    def gradients(self, net: Any, record: Record, grad: Tensor) -> dict[str, Tensor]:
        """Parameter gradients, summed over the batch, from ``grad = dL/dreadout``.

        A parameter that is not in the result gets none. Linear in the batch: the gradients of two batches add up to
        those of both together.
        """

    def readout(self, record: Record) -> Tensor:
        """The tensor of ``record`` that ``grad`` belongs to."""
        if record.readout is None:
            raise InputError(f"rule {self.name!r}: the record has no readout; it belongs to another rule")
        return record.readout

    def training_forward(self, net: Any, inputs: Any, measured: Record | None = None) -> Record:
        """:meth:`forward` as a training step runs it; a rule with dropout overrides it."""
        return self.forward(net, inputs, measured)

    def differentiable(self, net: Any, inputs: Any, measured: Record | None = None) -> Record:
        """:meth:`training_forward`, its readout differentiable in the parameters of ``net`` by :meth:`gradients`.

        What of network and record is changed before ``backward()`` is refused there: in place, by torch's own error about a
        tensor of another version; put in another's place, by :class:`~hwloop.errors.GradientError`.
        """
        with torch.no_grad():
            record = self.training_forward(net, inputs, measured)
        named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
        if not named or not torch.is_grad_enabled():
            return record
        pending = _Pending(self, net, record, [name for name, _ in named])
        attached: Tensor = _Attached.apply(pending, self.readout(record), *(p for _, p in named))  # type: ignore[no-untyped-call]
        return record.with_readout(attached)


@dataclass(frozen=True)
class _Pending:
    """A run whose gradient may be asked for later."""

    rule: Rule
    net: Any
    record: Record
    names: list[str]

    def tensors(self) -> list[Tensor]:
        """All that the rule may look at then: the network's and the record's tensors."""
        return [*self.net.parameters(), *self.net.buffers(), *self.record.tensors()]

    def gradients(self, grad: Tensor) -> list[Tensor | None]:
        """The rule's gradients, in the order of ``names``."""
        found = self.rule.gradients(self.net, self.record, grad)
        return [found.get(name) for name in self.names]


class _Attached(torch.autograd.Function):
    """The readout as it is; backward, the rule's gradients."""

    @staticmethod
    def forward(ctx: Any, pending: _Pending, readout: Tensor, *_: Tensor) -> Tensor:
        ctx.pending = pending
        ctx.save_for_backward(*pending.tensors())  # torch then refuses those that were changed in place
        return readout.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pending: _Pending = ctx.pending
        ran, found = ctx.saved_tensors, pending.tensors()
        if len(ran) != len(found) or not all(map(_same_place, ran, found)):
            raise GradientError(
                "a tensor of the network or its record was replaced between forward and backward; its gradient would be "
                "that of other weights than were run: call backward() first"
            )
        return (None, None, *pending.gradients(grad))


def _same_place(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.dtype == b.dtype)


#: Built-in rules: name -> (module of this package, class). Imported when asked for.
_BUILT_IN: dict[str, tuple[str, str]] = {
    "exact": ("exact", "Exact"),
    "hm2bp": ("hm2bp.rule", "HM2BP"),
    "na": ("na.rule", "NA"),
    "spikegrad": ("spikegrad.rule", "SpikeGrad"),
    "spide": ("spide.rule", "Spide"),
}
_REGISTERED: dict[str, Callable[..., Rule]] = {}


def names() -> tuple[str, ...]:
    """Names of all rules: the built-in ones, then those registered."""
    return (*_BUILT_IN, *(name for name in _REGISTERED if name not in _BUILT_IN))


def register(name: str, factory: Callable[..., Rule]) -> None:
    """Make ``factory(**options)`` known as ``name``; :class:`OptionError` where the name is taken."""
    if name in names():
        raise OptionError(f"a rule named {name!r} exists; choose another name")
    _REGISTERED[name] = factory


def find(rule: str | Rule, **options: Any) -> Rule:
    """The rule called ``rule`` with ``options``; a :class:`Rule` is passed through.

    Raises :class:`OptionError` where name or option is unknown, listing those that exist.
    """
    if isinstance(rule, Rule):
        if options:
            raise OptionError(f"options {', '.join(options)} beside a rule that is built already; build it with them")
        return rule
    if rule in _BUILT_IN:
        module, attribute = _BUILT_IN[rule]
        factory: Callable[..., Rule] = getattr(import_module(f".{module}", __package__), attribute)
    elif rule in _REGISTERED:
        factory = _REGISTERED[rule]
    else:
        raise OptionError(f"rule = {rule!r}; available: {', '.join(map(repr, names()))}")
    known = list(inspect.signature(factory).parameters)
    for option in options:
        if option not in known:
            raise OptionError(f"rule {rule!r} has no option {option!r}; it has: {', '.join(known) or 'none'}")
    return factory(**options)
