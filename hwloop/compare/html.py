"""A comparison as a self-contained HTML report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..class_scores import reading
from ..errors import InputError
from .decisions import Decisions
from .map_figures import MapPanel, Matrix, confusion, neuron_map
from .report import Report, Table
from .source import Figure, Source, called
from .spike_figures import ErrorSet, error_histogram, raster
from .summary import (
    Rows,
    definitions,
    distance_table,
    error_table,
    flip_table,
    headline,
    input_table,
    origin_table,
    worst_table,
)
from .time_format import time_unit

if TYPE_CHECKING:
    from .comparison import Comparison, PopulationComparison

_MICRO = "µs"


def comparison_report(comparison: Comparison, sample: int | None = None) -> Report:
    """The report of ``comparison``; ``sample`` is the one drawn, by default that of the first divergence.

    Raises :class:`InputError` for a sample that does not exist.
    """
    sources = [Source.of(comparison.simulated), Source.of(comparison.measured)]
    first = comparison.divergences.earliest
    drawn = sample if sample is not None else 0 if first is None else first.sample
    if not 0 <= drawn < comparison.n_samples:
        raise InputError(f"sample = {drawn}; allowed: 0..{comparison.n_samples - 1}")
    facts, provenance = _facts(comparison)
    report = Report("Simulated against measured spikes", _where(comparison), facts, provenance=provenance)
    report.add_section("In short", "\n\n".join(headline(comparison, _MICRO)))
    _divergence_section(report, comparison, sources)
    matchings = [p.matching for p in comparison.populations]
    picture = raster(comparison.simulated, comparison.measured, drawn, comparison.settings.window, matchings=matchings,
                     title=" (that of the first divergence)" if first is not None and drawn == first.sample else "")  # fmt: skip
    report.add_section("Spikes of one sample", figures=[picture])
    histogram = error_histogram(
        [ErrorSet(f"Layer {p.layer}", p.matching.errors) for p in comparison.populations], sources
    )
    times = _table(
        error_table(comparison, _MICRO), "Errors of matched spikes, and spikes without partner, by layer.", sources
    )
    report.add_section("Spike times", tables=[times], figures=[histogram])
    _neuron_section(report, comparison, sources)
    _decision_section(report, comparison, sources)
    distances = _table(
        distance_table(comparison),
        "Distances between spike trains, mean of all neurons and samples; 0 is equal.",
        sources,
    )
    report.add_section("Distances", tables=[distances])
    return report.add_section("How to read the figures", definitions(comparison, _MICRO))


def _where(comparison: Comparison) -> str:
    place = {"simulator": "another simulation", "emulator": "an emulated chip", "hardware": "hardware"}
    ran_on = str(comparison.provenance["ran_on"])
    shape = f"{comparison.n_samples} samples, {len(comparison.populations)} spiking layers"
    return f"{shape}; measured on {place.get(ran_on, ran_on)}."


def _facts(comparison: Comparison) -> tuple[dict[str, object], dict[str, object]]:
    """What stands on top, and what is provenance."""
    p = comparison.provenance
    facts: dict[str, object] = {"ran on": p["ran_on"]}
    if p.get("device_id"):
        facts["device"] = called(str(p["device_id"]))
    shown = {"lost events": "lost_events", "late events": "late_events"}
    hidden = {"firmware": "firmware", "calibration": "calibration_id"}
    facts |= {name: p[key] for name, key in shown.items() if p.get(key) not in (None, "")}
    return facts, {name: p[key] for name, key in hidden.items() if p.get(key) not in (None, "")}


def _table(rows: Rows, caption: str, sources: list[Source]) -> Table:
    _, names, body = rows
    return Table(caption, names, body, sources)


def _divergence_section(report: Report, comparison: Comparison, sources: list[Source]) -> None:
    first = comparison.divergences.earliest
    text = comparison.divergences.summary(_MICRO)
    tables = []
    if first is not None:
        inputs, origins = input_table(first, _MICRO), origin_table(comparison)
        if first.inputs:
            caption = f"{inputs[0]}: what brought neuron {first.neuron} of layer {first.layer} to its threshold, strongest first."
            tables.append(_table(inputs, caption, sources))
        caption = "Neurons where samples diverge first; one that stands out is a suspect."
        tables.append(_table(origins, caption, sources))
    report.add_section("First divergence", text[0].upper() + text[1:] + ".", tables)


def _neuron_section(report: Report, comparison: Comparison, sources: list[Source]) -> None:
    figures: list[Figure] = []
    for p in comparison.populations:
        caption = (
            f"Layer {p.layer}: each cell is a neuron, row by row in the order of the network; stripes or blocks hint at a "
            "cause in the hardware, single dark cells at defects. Hatched: no matched spike."
        )
        figures.append(neuron_map(_maps(p, comparison.n_samples), sources, caption))
    tables = [
        _table(rows, f"Layer {p.layer}: the neurons that differ most.", sources)
        for p in comparison.populations
        if (rows := worst_table(p, _MICRO))[2]
    ]
    report.add_section("Neurons", figures=figures, tables=tables)


def _maps(p: PopulationComparison, n_samples: int) -> list[MapPanel]:
    factor, unit = time_unit(float(np.nanmax(p.neurons.rmse, initial=0.0)) or 1e-6)
    unit = _MICRO if unit == "us" else unit
    return [
        MapPanel(f"bias ({unit})", p.neurons.bias / factor, diverging=True),
        MapPanel(f"RMSE ({unit})", p.neurons.rmse / factor),
        MapPanel("missing (per sample)", p.neurons.missing / n_samples),
        MapPanel("extra (per sample)", p.neurons.extra / n_samples),
    ]


def _decision_section(report: Report, comparison: Comparison, sources: list[Source]) -> None:
    decisions = comparison.decisions
    kind, neurons = reading(decisions.rule)
    rule = {"first": "first spike", "mean": "earliest mean of first spikes"}.get(kind, "most spikes")
    rule += "" if neurons == 1 else f" of {neurons} neurons a class"
    tables = []
    if len(decisions.flipped):
        tables = [_table(flip_table(comparison), "Changed decisions, most frequent first.", sources)]
    caption = "Counts off the diagonal are samples in the wrong class; a column that fills up is a class that the device prefers."
    if decisions.labels is None:
        caption = "Counts off the diagonal are samples whose decision changed; a column that fills up is a class that the device prefers."
    figure = confusion(_matrices(decisions), sources, caption)
    report.add_section("Decisions", f"The output layer decides by {rule}.", tables, [figure])


def _matrices(decisions: Decisions) -> list[Matrix]:
    names = [*(str(k) for k in range(decisions.n_classes)), "none"]
    if decisions.labels is None:
        table = decisions.table("simulated", "measured")
        return [Matrix("Simulated against measured", table, "simulated decision", "measured decision", names)]
    return [
        Matrix("Before: simulated", decisions.table("labels", "simulated")[:-1], "label", "decision", names),
        Matrix("After: on the device", decisions.table("labels", "measured")[:-1], "label", "decision", names),
    ]
