"""Rows of the study ``yield``: one chip with every strategy against its mismatch, all in one folder with one report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hwloop as hl
from hwloop.experiment import Experiment
from hwloop_calibration.yield_.plan import YieldPlan
from hwloop_calibration.yield_.report import YieldReport
from hwloop_calibration.yield_.strategies import STRATEGIES
from hwloop_calibration.yield_.study import prepare, read_row, run_study

CHIPS, CEILINGS = range(30), 3
#: Fine-tuning the hardened network on every chip adds little to the table and a quarter to its time.
CHOSEN = [name for name in STRATEGIES if name != "hardened-loop"]


def run(row: dict[str, Any], out: Path, experiment: Experiment, net: hl.Network) -> dict[str, Any]:
    """The rows of one chip, or, where ``row`` names none, the ceilings."""
    plan = whole() if "chip" not in row else YieldPlan.of(chips=[row["chip"]], strategies=CHOSEN, ceilings=0)
    if "chip" not in row:
        plan = plan.model_copy(update={"chips": [0], "strategies": ["as-is"]})
    folder = out / "yield"
    folder.mkdir(parents=True, exist_ok=True)
    results = run_study(plan, experiment, prepare(experiment, net, plan, folder), folder, jobs=1)
    return {"ran_on": "emulator", **{result.row.name: result.accuracy for result in results}}


def whole() -> YieldPlan:
    """The whole study."""
    return YieldPlan.of(chips=list(CHIPS), strategies=CHOSEN, ceilings=CEILINGS)


def report(out: Path, experiment: Experiment) -> str | None:
    """The table of all rows that are there; the page goes to ``out/yield/report.html``. None where there are none."""
    folder, found = out / "yield", []
    plan = whole()
    for row in plan.rows():
        if (folder / f"{row.name}.json").exists():
            found.append(read_row(plan, row, experiment, folder))
    if not found:
        return None
    study = YieldReport(plan, tuple(found))
    study.to_html(folder / "report.html")
    study.to_json(folder / "yield.json")
    return study.to_text()
