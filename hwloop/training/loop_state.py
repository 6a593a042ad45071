"""State of a fine-tuning in the loop: its steps on the device, and its way into checkpoints and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets import Dataset
from ..device.deploy import run_on
from ..device.registry import Device
from ..device.registry import compile as compile_for
from ..losses import Decision, Loss, silent_samples
from ..mapping import Program
from ..mapping.partition import PartitionedProgram
from ..network import Network
from ..record import Record
from ..rules import Exact, Rule
from ..spikes import Spikes
from .checkpointed import Run
from .evaluate import Evaluation, count_right, score
from .held_weights import HeldWeights
from .loop_figures import GradientHealth, LoopEpoch, LoopResult, Tally
from .step import Descent


class Loop(Run[LoopEpoch]):
    """A fine-tuning between batches and epochs."""

    loop = "finetune"
    net: Network
    program: Program
    as_is: Evaluation

    def __init__(
        self,
        net: Network,
        device: Device,
        optimizer: torch.optim.Optimizer,
        options: dict[str, Any],
        folder: Path | str | None,
        averaging: float,
        *,
        loss: Loss,
        method: Rule,
        clip_norm: float,
        decision: Decision,
    ) -> None:
        self.held_weights = weights_of(net)
        super().__init__(net, self.held_weights, optimizer, options, folder, averaging)
        self.device, self.loss, self.method, self.decision = device, loss, method, decision
        self.descent = Descent(net, loss, optimizer, clip_norm)

    # -- on the device ------------------------------------------------------------------------

    def load(self) -> None:
        """Compile the network's weights and write what changed."""
        self.program = self.program.with_weights(self.net)
        self.device.load(self.program)

    def step(self, inputs: Spikes, labels: Tensor, repeats: int, tally: Tally) -> None:
        """Run a batch on the device, differentiate the model at what it measured, move the shadow weights."""
        self.load()
        tally.writes += self.device.writes.last
        measured = run_on(self.device, inputs, repeats)
        targets = labels.repeat(repeats)
        with self.weights.holding(self.held_weights.held(self.program)):
            record = self.method.differentiable(self.net, _driven(measured, inputs), measured)
            loss = self.descent.differentiate(record, targets, tally.batches)
        if self.descent.step():
            self.weights.limit(self.program)
        self.moved()
        tally.loss += loss * len(labels)
        tally.right += count_right(record, targets, self.decision)
        tally.silent += silent_samples(record)
        tally.lost += measured.lost_events
        tally.late += measured.late_events
        tally.add(record)

    def validated(self, data: Dataset, repeats: int) -> Evaluation:
        """Accuracy and loss of the loaded program on ``data``, means over ``repeats`` runs."""
        return validated(
            self.net,
            self.device,
            self.program,
            data,
            decision=self.decision,
            loss=self.loss,
            repeats=repeats,
            method=self.method,
        )

    # -- epochs and checkpoints ---------------------------------------------------------------

    def begin(self, as_is: Evaluation) -> None:
        """Epoch 0: the network as deployed."""
        self.as_is = as_is
        self.best.offer(0, as_is, self.net)

    def move(self, program: Program, data: Dataset, repeats: int) -> None:
        """Go on where ``program`` stands, with the weights that the network has now; they are the best until others are."""
        self.program = program
        self.best.validation = None
        if self.average is not None:
            self.average.restart()
        self.load()
        self.best.offer(self.finished, self.validated(data, repeats), self.net)
        self.save()

    def result(self) -> LoopResult:
        """Put the best weights into network and device."""
        best = self.restore_best()
        self.load()
        return LoopResult(
            tuple(self.history),
            self.best.epoch,
            best,
            self.as_is,
            self.program,
            self.device.ran_on,
            self.device.device_id,
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: also where the network stands on the device, and where its noise does."""
        return {
            **super().state(),
            "as_is": {**vars(self.as_is)},
            "scales": list(self.program.scales),
            "neurons": [[int(n) for n in layer.neurons] for layer in self.program.layers],
            **({"pieces_avoid": list(self.program.mask)} if isinstance(self.program, PartitionedProgram) else {}),
            "device": _position(self.device),
        }

    def take(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` stands, network and device."""
        as_is = Evaluation(**state["as_is"])
        neurons, scales, position = state["neurons"], state["scales"], state["device"]
        super().take(state)
        self.as_is = as_is
        if "pieces_avoid" in state:
            self.program = compile_for(
                self.net, self.device, weight_scale=scales, mask=state["pieces_avoid"], partition=True
            )
        else:  # for the target: where the network stood counts, and not what the device would avoid now
            self.program = compile_for(self.net, self.device.target, weight_scale=scales)
        held = [np.array(part) for part in neurons]
        if any((layer.neurons != part).any() for layer, part in zip(self.program.layers, held, strict=True)):
            self.program = self.program.placed(held)  # a mask kept some out, or some were moved while the loop ran
        with self.kept():  # what the device held when the checkpoint was written
            self.load()
        _restore_position(self.device, position)

    def epoch_of(self, entry: dict[str, Any]) -> LoopEpoch:
        """An epoch from its plain values."""
        known = {"validation": Evaluation(**entry["validation"]), "health": GradientHealth(**entry["health"])}
        return LoopEpoch(**{**entry, **known})


def validated(
    net: Network,
    device: Device,
    program: Program,
    data: Dataset,
    *,
    decision: Decision,
    loss: Loss,
    repeats: int,
    method: Rule | None = None,
) -> Evaluation:
    """Accuracy and loss of ``program``, which is loaded, on ``data``, means over ``repeats`` runs.

    The loss is that of the measured records. Where it looks at the model's membranes, they are those of the weights that the
    device holds. ``method`` makes its readout of a measured record, where it has one.
    """
    sent: list[Spikes] = []

    def run(inputs: Spikes) -> Record:
        sent[:] = [inputs]
        return run_on(device, inputs, repeats)

    def of_record(measured: Record, labels: Tensor) -> Tensor:
        record = measured
        if method is not None and not isinstance(method, Exact):
            record = method.forward(net, _driven(measured, sent[0]), measured)
        return loss(net, record, labels)

    weights = weights_of(net)
    with weights.holding(weights.held(program)):
        return score(run, data, decision=decision, loss=of_record, repeats=repeats)


def weights_of(net: Network) -> HeldWeights:
    """What a device holds of ``net``: the weights of its layers, first to last."""
    return HeldWeights(net)


def _driven(measured: Record, inputs: Spikes) -> Spikes:
    """What drove the first layer: as recorded, or as sent."""
    return measured.inputs if measured.inputs is not None else inputs


#: Where a device stands: the noise of an emulated one, and the runs that a recorded session has logged.
_POSITION = ("session", "batch", "logged")


def _position(device: Device) -> dict[str, int]:
    """Where ``device`` stands; empty for a real one whose session is not recorded."""
    return {name: int(getattr(device, name)) for name in _POSITION if hasattr(device, name)}


def _restore_position(device: Device, position: dict[str, int]) -> None:
    seek, known = getattr(device, "seek", None), {k: v for k, v in dict(position).items() if hasattr(device, k)}
    if known and seek is not None:
        seek(**known)
