"""``hwloop yield``: accuracy of one network over many emulated chips, for each strategy against mismatch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..device.registry import compile as compile_for
from ..device.registry import find
from ..progress import duration
from ..workers import how_many
from . import terminal
from .answer import Answer
from .folder import RunFolder, Trained

if TYPE_CHECKING:
    from hwloop_calibration.yield_.plan import RowResult, YieldPlan


def make_plan(
    preset: str, spread: float | None, chips: int, strategies: list[str] | None, efforts: list[float] | None, runs: int
) -> YieldPlan:
    """The plan that the options describe; raises :class:`hwloop.errors.InputError` for what is not allowed."""
    from hwloop_calibration.yield_.plan import YieldPlan

    given = {"strategies": strategies, "efforts": efforts}
    stated = {name: list(value) for name, value in given.items() if value}
    return YieldPlan.of(preset=preset, spread=spread, chips=list(range(chips)), runs=runs, **stated)


def yield_run(trained: Trained, plan: YieldPlan, jobs: int, dask: str | None, folder: RunFolder) -> Answer:
    """Run the study, go on where an earlier one stopped, write the report; what the chips cannot carry is refused before."""
    from hwloop_calibration.yield_.report import YieldReport
    from hwloop_calibration.yield_.study import prepare, run_study

    experiment = trained.experiment
    how_many(jobs)
    compile_for(trained.net, find(f"emulator:{plan.chips[0]}", preset=plan.preset, spread=plan.spread))
    folder.begin(experiment)
    rows = folder.path / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    nets = prepare(experiment, trained.net, plan, rows, on_stage=terminal.status)
    total, start = len(plan.rows()), time.monotonic()
    there = sum((rows / f"{row.name}.json").exists() for row in plan.rows())
    done: list[RowResult] = []

    def told(result: RowResult) -> None:
        done.append(result)
        left = (time.monotonic() - start) / len(done) * (total - there - len(done))
        end = f"about {duration(left)} left" if left else "done"
        terminal.status(
            f"{result.row.name}: {100 * result.accuracy:.1f} % ({there + len(done)} of {total} rows); {end}"
        )

    with folder.resumable():
        results = run_study(plan, experiment, nets, rows, jobs=jobs, dask=dask, on_row=told, on_stage=terminal.status)
    report = YieldReport(plan, tuple(results))
    folder.write_report(report.page())
    report.to_json(folder.path / "yield.json")
    groups = [{"label": group.label, "mean": group.mean, "worst": group.worst} for group in report.groups()]
    summary = folder.finish(experiment, groups=groups)

    def words() -> None:
        terminal.say(report.to_text())
        terminal.say(f"report: {Path(folder.path) / 'report.html'}")

    return Answer(summary | {"study": report.to_dict(), "folder": folder.path}, words)
