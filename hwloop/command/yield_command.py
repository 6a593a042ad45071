"""``hwloop yield``: accuracy of one network over many emulated chips, for each strategy against mismatch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import terminal
from .folder import RunFolder, Trained

if TYPE_CHECKING:
    from hwloop_calibration.yield_study import RowResult, YieldPlan


def make_plan(
    preset: str, spread: float | None, chips: int, strategies: list[str] | None, efforts: list[float] | None, runs: int
) -> YieldPlan:
    """The plan that the options describe; raises :class:`hwloop.errors.InputError` for what is not allowed."""
    from hwloop_calibration.yield_study import YieldPlan

    given = {"strategies": strategies, "efforts": efforts}
    stated = {name: list(value) for name, value in given.items() if value}
    return YieldPlan.of(preset=preset, spread=spread, chips=list(range(chips)), runs=runs, **stated)


def yield_run(trained: Trained, plan: YieldPlan, jobs: int, dask: str | None, folder: RunFolder) -> None:
    """Run the study, go on where an earlier one stopped, write the report."""
    from hwloop_calibration.yield_report import YieldReport
    from hwloop_calibration.yield_study import prepare, run_study

    experiment = trained.experiment
    folder.begin(experiment)
    rows = folder.path / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    nets = prepare(experiment, trained.net, plan, rows, on_stage=terminal.status)
    total = len(plan.rows())
    done: list[RowResult] = []

    def told(result: RowResult) -> None:
        done.append(result)
        terminal.status(f"{result.row.name}: {100 * result.accuracy:.1f} % ({len(done)} new of {total} rows)")

    with folder.resumable():
        results = run_study(plan, experiment, nets, rows, jobs=jobs, dask=dask, on_row=told)
    report = YieldReport(plan, tuple(results))
    report.to_html(folder.path / "report.html")
    report.to_json(folder.path / "yield.json")
    groups = [{"label": group.label, "mean": group.mean, "worst": group.worst} for group in report.groups()]
    folder.finish(experiment, groups=groups)
    terminal.say(report.to_text())
    terminal.say(f"report: {Path(folder.path) / 'report.html'}")
