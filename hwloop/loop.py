"""Fine-tuning in the loop: measured spikes take the place of the simulated ones, in the same loss and gradient.

    float shadow weights --quantise--> codes --write what changed--> device --run--> measured spikes
            ^                                                                             |
            +-------- optimiser <-- gradient of the model, replayed at the measured spikes +

The model is differentiated at the weights that the device holds (straight-through rounding); the step is taken by the
float shadow weights. Constant latency of the read-out is subtracted from the measured times first. How the measured
spikes become gradients is the training rule's (:mod:`hwloop.rules`): any that runs in continuous time from spikes alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .datasets import Task
from .deployment import deploy, measure, place_around_silence
from .errors import CheckpointError, InputError
from .loop_state import GradientHealth as GradientHealth
from .loop_state import Loop, LoopEpoch, Tally
from .loop_state import LoopResult as LoopResult
from .losses import Decision, Loss
from .mapping import Program, ScaleRule
from .network import Network
from .progress import EpochProgress
from .rules import Exact, Rule, find
from .simulate import FloorPolicy
from .target import Device
from .training import set_lr

#: Floor of D_k in the loop, as a share of v_th - v_reset. Larger than in simulation: a measured spike may fall where
#: the model's membrane hardly rises, or falls.
LOOP_FLOOR = 0.1

#: Called after every epoch with what it brought; a program that it returns says where the network stands from now on.
OnLoopEpoch = Callable[["LoopEpoch"], Program | None]


def finetune(
    net: Network,
    device: Device,
    task: Task,
    loss: Loss,
    *,
    rule: str | Rule = "exact",
    epochs: int = 25,
    batch_size: int = 25,
    lr: float = 2e-3,
    lr_decay: float = 0.9,
    repeats: int = 1,
    floor: float = LOOP_FLOOR,
    policy: FloorPolicy = "clip",
    clip_norm: float = 1.0,
    averaging: float = 0.0,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "auto",
    mask: Iterable[int] = (),
    seed: int = 0,
    decision: Decision | None = None,
    validation_repeats: int = 2,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    checkpoint_dir: Path | str | None = None,
    resume: bool = False,
    progress: bool | None = None,
    on_epoch: OnLoopEpoch | None = None,
) -> LoopResult:
    """Repair ``net`` on ``device``; leaves network and device with the weights of the best epoch on validation data.

    The test set is not touched: ``measure(device, task.test)`` once, at the end, is for the caller.

    Parameters
    ----------
    net : Network
        Its weights are the float shadow weights; its neuron parameters, the nominal ones, are the model's.
    device : Device, opened
    task, loss : as in :func:`hwloop.training.fit`
    rule : str or Rule
        ``"exact"``, or one that needs no more than the spikes of a network in continuous time (``"hm2bp"``).
    epochs, batch_size, lr, lr_decay, seed, decision, optimizer : as in :func:`hwloop.training.fit`
    repeats : int
        Runs of every batch; their gradients are averaged.
    floor, policy : of the exact rule; see :meth:`hwloop.network.Network.forward`
    clip_norm : float
        Largest norm of a batch's gradient.
    averaging : float
        Decay a step of an exponential moving average of the shadow weights, which is what is validated and kept: the
        device's noise makes single steps jump. 0: none.
    weight_scale, mask : see :func:`deploy`. Neurons that never fire on the validation data although the model makes them
        fire are avoided too: the network is placed anew, after it was measured as is. The scale stays fixed while weights move
    validation_repeats : int
        Runs of the validation set an epoch: the best of many noisy figures is biased, averaging lowers that.
    checkpoint_dir, resume : crash-safe: a checkpoint after every epoch, the noise of an emulated device included
    progress : as in :func:`hwloop.training.fit`
    on_epoch : callable, optional
        Called with each :class:`LoopEpoch`, after its checkpoint is safe. A program that it returns moves the network: the
        loop goes on with its placement and scales, and what was best where the network stood before no longer counts
        (see ``on_epoch`` of :class:`hwloop_calibration.Sentinel`).

    Raises
    ------
    InputError, CheckpointError, CompileError, TargetError, GradientError
    """
    _check_options(net, task, epochs, batch_size, lr, lr_decay, repeats, validation_repeats)
    method = find(rule, floor=floor, policy=policy) if rule == Exact.name else find(rule)
    method.check(net)
    decision = decision or method.decision(net)
    mask = tuple(mask)
    if not 0 <= averaging < 1:
        raise InputError(f"averaging = {averaging}; allowed: 0 (none) <= averaging < 1")
    options = {
        "task": task.name, "samples": len(task.train), "loss": repr(loss), "rule": method.key, "batch_size": batch_size, "lr": lr,
        "lr_decay": lr_decay, "repeats": repeats, "floor": floor, "policy": policy, "clip_norm": clip_norm, "seed": seed,
        "decision": decision, "validation_repeats": validation_repeats, "averaging": averaging, "device": device.device_id,
        "target": device.capabilities.name,
    }  # fmt: skip
    weights: list[Tensor] = [dense.weight for dense, _ in net.blocks]
    run = Loop(net, device, weights, optimizer(weights, lr=lr), options, checkpoint_dir, averaging)
    if not run.resumed(resume):
        run.program = deploy(
            net, device, validation=task.validation, weight_scale=weight_scale, mask=mask, decision=decision
        )
        run.begin(measure(device, task.validation, decision=decision, repeats=validation_repeats))
        run.program = place_around_silence(net, device, run.program, task.validation, mask)
    if len(run.history) > epochs:
        raise CheckpointError(
            f"the checkpoint holds {len(run.history)} epochs, this run asks for {epochs}; pass epochs={len(run.history)} or more, "
            "or name another folder"
        )
    bar = EpochProgress(epochs, len(task.train), len(run.history), progress)
    with bar.shown():
        for number in range(len(run.history) + 1, epochs + 1):
            start = time.perf_counter()
            rate = lr * lr_decay ** (number - 1)
            set_lr(run.optimizer, rate)
            order = np.random.default_rng([seed, number])
            tally = Tally()
            for inputs, labels in task.train.batches(batch_size, order):
                run.step(inputs, labels, loss, method, repeats, clip_norm, decision, tally)
                bar.advance(len(labels))
            with run.kept():
                run.load()
                found = measure(device, task.validation, decision=decision, repeats=validation_repeats)
            epoch = tally.epoch(number, rate, found, len(task.train), repeats, time.perf_counter() - start)
            run.add(epoch)
            bar.epoch_done(
                number, f"loss {epoch.loss:.3f}, validation {100 * found.accuracy:.1f} % on {device.device_id}"
            )
            moved = None if on_epoch is None else on_epoch(epoch)
            if moved is not None:
                run.move(
                    moved, partial(measure, device, task.validation, decision=decision, repeats=validation_repeats)
                )
    return run.result()


def _check_options(
    net: Network, task: Task, epochs: int, batch_size: int, lr: float, lr_decay: float, repeats: int, validation: int
) -> None:
    counts = {"epochs": epochs, "batch_size": batch_size, "repeats": repeats, "validation_repeats": validation}
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise InputError(f"{name} = {count!r}; allowed: a whole number >= 1")
    if not 0 < lr < math.inf or not 0 < lr_decay <= 1:
        raise InputError(f"lr = {lr}, lr_decay = {lr_decay}; allowed: lr finite and > 0, 0 < lr_decay <= 1")
    if (net.n_in, net.n_out) != (task.n_in, task.n_out):
        raise InputError(
            f"the network has {net.n_in} inputs and {net.n_out} outputs; "
            f"task {task.name} needs {task.n_in} and {task.n_out}"
        )
