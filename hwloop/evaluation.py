"""What an evaluation found: of a network in simulation, or of a device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evaluation:
    """Result on one data set: accuracy 0..1, samples, samples without output spike, mean loss (None: not computed)."""

    accuracy: float
    samples: int
    silent: int
    loss: float | None = None
