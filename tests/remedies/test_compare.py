"""Comparisons of records, their figures and reports."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.compare.accuracy_figures import AccuracyRow, accuracy_bars, training_curves
from hwloop.compare.decisions import compare_decisions
from hwloop.compare.distances import van_rossum, victor_purpura
from hwloop.compare.map_figures import MapPanel, Matrix, confusion, neuron_map
from hwloop.compare.source import Source
from hwloop.compare.spike_figures import ErrorSet, error_histogram, raster

from .support import Case, option

NET = hl.Network([hl.Dense(3, 2), hl.LIF(2, 10e-3, 5e-3)])


def spikes(batch: int = 2, n_units: int = 2, t_stop: float = 1.0) -> hl.Spikes:
    return hl.Spikes.from_events([([0.1, 0.3], [0, n_units - 1])] * batch, n_units, t_stop)


def record(*layers: hl.Spikes, n_in: int = 3) -> hl.Record:
    return hl.Record(layers or (spikes(),), spikes(n_units=n_in))


def compared(measured: hl.Record | None = None, **options: Any) -> hl.Comparison:
    return hl.compare(record(), record() if measured is None else measured, **options)


def other(n_in: int = 3, n_out: int = 2) -> hl.Network:
    return hl.Network([hl.Dense(n_in, n_out), hl.LIF(n_out, 10e-3, 5e-3)])


LABELS = torch.tensor([0, 1])
SOURCES = [Source.of(record())]
MATRIX = Matrix("counts", np.eye(2, dtype=np.int64), "label", "decision", ["0", "1"])


def row(*values: float) -> AccuracyRow:
    return AccuracyRow("chip", values, "emulator")


COMPARE = [
    Case("comparison.compare", "both must stem from one network", lambda: compared(record(spikes(), spikes())), compared),
    option("_settings", "tolerance = {} s; allowed: finite and >= 0 s", compared, "tolerance", -1.0, 0.0),
    option("_settings", "q = {} per second; allowed: finite and >= 0", compared, "q", float("inf"), 0.0),
    option("flat_trains.positive", "{} = {} {}; allowed: finite and > 0 {}", compared, "window", 0.0, 1e-9),
    option("neuron_models", "the records hold {}; pass the network that made them", compared, "net", other(n_out=3), NET),
    option("neuron_models", "net takes {} inputs, the records hold {}", compared, "net", other(n_in=4), NET),
    Case("check_alike", "both must stem from one network and batch", lambda: compared(record(spikes(n_units=3))), compared),
    Case("check_alike", "run both over the same window", lambda: compared(record(spikes(t_stop=2.0))), compared),
    Case("Decisions.table", "pass labels to compare()", lambda: compared().decisions.table("labels", "measured"),
         lambda: compared(labels=LABELS).decisions.table("labels", "measured")),
    Case("decisions._check_labels", "expected one whole number for each of {} samples", lambda: compared(labels=LABELS[:1]),
         lambda: compared(labels=LABELS)),
    Case("decisions._check_labels", "label {}; allowed: whole numbers 0..{}",
         lambda: compare_decisions(spikes(), spikes(), LABELS + 1),
         (lambda: compare_decisions(spikes(), spikes(), [0, 1]), lambda: compare_decisions(spikes(), spikes(), [1, 1]))),
    Case("van_rossum", "normalisation = {}; allowed: {}", lambda: van_rossum(spikes(), spikes(), 1.0, normalisation="mean"),
         (lambda: van_rossum(spikes(), spikes(), 1.0, normalisation="textbook"),
          lambda: van_rossum(spikes(), spikes(), 1.0, normalisation="elephant"))),
    Case("victor_purpura_trains", "q = {} per second; allowed: finite and >= 0", lambda: victor_purpura(spikes(), spikes(), -1.0),
         lambda: victor_purpura(spikes(), spikes(), 0.0)),
    option("text.render", "width = {} columns; allowed: >= {}", lambda width: compared().to_text(width), "width", 59, 60),
]  # fmt: skip

FIGURES = [
    Case("_check_rows", "give at least one", lambda: accuracy_bars([], SOURCES), lambda: accuracy_bars([row(0.5)], SOURCES)),
    option("_check_rows", "allowed: 0 <= lower < 1 (a share, not per cent)", partial(accuracy_bars, [row(0.5)], SOURCES), "lower", 50.0, 0.0, 0.99),
    Case("_check_rows", "allowed: one or more shares in 0..1", lambda: accuracy_bars([row(97.0)], SOURCES),
         (lambda: accuracy_bars([row(0.0)], SOURCES), lambda: accuracy_bars([row(1.0, 0.97)], SOURCES))),
    Case("accuracy_figures._panels", "give at least one value", lambda: training_curves({"loss": []}, SOURCES),
         lambda: training_curves({"loss": [1.0]}, SOURCES)),
    Case("neuron_map", "give one or more panels of one layer", lambda: neuron_map([MapPanel("a", np.ones(2)), MapPanel("b", np.ones(3))], SOURCES),
         (lambda: neuron_map([MapPanel("a", np.ones(2))], SOURCES),
          lambda: neuron_map([MapPanel("a", np.ones(2)), MapPanel("b", np.ones(2))], SOURCES))),
    Case("confusion", "give at least one", lambda: confusion([], SOURCES), lambda: confusion([MATRIX], SOURCES)),
    Case("error_histogram", "give at least one", lambda: error_histogram([], SOURCES),
         lambda: error_histogram([ErrorSet("layer 0", np.zeros(2))], SOURCES)),
    Case("spike_figures.raster", "sample = {}; allowed: 0..{}", lambda: raster(record(), record(), 2, 0.1),
         (lambda: raster(record(), record(), 0, 0.1), lambda: raster(record(), record(), 1, 0.1))),
]  # fmt: skip


@pytest.mark.parametrize("case", [*COMPARE, *FIGURES], ids=str)
def test_what_a_comparison_asks_for_is_accepted(case: Case) -> None:
    case.follow()


def test_a_sample_that_exists_is_drawn(tmp_path: Any) -> None:
    Case(
        "comparison_report",
        "sample = {}; allowed: 0..{}",
        lambda: compared().to_html(tmp_path / "page.html", sample=2),
        lambda: compared().to_html(tmp_path / "page.html", sample=1),
    ).follow()
