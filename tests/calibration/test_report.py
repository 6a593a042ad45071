"""The report: one file, no network, the figures that the issue asks for; the same as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwloop_calibration.document.report import calibration_report
from hwloop_calibration.drift.sentinel import Check

from .conftest import Calibrated


def test_the_report_is_one_file_with_every_figure(calibrated: Calibrated, tmp_path: Path) -> None:
    calibration = calibrated.calibration
    n = len(calibration.neurons)
    truth = {name: calibration.value(name) for name in ("tau_mem", "tau_syn")}
    checks = [Check((), np.zeros((n, 4)), np.full(n, 1.0), 10.0), Check((3,), np.ones((n, 4)), np.full(n, 12.0), 70.0)]
    page = calibration_report(calibration, truth=truth, checks=checks).html()
    assert page.count("<svg") == 5  # distributions, map, residuals, errors, drift
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script" not in page
    for words in ("spread before", "held-out stimuli", "residual / noise", "CUSUM", calibration.device_id):
        assert words in page
    calibration.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 20_000


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
