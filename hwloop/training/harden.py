"""Hardening: training for a chip without the chip, on its noise, its weight codes and what is known of its mismatch.

A network that was trained without them loses most of what it loses on a chip without mismatch to rounding and to spikes
with too little margin. Here every step runs on a :class:`~hwloop.training.noise.NoisyForward`, weights stay within the program's
codes, and the best epoch is chosen by validation under the same noise. No device runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..datasets import Task
from ..errors import InputError
from ..losses import Decision, Loss
from ..mapping import Program
from ..network import Network
from ..progress import EpochProgress
from ..record import Record
from ..spikes import Spikes
from .fit import Epoch, Evaluation, evaluate, set_lr, train_epoch
from .noise import NoiseModel, NoisyForward

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
    clip_norm: float = 1.0,
    averaging: float = 0.99,
    floor: float = FLOOR,
    seed: int = 0,
    decision: Decision = "first",
    validation_repeats: int = 2,
    progress: bool | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> HardenResult:
    """Train ``net``, a network or a device twin, for a chip of ``noise``; leaves it with the weights of the best epoch.

    The test set is not touched.

    Parameters
    ----------
    net : Network
        Its weights move; a twin's known mismatch acts on them.
    program : Program
        Compiled from ``net``: its scales and code ranges hold throughout.
    task, loss, epochs, batch_size, lr, lr_decay, clip_norm, seed, decision : as in :func:`hwloop.training.fit`
    noise : NoiseModel
        Drawn anew for every batch; ``noise.spread`` makes every batch run on another chip.
    averaging : float
        Decay a step of an exponential moving average of the weights, which is what is validated and kept; 0: none.
    floor : float
        Of the derivative, as a share of ``v_th - v_reset``.
    validation_repeats : int
        Noisy runs of the validation set an epoch.

    Raises
    ------
    InputError
        Options out of range; a program or task of another network.
    GradientError
        Training diverged.
    """
    _check(net, program, task, epochs, batch_size, averaging, validation_repeats)
    weights: list[Tensor] = [dense.weight for dense, _ in net.blocks]
    mean = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.Adam(weights, lr=lr)
    noisy = NoisyForward(noise, program=program, seed=seed, floor=floor)

    def forward(net: Network, inputs: Spikes) -> Record:
        _stay_in_range(weights, program)
        for average, weight in zip(mean, weights, strict=True):
            average.lerp_(weight.detach(), 1.0 - averaging)
        return noisy(net, inputs)

    history: list[Epoch] = []
    best: tuple[Evaluation, int, list[Tensor]] | None = None
    with EpochProgress(epochs, len(task.train), 0, progress).shown() as bar:
        for number in range(1, epochs + 1):
            start, rate = time.perf_counter(), lr * lr_decay ** (number - 1)
            set_lr(optimizer, rate)
            trained = train_epoch(
                net, task.train, loss, optimizer, batch_size=batch_size, generator=np.random.default_rng([seed, number]),
                decision=decision, forward=forward, clip_norm=clip_norm, on_batch=bar.advance,
            )  # fmt: skip
            found = _validated(net, weights, mean, noise, program, task, decision, seed, validation_repeats)
            if best is None or found.accuracy > best[0].accuracy:
                best = found, number, [average.clone() for average in mean]
            seconds = time.perf_counter() - start
            history.append(Epoch(number, rate, trained.loss or 0.0, trained.accuracy, trained.silent, found, seconds))
            bar.epoch_done(number, f"loss {history[-1].loss:.3f}, validation {100 * found.accuracy:.1f} % with noise")
            if on_epoch is not None:
                on_epoch(history[-1])
    if best is None:
        raise InputError("no epoch was run")
    _put(weights, best[2])
    _stay_in_range(weights, program)
    return HardenResult(tuple(history), best[1], best[0], program.with_weights(net))


def _validated(
    net: Network,
    weights: list[Tensor],
    mean: list[Tensor],
    noise: NoiseModel,
    program: Program,
    task: Task,
    decision: Decision,
    seed: int,
    repeats: int,
) -> Evaluation:
    """Accuracy of the averaged weights under noise, mean over ``repeats`` runs; the network keeps its own weights."""
    own = [weight.detach().clone() for weight in weights]
    _put(weights, mean)
    try:
        runner = NoisyRunner(net, noise, program, seed + VALIDATION_SEED)
        found = [evaluate(runner, task.validation, decision=decision) for _ in range(repeats)]
    finally:
        _put(weights, own)
    accuracy = sum(one.accuracy for one in found) / repeats
    return Evaluation(accuracy, len(task.validation), sum(one.silent for one in found) // repeats)


@torch.no_grad()
def _put(weights: list[Tensor], values: list[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)


@torch.no_grad()
def _stay_in_range(weights: list[Tensor], program: Program) -> None:
    """Keep weights where codes can follow: beyond saturation a step would have no effect for long."""
    for weight, layer in zip(weights, program.layers, strict=True):
        if layer.max_code is not None:
            limit = layer.scale * (layer.max_code + 0.5)
            weight.clamp_(-limit, limit)


def _check(
    net: Network, program: Program, task: Task, epochs: int, batch_size: int, averaging: float, repeats: int
) -> None:
    for name, count in {"epochs": epochs, "batch_size": batch_size, "validation_repeats": repeats}.items():
        if not isinstance(count, int) or count < 1:
            raise InputError(f"{name} = {count!r}; allowed: a whole number >= 1")
    if not 0 <= averaging < 1:
        raise InputError(f"averaging = {averaging}; allowed: 0 (none) <= averaging < 1")
    shapes = [tuple(dense.weight.shape) for dense, _ in net.blocks]
    held = [(layer.n_out, layer.n_in) for layer in program.layers]
    if shapes != held:
        raise InputError(f"the program has layers of {held}, the network of {shapes}; compile this network")
    if (net.n_in, net.n_out) != (task.n_in, task.n_out):
        raise InputError(
            f"the network has {net.n_in} inputs and {net.n_out} outputs; task {task.name} needs {task.n_in} and {task.n_out}"
        )
