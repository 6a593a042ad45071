"""Fine-tuning in the loop: measured spikes take the place of the simulated ones, in the same loss and gradient.

    float shadow weights --quantise--> codes --write what changed--> device --run--> measured spikes
            ^                                                                             |
            +-------- optimiser <-- gradient of the model, replayed at the measured spikes +

The model is differentiated at the weights that the device holds (straight-through rounding); the step is taken by the
float shadow weights. Constant latency of the read-out is subtracted from the measured times first. How the measured
spikes become gradients is the training rule's (:mod:`hwloop.rules`): any that runs in continuous time from spikes alone.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .checkpoint import load_checkpoint, newest_manifest, save_checkpoint
from .datasets import Dataset, Task
from .errors import CheckpointError, CompileError, InputError
from .losses import Decision, Loss, accuracy, predict, silent_samples
from .mapping import Program, ScaleRule
from .network import Network
from .progress import EpochProgress
from .record import RanOn, Record, Recording
from .rules import Exact, Rule, find
from .simulate import FloorPolicy
from .spikes import Spikes
from .target import Device
from .target import compile as compile_for
from .training import Evaluation, set_lr

_log = logging.getLogger(__name__)

#: Rules for the model weight of 1 LSB that are tried on validation data where the rule is "auto": the maximum or a high
#: quantile costs .5-4 points after rounding to 6 bits, and which is best depends on the network
#: (design note emulator_and_calibration.md, section 5).
SCALE_RULES: tuple[ScaleRule, ...] = ("max", "quantile:0.999", "quantile:0.99")

#: Floor of D_k in the loop, as a share of v_th - v_reset. Larger than in simulation: a measured spike may fall where
#: the model's membrane hardly rises, or falls.
LOOP_FLOOR = 0.1

#: Health of the gradient against the model's own spikes costs a simulation; it is taken from this many batches an epoch.
HEALTH_BATCHES = 4

#: Samples in which the model makes a neuron fire before its silence on the device counts as a defect, and how often the
#: network is placed anew: a replacement may be defective too.
SILENCE_EVIDENCE, PLACEMENTS = 20, 4

#: Called after every epoch with what it brought; a program that it returns says where the network stands from now on.
OnLoopEpoch = Callable[["LoopEpoch"], Program | None]


@dataclass(frozen=True)
class GradientHealth:
    """How far the model explains what was measured, over an epoch (shares of the measured spikes).

    ``below_floor``: spikes whose derivative was floored. ``missing`` and ``extra``: spikes that the model, driven by
    the measured input, has and the device lacks, and the reverse (from the first batches of the epoch).
    """

    spikes: int
    below_floor: float
    missing: float
    extra: float


@dataclass(frozen=True)
class LoopEpoch:
    """One epoch in the loop: training samples as they were measured, validation on the device after it."""

    number: int
    lr: float
    loss: float
    accuracy: float
    silent: int
    validation: Evaluation
    health: GradientHealth
    writes: int
    lost_events: int
    late_events: int
    seconds: float


@dataclass(frozen=True)
class LoopResult:
    """What :func:`finetune` brought. The network and the device hold the weights of ``best_epoch`` (0: as is)."""

    history: tuple[LoopEpoch, ...]
    best_epoch: int
    best_validation: Evaluation
    as_is: Evaluation
    program: Program
    ran_on: RanOn
    device_id: str


def run_on(device: Device, spikes: Spikes, repeats: int = 1) -> Recording:
    """Run ``spikes`` and subtract the read-out's constant latency; times that fall before 0 become 0."""
    recording = device.run(spikes, repeats=repeats)
    latency = device.capabilities.latency * device.capabilities.speedup
    if latency != 0.0:
        recording.populations = tuple(_earlier(population, latency) for population in recording.populations)
    return recording


def _earlier(spikes: Spikes, shift: float) -> Spikes:
    times = torch.clamp(spikes.times - shift, min=0.0, max=spikes.t_stop)
    times = torch.where(spikes.valid, times, math.inf)
    return Spikes.trusted(times, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop)


def measure(
    device: Device, data: Dataset, *, decision: Decision = "first", repeats: int = 1, batch_size: int = 1000
) -> Evaluation:
    """Accuracy of the loaded program on ``data``, mean over ``repeats`` runs."""
    right, silent = 0.0, 0
    for inputs, labels in data.batches(batch_size):
        recording = run_on(device, inputs, repeats)
        right += accuracy(predict(recording, decision), labels.repeat(repeats)) * len(labels)
        silent += silent_samples(recording)
    return Evaluation(right / len(data), len(data), silent // repeats)


def deploy(
    net: Network,
    device: Device,
    *,
    validation: Dataset | None = None,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "auto",
    mask: Iterable[int] = (),
    decision: Decision = "first",
) -> Program:
    """Compile ``net`` for ``device`` and load it.

    Parameters
    ----------
    net, device : what is deployed, where
    validation : Dataset, optional
        Data on which ``weight_scale="auto"`` picks among :data:`SCALE_RULES`, on the device itself.
    weight_scale : rule of :func:`hwloop.target.compile`, or "auto"
    mask : physical neurons not to be used
    decision : how an output is read

    Raises
    ------
    InputError
        "auto" without validation data.
    CompileError
        The target cannot carry the network.
    """
    mask = tuple(mask)
    if weight_scale != "auto" or not device.capabilities.weight_bits:
        rule = "max" if weight_scale == "auto" else weight_scale
        program = compile_for(net, device, weight_scale=rule, mask=mask)
        device.load(program)
        return program
    if validation is None:
        raise InputError(
            'weight_scale = "auto" chooses on validation data; give validation=..., or a rule such as "max"'
        )
    tried = []
    for candidate in SCALE_RULES:
        program = compile_for(net, device, weight_scale=candidate, mask=mask)
        device.load(program)
        tried.append((measure(device, validation, decision=decision).accuracy, program))
    best = max(tried, key=lambda pair: pair[0])[1]
    device.load(best)
    return best


def silent_neurons(net: Network, device: Device, program: Program, data: Dataset) -> tuple[tuple[int, ...], ...]:
    """Physical neurons, a tuple a layer, that never fired on ``data`` although the model makes them fire in many samples."""
    fired = [torch.zeros(layer.n_out, dtype=torch.int64) for layer in program.layers]
    wanted = [torch.zeros_like(counts) for counts in fired]
    with torch.no_grad():
        for inputs, _ in data.batches(1000):
            measured, model = run_on(device, inputs), net(inputs)
            for k in range(len(program.layers)):
                fired[k] += measured[k].unit_counts().sum(0).cpu()
                wanted[k] += (model[k].unit_counts() > 0).sum(0).cpu()
    bad = [torch.nonzero((f == 0) & (w >= SILENCE_EVIDENCE))[:, 0] for f, w in zip(fired, wanted, strict=True)]
    return tuple(tuple(int(layer.neurons[n]) for n in b.tolist()) for layer, b in zip(program.layers, bad, strict=True))


def _place_around_silence(
    net: Network, device: Device, program: Program, data: Dataset, mask: tuple[int, ...]
) -> Program:
    """Place the network on other neurons where some never fire; of the placements tried, the one that lacks fewest.

    A silent neuron of a later layer weighs more: the loss of an output is that of a class.
    """
    found: list[tuple[list[int], Program]] = []
    while True:
        silent = silent_neurons(net, device, program, data)
        found.append(([len(layer) for layer in reversed(silent)], program))
        if not any(silent) or len(found) > PLACEMENTS:
            break
        mask = (*mask, *(neuron for layer in silent for neuron in layer))
        try:
            program = compile_for(net, device, weight_scale=list(program.scales), mask=mask)
        except CompileError as error:
            _log.warning("%s: neurons %s never fire, and no others are free: %s", device.device_id, silent, error)
            break
        _log.info("%s: neurons %s never fire; the network is placed around them", device.device_id, silent)
        device.load(program)
    best = min(found, key=lambda pair: pair[0])[1]
    if best is not program:
        device.load(best)
    return best


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
    run = _Loop(net, device, weights, optimizer(weights, lr=lr), options, checkpoint_dir, averaging)
    if not run.resumed(resume):
        run.program = deploy(
            net, device, validation=task.validation, weight_scale=weight_scale, mask=mask, decision=decision
        )
        run.begin(measure(device, task.validation, decision=decision, repeats=validation_repeats))
        run.program = _place_around_silence(net, device, run.program, task.validation, mask)
    if len(run.history) > epochs:
        raise CheckpointError(f"the checkpoint holds {len(run.history)} epochs; allowed: up to epochs = {epochs}")
    bar = EpochProgress(epochs, len(task.train), len(run.history), progress)
    with bar.shown():
        for number in range(len(run.history) + 1, epochs + 1):
            start = time.perf_counter()
            rate = lr * lr_decay ** (number - 1)
            set_lr(run.optimizer, rate)
            order = np.random.default_rng([seed, number])
            tally = _Tally()
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


@dataclass
class _Tally:
    """Sums over an epoch."""

    loss: float = 0.0
    right: float = 0.0
    silent: int = 0
    spikes: int = 0
    floored: int = 0
    compared: int = 0
    missing: int = 0
    extra: int = 0
    batches: int = 0
    writes: int = 0
    lost: int = 0
    late: int = 0

    def health(self, record: Record) -> None:
        """Add a record's health; differences from the model only for the first batches, they cost a simulation."""
        if record.health is None:
            return
        self.spikes += sum(layer.used for layer in record.health.layers)
        self.floored += sum(layer.below_floor for layer in record.health.layers)
        if self.batches < HEALTH_BATCHES:
            self.compared += sum(layer.used for layer in record.health.layers)
            self.missing += sum(record.health.missing)
            self.extra += sum(record.health.extra)
        self.batches += 1

    def epoch(
        self, number: int, lr: float, validation: Evaluation, samples: int, repeats: int, seconds: float
    ) -> LoopEpoch:
        """The epoch's figures."""
        compared = max(1, self.compared)
        health = GradientHealth(
            self.spikes, self.floored / max(1, self.spikes), self.missing / compared, self.extra / compared
        )
        return LoopEpoch(
            number, lr, self.loss / samples, self.right / samples, self.silent // repeats, validation, health,
            self.writes, self.lost, self.late, seconds,
        )  # fmt: skip


class _Loop:
    """State of a fine-tuning between batches and epochs, and its way into checkpoints and back."""

    program: Program

    def __init__(
        self,
        net: Network,
        device: Device,
        weights: list[Tensor],
        optimizer: torch.optim.Optimizer,
        options: dict[str, Any],
        folder: Path | str | None,
        averaging: float,
    ) -> None:
        self.averaging = averaging
        self.average = [weight.detach().clone() for weight in weights]
        self.net, self.device, self.weights, self.optimizer = net, device, weights, optimizer
        self.options, self.folder = options, folder
        self.history: list[LoopEpoch] = []
        self.best_epoch = 0
        self.best: Evaluation | None = None
        self.as_is: Evaluation | None = None
        self.best_weights: list[Tensor] = []

    # -- one batch ----------------------------------------------------------------------------

    def load(self) -> None:
        """Compile the shadow weights and write what changed."""
        self.program = self.program.with_weights(self.net)
        self.device.load(self.program)

    def step(
        self,
        inputs: Spikes,
        labels: Tensor,
        loss: Loss,
        method: Rule,
        repeats: int,
        clip_norm: float,
        decision: Decision,
        tally: _Tally,
    ) -> None:
        """Run a batch on the device, differentiate the model at what it measured, move the shadow weights."""
        self.load()
        tally.writes += self.device.writes.last
        measured = run_on(self.device, inputs, repeats)
        targets = labels.repeat(repeats)
        driven = measured.inputs if measured.inputs is not None else inputs
        shadow = [weight.detach().clone() for weight in self.weights]
        try:
            self._put([torch.as_tensor(held) for held in self.program.weights()])
            record = method.differentiable(self.net, driven, measured)
            value = loss(self.net, record, targets)
            self.optimizer.zero_grad(set_to_none=True)
            if value.requires_grad:
                value.backward()  # type: ignore[no-untyped-call]
        finally:
            self._put(shadow)
        if value.requires_grad:
            torch.nn.utils.clip_grad_norm_(self.weights, clip_norm, error_if_nonfinite=True)
            self.optimizer.step()
            self._stay_in_range()
        for mean, weight in zip(self.average, self.weights, strict=True):
            mean.lerp_(weight.detach(), 1.0 - self.averaging)
        tally.loss += float(value.detach()) * len(labels)
        tally.right += accuracy(predict(record, decision), targets) * len(labels)
        tally.silent += silent_samples(record)
        tally.lost += measured.lost_events
        tally.late += measured.late_events
        tally.health(record)

    @torch.no_grad()
    def _stay_in_range(self) -> None:
        """Keep shadow weights where the device can follow: beyond saturation a step would have no effect for long."""
        for weight, layer in zip(self.weights, self.program.layers, strict=True):
            if layer.max_code is not None:
                limit = torch.as_tensor(layer.largest_weight(), dtype=weight.dtype, device=weight.device)
                weight.clamp_(-limit, limit)

    # -- epochs and checkpoints ---------------------------------------------------------------

    @contextmanager
    def kept(self) -> Iterator[None]:
        """The network with the weights that are validated and kept, the average, inside; its own again after."""
        own = [weight.detach().clone() for weight in self.weights]
        self._put(self.average)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for weight, value in zip(self.weights, values, strict=True):
            weight.copy_(value)

    def begin(self, as_is: Evaluation) -> None:
        """Epoch 0: the network as deployed."""
        self.as_is = as_is
        self._offer(0, as_is)

    def add(self, epoch: LoopEpoch) -> None:
        """Take a finished epoch, and save it where a folder is named."""
        self.history.append(epoch)
        self._offer(epoch.number, epoch.validation)
        if self.folder is not None:
            save_checkpoint(self.folder, self.net, self._state(), step=epoch.number)

    def move(self, program: Program, validated: Callable[[], Evaluation]) -> None:
        """Go on where ``program`` stands, with the weights that the network has now; they are the best until others are."""
        self.program, self.best = program, None
        self.average = [weight.detach().clone() for weight in self.weights]
        self.load()
        self._offer(len(self.history), validated())
        if self.folder is not None:
            save_checkpoint(self.folder, self.net, self._state(), step=len(self.history))

    def result(self) -> LoopResult:
        """Put the best weights into network and device."""
        if self.best is None or self.as_is is None:
            raise InputError("no epoch was run")
        self._put(self.best_weights)
        self.load()
        return LoopResult(
            tuple(self.history), self.best_epoch, self.best, self.as_is, self.program,
            self.device.ran_on, self.device.device_id,
        )  # fmt: skip

    def _offer(self, number: int, found: Evaluation) -> None:
        if self.best is None or found.accuracy > self.best.accuracy:
            self.best, self.best_epoch = found, number
            self.best_weights = [mean.clone() for mean in self.average]

    def _state(self) -> dict[str, Any]:
        return {
            "options": self.options,
            "network": dict(self.net.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "best": {"epoch": self.best_epoch, "weights": list(self.best_weights)},
            "average": list(self.average),
            "as_is": asdict(self.as_is) if self.as_is else None,
            "best_validation": asdict(self.best) if self.best else None,
            "scales": list(self.program.scales),
            "neurons": [[int(n) for n in layer.neurons] for layer in self.program.layers],
            "device": _position(self.device),
            "history": [asdict(epoch) for epoch in self.history],
        }

    def resumed(self, resume: bool) -> bool:
        """Go on from the newest checkpoint; false where the run starts anew."""
        if self.folder is None:
            if resume:
                raise InputError("resume=True without checkpoint_dir; name the folder that holds the checkpoints")
            return False
        if not resume:
            existing = newest_manifest(self.folder)
            if existing is not None:
                raise CheckpointError(f"{existing} is there already; pass resume=True, or name another folder")
            return False
        checkpoint = load_checkpoint(self.folder, self.net)
        if checkpoint is None:
            return False
        try:
            self._take(checkpoint.state)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise CheckpointError(
                f"{checkpoint.path} is no checkpoint of finetune ({type(error).__name__}: {error}); name another folder"
            ) from error
        _log.info("resumed %s after epoch %d", checkpoint.path, len(self.history))
        return True

    def _take(self, state: dict[str, Any]) -> None:
        for name, value in self.options.items():
            if state["options"][name] != value:
                raise CheckpointError(
                    f"the checkpoint was made with {name} = {state['options'][name]!r}, this run has {value!r}; "
                    "use the same options, or name another folder"
                )
        self.net.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = [_epoch_of(entry) for entry in state["history"]]
        self.as_is, self.best = Evaluation(**state["as_is"]), Evaluation(**state["best_validation"])
        self.best_epoch, self.best_weights = state["best"]["epoch"], list(state["best"]["weights"])
        self.average = list(state["average"])
        masked = _unused(state["neurons"], self.device)
        self.program = compile_for(self.net, self.device, weight_scale=state["scales"], mask=masked)
        held = [np.array(neurons) for neurons in state["neurons"]]
        if any((layer.neurons != neurons).any() for layer, neurons in zip(self.program.layers, held, strict=True)):
            self.program = self.program.placed(held)  # some were moved while the loop ran
        with self.kept():  # what the device held when the checkpoint was written
            self.load()
        _restore_position(self.device, state["device"])


def _epoch_of(entry: dict[str, Any]) -> LoopEpoch:
    known = {"validation": Evaluation(**entry["validation"]), "health": GradientHealth(**entry["health"])}
    return LoopEpoch(**{**entry, **known})


def _unused(neurons: list[list[int]], device: Device) -> list[int]:
    """Physical neurons below the highest used one that the placement left out: the mask it was made with."""
    used = {n for layer in neurons for n in layer}
    return [n for n in range(max(used)) if n not in used]


def _position(device: Device) -> dict[str, int]:
    """Where the noise of an emulated device stands; empty for a real one."""
    return {name: int(getattr(device, name)) for name in ("session", "batch") if hasattr(device, name)}


def _restore_position(device: Device, position: dict[str, int]) -> None:
    seek = getattr(device, "seek", None)
    if position and seek is not None:
        seek(**position)


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
