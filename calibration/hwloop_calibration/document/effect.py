"""What calibrating a chip did to the answers of one network: how far its accuracy moved, how sure that is, and what was measured
beside it that can be the reason. Nothing is named that the data do not show.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from hwloop.class_scores import POOLED, class_scores, reading
from hwloop.compare.report import Cell, Source, Table
from hwloop.compare.source import called
from hwloop.compare.time_format import format_time
from hwloop.errors import InputError

from ..characterise.model import Array
from ..extent import used_by
from .calibration import Calibration
from .figures import relative

if TYPE_CHECKING:
    from hwloop.compare import Comparison
    from hwloop.mapping import Program

#: Standard errors within which 95 % of repetitions with other samples would lie.
SURE = 1.96
#: Share of the median margin below which samples count as close calls.
CLOSE = 0.5
#: Standard errors, and per cent, that the median of a parameter must be further from its target to be said.
MOVED_ERRORS, MOVED_PERCENT = 2.0, 0.1
#: Why a network that was repaired on a chip may do worse once the chip is trimmed.
TUNED = (
    "the network was fine-tuned on this chip as it was before, and trimming changes the neurons that its weights were fitted to: "
    "fine-tune it again on the calibrated chip"
)
#: What a fact says: it got worse or better by calibrating, or is neither.
Kind: TypeAlias = Literal["worse", "better", "other"]
_Facts: TypeAlias = "list[tuple[Kind, str]]"
#: Columns of :func:`effect_table`.
COLUMNS = ("chip", "ran on", "before", "calibrated", "difference (points)", "standard error", "answers lost", "won")  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """Accuracy (share) of one network on a device before and after its calibration, and what goes with it.

    Attributes
    ----------
    before, after : mean over ``runs`` runs of the same ``samples`` test samples
    error : standard error of ``after - before``, from the differences sample by sample
    lost, won : samples decided right in most runs before and not after, and the reverse
    unsteady : share of samples that are right in some runs and wrong in others, calibrated: trial noise
    worse, better, other : what else was measured, in words
    """

    device_id: str
    ran_on: str
    before: float
    after: float
    samples: int
    runs: int
    error: float
    lost: int
    won: int
    unsteady: float
    worse: tuple[str, ...]
    better: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def lower(self) -> bool:
        """Whether calibrating lowered the accuracy."""
        return self.after < self.before

    @property
    def sure(self) -> bool:
        """Whether the difference is more than the choice of test samples explains."""
        return abs(self.after - self.before) > SURE * self.error

    def sentences(self) -> list[str]:
        """What a report says: how far the accuracy moved; where it fell, whether that is sure, and why."""
        change = 100 * (self.after - self.before)
        reach = 100 * SURE * self.error
        moved = "lowered" if self.lower else "left" if self.after == self.before else "raised"
        told = "as it was" if moved == "left" else f"by {abs(change):.1f} points"
        first = (
            f"Calibrating {called(self.device_id)} {moved} its accuracy {told}, from {100 * self.before:.1f} to {100 * self.after:.1f} % "
            f"(95 % interval of the difference {change - reach:+.1f} to {change + reach:+.1f} points on {self.samples} test samples, "
            f"{self.runs} run{'s' * (self.runs > 1)} each; {self.ran_on})."
        )
        return [first, *self._why()] if self.lower else [first]

    def _why(self) -> list[str]:
        sure = (
            "That is more than the choice of test samples explains."
            if self.sure
            else f"That lies within the sampling error: {self.samples} samples cannot tell it from no change."
        )
        noise = (
            f"{self.lost} answers were lost and {self.won} won; trial noise alone changes {100 * self.unsteady:.1f} % of the answers from "
            "run to run."
        )
        worse = (
            f"What got worse: {'; '.join(self.worse)}."
            if self.worse
            else "No parameter's spread or median, no layer's spike times and no rounding got worse."
        )
        other = [f"What else is known: {'; '.join(self.other)}."] if self.other else []
        better = [f"What got better: {'; '.join(self.better)}."] if self.better else []
        return [sure, noise, worse, *other, *better]

    def row(self) -> tuple[Cell, ...]:
        """Cells of :data:`COLUMNS`."""
        points = f"{100 * (self.after - self.before):+.1f}"
        shares = (f"{100 * self.before:.1f} %", f"{100 * self.after:.1f} %")
        return (called(self.device_id), self.ran_on, *shares, points, f"{100 * self.error:.1f}", self.lost, self.won)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "lower": self.lower, "sure": self.sure, "sentences": self.sentences()}


def effect_of(
    calibration: Calibration,
    right: tuple[Array, Array],
    programs: tuple[Program, Program],
    comparisons: tuple[Comparison, Comparison],
    runs: int,
    *,
    tuned: bool = False,
) -> Effect:
    """What ``calibration`` did to the answers of a network.

    Parameters
    ----------
    calibration : Calibration
    right : share of ``runs`` that decided each sample as labelled, ``[samples]``, as is and calibrated, of the same samples
    programs : that ran, as is and calibrated
    comparisons : one run of each against the simulated network
    tuned : whether the network was fine-tuned on this device before

    Raises
    ------
    InputError
        The two are not of the same samples.
    """
    first, second = (np.asarray(shares, dtype=np.float64) for shares in right)
    if first.shape != second.shape or first.size == 0:
        raise InputError(
            f"answers of {first.size} samples as is, of {second.size} calibrated; give the same test samples, one at least"
        )
    change = second - first
    error = float(change.std(ddof=1)) / math.sqrt(len(change)) if len(change) > 1 else math.inf
    lost, won = (first > 0.5) & (second <= 0.5), (first <= 0.5) & (second > 0.5)
    found = [
        *_parameters(calibration), *_placement(calibration, programs), *_scales(programs), *_spike_times(comparisons),
        *_agreement(comparisons, float(first.mean())), *_margins(comparisons[0], lost),
    ]  # fmt: skip

    if tuned:
        found.insert(0, ("other", TUNED))

    def facts(kind: Kind) -> tuple[str, ...]:
        return tuple(text for one, text in found if one == kind)

    return Effect(
        device_id=calibration.device_id, ran_on=calibration.ran_on, before=float(first.mean()), after=float(second.mean()),
        samples=len(change), runs=runs, error=error, lost=int(lost.sum()), won=int(won.sum()),
        unsteady=float(((second > 0) & (second < 1)).mean()),
        worse=facts("worse"), better=facts("better"), other=facts("other"),
    )  # fmt: skip


def effect_table(effects: Sequence[Effect], sources: Sequence[Source]) -> Table:
    """One row a chip."""
    first = effects[0]
    caption = (
        f"The same network before and after calibrating, on the same {first.samples} test samples, mean of {first.runs} runs. The standard error "
        "is that of the difference, sample by sample; lost and won: samples right in most runs before and not after, and the reverse."
    )
    return Table(caption, COLUMNS, [effect.row() for effect in effects], sources)


# -- what was measured -----------------------------------------------------------------------------


def _parameters(calibration: Calibration) -> _Facts:
    """Spreads and medians of the neurons' parameters, which trimming is to narrow."""
    if not calibration.before:
        return [("other", "no cell was trimmed")]
    found: _Facts = []
    for name, spread in calibration.spread.items():
        text = f"{name} spreads by {100 * spread.after:.2f} % over the neurons, {100 * spread.before:.2f} % before"
        found.append(("worse" if spread.after >= spread.before else "better", text))
    for name in calibration.spread:
        old, new = (relative(calibration, name, table) for table in ("before", "estimates"))
        old, new = old[np.isfinite(old)], new[np.isfinite(new)]
        if not (len(old) and len(new)):
            continue
        middle, was = float(np.median(new)), float(np.median(old))
        # of a median of normal values: 1.25 standard errors of the mean
        error = 1.25 * math.hypot(float(new.std()) / math.sqrt(len(new)), float(old.std()) / math.sqrt(len(old)))
        if abs(middle) > abs(was) + max(MOVED_PERCENT, MOVED_ERRORS * error):
            found.append(
                ("worse", f"the median of {name} moved away from its target: {middle:+.2f} % off, {was:+.2f} % before")
            )
    return found


def _placement(calibration: Calibration, programs: tuple[Program, Program]) -> _Facts:
    """Neurons of the network that stand elsewhere on the chip."""
    layers = zip(*(program.layers for program in programs), strict=True)
    moved = sum(int((before.neurons != after.neurons).sum()) for before, after in layers)
    used = used_by(programs[0])
    if not moved:
        return []
    lost = sorted(set(used) & {int(neuron) for neuron in calibration.reasons})
    counts = Counter(calibration.reasons[str(neuron)].split(":")[0] for neuron in lost)
    why = (
        f", since {len(lost)} are of no use ({', '.join(f'{n} {reason}' for reason, n in counts.items())})"
        if lost
        else ""
    )
    n = sum(layer.n_out for layer in programs[0].layers)
    return [("other", f"{moved} of {n} neurons of the network stand on other neurons of the chip{why}")]


def _scales(programs: tuple[Program, Program]) -> _Facts:
    before, after = (program.scales for program in programs)
    coarser = [k for k, (a, b) in enumerate(zip(before, after, strict=True)) if b > a * (1 + 1e-9)]
    if not coarser:
        return []
    told = ", ".join(f"{after[k]:.4g} instead of {before[k]:.4g} in layer {k}" for k in coarser)
    return [("worse", f"weights were rounded more coarsely, by the choice on validation data (1 LSB is {told})")]


def _spike_times(comparisons: tuple[Comparison, Comparison]) -> _Facts:
    found: _Facts = []
    for before, after in zip(comparisons[0].populations, comparisons[1].populations, strict=True):
        if before.rmse is None or after.rmse is None:
            continue
        old, new = (format_time(x, micro="µs") for x in (before.rmse, after.rmse))
        text = f"spikes of layer {before.layer} are {new} RMSE from the simulated ones, {old} before"
        found.append(("worse" if after.rmse >= before.rmse else "better", text))
        old_gaps, new_gaps = (int(p.neurons.missing.sum() + p.neurons.extra.sum()) for p in (before, after))
        if new_gaps > old_gaps:
            found.append(("worse", f"{new_gaps} spikes of layer {before.layer} have no partner, {old_gaps} before"))
    return found


def _agreement(comparisons: tuple[Comparison, Comparison], as_is: float) -> _Facts:
    """How often the chip answers as the simulated network does, and whether that network is any better than the chip was."""
    same = [float((c.decisions.simulated == c.decisions.measured).mean()) for c in comparisons]
    text = f"{100 * same[1]:.1f} % of the answers are those of the simulated network, {100 * same[0]:.1f} % before"
    found: _Facts = [("better" if same[1] > same[0] else "worse" if same[1] < same[0] else "other", text)]
    silent = [int((c.decisions.measured < 0).sum()) for c in comparisons]
    if silent[0] != silent[1]:
        kind: Kind = "worse" if silent[1] > silent[0] else "better"
        found.append(
            (
                kind,
                f"{silent[1]} of {len(comparisons[1].decisions.measured)} samples have no answer, {silent[0]} before",
            )
        )
    software = comparisons[0].decisions.accuracy_simulated
    if software is not None and software <= as_is:
        found.append(
            (
                "other",
                f"the simulated network itself decides {100 * software:.1f} % right, no more than the chip did as it was, so following it "
                "more closely wins nothing",
            )
        )
    return found


def _margins(comparison: Comparison, lost: Array) -> _Facts:
    """Whether the samples that were lost are close calls already in simulation."""
    decisions = comparison.decisions
    if reading(decisions.rule).kind not in POOLED or not lost.any():
        return []
    scores = class_scores(comparison.simulated.output, decisions.rule).cpu().numpy()
    best = np.sort(scores, axis=1)
    margin, lost = best[:, -1] - best[:, -2], lost[: len(best)]
    if not lost.any():
        return []
    close, all_of_them = float(np.median(margin[lost])), float(np.median(margin))
    if not close < CLOSE * all_of_them:
        return []
    count = reading(decisions.rule).kind == "count"
    shown = [f"{x:g} spikes" if count else format_time(x, micro="µs") for x in (close, all_of_them)]
    return [
        (
            "other",
            f"the {int(lost.sum())} answers lost are close calls, on which small changes tell: in simulation their two best classes lie "
            f"{shown[0]} apart in the median, {shown[1]} over all samples",
        )
    ]


__all__ = ["Effect", "effect_of", "effect_table"]
