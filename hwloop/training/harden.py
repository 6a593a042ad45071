"""Hardening: training for a chip without the chip, on its noise, its weight codes and what is known of its mismatch.

A network that was trained without them loses most of what it loses on a chip without mismatch to rounding and to spikes
with too little margin. Here every step runs on a :class:`~hwloop.training.noise.NoisyForward`, weights stay within the program's
codes, and the best epoch is chosen by validation under the same noise. No device runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import whole
from ..datasets import Dataset, Task
from ..device.base import repeat
from ..errors import InputError
from ..losses import Decision, Loss
from ..mapping import Program
from ..mapping.held import shapes_of
from ..network import Network
from ..record import Record
from ..simulate import FloorPolicy
from ..simulate.threads import one_thread
from ..spikes import Spikes
from .epochs import Epoch, Epochs, OnEpoch
from .evaluate import Evaluation, score
from .held_weights import HeldWeights
from .noise import NoiseModel, NoisyForward
from .options import OptimizerFactory, Schedule, check_loss, check_task, check_trainable, made, real, without_address
from .step import train_epoch
from .weights import Weights

__all__ = ["HardenResult", "NoisyRunner", "harden"]

#: Floor of D_k, as a share of v_th - v_reset. As small as in plain training: of .1, .01 and .001 it was the best on
#: Yin-Yang (validation 96.0, 95.9 and 96.5 %), for here, unlike in the loop, the model fires where it says.
FLOOR = 1e-3
#: Added to the seed of noise in validation, so that it draws nothing that training drew.
VALIDATION_SEED = 1_000_003


@dataclass(frozen=True)
class HardenResult:
    """What :func:`harden` brought; the network holds the weights of ``best_epoch``, ``program`` those as codes."""

    history: tuple[Epoch, ...]
    best_epoch: int
    best_validation: Evaluation
    program: Program


class NoisyRunner:
    """A network on an imagined chip, as :func:`hwloop.training.evaluate` takes it; the same draws each time it is made."""

    def __init__(self, net: Network, noise: NoiseModel, program: Program | None, seed: int = 0) -> None:
        self._net = net
        self._forward = NoisyForward(noise, program=program, seed=seed)

    def run(self, spikes: Spikes) -> Record:
        """One run of ``spikes``; nothing is differentiated."""
        with torch.no_grad():
            return self._forward(self._net, spikes)


def harden(
    net: Network,
    program: Program,
    task: Task,
    loss: Loss,
    noise: NoiseModel,
    *,
    epochs: int = 20,
    batch_size: int = 25,
    lr: float = 4e-3,
    lr_decay: float = 0.85,
    lr_min: float = 0.0,
    clip_norm: float = 1.0,
    repeats: int = 1,
    averaging: float = 0.99,
    floor: float = FLOOR,
    policy: FloorPolicy = "clip",
    seed: int = 0,
    decision: Decision = "first",
    validation_repeats: int = 2,
    optimizer: OptimizerFactory = torch.optim.Adam,
    checkpoint_dir: Path | str | None = None,
    resume: bool = False,
    progress: bool | None = None,
    on_epoch: OnEpoch | None = None,
) -> HardenResult:
    """Train ``net``, a network or a device twin, for a chip of ``noise``; leaves it with the weights of the best epoch.

    The test set is not touched.

    Parameters
    ----------
    net : Network
        Its weights move; a twin's known mismatch acts on them.
    program : Program
        Compiled from ``net``: its scales and code ranges hold throughout.
    task, loss, epochs, batch_size, lr, lr_decay, lr_min, clip_norm, optimizer, seed, decision : as in :func:`hwloop.training.fit`
    noise : NoiseModel
        Drawn anew for every batch; ``noise.spread`` makes every batch run on another chip.
    repeats : int
        Draws of the noise for every batch, whose gradients are averaged: a step costs as many simulations.
    averaging : float
        Decay a step of an exponential moving average of the weights, which is what is validated and kept; 0: none.
    floor, policy : see :meth:`hwloop.network.Network.forward`
    validation_repeats : int
        Noisy runs of the validation set an epoch.
    checkpoint_dir, resume, progress, on_epoch : as in :func:`hwloop.training.fit`; the noise goes on where it stood

    Raises
    ------
    InputError
        Options out of range; a program or task of another network.
    CheckpointError
        A checkpoint of another network or other options, or one that is there without ``resume``.
    GradientError
        Training diverged: names the batch; weights and optimiser are as before it.
    """
    schedule = Schedule(epochs, batch_size, lr, lr_decay, lr_min, clip_norm, averaging, seed)
    draws, repeats = whole("repeats", repeats), whole("validation_repeats", validation_repeats)
    floor = real("floor", floor)
    _check_program(net, program)
    check_task(net, task, decision)
    check_trainable(net)
    check_loss(loss, decision)
    weights = HeldWeights(net)
    noisy = NoisyForward(noise, program=program, seed=schedule.seed, floor=floor, policy=policy)
    options = {
        "task": task.name, "samples": len(task.train), "loss": without_address(repr(loss)), "noise": repr(noise),
        "scales": list(program.scales), "optimizer": getattr(optimizer, "__name__", "custom"), "decision": decision,
        "validation_repeats": repeats, "floor": floor, "policy": policy, **({"repeats": draws} if draws > 1 else {}),
        **schedule.recorded(),
    }  # fmt: skip
    run = _Hardening(
        net,
        weights,
        made(optimizer, weights.tensors, schedule.lr),
        options,
        checkpoint_dir,
        schedule.averaging,
        noisy.generator,
    )
    run.resumed(resume, schedule.epochs)
    data = _Repeated(task.train, draws)

    def moved() -> None:
        weights.limit(program)
        run.moved()

    def train(number: int, on_batch: Callable[[int], None]) -> Evaluation:
        found = train_epoch(
            net, data, loss, run.optimizer, batch_size=schedule.batch_size, decision=decision, forward=noisy,
            generator=np.random.default_rng([schedule.seed, number]), clip_norm=schedule.clip_norm,
            on_batch=lambda ran: on_batch(ran // draws), on_step=moved,
        )  # fmt: skip
        return replace(found, samples=len(task.train), silent=found.silent // draws)

    def validate() -> Evaluation:
        runner = NoisyRunner(net, noise, program, schedule.seed + VALIDATION_SEED)
        found = [score(runner.run, task.validation, decision=decision, loss=partial(loss, net)) for _ in range(repeats)]
        return _mean(found)

    with one_thread():
        run.go(schedule, len(task.train), train, validate, progress, on_epoch)
    best = run.restore_best()
    weights.limit(program)
    return HardenResult(tuple(run.history), run.best.epoch, best, program.with_weights(net))


class _Repeated:
    """A data set whose batches hold every sample ``draws`` times, first draw first."""

    def __init__(self, data: Dataset, draws: int) -> None:
        self._data, self._draws = data, draws

    def __len__(self) -> int:
        return len(self._data)

    def batches(self, size: int, generator: np.random.Generator | None = None) -> Iterator[tuple[Spikes, Tensor]]:
        """Batches of ``size`` samples, each of them ``draws`` times."""
        for inputs, labels in self._data.batches(size, generator):
            yield repeat(inputs, self._draws), labels.repeat(self._draws)


class _Hardening(Epochs):
    """A run whose noise goes on where it stood."""

    loop = "harden"

    def __init__(
        self,
        net: Network,
        weights: Weights,
        optimizer: torch.optim.Optimizer,
        options: dict[str, Any],
        folder: Path | str | None,
        averaging: float,
        noise: torch.Generator,
    ) -> None:
        super().__init__(net, weights, optimizer, options, folder, averaging)
        self._noise = noise

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {**super().state(), "noise": self._noise.get_state()}

    def take(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` stands."""
        noise: Tensor = state["noise"]
        super().take(state)
        self._noise.set_state(noise)


def _mean(found: list[Evaluation]) -> Evaluation:
    """Means over evaluations of the same data."""
    accuracy, loss = (
        sum(values) / len(found) for values in ([e.accuracy for e in found], [e.loss or 0.0 for e in found])
    )
    return Evaluation(accuracy, found[0].samples, sum(one.silent for one in found) // len(found), loss)


def _check_program(net: Network, program: Program) -> None:
    shapes = shapes_of(net)
    held = [(layer.n_out, layer.n_in) for layer in program.layers]
    if shapes != held:
        raise InputError(f"the program has layers of {held}, the network of {shapes}; compile this network")
