"""The report of a yield study: accuracy over chips for each strategy, against what it spends on every chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwloop import storage
from hwloop.compare.report import AccuracyRow, Figure, Report, Source, Table, accuracy_bars
from hwloop.drawing.plot_data import PlotData, Value
from hwloop.errors import InputError

from .plan import RowResult, YieldPlan

FORMAT, VERSION = "hwloop-yield", 1
#: A chip is good where its accuracy is within this many points of the ceiling's best strategy.
TOLERANCE_POINTS = 3.0
COLUMNS = (
    "strategy", "chips", "mean", "median", "worst", "10 % quantile", "good chips", "averaged", "samples", "cells", "device s",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """All chips of one strategy at one effort; accuracies are shares, costs medians a chip."""

    strategy: str
    effort: float
    mismatch: bool
    ran_on: str
    chips: int
    mean: float
    median: float
    worst: float
    quantile_10: float
    good: float
    averaged: float
    samples: float
    cells: float
    device_seconds: float
    seconds: float
    failed: int

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        effort = "" if self.effort == 1 else f" at {self.effort:g} effort"
        return f"{'' if self.mismatch else 'no mismatch, '}{self.strategy}{effort}"

    def cells_of_table(self) -> tuple[str | int, ...]:
        """One row of :data:`COLUMNS`."""
        shares = [
            f"{100 * share:.2f} %" for share in (self.mean, self.median, self.worst, self.quantile_10, self.good, self.averaged)
        ]  # fmt: skip
        costs = (f"{self.samples:.0f}", f"{self.cells:.0f}", f"{self.device_seconds:.2f}", f"{self.seconds:.0f}")
        return (self.label, self.chips, *shares, *costs)


@dataclass(frozen=True)
class YieldReport:
    """A finished study; ``to_html``, ``to_json`` and ``to_text`` write it."""

    plan: YieldPlan
    results: tuple[RowResult, ...]

    def __post_init__(self) -> None:
        if not self.results:
            raise InputError("a yield study of no rows; give at least one chip and strategy")

    @property
    def ceiling(self) -> float | None:
        """Best mean accuracy on chips of the same noise without mismatch; None where the study has none."""
        means = [float(np.mean([r.accuracy for r in found])) for found in self._grouped(mismatch=False).values()]
        return max(means) if means else None

    def groups(self) -> list[Group]:
        """Statistics of each strategy and effort, ceilings first, then in the order of the plan."""
        bar = (self.ceiling or 1.0) - TOLERANCE_POINTS / 100
        return [
            _group(key, found, bar)
            for mismatch in (False, True)
            for key, found in self._grouped(mismatch).items()
        ]  # fmt: skip

    def _grouped(self, mismatch: bool) -> dict[tuple[str, float], list[RowResult]]:
        grouped: dict[tuple[str, float], list[RowResult]] = {}
        for result in self.results:
            if result.row.mismatch == mismatch:
                grouped.setdefault((result.row.strategy, result.row.effort), []).append(result)
        return grouped

    # -- output -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plan, statistics and every row, as plain data."""
        groups = [{**asdict(group), "label": group.label} for group in self.groups()]
        return {"plan": self.plan.model_dump(), "groups": groups, "rows": [asdict(result) for result in self.results]}

    def to_json(self, path: Path) -> None:
        """Write :meth:`to_dict` to ``path`` in one step."""
        storage.write_json(path, self.to_dict(), kind=FORMAT, version=VERSION)

    def to_text(self) -> str:
        """The table of strategies, for a terminal."""
        rows = [COLUMNS, *(tuple(map(str, group.cells_of_table())) for group in self.groups())]
        widths = [max(len(str(row[k])) for row in rows) for k in range(len(COLUMNS))]
        lines = [
            "  ".join(str(cell).ljust(width) if k == 0 else str(cell).rjust(width) for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]  # fmt: skip
        return "\n".join([f"{_chips(self.plan)}, test accuracy (emulator)", *lines, *self._notes()])

    def _notes(self) -> list[str]:
        runs = self.plan.runs
        notes = [
            f"averaged: answers averaged over {runs} runs. Costs are medians a chip, until the strategy was done.",
        ]
        if self.ceiling is not None:
            notes.append(
                f"good chips: within {TOLERANCE_POINTS:g} points of the best ceiling, {100 * self.ceiling:.2f} % without mismatch."
            )
        failed = [result for result in self.results if result.failure]
        return notes + [f"{r.row.name}: {r.failure}" for r in failed]

    def to_html(self, path: Path) -> None:
        """Write one self-contained page to ``path``."""
        self.page().write(path)

    def page(self) -> Report:
        """The page, not yet written."""
        groups = self.groups()
        source = Source("emulator", f"emulator:{{{_numbers(self.plan.chips)}}}/{self.plan.preset}")
        report = Report(
            f"Yield over {len(self.plan.chips)} chips of {self.plan.preset}",
            "How good one network is on many imperfect chips, for each way to deal with their mismatch. All chips are emulated.",
            {"preset": self.plan.preset, "chips": len(self.plan.chips), "runs of the test set": self.plan.runs},
        )
        table = Table(" ".join(self._notes()), COLUMNS, [group.cells_of_table() for group in groups], source)
        return report.add_section("Accuracy over chips", tables=[table], figures=[self._bars(source)]).add_section(
            "Accuracy against what is spent on a chip",
            "A strategy further to the left needs fewer samples run on each chip; one further up leaves a better chip.",
            figures=[budget_figure(groups, source)],
        )

    def _bars(self, source: Source) -> Figure:
        rows = [
            AccuracyRow(label, [result.accuracy for result in found], "emulator")
            for mismatch in (False, True)
            for key, found in self._grouped(mismatch).items()
            for label in [_group(key, found, 0.0).label]
        ]
        references = {} if self.ceiling is None else {"noise ceiling": self.ceiling}
        caption = "Test accuracy of single runs: each dot is one chip, the thick mark the mean."
        return accuracy_bars(rows, source, references=references, caption=caption)


def _group(key: tuple[str, float], found: Sequence[RowResult], bar: float) -> Group:
    accuracy = np.array([result.accuracy for result in found])

    def median(name: str) -> float:
        return float(np.median([getattr(result, name) for result in found]))

    return Group(
        strategy=key[0], effort=key[1], mismatch=found[0].row.mismatch, ran_on=found[0].ran_on, chips=len(found),
        mean=float(accuracy.mean()), median=float(np.median(accuracy)), worst=float(accuracy.min()),
        quantile_10=float(np.quantile(accuracy, 0.1)), good=float((accuracy >= bar).mean()),
        averaged=float(np.mean([result.averaged for result in found])), samples=median("samples"), cells=median("cells"),
        device_seconds=median("device_seconds"), seconds=median("seconds"), failed=sum(bool(r.failure) for r in found),
    )  # fmt: skip


def budget_figure(groups: Sequence[Group], source: Source) -> Figure:
    """Mean and worst accuracy of each strategy against the samples it ran on a chip."""
    from hwloop.drawing import plotting as p

    with p.style():
        figure, [[axes]] = p.grid(1, 1, 3.8)
        colours = (p.BLUE, p.ORANGE, p.GREEN, p.SKY, p.RED, p.PURPLE)
        shown = [group for group in groups if group.mismatch]
        for number, group in enumerate(shown):
            colour, x = colours[number % len(colours)], max(1.0, group.samples)
            axes.plot([x, x], [100 * group.worst, 100 * group.mean], color=colour, linewidth=1.2)
            axes.plot([x], [100 * group.mean], "o", color=colour, markersize=6)
            axes.plot([x], [100 * group.worst], "_", color=colour, markersize=9)
            axes.annotate(group.label, (x, 100 * group.mean), xytext=(5, 3), textcoords="offset points", fontsize=7.5)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter("{x:,.0f}" if high < 10 * low else "")  # without a power of ten in between
        axes.set_xlabel("samples run on a chip before it is used")
        axes.set_ylabel("test accuracy (%)")
        axes.grid()
        rows: list[tuple[Value, ...]] = [(g.label, max(1.0, g.samples), 100 * g.mean, 100 * g.worst) for g in shown]
        head = ("strategy", "samples run on a chip", "mean test accuracy (%)", "worst test accuracy (%)")
        caption = "Dot: mean over chips. Line: down to the worst chip."
        return Figure.of(figure, caption, source, "accuracy-against-samples", PlotData(head, rows))


def _chips(plan: YieldPlan) -> str:
    return f"{len(plan.chips)} chips of {plan.preset}"


def _numbers(chips: Sequence[int]) -> str:
    """Chip numbers, a run of them as first..last."""
    if len(chips) > 2 and list(chips) == list(range(chips[0], chips[-1] + 1)):
        return f"{chips[0]}..{chips[-1]}"
    return ",".join(map(str, chips))
