"""State of a fine-tuning in the loop: its epochs, and its way into checkpoints and back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import load_checkpoint, newest_manifest, save_checkpoint
from ..deployment import run_on
from ..errors import CheckpointError, InputError
from ..losses import Decision, Loss, accuracy, predict, silent_samples
from ..mapping import Program
from ..network import Network
from ..record import RanOn, Record
from ..rules import Rule
from ..spikes import Spikes
from ..target import Device
from ..target import compile as compile_for
from .fit import Evaluation

_log = logging.getLogger(__name__)

#: Health of the gradient against the model's own spikes costs a simulation; it is taken from this many batches an epoch.
HEALTH_BATCHES = 4


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


@dataclass
class Tally:
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


class Loop:
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
        tally: Tally,
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
