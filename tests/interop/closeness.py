"""How close two runs of one network are, at steps that become finer: the figures of a cell, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .package import Raster

#: Spikes of a neuron that are compared in time: those after them carry every earlier difference along.
FIRST = 3
#: Steps by which those may be off at every step: a pipeline is one step late in each of two layers, and Euler's error is of
#: the order of one step in each.
MOST_STEPS = 4.0
#: Spikes that a run may have more or fewer at the finest step, in parts of all: a count differs where the window ends, and
#: where a membrane that just reaches the threshold does so in one run alone.
MOST_MISSED = 0.05
#: Power of the step with which membranes have to come closer, at least. It would be 1; a hidden spike more or fewer, of which
#: there are fewer as steps become finer, moves a membrane for a whole time constant, and a few of those leave this much open.
LEAST_SLOPE = 0.25
#: Mean difference of membranes at the finest step, in parts of the largest membrane: two steps of 1 / 80.
MOST_OF_A_MEMBRANE = 0.03
#: What a distance of 0 counts as, in steps: below what float64 leaves of a time in steps.
SMALLEST = 1e-9
#: Fewest spikes that say anything.
FEWEST = 10


@dataclass(frozen=True)
class Gap:
    """Two runs at one step.

    Attributes
    ----------
    ours, theirs : spikes in all; 0 for membranes
    distance : median distance of the first spikes of each neuron, in steps (one that just reaches the threshold is far off); of membranes the mean difference, in parts of the largest
    changed : spikes that neurons have more or fewer, in sum
    """

    ours: int
    theirs: int
    distance: float
    changed: int


def gap_of_spikes(ours: Sequence[Sequence[float]], theirs: Raster) -> Gap:
    """``ours``: times of each neuron in steps; ``theirs [steps, n]`` counts."""
    columns = theirs.reshape(len(theirs), -1).T
    trains = [np.repeat(np.arange(len(column)), np.rint(column).astype(int)) for column in columns]
    if len(trains) != len(ours):
        raise ValueError(f"{len(trains)} neurons of theirs, {len(ours)} of ours; expected as many")
    distances: list[float] = []
    changed = 0
    for mine, other in zip(ours, trains, strict=True):
        n = min(len(mine), len(other), FIRST)
        distances += list(np.abs(np.sort(np.asarray(mine))[:n] - other[:n]))
        changed += abs(len(mine) - len(other))
    total = sum(map(len, trains))
    return Gap(sum(map(len, ours)), total, float(np.median(distances)) if distances else float("inf"), changed)


def gap_of_membranes(ours: Raster, theirs: Raster) -> Gap:
    """Both ``[steps, n]``."""
    if ours.shape != theirs.shape:
        raise ValueError(f"membranes {theirs.shape} of theirs, {ours.shape} of ours; expected alike")
    size = float(np.abs(theirs).max())
    # the mean: where one run jumps a step earlier than the other, they are a whole jump apart for that step
    return Gap(0, 0, float(np.abs(ours - theirs).mean()) / size if size else float("inf"), 0)


def slope(fineness: Sequence[int], distances: Sequence[float]) -> float:
    """Power of the step with which ``distances`` (in units of time) fall; infinite where they end at 0."""
    if distances[-1] == 0:
        return float("inf")
    if not np.all(np.isfinite(distances)):
        return float("nan")
    return float(np.polyfit(-np.log(fineness), np.log(np.maximum(distances, SMALLEST)), 1)[0])


def agree(fineness: Sequence[int], gaps: Sequence[Gap], spiking: bool) -> bool:
    """Whether two runs become one as steps become finer."""
    if not spiking:
        falls = slope(fineness, [gap.distance for gap in gaps]) > LEAST_SLOPE
        return falls and gaps[-1].distance <= MOST_OF_A_MEMBRANE
    last = gaps[-1]
    if min(last.ours, last.theirs) < FEWEST or last.changed > max(1, MOST_MISSED * last.ours):
        return False
    # a distance of so many steps at every step is one that falls as the step does
    return all(gap.distance <= MOST_STEPS for gap in gaps)


def slope_of(fineness: Sequence[int], gaps: Sequence[Gap], spiking: bool) -> float:
    """The slope of a cell's gaps, which count in steps for spikes."""
    return slope(fineness, [gap.distance / (f if spiking else 1) for f, gap in zip(fineness, gaps, strict=True)])
