"""Training with a validation split: the best epoch is chosen on validation data, never on test data.

``fit`` is built from parts that other loops use as well: :func:`train_epoch`, :func:`evaluate`, :class:`Best`, and
:class:`hwloop.progress.EpochProgress`. How a record becomes gradients is the training rule's (:mod:`hwloop.rules`). Where the
spikes come from is a parameter, ``forward(net, inputs) -> Record``; fine-tuning passes one that runs a device and
differentiates the model at what it measured.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .checkpoint import load_checkpoint, newest_manifest, save_checkpoint
from .datasets import Dataset, Task
from .encoding import thinned
from .errors import CheckpointError, GradientError, InputError
from .losses import Decision, Loss, accuracy, predict, silent_samples
from .network import Network
from .progress import EpochProgress
from .record import Record
from .rules import Augment, Exact, Rule, StepNetwork, Values, ValueSet, ValueTask, find
from .simulate import DEFAULT_FLOOR, FloorPolicy
from .spikes import Spikes

_log = logging.getLogger(__name__)

#: What is trained: in continuous time, or in steps.
Model: TypeAlias = Network | StepNetwork
#: Where the spikes of a training step come from: ``forward(net, inputs) -> Record``.
Forward: TypeAlias = Callable[[Any, Any], Record]
#: Makes an optimiser from parameters and a learning rate: ``torch.optim.Adam`` and the like.
OptimizerFactory: TypeAlias = Callable[..., torch.optim.Optimizer]
#: Called after every epoch with what it brought.
OnEpoch: TypeAlias = Callable[["Epoch"], None]

#: Samples simulated at once where no gradient is kept; changes no result, bounds memory.
EVALUATION_BATCH = 1000


class Samples(Protocol):
    """What training needs of data: a :class:`hwloop.datasets.Dataset`, or a :class:`hwloop.rules.ValueSet`."""

    def __len__(self) -> int: ...

    def batches(self, size: int, generator: np.random.Generator | None = None) -> Iterator[tuple[Any, Tensor]]:
        """Batches of ``size`` samples and their labels; shuffled if a generator is given."""


class Runner(Protocol):
    """What :func:`evaluate` needs of a device: a loaded program that runs spikes."""

    def run(self, spikes: Spikes) -> Record:
        """Record of the loaded program on ``spikes``."""


@dataclass(frozen=True)
class Evaluation:
    """Result on one data set: accuracy 0..1, samples, samples without output spike, mean loss (None: not computed)."""

    accuracy: float
    samples: int
    silent: int
    loss: float | None = None


@dataclass(frozen=True)
class Epoch:
    """One epoch of training: numbers of the training set as it was trained, and of the validation set after it."""

    number: int
    lr: float
    loss: float
    accuracy: float
    silent: int
    validation: Evaluation
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """What :func:`fit` brought. The network holds the weights of ``best_epoch`` (counted from 1)."""

    history: tuple[Epoch, ...]
    best_epoch: int
    best_validation: Evaluation


@dataclass
class Best:
    """The best epoch so far and its weights: highest validation accuracy, then lowest loss, then the earliest."""

    epoch: int = 0
    validation: Evaluation | None = None
    weights: dict[str, Tensor] | None = None

    def offer(self, epoch: int, validation: Evaluation, net: Model) -> bool:
        """Take ``net``'s weights if ``validation`` is better; tells whether it was."""
        if self.validation is not None and _rank(validation) <= _rank(self.validation):
            return False
        self.epoch, self.validation = epoch, validation
        self.weights = {name: value.detach().clone() for name, value in net.state_dict().items()}
        return True

    def restore(self, net: Model) -> None:
        """Put the best weights back into ``net``."""
        if self.weights is not None:
            net.load_state_dict(self.weights)


def _rank(found: Evaluation) -> tuple[float, float]:
    return found.accuracy, -math.inf if found.loss is None else -found.loss


def simulate_forward(net: Any, inputs: Any) -> Record:
    """The default ``forward``: simulate."""
    record: Record = net(inputs)
    return record


def train_epoch(
    net: Model,
    data: Samples,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: int,
    generator: np.random.Generator,
    decision: Decision = "first",
    forward: Forward = simulate_forward,
    clip_norm: float = math.inf,
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """One pass over ``data`` in an order drawn from ``generator``, one optimiser step a batch.

    A batch whose loss passes no gradient (every output silent) makes no step. A gradient whose norm over all
    parameters exceeds ``clip_norm`` is scaled down to it: near grazing, ``dT ~ 1/D`` is unbounded.

    Returns
    -------
    Evaluation of the training samples, each under the weights it was trained with.

    Raises
    ------
    GradientError
        The loss or a gradient is NaN or infinite, naming the batch; the weights are those before that batch.
    """
    total, right, silent = 0.0, 0.0, 0
    for number, (inputs, labels) in enumerate(data.batches(batch_size, generator)):
        record = forward(net, inputs)
        value = loss(cast(Network, net), record, labels)
        optimizer.zero_grad(set_to_none=True)
        if value.requires_grad:
            value.backward()  # type: ignore[no-untyped-call]
            _check_finite(net, value, number)
            if math.isfinite(clip_norm):
                torch.nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
            optimizer.step()
        total += float(value.detach()) * len(labels)
        right += accuracy(predict(record, decision), labels) * len(labels)
        silent += silent_samples(record)
        if on_batch is not None:
            on_batch(len(labels))
    return Evaluation(right / len(data), len(data), silent, total / len(data))


def _check_finite(net: Model, value: Tensor, batch: int) -> None:
    bad = [name for name, p in net.named_parameters() if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
    if bad or not math.isfinite(float(value.detach())):
        what = f"gradient of {bad[0]}" if bad else f"loss ({float(value.detach())})"
        raise GradientError(f"batch {batch}: {what} is NaN or infinite; lower lr, or raise the floor of the derivative")


def evaluate(
    net_or_device: Model | Runner,
    data: Samples,
    *,
    decision: Decision | None = None,
    loss: Loss | None = None,
    batch_size: int = EVALUATION_BATCH,
    rule: str | Rule | None = None,
) -> Evaluation:
    """Accuracy of a network, or of a device with a loaded program, on ``data``. No gradient is kept.

    ``loss`` is computed too if given; only a network has one. ``rule`` runs the network with that rule's forward pass
    (default: a network in steps by the rule that its neurons belong to, one in continuous time event by event).
    ``decision`` is the rule's by default, ``"first"`` without one.
    """
    net = net_or_device if isinstance(net_or_device, Network | StepNetwork) else None
    if loss is not None and net is None:
        raise InputError("a loss of a device; give the network, or leave loss out")
    if net is None and rule is not None:
        raise InputError("a rule for a device; leave rule out, a device runs as it does")
    run = cast(Runner, net_or_device).run if net is None else net
    if net is not None and (rule is not None or isinstance(net, StepNetwork)):
        method = find(rule if rule is not None else cast(StepNetwork, net).rule)
        method.check(net)
        run = partial(method.forward, net)
        decision = decision or method.decision(net)
    total, right, silent = 0.0, 0.0, 0
    with torch.no_grad():
        for inputs, labels in data.batches(batch_size):
            record = run(inputs)
            right += accuracy(predict(record, decision or "first"), labels) * len(labels)
            silent += silent_samples(record)
            if loss is not None and net is not None:
                total += float(loss(cast(Network, net), record, labels)) * len(labels)
    return Evaluation(right / len(data), len(data), silent, None if loss is None else total / len(data))


def fit(
    net: Model,
    task: Task | ValueTask,
    loss: Loss,
    *,
    rule: str | Rule = "exact",
    epochs: int = 30,
    batch_size: int = 50,
    lr: float = 3e-3,
    lr_decay: float = 1.0,
    lr_min: float = 0.0,
    clip_norm: float = math.inf,
    optimizer: OptimizerFactory = torch.optim.Adam,
    seed: int = 0,
    decision: Decision | None = None,
    floor: float = DEFAULT_FLOOR,
    policy: FloorPolicy = "clip",
    input_dropout: float = 0.0,
    augment: Augment | None = None,
    averaging: float = 0.0,
    validation: Dataset | ValueSet | None = None,
    forward: Forward | None = None,
    checkpoint_dir: Path | str | None = None,
    resume: bool = False,
    progress: bool | None = None,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train ``net`` on ``task.train`` and leave it with the weights of the best epoch on the validation set.

    The test set is not touched: ``evaluate(net, task.test)`` once, at the end, is for the caller.

    Parameters
    ----------
    net, task, loss : what is trained, on what, towards what
    rule : str or Rule
        One of :func:`hwloop.rules.names`, or a rule with options, e.g. ``NA(credit="g")``. ``"exact"``, the exact
        event-based gradient, trains a :class:`hwloop.network.Network`; rules in steps a :class:`hwloop.rules.StepNetwork`
        on a :class:`hwloop.rules.ValueTask`.
    epochs, batch_size : int, >= 1
    lr, lr_decay, lr_min : float
        Epoch k (from 1) runs with ``max(lr_min, lr * lr_decay ** (k - 1))``.
    clip_norm : float, > 0
        Largest norm of the gradient of a batch; see :func:`train_epoch`.
    optimizer : callable
        ``optimizer(parameters, lr=lr)``, for instance a class of ``torch.optim``.
    seed : int
        Order of the samples. Same seed, machine, versions and thread count: same result, bit for bit.
    decision : ``"first"``, ``"count"`` or ``"readout"``; see :func:`hwloop.losses.predict`; default: the rule's
    floor, policy : of the exact rule; see :meth:`hwloop.network.Network.forward`
    validation : Dataset, optional
        Instead of ``task.validation``.
    input_dropout : float
        Share of the input events (of the values, for a network in steps) left out of every training step, drawn anew
        each time (``seed``).
    augment : callable, optional
        ``augment(batch, generator) -> batch`` of :class:`hwloop.rules.Values` for every training step of a network in steps,
        for instance :class:`hwloop.rules.RandomAffine`; its ``repr`` is kept with the checkpoints.
    averaging : float
        Decay a step of an exponential moving average of the weights, which is what is validated and kept; 0: none.
    forward : callable, optional
        ``forward(net, inputs) -> Record`` for training steps, instead of simulating with ``floor`` and ``policy``; with
        another rule than the exact one, the record that takes the place of the simulated one. Validation always simulates.
    checkpoint_dir : path, optional
        A checkpoint is saved there after every epoch.
    resume : bool
        Go on from the newest checkpoint in ``checkpoint_dir`` (from the start if there is none), bit-identical to a
        run that was never interrupted. ``epochs`` may have grown; all other options have to be the same.
    progress : bool, optional
        Show a progress bar; by default on a terminal, not in a pipe.
    on_epoch : callable, optional
        Called with each finished :class:`Epoch`, after its checkpoint is safe.

    Raises
    ------
    InputError, OptionError
        Options out of range; a task that does not fit the network; an unknown rule.
    CheckpointError
        A checkpoint of another network or other options, or one that is there without ``resume``.
    GradientError
        Training diverged.
    """
    method = find(rule, floor=floor, policy=policy) if rule == Exact.name else find(rule)
    method.check(net)
    decision = decision or method.decision(net)
    if not 0 <= input_dropout < 1:
        raise InputError(f"input_dropout = {input_dropout}; allowed: 0 <= input_dropout < 1")
    if augment is not None and not isinstance(task, ValueTask):
        raise InputError(f"augment changes values, and {task.name} has spikes; allowed: tasks of values (ValueTask)")
    if not 0 <= averaging < 1:
        raise InputError(f"averaging = {averaging}; allowed: 0 (none) <= averaging < 1")
    if not clip_norm > 0:
        raise InputError(f"clip_norm = {clip_norm}; allowed: > 0 (infinite: gradients are not clipped)")
    _check_options(net, task, epochs, batch_size, lr, lr_decay, lr_min)
    held_out = task.validation if validation is None else validation
    options = {
        "task": task.name,
        "samples": len(task.train),
        "validation": len(held_out),
        "loss": repr(loss),
        "rule": method.key,
        "batch_size": batch_size,
        "lr": lr,
        "lr_decay": lr_decay,
        "lr_min": lr_min,
        "clip_norm": clip_norm if math.isfinite(clip_norm) else None,
        "optimizer": getattr(optimizer, "__name__", "custom"),
        "seed": seed,
        "decision": decision,
        "floor": floor,
        "policy": policy,
        "input_dropout": input_dropout,
        "averaging": averaging,
        "augment": None if augment is None else repr(augment),
    }
    thinning = torch.Generator()
    simulated = None if isinstance(method, Exact) else method

    def step(net: Model, inputs: Spikes | Values) -> Record:
        if run.average is not None:
            run.average.update_parameters(net)
        seen = inputs if augment is None else augment(cast(Values, inputs), thinning)
        seen = _thinned(seen, input_dropout, thinning) if input_dropout else seen
        if forward is not None and isinstance(method, Exact):
            return forward(net, seen)
        return method.differentiable(net, seen, None if forward is None else forward(net, seen))

    run = _Run(net, optimizer(net.parameters(), lr=lr), options, checkpoint_dir, averaging)
    run.begin(resume, epochs)
    with EpochProgress(epochs, len(task.train), run.finished, progress).shown() as bar:
        for number in range(run.finished + 1, epochs + 1):
            start = time.perf_counter()
            rate = max(lr_min, lr * lr_decay ** (number - 1))
            set_lr(run.optimizer, rate)
            thinning.manual_seed(int(np.random.default_rng([seed, number, 1]).integers(2**62)))
            trained = train_epoch(
                net,
                task.train,
                loss,
                run.optimizer,
                batch_size=batch_size,
                generator=np.random.default_rng([seed, number]),
                decision=decision,
                forward=step,
                clip_norm=clip_norm,
                on_batch=bar.advance,
            )
            found = evaluate(run.kept(), held_out, decision=decision, loss=loss, rule=simulated)
            epoch = Epoch(
                number, rate, trained.loss or 0.0, trained.accuracy, trained.silent, found, time.perf_counter() - start
            )
            run.add(epoch)
            figures = f"loss {epoch.loss:.4g}, validation {found.accuracy:.2%}"
            _log.info("epoch %d: %s", number, figures)
            bar.epoch_done(number, figures)
            if on_epoch is not None:
                on_epoch(epoch)
    return run.result()


def _thinned(inputs: Spikes | Values, share: float, generator: torch.Generator) -> Spikes | Values:
    return thinned(inputs, share, generator) if isinstance(inputs, Spikes) else inputs.dropped(share, generator)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


class _Run:
    """State of a fit between epochs, and its way into checkpoints and back."""

    def __init__(
        self,
        net: Model,
        optimizer: torch.optim.Optimizer,
        options: dict[str, Any],
        folder: Path | str | None,
        averaging: float,
    ) -> None:
        self.net, self.optimizer, self.options, self.folder = net, optimizer, options, folder
        mean = get_ema_multi_avg_fn(averaging)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(net, multi_avg_fn=mean) if averaging else None
        self.best = Best()
        self.history: list[Epoch] = []

    @property
    def finished(self) -> int:
        return len(self.history)

    def begin(self, resume: bool, epochs: int) -> None:
        """Load the newest checkpoint if asked to; refuse to write over one if not."""
        if self.folder is None:
            if resume:
                raise InputError("resume=True without checkpoint_dir; name the folder that holds the checkpoints")
            return
        if not resume:
            existing = newest_manifest(self.folder)
            if existing is not None:
                raise CheckpointError(f"{existing} is there already; pass resume=True, or name another folder")
            return
        checkpoint = load_checkpoint(self.folder, self.net)
        if checkpoint is None:
            return
        try:
            self._take(checkpoint.state)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise CheckpointError(
                f"{checkpoint.path} is no checkpoint of fit ({type(error).__name__}: {error}); name another folder"
            ) from error
        if self.finished > epochs:
            raise CheckpointError(
                f"{checkpoint.path} holds {self.finished} epochs, this run asks for {epochs}; pass epochs={self.finished} or more, "
                "or name another folder"
            )
        _log.info("resumed %s after epoch %d", checkpoint.path, self.finished)

    def kept(self) -> Model:
        """The network that is validated and kept: the average where there is one."""
        return self.net if self.average is None else cast(Model, self.average.module)

    def add(self, epoch: Epoch) -> None:
        """Take a finished epoch, and save it where a folder is named."""
        self.history.append(epoch)
        self.best.offer(epoch.number, epoch.validation, self.kept())
        if self.folder is not None:
            save_checkpoint(self.folder, self.net, self._state(), step=epoch.number)

    def result(self) -> FitResult:
        """Restore the best weights and hand back what was found."""
        if self.best.validation is None:
            raise InputError("no epoch was run")
        self.best.restore(self.net)
        return FitResult(tuple(self.history), self.best.epoch, self.best.validation)

    def _state(self) -> dict[str, Any]:
        return {
            "options": self.options,
            "network": dict(self.net.state_dict()),
            "best": {"epoch": self.best.epoch, "weights": self.best.weights},
            "average": None if self.average is None else dict(self.average.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "history": [asdict(epoch) for epoch in self.history],
        }

    def _take(self, state: dict[str, Any]) -> None:
        for name, value in self.options.items():
            if (then := state["options"].get(name)) != value:
                raise CheckpointError(
                    f"the checkpoint was made with {name} = {then!r}, this run has {value!r}; "
                    "use the same options, or name another folder"
                )
        history = [Epoch(**{**e, "validation": Evaluation(**e["validation"])}) for e in state["history"]]
        best = state["best"]
        self.net.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        torch.set_rng_state(state["torch_rng"])
        self.history = history
        self.best = Best(best["epoch"], history[best["epoch"] - 1].validation, best["weights"])


def _check_options(
    net: Model, task: Task | ValueTask, epochs: int, batch_size: int, lr: float, lr_decay: float, lr_min: float
) -> None:
    for name, count in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(count, int) or count < 1:
            raise InputError(f"{name} = {count!r}; allowed: a whole number >= 1")
    if not 0 < lr < math.inf:
        raise InputError(f"lr = {lr}; allowed: finite and > 0")
    if not 0 < lr_decay <= 1 or not 0 <= lr_min <= lr:
        raise InputError(f"lr_decay = {lr_decay}, lr_min = {lr_min}; allowed: 0 < lr_decay <= 1, 0 <= lr_min <= lr")
    if (net.n_in, net.n_out) != (task.n_in, task.n_out):
        raise InputError(
            f"the network has {net.n_in} inputs and {net.n_out} outputs; "
            f"task {task.name} needs {task.n_in} and {task.n_out}"
        )
    if not any(p.requires_grad for p in net.parameters()):
        raise InputError("the network has no trainable parameter; make some an nn.Parameter that requires a gradient")
