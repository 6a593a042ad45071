"""The page of `hwloop run`: the whole experiment on one page, in a few sentences, and in depth where a step is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..compare.cost_section import no_price
from ..compare.report import Cell, Report, Table
from ..compare.source import Source, called
from ..cost.prices import joules
from ..experiment import Experiment, Step
from ..results import Result, programs_of, read_summary
from . import pages

#: Headings of the steps, and what each shows where it is opened.
CHAPTERS: Mapping[Step, tuple[str, str]] = {
    "train": ("Train", "Open: curves, accuracy, what an answer costs in simulation"),
    "deploy": ("Deploy", "Open: accuracy as is, resources, rounding, costs"),
    "calibrate": (
        "Calibrate",
        "Open: what each neuron is, before and after trimming, and what that does to the answers",
    ),
    "compare": ("Compare", "Open: first divergence, spikes, spike-time errors, neurons, decisions, distances"),
    "finetune": ("Fine-tune", "Open: accuracy, epochs in the loop, health of the gradient, costs"),
}
_COST_COLUMNS = (
    "network", "target", "effective events", "connected events", "membrane updates", "spikes", "energy (J)"
)  # fmt: skip


def run_page(experiment: Experiment, path: Path, results: Sequence[Result]) -> Report:
    """All steps of the run in ``path``, whose pages are there.

    Raises :class:`DataError` where a step's summary or page is missing or was written by another version.
    """
    summaries = {step: read_summary(path / step) for step in experiment.steps}
    report = pages.report_of(f"Run of {experiment.name}", experiment, on_target=len(experiment.steps) > 1)
    report.links = {f"{CHAPTERS[step][0]}: its own page": f"{step}/report.html" for step in experiment.steps}
    text = "\n\n".join(in_short(experiment, results, summaries))
    report.provenance = {**report.provenance, **programs_of(results)}
    report.add_section("In short", text, [pages.results_table(results)], [pages.bars(results)])
    for step in experiment.steps:
        heading, folded = CHAPTERS[step]
        page = pages.page_in(path / step)
        report.add_chapter(heading, _line(step, summaries[step]), folded, page)
    costs = _costs(summaries)
    unpriced = sorted({cost["target"] for cost in costs.values() if cost["energy_range_J"] is None})
    text = "\n\n".join(
        [
            "Counted on the recorded spikes of test samples. Energy is a range over cited prices, an order of magnitude at best. How it was "
            "counted, and each source, stands with the step that ran.",
            *(no_price(target) for target in unpriced),
        ]
    )
    return report.add_section("What an answer costs", text, [_cost_table(costs, results)])


def in_short(
    experiment: Experiment, results: Sequence[Result], summaries: Mapping[Step, Mapping[str, Any]]
) -> list[str]:
    """What came out, in one paragraph a step."""
    test = [result for result in results if result.data == "test"]
    said = [_accuracies(test)] if test else []
    effect = summaries.get("calibrate", {}).get("effect")
    if effect is not None:
        said += effect["sentences"]
    if "calibrate" in experiment.steps and {"compare", "finetune"} & set(experiment.steps):
        scale = ", its weight scale chosen there" if experiment.target.weight_scale == "auto" else ""
        said.append(f"What follows the calibration ran on the calibrated chip{scale}.")
    if "compare" in summaries:
        said.append(f"First divergence: {summaries['compare']['first_divergence']}.")
    return said


def _accuracies(test: Sequence[Result]) -> str:
    """Accuracies in one sentence a place."""
    places: dict[str, list[str]] = {}
    for result in test:
        place = "in simulation" if result.ran_on == "simulator" else f"on {called(result.device_id)} ({result.ran_on})"
        places.setdefault(place, []).append(f"{result.network} {100 * result.accuracy:.1f} %")
    told = " ".join(f"{place[0].upper()}{place[1:]}: {'; '.join(shares)}." for place, shares in places.items())
    return f"Decided right, of {test[0].samples} test samples. {told}"


def _line(step: Step, summary: Mapping[str, Any]) -> str:
    """A step in one line."""
    last = [Result(**entry) for entry in summary["results"] if entry["data"] == "test"]
    shares = ", ".join(f"{r.network} {100 * r.accuracy:.1f} %" for r in last)
    epochs = f"Epoch {summary['best_epoch']} of {len(summary['history'])} was kept. " if "history" in summary else ""
    return f"{epochs}Test set: {shares}."


def _costs(summaries: Mapping[Step, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The costs of every network, by its name; of several steps the first that counted it."""
    found: dict[str, Mapping[str, Any]] = {}
    for summary in summaries.values():
        for name, cost in summary.get("costs", {}).items():
            found.setdefault(name, cost)
    return found


def _cost_table(costs: Mapping[str, Mapping[str, Any]], results: Sequence[Result]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, cost in costs.items():
        n, done = cost["samples"], cost["operations"]
        counts = (done[key] / n for key in ("effective", "connected", "updates", "spikes"))
        reach = cost["energy_range_J"]
        energy = "counts only" if reach is None else joules(reach[0] / n, reach[1] / n)
        rows.append((name, cost["target"], *counts, energy))
    sources = sorted({e["source"] for cost in costs.values() for e in cost["energies"]})
    prices = f" Prices: {'; '.join(sources)}." if sources else ""
    ran = [result.source for result in results if result.network in costs]
    return Table(f"Operations and energy by sample.{prices}", _COST_COLUMNS, rows, ran or Source("simulator"))
