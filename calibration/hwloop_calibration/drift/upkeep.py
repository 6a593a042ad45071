"""Upkeep: what follows a re-calibration for the network that runs on the device.

Where all neurons of the network can be used as before, its program is loaded again. Where some cannot (they left their trim
range, or answer no more), only these are moved, each to a sound neuron that is free; all others stay where they are. The
weights of a moved neuron are divided by the factors of its new synapses and multiplied by those of its old ones, so that what
acts stays what was trained; a weight of several synapses, as in a convolution, takes what is best for all of them. Then the
device itself says, on validation data, whether that was enough; where it was not, the twin of the new placement is trained on,
epoch by epoch, as long as validation on the device gains from it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import torch

from hwloop.arguments import whole
from hwloop.class_scores import reading
from hwloop.datasets import Task
from hwloop.device.registry import Device
from hwloop.errors import CalibrationError, InputError
from hwloop.losses import Decision, Loss
from hwloop.mapping import Program
from hwloop.mapping.held import shapes_of
from hwloop.network import Network
from hwloop.simulate.threads import one_thread
from hwloop.training import Best, Evaluation, Forward, set_lr, simulate_forward, train_epoch
from hwloop.training.harden import FLOOR
from hwloop.training.loop_state import validated, weights_of
from hwloop.training.noise import NoiseModel, NoisyForward
from hwloop.training.options import Schedule, check_loss, made, real

from ..document.calibration import Calibration
from ..extent import check_covers
from ..twin import deviate, is_twin
from .acting import acting_weights, keep_acting

#: What was done: the same program again, or some neurons moved.
Action: TypeAlias = Literal["reload", "move"]


@dataclass(frozen=True)
class Followed:
    """What :meth:`Upkeep.follow` did; network and device hold its outcome.

    Attributes
    ----------
    action : "reload" | "move"
    moved : physical neuron to the one that took its place
    program : Program, loaded
    validation : accuracies on the device: after re-loading or moving, then after each epoch that was trained
    best_epoch : index into ``validation`` of the weights that were kept; 0: no training, or none that helped
    reference : accuracy on the device that was to be held
    seconds : s of computing
    """

    action: Action
    moved: dict[int, int]
    program: Program
    validation: tuple[float, ...]
    best_epoch: int
    reference: float
    seconds: float

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.validation) - 1


@dataclass
class Upkeep:
    """Keeps ``net`` working on ``device`` while neurons are calibrated anew; give it to :class:`~.sentinel.Sentinel`.

    Parameters
    ----------
    net : Network
        What was deployed, a chain or any graph: a device twin (:meth:`hwloop.Network.with_twin`), which learns of every
        re-calibration, or a network that is none. Its weights move.
    device : opened device, with ``program`` loaded
    program : Program, of ``net``
    task, loss : as in :func:`hwloop.training.fit`; the test set is not touched
    margin : accuracy on validation data (a share) that may be lost before anything is trained
    epochs : most epochs that follow one re-calibration
    patience : epochs without a better validation after which training ends; it ends too where the reference is reached
    repeats : runs of the validation data on the device
    noise : NoiseModel, optional
        Noise in training, where ``net`` was trained with it (:func:`hwloop.training.harden`); by default none.
    batch_size, lr, lr_decay, clip_norm, seed, decision : as in :func:`hwloop.training.fit`

    Attributes
    ----------
    reference : float
        Accuracy on validation data on the device, measured at the beginning: what is to be held.
    history : list of Followed

    Raises
    ------
    InputError
        An option out of range, or a program or task of another network.
    """

    net: Network
    device: Device
    program: Program
    task: Task
    loss: Loss
    margin: float = 0.005
    epochs: int = 20
    patience: int = 4
    repeats: int = 3
    noise: NoiseModel | None = None
    batch_size: int = 25
    lr: float = 2e-3
    lr_decay: float = 0.9
    clip_norm: float = 1.0
    seed: int = 0
    decision: Decision = "first"
    reference: float = field(init=False)
    history: list[Followed] = field(init=False, default_factory=list)
    _schedule: Schedule = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("patience", "repeats"):
            setattr(self, name, whole(name, getattr(self, name)))
        self.margin = real("margin", self.margin)
        self._schedule = Schedule(
            self.epochs, self.batch_size, self.lr, self.lr_decay, clip_norm=self.clip_norm, seed=self.seed
        )
        check_loss(self.loss, self.decision)
        n_out = self.task.n_out * reading(self.decision).neurons
        sizes, held = [n for n, _ in shapes_of(self.net)], [layer.n_out for layer in self.program.layers]
        if sizes != held or (self.net.n_in, self.net.n_out) != (self.task.n_in, n_out):
            raise InputError(
                f"the network has {self.net.n_in} inputs and layers of {sizes}, the program layers of {held}, task {self.task.name} "
                f"{self.task.n_in} inputs and {n_out} outputs; give the program and the task of this network"
            )
        self.device.load(self.program)
        self.reference = self._validated().accuracy

    def follow(self, calibration: Calibration) -> Followed:
        """Load, or move and load, what runs on the device, and train on where validation there asks for it.

        Raises
        ------
        CalibrationError
            Neurons of the network are masked and no sound calibrated neuron is free; nothing has changed then.
        GradientError
            Training diverged.
        """
        start = time.perf_counter()
        moved = self.place(calibration)
        with one_thread():
            self.device.load(self.program)
            found = [self._validated()]
            best = self._train(found) if found[0].accuracy < self.reference - self.margin else 0
        accuracies = tuple(one.accuracy for one in found)
        done = Followed(
            "move" if moved else "reload", moved, self.program, accuracies, best, self.reference, time.perf_counter() - start
        )  # fmt: skip
        self.history.append(done)
        return done

    def place(self, calibration: Calibration) -> dict[int, int]:
        """Move neurons that ``calibration`` masks, and tell the twin of it; returns what was moved where.

        :attr:`program` is then the one to load. Raises :class:`CalibrationError` where no sound neuron is free.
        """
        moved = replacements(self.program, calibration)
        acting = acting_weights(self.net)
        leaving = [np.flatnonzero(np.isin(layer.neurons, list(moved))) for layer in self.program.layers]
        if moved:
            neurons = [np.array([moved.get(int(n), int(n)) for n in layer.neurons]) for layer in self.program.layers]
            self.program = self.program.placed(neurons)
        if is_twin(self.net):
            deviate(self.net, calibration, self.program)
            keep_acting(self.net, acting, leaving, self.program)
        self.program = self.program.with_weights(self.net)
        return moved

    # -- training -----------------------------------------------------------------------------

    def _train(self, found: list[Evaluation]) -> int:
        """Train until validation on the device gains no more; appends to ``found``, returns the index of what is kept."""
        weights, best, plan = weights_of(self.net), Best(), self._schedule
        optimizer = made(torch.optim.Adam, weights.tensors, plan.lr)
        best.offer(0, found[0], self.net)
        forward = self._forward()
        weights.limit(self.program)
        for number in range(1, plan.epochs + 1):
            set_lr(optimizer, plan.rate(number))
            train_epoch(
                self.net, self.task.train, self.loss, optimizer, batch_size=plan.batch_size,
                generator=np.random.default_rng([plan.seed, len(self.history), number]), decision=self.decision,
                forward=forward, clip_norm=plan.clip_norm, on_step=partial(weights.limit, self.program),
            )  # fmt: skip
            self._load()
            found.append(self._validated())
            best.offer(number, found[-1], self.net)
            if found[best.epoch].accuracy >= self.reference or number - best.epoch >= self.patience:
                break
        best.restore(self.net)
        self._load()
        return best.epoch

    def _forward(self) -> Forward:
        """A training step's simulation, with the noise where there is one."""
        if self.noise is None:
            return simulate_forward
        seed = self._schedule.seed + len(self.history)
        return NoisyForward(self.noise, program=self.program, seed=seed, floor=FLOOR)

    def _load(self) -> None:
        self.program = self.program.with_weights(self.net)
        self.device.load(self.program)

    def _validated(self) -> Evaluation:
        return validated(
            self.net,
            self.device,
            self.program,
            self.task.validation,
            decision=self.decision,
            loss=self.loss,
            repeats=self.repeats,
        )


def replacements(program: Program, calibration: Calibration) -> dict[int, int]:
    """For each neuron of ``program`` that ``calibration`` masks a sound calibrated one that is free.

    Those are taken that were asked the same parameters, of them the ones that passed before marginal ones and so on.

    Raises :class:`CalibrationError` where there are too few, or where a neuron of the program was never calibrated.
    """
    check_covers(calibration, program)
    used = [int(n) for layer in program.layers for n in layer.neurons]
    masked = set(calibration.mask)
    leaving = [n for n in used if n in masked]
    if not leaving:
        return {}
    rank = {"pass": 0, "marginal": 1, "fail": 2}
    row = {n: k for k, n in enumerate(calibration.neurons)}
    free = [n for n in calibration.neurons if n not in masked and n not in set(used)]
    if len(free) < len(leaving):
        reasons = "; ".join(f"{n}: {calibration.reasons.get(str(n), 'masked')}" for n in leaving[:3])
        raise CalibrationError(
            f"{calibration.device_id}: {len(leaving)} neurons of the network can no longer be used ({reasons}), and {len(free)} "
            'sound calibrated ones are free. Calibrate more neurons than the network needs (neurons=...), or the whole chip (neurons="all")'
        )
    chosen: dict[int, int] = {}
    for neuron in leaving:

        def cost(spare: int, own: int = row[neuron]) -> tuple[float, int, int]:
            targets = calibration.targets.values()
            unlike = sum(values[row[spare]] != values[own] for values in targets)
            return unlike, rank.get(calibration.verdict[row[spare]], 3), spare

        chosen[neuron] = min(free, key=cost)
        free.remove(chosen[neuron])
    return chosen


__all__ = ["Action", "Followed", "Upkeep", "replacements"]
