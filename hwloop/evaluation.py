"""What an evaluation found: of a network in simulation, or of a device."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """Result on one data set: accuracy 0..1, samples, samples without output spike, mean loss (None: not computed)."""

    accuracy: float
    samples: int
    silent: int
    loss: float | None = None


@dataclass(frozen=True, eq=False)
class SequentialEvaluation(Evaluation):
    """An evaluation in which samples ran until they were sure; ``silent`` are those without output spike in any run.

    Attributes
    ----------
    decisions, runs : ``[samples]`` int64
        Class of each sample (-1: none), and how often it ran.
    unsure : int
        Samples that the last run allowed left unsure; no error rate is stated for them.
    deterministic : bool
        The device answered alike when samples ran again, which was given up then: it has no noise that runs average.
    """

    decisions: Tensor = field(kw_only=True, repr=False)
    runs: Tensor = field(kw_only=True, repr=False)
    unsure: int = field(kw_only=True)
    deterministic: bool = field(kw_only=True)

    @property
    def mean_runs(self) -> float:
        """Runs of a sample on average: what the answers cost."""
        return float(self.runs.double().mean())
