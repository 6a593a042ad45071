"""Report pages of the commands; `demo` has its own, and those of `compare` and `calibrate` begin where their packages end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..compare.cost_section import Costed as Costed
from ..compare.cost_section import add_costs as add_costs
from ..compare.report import AccuracyRow, Figure, Folded, Report, Source, Table, accuracy_bars, training_curves
from ..compare.source import called
from ..cost import Cost
from ..errors import DataError
from ..experiment import Experiment
from ..mapping import Program
from ..results import COLUMNS, Result, programs_of, versions
from ..training import FitResult
from ..training.loop_figures import LoopEpoch, LoopResult

if TYPE_CHECKING:
    from hwloop_calibration import Calibration
    from hwloop_calibration.document.effect import Effect

    from ..device.registry import Device


def train_page(experiment: Experiment, done: FitResult, results: Sequence[Result], cost: Cost) -> Report:
    """Training in software."""
    report = report_of(f"Training of {experiment.name}", experiment, on_target=False)
    report.add_section("Accuracy", tables=[results_table(results)])
    caption = f"Training. The weights of epoch {done.best_epoch}, the best on validation data, were kept."
    figure = training_curves(done.history, Source("simulator"), best=done.best_epoch, caption=caption)
    report.add_section("Training", figures=[figure])
    return add_costs(report, {"software": Costed(cost, Source("simulator"))})


def cost_page(experiment: Experiment, cost: Cost, source: Source) -> Report:
    """Costs alone."""
    report = report_of(
        f"What an answer costs: {experiment.name} on {cost.target}", experiment, on_target=source.ran_on != "simulator"
    )
    return add_costs(report, {experiment.name: Costed(cost, source)})


def deploy_page(experiment: Experiment, program: Program, results: Sequence[Result], cost: Cost) -> Report:
    """A deployment."""
    report = report_of(f"{experiment.name} on {experiment.target.name}", experiment)
    _accuracy(report, results)
    use = program.report()
    losses = [f"Warning: {warning}." for warning in use.warnings]
    text = "\n\n".join([*losses, f"{use.headline}. " + " ".join(use.notes)])
    tables = [Table(t.caption, t.columns, t.rows, results[-1].source) for t in use.tables()]
    report.add_section("Resources", text, folded=Folded("Neurons, synapses and rounding by population", tables=tables))
    return add_costs(report, {results[-1].network: Costed(cost, results[-1].source)})


def finetune_page(
    experiment: Experiment, done: LoopResult, results: Sequence[Result], costs: Mapping[str, Costed]
) -> Report:
    """A fine-tuning in the loop."""
    report = report_of(f"{experiment.name} fine-tuned on {called(done.device_id)}", experiment)
    _accuracy(report, results)
    source = Source(done.ran_on, done.device_id, done.program.digest)
    curves = {
        "validation accuracy": [epoch.validation.accuracy for epoch in done.history],
        "training accuracy": [epoch.accuracy for epoch in done.history],
        "training loss": [epoch.loss for epoch in done.history],
    }
    caption = f"Fine-tuning, measured on the device. Epoch {done.best_epoch} was kept (0: as is)."
    figure = training_curves(curves, source, best=done.best_epoch or None, caption=caption)
    folded = Folded("Accuracy and health of the gradient by epoch", tables=[_epochs_table(done, source)])
    report.add_section("In the loop", figures=[figure], folded=folded)
    return add_costs(report, costs)


def calibrate_page(
    experiment: Experiment,
    calibration: Calibration,
    results: Sequence[Result],
    effect: Effect,
    costs: Mapping[str, Costed],
) -> Report:
    """A calibration, and what it does to the answers of the network that it was made for."""
    from hwloop_calibration.document.report import calibration_report

    report = calibration_report(calibration, effect=effect)
    report.facts = {**_facts(experiment), **report.facts}
    report.provenance = {**report.provenance, **_versions()}
    _accuracy(report, results)
    return add_costs(report, costs)


def _accuracy(report: Report, results: Sequence[Result]) -> None:
    report.provenance = {**report.provenance, **programs_of(results)}
    report.add_section("Accuracy", tables=[results_table(results)], figures=[bars(results)])


def results_table(results: Sequence[Result]) -> Table:
    """Accuracies, and where they were measured."""
    caption = (
        "Share of samples decided right. Without answer: samples in which no output neuron spiked; they count as wrong."
    )
    place = COLUMNS.index("device")
    rows = [(*row[:place], called(str(row[place])), *row[place + 1 :]) for row in (result.row() for result in results)]
    return Table(caption, COLUMNS, rows, [result.source for result in results])


def bars(results: Sequence[Result]) -> Figure:
    """The same as bars."""
    rows = [AccuracyRow(f"{r.network}, {r.data}", [r.accuracy], r.ran_on) for r in results]
    return accuracy_bars(rows, [r.source for r in results], caption="The accuracies of the table.")


def _epochs_table(done: LoopResult, source: Source) -> Table:
    rows = [_epoch_row(epoch) for epoch in done.history]
    caption = (
        "Validation accuracy and health of the gradient by epoch. Floored: spikes whose derivative was limited. Missing and "
        "extra: spikes that the model, driven by the measured input, has and the device lacks, or the reverse."
    )
    columns = ("epoch", "validation", "spikes", "floored", "missing", "extra", "cells written", "lost events")
    return Table(caption, columns, rows, source)


def _epoch_row(epoch: LoopEpoch) -> tuple[str | int, ...]:
    health = epoch.health
    shares = [f"{100 * share:.1f} %" for share in (health.below_floor, health.missing, health.extra)]
    accuracy = f"{100 * epoch.validation.accuracy:.1f} %"
    return (epoch.number, accuracy, health.spikes, *shares, epoch.writes, epoch.lost_events)


def report_of(title: str, experiment: Experiment, *, on_target: bool = True) -> Report:
    """An empty report on ``experiment``."""
    facts = _facts(experiment) | (_target(experiment) if on_target else {})
    return Report(title, experiment.description, facts, provenance=_versions())


def note_calibration(report: Report, device: Device) -> None:
    """Say on ``report`` which calibration ``device`` has, if any."""
    found: Calibration | None = getattr(device, "calibration", None)
    if found is not None:
        report.facts = {**report.facts, "chip": f"calibrated {found.date}"}
        report.provenance = {**report.provenance, "calibration": found.id}


def page_in(run: Path) -> str:
    """The page of the run in ``run``; raises :class:`DataError` where it cannot be read."""
    try:
        return (run / "report.html").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{run / 'report.html'} cannot be read ({error}); run the step again with --force") from error


def _target(experiment: Experiment) -> dict[str, object]:
    options = ", ".join(f"{name} {value}" for name, value in experiment.target.options().items())
    return {"target": experiment.target.name + (f" ({options})" if options else "")}


def _facts(experiment: Experiment) -> dict[str, object]:
    return {"experiment": experiment.name, "seed": experiment.seed}


def _versions() -> dict[str, object]:
    known = versions()
    return {"versions": ", ".join(f"{name} {known[name]}" for name in ("hwloop", "torch", "numpy", "numba", "python"))}
