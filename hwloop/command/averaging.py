"""A recipe on fewer data than it was made for: the averaged weights, which are kept, are then still much as they began."""

from __future__ import annotations

import math

from ..experiment import Experiment
from . import terminal

#: Share of the first weights in the average of the last epoch from which it is said.
MUCH = 0.1
#: Steps over which is averaged, as a share of all, in what is proposed instead.
PROPOSED = 0.1


def note_slow(experiment: Experiment, section: str, samples: int) -> None:
    """Say where the averaged weights of ``section``, training or finetune, lag behind to the end, on so many ``samples``."""
    part = getattr(experiment, section)
    steps = part.epochs * math.ceil(samples / part.batch_size)
    left = part.averaging**steps
    if left <= MUCH:
        return
    proposed = max(0.0, 1 - 1 / max(1.0, PROPOSED * steps))
    terminal.note(
        f"note: with averaging = {part.averaging:g} the weights that are kept are {100 * left:.0f} % those of the beginning, after all "
        f"{steps} steps; try {section}.averaging = {proposed:.2g}, or more epochs"
    )
