"""Epoch after epoch: what fit and hardening do alike around a pass over the data."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..progress import EpochProgress
from .checkpointed import Run
from .evaluate import Evaluation
from .options import Schedule
from .step import set_lr

_log = logging.getLogger(__name__)

#: Called after every epoch with what it brought.
OnEpoch: TypeAlias = Callable[["Epoch"], None]
#: One pass over the training data: ``train(number, on_batch)``.
Pass: TypeAlias = Callable[[int, Callable[[int], None]], Evaluation]


@dataclass(frozen=True)
class Epoch:
    """One epoch of training: numbers of the training set as it was trained, and of the validation set after it.

    ``number`` counts from 1, ``lr`` is the learning rate, ``loss`` the mean over samples, ``accuracy`` a share (0..1), ``silent``
    counts samples without an output spike, and ``seconds`` (s) is what the epoch took.
    """

    number: int
    lr: float
    loss: float
    accuracy: float
    silent: int
    validation: Evaluation
    seconds: float


class Epochs(Run[Epoch]):
    """A run whose epochs are passes over simulated data."""

    def epoch_of(self, entry: dict[str, Any]) -> Epoch:
        """An epoch from its plain values."""
        return Epoch(**{**entry, "validation": Evaluation(**entry["validation"])})

    def go(
        self,
        schedule: Schedule,
        samples: int,
        train: Pass,
        validate: Callable[[], Evaluation],
        progress: bool | None,
        on_epoch: OnEpoch | None,
    ) -> None:
        """Run the epochs that are left; ``validate`` is called with the weights that are kept."""
        first = self.ranks.first
        with EpochProgress(schedule.epochs, samples, self.finished, progress if first else False).shown() as bar:
            for number in range(self.finished + 1, schedule.epochs + 1):
                start, rate = time.perf_counter(), schedule.rate(number)
                self.same()
                set_lr(self.optimizer, rate)
                trained = train(number, bar.advance)
                with self.kept():
                    found = validate()
                seconds = time.perf_counter() - start
                epoch = Epoch(number, rate, trained.loss or 0.0, trained.accuracy, trained.silent, found, seconds)
                self.add(epoch)
                figures = f"loss {epoch.loss:.4g}, validation {found.accuracy:.2%}"
                _log.info("epoch %d: %s", number, figures)
                bar.epoch_done(number, figures)
                if on_epoch is not None and first:
                    on_epoch(epoch)
        self.ranks.wait()  # until the last checkpoint is safe
