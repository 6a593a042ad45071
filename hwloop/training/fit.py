"""Training with a validation split: the best epoch is chosen on validation data, never on test data.

How a record becomes gradients is the training rule's (:mod:`hwloop.rules`). Where the spikes come from is a parameter,
``forward(net, inputs) -> Record``: simulation by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets import Task
from ..described import Described
from ..losses import Decision, Loss
from ..ownership import holds_checkpoints
from ..ranks import ALONE, Ranks
from ..record import Record
from ..rules import Augment, Exact, Rule, Values, ValueTask
from ..simulate import DEFAULT_FLOOR, FloorPolicy
from ..spikes import Spikes
from .augmented import check_augment
from .epochs import Epoch, Epochs, OnEpoch
from .evaluate import Data, Evaluation, evaluate, threads_for
from .options import (
    Model,
    OptimizerFactory,
    Schedule,
    check_loss,
    check_task,
    check_trainable,
    made,
    real,
    resolved,
    used,
    without_address,
)
from .step import Forward, train_epoch
from .time_parameters import grouped
from .together import begin_together
from .varied import Varied
from .weights import Weights


@dataclass(frozen=True, repr=False)
class FitResult(Described):
    """What :func:`fit` brought. The network holds the weights of ``best_epoch`` (counted from 1)."""

    history: tuple[Epoch, ...]
    best_epoch: int
    best_validation: Evaluation

    def _facts(self) -> dict[str, Any]:
        found = self.best_validation
        return {
            "epochs": len(self.history), "best_epoch": self.best_epoch, "validation accuracy": f"{100 * found.accuracy:.1f} %",
            "silent samples": f"{found.silent} of {found.samples}", "seconds": sum(epoch.seconds for epoch in self.history),
        }  # fmt: skip


@holds_checkpoints
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
    floor: float | None = None,
    policy: FloorPolicy | None = None,
    input_dropout: float = 0.0,
    augment: Augment | None = None,
    averaging: float = 0.0,
    validation: Data | None = None,
    forward: Forward | None = None,
    checkpoint_dir: Path | str | None = None,
    resume: bool = False,
    progress: bool | None = None,
    on_epoch: OnEpoch | None = None,
    ranks: Ranks = ALONE,
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
        Epoch k (from 1) runs with ``max(lr_min, lr * lr_decay ** (k - 1))``. Trained times (delays, time constants) move in
        units of the network's ``tau_syn`` (:mod:`hwloop.training.time_parameters`), and stay where they have a meaning.
    clip_norm : float, > 0
        Largest norm of the gradient of a batch; see :func:`train_epoch`.
    optimizer : callable
        ``optimizer(parameters, lr=lr)``, for instance a class of ``torch.optim``; the parameters come in two groups, as
        torch's optimisers take them, where the network trains times.
    seed : int
        Order of the samples. Same seed, machine, versions and thread count: same result, bit for bit.
    decision : ``"first"``, ``"count"`` or ``"readout"``; see :func:`hwloop.losses.predict`; default: the rule's.
        ``"mean:3"`` and the like: the network has three output neurons a class (:mod:`hwloop.class_scores`)
    floor, policy : of the exact rule; see :meth:`hwloop.network.Network.forward`
        By default those of ``rule`` where it is an ``Exact(...)`` with its own, else 1e-3 and ``"clip"``.
    validation : Dataset, or batches of ``(inputs, labels)`` such as a torch ``DataLoader``, optional
        Instead of ``task.validation``.
    input_dropout : float
        Share of the input events (of the values, for a network in steps) left out of every training step, drawn anew
        each time (``seed``).
    augment : callable, optional
        ``augment(batch, generator) -> batch`` of :class:`hwloop.rules.Values` for every training step, for instance
        :class:`hwloop.rules.RandomAffine` or :class:`hwloop.rules.ElasticDeformation`; its ``repr`` is kept with the
        checkpoints. Image tasks of spikes (``task.images``) are decoded to pixels, changed, and encoded again.
    averaging : float
        Decay a step of an exponential moving average of the weights after each step, which is what is validated and kept;
        0: none.
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
        Called with each finished :class:`Epoch`, after its checkpoint is safe; :class:`hwloop.training.CsvLog` and
        :class:`hwloop.training.TensorBoardLog` write it down.
    ranks : Ranks, of :func:`hwloop.ranks.joined`
        Processes that train together: each calls ``fit`` with the same arguments and takes a share of every batch. Order,
        dropout and augmentation are those of one process, which draws them for the whole batch; so are the gradients, but for
        the order of sums. ``loss`` has to be a mean over samples (:func:`hwloop.ranks.summed` for one that looks at the whole
        batch); a ``forward`` of your own sees the share, and what it draws is its own. The first rank saves, shows progress and
        calls ``on_epoch``; a run may be resumed by another number of ranks.

    Raises
    ------
    InputError, OptionError
        Options out of range; a task that does not fit the network; an unknown rule; a loss of other arguments.
    CheckpointError
        A checkpoint of another network or other options, or one that is there without ``resume``.
    GradientError
        Training diverged: names the batch; weights and optimiser are as before it.
    RankError
        One of the ``ranks`` is lost or has failed; the checkpoint of the last finished epoch stays.
    """
    schedule = Schedule(epochs, batch_size, lr, lr_decay, lr_min, clip_norm, averaging, seed)
    input_dropout = real("input_dropout", input_dropout)
    check_task(net, task, decision)
    check_trainable(net)
    check_loss(loss, decision)
    check_augment(augment, task)
    method = resolved(rule, floor, policy, DEFAULT_FLOOR)
    method.check(net)
    decision = decision or method.decision(net)
    held_out: Data = task.validation if validation is None else validation
    options = {
        "task": task.name,
        "samples": len(task.train),
        "validation": len(held_out) if isinstance(held_out, Sized) else None,
        "loss": without_address(repr(loss)),
        "rule": without_address(method.key),
        "optimizer": getattr(optimizer, "__name__", "custom"),
        "decision": decision,
        "input_dropout": input_dropout,
        "augment": None if augment is None else without_address(repr(augment)),
        **schedule.recorded(),
        **used(method, floor, policy, DEFAULT_FLOOR),
    }
    weights = Weights(net, [p for p in net.parameters() if p.requires_grad])
    if ranks.size > 1:
        begin_together(ranks, options, net, task.train, held_out, schedule.batch_size, checkpoint_dir)
    moved = made(optimizer, grouped(net), schedule.lr)
    run = Epochs(net, weights, moved, options, checkpoint_dir, schedule.averaging, ranks)
    run.begin_with_others(resume, schedule.epochs)
    images = None if isinstance(task, ValueTask) else task.images
    run_step = _Steps(method, forward)

    def train(number: int, on_batch: Callable[[int], None]) -> Evaluation:
        return train_epoch(
            net, Varied(task.train, augment, input_dropout, schedule.seed, number, images), loss, run.optimizer,
            batch_size=schedule.batch_size, decision=decision, forward=run_step,
            generator=np.random.default_rng([schedule.seed, number]), clip_norm=schedule.clip_norm, on_batch=on_batch,
            on_step=run.moved, ranks=ranks,
        )  # fmt: skip

    def validate() -> Evaluation:
        simulated = None if isinstance(method, Exact) else method
        return evaluate(net, held_out, decision=decision, loss=loss, rule=simulated, ranks=ranks)

    with threads_for(net):
        run.go(schedule, len(task.train), train, validate, progress, on_epoch)
    return FitResult(tuple(run.history), run.best.epoch, run.restore_best())


class _Steps:
    """The ``forward`` of a training step: run by the rule, or by ``forward`` in the place of its simulation."""

    def __init__(self, method: Rule, forward: Forward | None) -> None:
        self._method, self._forward = method, forward

    def __call__(self, net: Model, inputs: Spikes | Values) -> Record:
        if self._forward is None:
            return self._method.differentiable(net, inputs)
        record = self._forward(net, inputs)
        return record if isinstance(self._method, Exact) else self._method.differentiable(net, inputs, record)
