"""Report pages of `train`, `deploy` and `finetune`; `compare` and `demo` have their own."""

from __future__ import annotations

from collections.abc import Sequence

from ..compare.report import AccuracyRow, Figure, Report, Source, Table, accuracy_bars, training_curves
from ..cost import Cost
from ..experiment import Experiment
from ..mapping import Program
from ..results import COLUMNS, Result, versions
from ..training import FitResult
from ..training.loop_figures import LoopEpoch, LoopResult


def train_page(experiment: Experiment, done: FitResult, results: Sequence[Result]) -> Report:
    """Training in software."""
    report = Report(f"Training of {experiment.name}", experiment.description, _facts(experiment))
    report.add_section("Accuracy", tables=[_results_table(results)])
    caption = f"Training. The weights of epoch {done.best_epoch}, the best on validation data, were kept."
    figure = training_curves(done.history, Source("simulator"), best=done.best_epoch, caption=caption)
    return report.add_section("Training", figures=[figure])


def run_page(experiment: Experiment, results: Sequence[Result]) -> Report:
    """All steps of an experiment; each has a report of its own."""
    report = Report(f"Run of {experiment.name}", experiment.description, _facts(experiment) | _target(experiment))
    report.links = {f"{step}: what it did": f"{step}/report.html" for step in experiment.steps}
    text = "What each step did has a page of its own; the links above lead there."
    return report.add_section("Accuracy", text, tables=[_results_table(results)], figures=[_bars(results)])


def add_costs(report: Report, cost: Cost, source: Source) -> Report:
    """The section on what an answer costs."""
    text = (
        f"{cost.samples} samples, operations counted on their recorded spikes: effective synaptic events are of weights that are not "
        "zero, connected ones of all synapses, dense ones of every synapse at every step of a clocked machine."
    )
    tables = [Table(caption, columns, rows, source) for caption, columns, rows in cost.tables(clock=False)]
    return report.add_section("What an answer costs", text, tables=tables)


def cost_page(experiment: Experiment, cost: Cost, source: Source) -> Report:
    """Costs alone."""
    title = f"What an answer costs: {experiment.name} on {cost.target}"
    return add_costs(Report(title, experiment.description, _facts(experiment) | _target(experiment)), cost, source)


def deploy_page(experiment: Experiment, program: Program, results: Sequence[Result], cost: Cost) -> Report:
    """A deployment as is."""
    report = Report(
        f"{experiment.name} on {experiment.target.name}",
        experiment.description,
        _facts(experiment) | _target(experiment),
    )
    report.add_section("Accuracy", tables=[_results_table(results)], figures=[_bars(results)])
    use = program.report()
    losses = [f"Warning: {warning}." for warning in use.warnings]
    text = "\n\n".join([*losses, f"{use.headline}. " + " ".join(use.notes)])
    tables = [Table(t.caption, t.columns, t.rows, results[-1].source) for t in use.tables()]
    report.add_section("Resources", text, tables=tables)
    return add_costs(report, cost, results[-1].source)


def finetune_page(experiment: Experiment, done: LoopResult, results: Sequence[Result]) -> Report:
    """A fine-tuning in the loop."""
    report = Report(
        f"{experiment.name} fine-tuned on {done.device_id}",
        experiment.description,
        _facts(experiment) | _target(experiment),
    )
    report.add_section("Accuracy", tables=[_results_table(results)], figures=[_bars(results)])
    source = Source(done.ran_on, done.device_id)
    curves = {
        "validation accuracy": [epoch.validation.accuracy for epoch in done.history],
        "training accuracy": [epoch.accuracy for epoch in done.history],
        "training loss": [epoch.loss for epoch in done.history],
    }
    caption = f"Fine-tuning, measured on the device. Epoch {done.best_epoch} was kept (0: as is)."
    figure = training_curves(curves, source, best=done.best_epoch or None, caption=caption)
    return report.add_section("In the loop", tables=[_epochs_table(done, source)], figures=[figure])


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


def _results_table(results: Sequence[Result]) -> Table:
    caption = (
        "Share of samples decided right. Without answer: samples in which no output neuron spiked; they count as wrong."
    )
    rows = [(*result.row(), result.program_digest[:12] or "-") for result in results]
    return Table(caption, (*COLUMNS, "program"), rows, [Source(r.ran_on, r.device_id) for r in results])


def _bars(results: Sequence[Result]) -> Figure:
    rows = [AccuracyRow(f"{r.network}, {r.data}", [r.accuracy], r.ran_on) for r in results]
    return accuracy_bars(rows, [r.source for r in results], caption="The accuracies of the table.")


def _target(experiment: Experiment) -> dict[str, object]:
    options = ", ".join(f"{name} {value}" for name, value in experiment.target.options().items())
    return {"target": experiment.target.name + (f" ({options})" if options else "")}


def _facts(experiment: Experiment) -> dict[str, object]:
    known = versions()
    return {
        "experiment": experiment.name,
        "seed": experiment.seed,
        "versions": ", ".join(f"{name} {known[name]}" for name in ("hwloop", "torch", "numpy", "numba", "python")),
    }
