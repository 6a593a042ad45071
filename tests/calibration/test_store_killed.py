"""Killed while a calibration is stored, those that were there stay."""

from __future__ import annotations

from pathlib import Path

from hwloop_calibration import Store

from ..command.killed import fresh_copies, kills
from .conftest import Calibrated


def test_a_store_of_calibrations_keeps_what_it_has(tmp_path: Path, calibrated: Calibrated) -> None:
    first = calibrated.calibration
    later = first.model_copy(update={"date": "2099-01-01T00:00:00+00:00"}).sealed()
    Store(tmp_path / "store").save(first)
    for folder in kills(lambda folder: Store(folder).save(later), fresh_copies(tmp_path / "store", tmp_path)):
        newest = Store(folder).newest(first.device_id)
        assert newest is not None
        assert newest.id in (first.id, later.id)
