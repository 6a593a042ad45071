"""The report: one file, no network, the figures that the issue asks for; the same as text."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from matplotlib.patches import Polygon, Rectangle

from hwloop.compare.report import Figure
from hwloop_calibration import Calibration
from hwloop_calibration.document.report import calibration_report
from hwloop_calibration.drift.sentinel import Check

from .conftest import Calibrated


def test_the_report_is_one_file_with_every_figure(calibrated: Calibrated, tmp_path: Path) -> None:
    calibration = calibrated.calibration
    n = len(calibration.neurons)
    truth = {name: calibration.value(name) for name in ("tau_mem", "tau_syn")}
    checks = [Check((), np.zeros((n, 4)), np.full(n, 1.0), 10.0), Check((3,), np.ones((n, 4)), np.full(n, 12.0), 70.0)]
    report = calibration_report(calibration, truth=truth, checks=checks)
    page = report.html()
    assert page.count("<svg") == 5  # distributions, map, residuals, errors, drift
    assert "http://" not in page.replace("http://www.w3.org", "")
    before, _, provenance = page.partition("<h2>Provenance</h2>")
    for digest in (calibration.id, calibration.device_id.rpartition("/")[2]):
        assert digest not in before
        assert digest in provenance
    check_data(dict(report.plots()), calibration, checks)
    for words in ("spread before", "held-out stimuli", "residual / noise", "CUSUM", calibration.device_id):
        assert words in page
    calibration.to_html(tmp_path / "report.html", plots=tmp_path / "plots")
    assert len(list((tmp_path / "plots").glob("*.csv"))) == 3
    assert (tmp_path / "report.html").stat().st_size > 20_000


def check_data(plots: dict[str, Figure], calibration: Calibration, checks: list[Check]) -> None:
    """What is saved of each plot is what it shows."""
    tables = {name: list(csv.DictReader(io.StringIO(figure.data.csv()))) for name, figure in plots.items()}
    axes = {name: figure.drawing.figure.axes for name, figure in plots.items() if figure.drawing is not None}
    for panel in axes["01-parameters"]:
        rows = [
            row for row in tables["01-parameters"] if row["parameter"] == panel.get_title(loc="left").partition(":")[0]
        ]
        bars = [patch.get_height() for patch in panel.patches if isinstance(patch, Rectangle)]
        assert [float(row["neurons"]) for row in rows if row["when"] == "now"] == bars
        if bars:
            (steps,) = (patch for patch in panel.patches if isinstance(patch, Polygon))
            before = [float(row["neurons"]) for row in rows if row["when"] == "before"]
            assert max(before) == steps.get_xy()[:, 1].max()
            assert sum(before) == len(calibration.neurons)
    residuals = tables["03-residuals"]
    assert [float(row["residual (noise of the device)"]) for row in residuals] == calibration.residual
    assert [int(row["physical neuron"]) for row in residuals] == calibration.neurons
    for panel in axes["04-errors"]:
        name = panel.get_title(loc="left").partition(":")[0]
        rows = [row for row in tables["04-errors"] if row["parameter"] == name]
        assert [float(row["density (1 / standard error)"]) for row in rows] == [
            bar.get_height() for bar in panel.patches
        ]
    drift = tables["05-drift"]
    assert [float(row["device time (s)"]) for row in drift] == [check.device_time for check in checks]
    assert [float(row["largest CUSUM (sigma)"]) for row in drift] == axes["05-drift"][0].get_lines()[
        0
    ].get_ydata().tolist()
    assert [int(row["neurons over the limit"]) for row in drift] == [0, 1]


def test_the_text_names_verdicts_spreads_and_cost(calibrated: Calibrated) -> None:
    text = calibrated.calibration.to_text()
    for words in (
        "usable:",
        "tau_mem",
        "spread after",
        "held-out stimuli: the twin",
        "trim cells written",
        "From spikes alone",
    ):
        assert words in text


def test_neurons_measured_at_other_times_are_named(calibrated: Calibrated) -> None:
    calibration = calibrated.calibration
    assert "measured last" not in calibration.to_text()
    dates = [calibration.date] * 46 + ["2031-02-03T04:05:06+00:00"] * 2
    later = calibration.model_copy(update={"measured": dates, "held_out": None, "bends": [[0.0]] * 48})
    for shown in (later.to_text(), calibration_report(later).html()):
        assert f"measured last: 46 neurons {calibration.date}, 2 neurons 2031-02-03T04:05:06+00:00" in shown
        assert "held-out stimuli: not measured of these neurons together" in shown
        assert "converter was measured" in shown


def test_a_device_called_like_markup_is_escaped(calibrated: Calibrated) -> None:
    hostile = calibrated.calibration.model_copy(update={"device_id": "<b>chip</b>"}).sealed()
    assert "<b>chip" not in calibration_report(hostile).html()
