"""`hwloop calibrate` and `hwloop calibrations`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwloop.cli import app
from hwloop_calibration import Store

from .conftest import Calibrated

RUNNER = CliRunner()


@pytest.fixture
def store(calibrated: Calibrated, tmp_path: Path) -> Path:
    Store(tmp_path).save(calibrated.calibration)
    return tmp_path


def _run(*arguments: object, status: int = 0) -> str:
    done = RUNNER.invoke(app, [str(a) for a in arguments])
    assert done.exit_code == status, done.output
    return done.output


def test_stored_calibrations_are_listed_and_shown(calibrated: Calibrated, store: Path) -> None:
    assert calibrated.calibration.id in _run("calibrations", "list", "--store", store)
    assert "usable:" in _run("calibrations", "show", calibrated.calibration.id[:6], "--store", store)


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    assert "hwloop calibrate" in _run("calibrations", "list", "--store", tmp_path / "none")


def test_a_calibration_is_exported_as_document_report_and_text(calibrated: Calibrated, store: Path) -> None:
    for suffix in ("json", "html", "txt"):
        path = store / f"out.{suffix}"
        _run("calibrations", "export", calibrated.calibration.id, path, "--store", store)
        assert path.stat().st_size > 500
    _run("calibrations", "export", calibrated.calibration.id, store / "out.pdf", "--store", store, status=2)


def test_two_calibrations_are_compared(calibrated: Calibrated, store: Path) -> None:
    again = calibrated.calibration.model_copy(update={"date": "2099-01-01T00:00:00+00:00"}).sealed()
    Store(store).save(again)
    text = _run("calibrations", "diff", calibrated.calibration.id, again.id, "--store", store)
    assert "0 of" in text


def test_an_unknown_calibration_is_refused(store: Path) -> None:
    assert "there are:" in _run("calibrations", "show", "ffffff", "--store", store, status=1)


@pytest.mark.slow
def test_calibrate_writes_report_summary_and_document(tmp_path: Path) -> None:
    tiny = Path(__file__).parents[1] / "tiny.toml"
    _run("train", tiny, "--out", tmp_path / "run")
    _run("calibrate", tmp_path / "run", "--target", "emulator:7", "--preset", "bss2", "--repeats", 4, "--runs", 1,
         "--store", tmp_path / "store", "--out", tmp_path / "cal")  # fmt: skip
    summary = json.loads((tmp_path / "cal" / "summary.json").read_text())
    assert summary["kind"] == "calibrate"
    assert summary["calibration"]["spread"]["tau_mem"]["after"] <= 0.02
    assert (tmp_path / "cal" / "report.html").exists()
    assert Store(tmp_path / "store").entries()[0].calibration is not None
