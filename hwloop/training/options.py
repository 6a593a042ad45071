"""Options that all training loops share: the same name means the same everywhere, and is refused alike."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from ..arguments import is_bool, shown, whole
from ..class_scores import Decision, reading
from ..errors import InputError
from ..losses import neurons_of
from ..network import Network
from ..rules import Exact, Rule, StepNetwork, find
from ..simulate import FloorPolicy

#: What is trained: in continuous time, or in steps.
Model: TypeAlias = Network | StepNetwork
#: Makes an optimiser from parameters and a learning rate: ``torch.optim.Adam`` and the like.
OptimizerFactory: TypeAlias = Callable[..., torch.optim.Optimizer]

T = TypeVar("T")

#: Ranges of the options that are real numbers: whether a value is allowed, and how an error says it.
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "lr": (lambda x: 0 < x < math.inf, "finite and > 0"),
    "lr_decay": (lambda x: 0 < x <= 1, "0 < lr_decay <= 1"),
    "lr_min": (lambda x: 0 <= x < math.inf, "0 <= lr_min <= lr"),
    "clip_norm": (lambda x: x > 0, "> 0 (infinite: gradients are not clipped)"),
    "averaging": (lambda x: 0 <= x < 1, "0 (none) <= averaging < 1"),
    "input_dropout": (lambda x: 0 <= x < 1, "0 <= input_dropout < 1"),
    "margin": (lambda x: 0 <= x < 1, "0 <= margin < 1 (a share)"),
    "floor": (lambda x: 0 <= x < math.inf, "finite and >= 0 (a share of v_th - v_reset)"),
}


def real(name: str, value: Any) -> float:
    """The option ``name`` as a float within its range; :class:`InputError` otherwise."""
    within, allowed = _RANGES[name]
    number = math.nan
    if isinstance(value, (Real, Tensor)) and not is_bool(value):
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            number = math.nan
    if within(number):
        return number
    raise InputError(f"{name} = {shown(value)}; allowed: {allowed}")


@dataclass(frozen=True)
class Schedule:
    """How long, how fast and in which order: epoch k (from 1) runs with ``max(lr_min, lr * lr_decay ** (k - 1))``.

    Raises :class:`InputError` for an option out of its range. Numbers may be NumPy's; they are kept as Python's.
    """

    epochs: int
    batch_size: int
    lr: float
    lr_decay: float = 1.0
    lr_min: float = 0.0
    clip_norm: float = math.inf
    averaging: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))
        for name in ("lr", "lr_decay", "lr_min", "clip_norm", "averaging"):
            object.__setattr__(self, name, real(name, getattr(self, name)))
        if self.lr_min > self.lr:
            raise InputError(f"lr_min = {self.lr_min}, lr = {self.lr}; allowed: 0 <= lr_min <= lr")

    def rate(self, number: int) -> float:
        """Learning rate of epoch ``number``."""
        return max(self.lr_min, self.lr * self.lr_decay ** (number - 1))

    def recorded(self) -> dict[str, Any]:
        """All but ``epochs``, which may grow, as checkpoints hold them."""
        names = ("batch_size", "lr", "lr_decay", "lr_min", "averaging", "seed")
        clip_norm = self.clip_norm if math.isfinite(self.clip_norm) else None
        return {**{name: getattr(self, name) for name in names}, "clip_norm": clip_norm}


def made(optimizer: OptimizerFactory, parameters: Iterable[Any], lr: float) -> torch.optim.Optimizer:
    """The optimiser of ``parameters``, tensors or groups of them; torch's Adam in its fused form, which costs a third of the usual one's time.

    The two differ in rounding alone.
    """
    held = list(parameters)
    each = [value for part in held for value in (part["params"] if isinstance(part, dict) else [part])]
    plain = all(p.device.type == "cpu" and p.dtype in (torch.float32, torch.float64) for p in each)
    if plain and optimizer in (torch.optim.Adam, torch.optim.AdamW):
        return optimizer(held, lr=lr, fused=True)
    return optimizer(held, lr=lr)


def resolved(rule: str | Rule, floor: float | None, policy: FloorPolicy | None, default_floor: float) -> Rule:
    """The rule as it will run: ``Exact`` with its own floor and policy, else the caller's, else the loop's.

    Raises :class:`InputError` where the rule was built with another one than is given beside it.
    """
    if not isinstance(rule, Exact):
        if rule != Exact.name:
            return find(rule)
        rule = Exact()
    own_floor = _agreed("floor", rule, rule.floor, None if floor is None else real("floor", floor))
    own_policy: FloorPolicy = _agreed("policy", rule, rule.policy, policy) or "clip"
    return replace(
        rule,
        floor=default_floor if own_floor is None else own_floor,
        policy=own_policy,
    )


def _agreed(name: str, rule: Exact, own: T | None, given: T | None) -> T | None:
    """What is said by one of the two; refused where they differ."""
    if own is not None and given is not None and own != given:
        raise InputError(f"{name} = {given!r} beside rule = {rule!r}; allowed: one of the two, or twice the same")
    return given if own is None else own


def used(method: Rule, floor: float | None, policy: FloorPolicy | None, default_floor: float) -> dict[str, Any]:
    """Floor and policy that a run uses, as checkpoints hold them; of other rules than the exact one, what was given."""
    if isinstance(method, Exact):
        return {"floor": method.floor, "policy": method.policy or "clip"}
    return {"floor": default_floor if floor is None else real("floor", floor), "policy": policy or "clip"}


def check_task(net: Model, task: Any, decision: Decision | None = None) -> None:
    """Refuse what is no task, or one that does not fit the network, with the output neurons a class of ``decision``."""
    neurons = 1 if decision is None else reading(decision).neurons
    if any(not hasattr(task, name) for name in ("name", "train", "validation", "n_in", "n_out")):
        raise InputError(
            f"task is a {type(task).__name__}; expected a hwloop.Task (or rules.ValueTask), whose train, validation and test are "
            "data sets with labels. A DataLoader is taken by evaluate, and as validation= of fit"
        )
    if (net.n_in, net.n_out) != (task.n_in, task.n_out * neurons):
        each = (
            ""
            if neurons == 1
            else f" ({task.n_out} classes of {neurons} output neurons, as decision = {decision!r} says)"
        )
        raise InputError(
            f"the network has {net.n_in} inputs and {net.n_out} outputs; "
            f"task {task.name} needs {task.n_in} and {task.n_out * neurons}{each}"
        )


def check_trainable(net: Model) -> None:
    """Refuse a network with nothing to train."""
    if not any(p.requires_grad for p in net.parameters()):
        raise InputError("the network has no trainable parameter; make some an nn.Parameter that requires a gradient")


def check_loss(loss: Any, decision: Decision | None = None) -> None:
    """Refuse what cannot be called as ``loss(net, record, labels)``, before anything has run.

    Nor what is of another number of output neurons a class than ``decision``, by default one.
    """
    expected = "expected loss(net, record, labels), which returns a scalar tensor, e.g. hwloop.losses.FirstSpike(1e-3)"
    if isinstance(loss, type) or not callable(loss):
        what = f"the class {loss.__name__}" if isinstance(loss, type) else shown(loss)
        raise InputError(f"loss is {what}; {expected}")
    wanted = 1 if decision is None else reading(decision).neurons
    if other := neurons_of(loss) - {wanted}:
        raise InputError(
            f"the loss is of {min(other)} output neurons a class, decision = {decision!r} of {wanted}; allowed: as many in both, "
            f"neurons={wanted} in each term of the loss, or a decision such as 'mean:{min(other)}'"
        )
    called = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # of some built-in functions nothing is known
        return
    try:
        signature.bind(None, None, None)
    except TypeError:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise InputError(
            f"the loss {name}{signature} cannot take (net, record, labels); {expected}. "
            f"Around one of other arguments write a function: def loss(net, record, labels): ..."
        ) from None


def without_address(text: str) -> str:
    """A ``repr`` without the place in memory, which is another in every run: how checkpoints name functions."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)
