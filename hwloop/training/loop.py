"""Fine-tuning in the loop: measured spikes take the place of the simulated ones, in the same loss and gradient.

    float shadow weights --quantise--> codes --write what changed--> device --run--> measured spikes
            ^                                                                             |
            +-------- optimiser <-- gradient of the model, replayed at the measured spikes +

The model is differentiated at the weights that the device holds (straight-through rounding); the step is taken by the
float shadow weights. Measured times are corrected for the constant latency of the read-out. How the measured
spikes become gradients is the training rule's (:mod:`hwloop.rules`): any that runs in continuous time from spikes alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..arguments import whole
from ..datasets import Task
from ..device.deploy import deploy, place_around_silence
from ..device.registry import Device
from ..errors import InputError
from ..losses import Decision, Loss
from ..mapping import Program, ScaleRule
from ..network import Network
from ..ownership import holds_checkpoints
from ..progress import EpochProgress
from ..rules import Rule
from ..simulate import FloorPolicy
from ..simulate.threads import one_thread
from .loop_figures import GradientHealth as GradientHealth
from .loop_figures import LoopEpoch as LoopEpoch
from .loop_figures import LoopResult as LoopResult
from .loop_figures import Tally
from .loop_state import Loop, weights_of
from .options import OptimizerFactory, Schedule, check_loss, check_task, made, resolved, used, without_address
from .step import set_lr

#: Floor of D_k in the loop, as a share of v_th - v_reset. Larger than in simulation: a measured spike may fall where
#: the model's membrane hardly rises, or falls.
LOOP_FLOOR = 0.1

#: Called after every epoch with what it brought; a program that it returns says where the network stands from now on.
OnLoopEpoch = Callable[["LoopEpoch"], Program | None]


@holds_checkpoints
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
    lr_min: float = 0.0,
    repeats: int = 1,
    floor: float | None = None,
    policy: FloorPolicy | None = None,
    clip_norm: float = 1.0,
    averaging: float = 0.0,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "auto",
    mask: Iterable[int] = (),
    seed: int = 0,
    decision: Decision | None = None,
    validation_repeats: int = 2,
    optimizer: OptimizerFactory = torch.optim.Adam,
    checkpoint_dir: Path | str | None = None,
    resume: bool = False,
    progress: bool | None = None,
    on_epoch: OnLoopEpoch | None = None,
    partition: bool = False,
) -> LoopResult:
    """Repair ``net`` on ``device``; leaves network and device with the weights of the best epoch on validation data.

    The best has the highest accuracy on the device, of equal ones the lowest loss of what was measured, then the earliest.

    The test set is not touched: ``measure(device, task.test)`` once, at the end, is for the caller.

    Parameters
    ----------
    net : Network
        Its weights are the float shadow weights; its neuron parameters, the nominal ones, are the model's.
    device : Device, opened
    task, loss : as in :func:`hwloop.training.fit`
    rule : str or Rule
        ``"exact"``, or one that needs no more than the spikes of a network in continuous time (``"hm2bp"``).
    epochs, batch_size, lr, lr_decay, lr_min, clip_norm, seed, decision, optimizer : as in :func:`hwloop.training.fit`
    repeats : int
        Runs of every batch; their gradients are averaged.
    floor, policy : of the exact rule; see :meth:`hwloop.network.Network.forward`
        By default those of ``rule`` where it is an ``Exact(...)`` with its own, else :data:`LOOP_FLOOR` and ``"clip"``.
    averaging : float
        Decay a step of an exponential moving average of the shadow weights, which is what is validated and kept: the
        device's noise makes single steps jump. 0: none.
    weight_scale, mask : see :func:`deploy`. Neurons that never fire on the validation data although the model makes them
        fire are avoided too: the network is placed anew, after it was measured as is. The scale stays fixed while weights move,
        and is the checkpoint's where a run is resumed
    validation_repeats : int
        Runs of the validation set an epoch: the best of many noisy figures is biased, averaging lowers that.
    checkpoint_dir, resume : crash-safe: a checkpoint after every epoch, the noise of an emulated device included
    progress : as in :func:`hwloop.training.fit`
    on_epoch : callable, optional
        Called with each :class:`LoopEpoch`, after its checkpoint is safe. A program that it returns moves the network: the
        loop goes on with its placement and scales, and what was best where the network stood before no longer counts
        (see ``on_epoch`` of :class:`hwloop_calibration.Sentinel`).
    partition : as of :func:`hwloop.device.registry.compile`: a network larger than the device runs in pieces

    Raises
    ------
    InputError, CheckpointError, CompileError, TargetError
    GradientError
        Training diverged: names the batch; shadow weights and optimiser are as before it.
    """
    schedule = Schedule(epochs, batch_size, lr, lr_decay, lr_min, clip_norm, averaging, seed)
    repeats, validation_repeats = whole("repeats", repeats), whole("validation_repeats", validation_repeats)
    check_task(net, task, decision)
    check_loss(loss, decision)
    method = resolved(rule, floor, policy, LOOP_FLOOR)
    method.check(net)
    decision = decision or method.decision(net)
    mask = tuple(int(neuron) for neuron in mask)
    trained = weights_of(net).tensors
    if not any(weight.requires_grad for weight in trained):
        raise InputError("the network has no trainable weight; call requires_grad_(True) on those to be trained")
    options = {
        "task": task.name, "samples": len(task.train), "loss": without_address(repr(loss)), "rule": without_address(method.key),
        "optimizer": getattr(optimizer, "__name__", "custom"), "repeats": repeats, "decision": decision,
        "validation_repeats": validation_repeats, "mask": sorted(mask), "device": device.device_id, "target": device.capabilities.name,
        **schedule.recorded(), **used(method, floor, policy, LOOP_FLOOR),
    }  # fmt: skip
    run = Loop(
        net, device, made(optimizer, trained, schedule.lr), options, checkpoint_dir, schedule.averaging, loss=loss, method=method,
        clip_norm=schedule.clip_norm, decision=decision,
    )  # fmt: skip
    with one_thread():
        if not run.resumed(resume, schedule.epochs):
            run.program = deploy(
                net,
                device,
                validation=task.validation,
                weight_scale=weight_scale,
                mask=mask,
                decision=decision,
                partition=partition,
            )
            run.begin(run.validated(task.validation, validation_repeats))
            run.program = place_around_silence(net, device, run.program, task.validation, mask)
        _epochs(run, schedule, task, repeats, validation_repeats, progress, on_epoch)
        return run.result()


def _epochs(
    run: Loop,
    schedule: Schedule,
    task: Task,
    repeats: int,
    validation_repeats: int,
    progress: bool | None,
    on_epoch: OnLoopEpoch | None,
) -> None:
    """The epochs that are left."""
    with EpochProgress(schedule.epochs, len(task.train), run.finished, progress).shown() as bar:
        for number in range(run.finished + 1, schedule.epochs + 1):
            start, rate, tally = time.perf_counter(), schedule.rate(number), Tally()
            set_lr(run.optimizer, rate)
            for inputs, labels in task.train.batches(
                schedule.batch_size, np.random.default_rng([schedule.seed, number])
            ):
                run.step(inputs, labels, repeats, tally)
                bar.advance(len(labels))
            with run.kept():
                run.load()
                found = run.validated(task.validation, validation_repeats)
            epoch = tally.epoch(number, rate, found, len(task.train), repeats, time.perf_counter() - start)
            run.add(epoch)
            bar.epoch_done(
                number, f"loss {epoch.loss:.3f}, validation {100 * found.accuracy:.1f} % on {run.device.device_id}"
            )
            moved = None if on_epoch is None else on_epoch(epoch)
            if moved is not None:
                run.move(moved, task.validation, validation_repeats)
