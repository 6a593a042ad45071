"""Figures of a fine-tuning in the loop: of an epoch, of the gradient's health, and of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..described import Described
from ..mapping import Program
from ..record import RanOn, Record
from .evaluate import Evaluation

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


@dataclass(frozen=True, repr=False)
class LoopResult(Described):
    """What :func:`finetune` brought. The network and the device hold the weights of ``best_epoch`` (0: as is)."""

    history: tuple[LoopEpoch, ...]
    best_epoch: int
    best_validation: Evaluation
    as_is: Evaluation
    program: Program
    ran_on: RanOn
    device_id: str

    def _facts(self) -> dict[str, Any]:
        before, after = (f"{100 * found.accuracy:.1f} %" for found in (self.as_is, self.best_validation))
        return {
            "epochs": len(self.history), "best_epoch": self.best_epoch, "validation accuracy": f"{before} as is, {after} after",
            "ran_on": self.ran_on, "device": self.device_id,
        }  # fmt: skip


@dataclass
class Tally:
    """Sums over an epoch."""

    loss: float = 0.0
    right: int = 0
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

    def add(self, record: Record) -> None:
        """Count a batch, and its record's health; differences from the model only for the first ones, they cost a simulation."""
        self.batches += 1
        if record.health is None:
            return
        used = sum(layer.used for layer in record.health.layers)
        self.spikes += used
        self.floored += sum(layer.below_floor for layer in record.health.layers)
        if self.batches <= HEALTH_BATCHES:
            self.compared += used
            self.missing += sum(record.health.missing)
            self.extra += sum(record.health.extra)

    def epoch(
        self, number: int, lr: float, validation: Evaluation, samples: int, repeats: int, seconds: float
    ) -> LoopEpoch:
        """The epoch's figures; ``samples`` of the data, each of which was run ``repeats`` times."""
        compared = max(1, self.compared)
        health = GradientHealth(
            self.spikes, self.floored / max(1, self.spikes), self.missing / compared, self.extra / compared
        )
        return LoopEpoch(
            number, lr, self.loss / samples, self.right / (samples * repeats), self.silent // repeats, validation, health,
            self.writes, self.lost, self.late, seconds,
        )  # fmt: skip
