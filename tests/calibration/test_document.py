"""The document, the store, and who may use a calibration."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import hwloop as hl
from hwloop.errors import CalibrationError, CalibrationWarning, DataError, OptionError, TargetError
from hwloop_calibration import Store
from hwloop_calibration.document.renewed import merged
from hwloop_emulator import EmulatorDevice

from .conftest import Calibrated
from .support import opened, preset


def test_a_saved_calibration_is_read_back_equal(calibrated: Calibrated, tmp_path: Path) -> None:
    path = tmp_path / "chip.json"
    calibrated.calibration.save(path)
    assert hl.Calibration.load(path) == calibrated.calibration


def test_an_edited_file_is_refused(calibrated: Calibrated, tmp_path: Path) -> None:
    path = tmp_path / "chip.json"
    calibrated.calibration.save(path)
    document = json.loads(path.read_text())
    document["estimates"]["tau_mem"]["value"][0] = 9e-3
    path.write_text(json.dumps(document))
    with pytest.raises(CalibrationError, match="edited or damaged: digest"):
        hl.Calibration.load(path)
    assert hl.Calibration.load(path, allow_edited=True).estimates["tau_mem"].value[0] == 9e-3


def test_a_document_of_version_1_is_read_and_keeps_its_id(calibrated: Calibrated, tmp_path: Path) -> None:
    content = calibrated.calibration.model_dump(mode="json", exclude={"digest", "measured", "bends"}) | {"version": 1}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**content, "digest": digest}))
    old = hl.Calibration.load(path)
    assert old.id == digest[:12]
    assert old.dates == (old.date,) * 48
    old.save(path)
    assert json.loads(path.read_text()) == {**content, "digest": digest}
    path.write_text(json.dumps({**content, "digest": digest, "tolerance": 0.03}))
    with pytest.raises(CalibrationError, match="edited or damaged"):
        hl.Calibration.load(path)


def test_a_calibration_is_as_old_as_the_neuron_measured_longest_ago(calibrated: Calibrated) -> None:
    now = datetime.now(UTC)
    dates = [now.isoformat(timespec="seconds")] * 48
    dates[7] = (now - timedelta(hours=3)).isoformat(timespec="seconds")
    partly = calibrated.calibration.model_copy(update={"measured": dates})
    assert partly.age(now) == pytest.approx(3 * 3600.0, abs=1.0)
    verdict = list(partly.verdict)
    verdict[7] = "masked"
    # a neuron that is not used does not make it old
    assert partly.model_copy(update={"verdict": verdict}).age(now) == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"verdict": ["pass"]}, "entries for 48 neurons"),
        ({"codes": {"colour": [1]}}, "no trim cells"),
        ({"surprise": 1}, "surprise"),
        ({"tolerance": 7.0}, "tolerance"),
        ({"version": 3}, "version 3; this version of hwloop reads 1 or 2"),
        ({"measured": ["2026-01-01T00:00:00+00:00"]}, "measured has 1 entries for 48 neurons"),
        ({"version": 1, "measured": ["2026-01-01T00:00:00+00:00"] * 48}, "no place in version 1"),
        ({"measured": ["yesterday"] * 48}, "Invalid isoformat string: 'yesterday'"),
    ],
)
def test_a_malformed_file_is_refused_by_name(calibrated: Calibrated, tmp_path: Path, change: dict, match: str) -> None:
    path = tmp_path / "chip.json"
    calibrated.calibration.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=match):
        hl.Calibration.load(path)


def test_the_store_keeps_all_and_finds_the_newest_sound_one(calibrated: Calibrated, tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.save(calibrated.calibration)
    later = calibrated.calibration.model_copy(update={"date": "2099-01-01T00:00:00+00:00"}).sealed()
    second = store.save(later)
    assert first != second
    assert store.newest(calibrated.device.device_id) == later
    assert store.find(later.id[:8]) == later
    second.write_text(second.read_text().replace('"temperature"', '"temperatur"'))
    assert store.newest(calibrated.device.device_id) == calibrated.calibration
    assert "temperatur" in store.entries()[0].problem
    with pytest.raises(CalibrationError, match="0 calibrations called 'ffff'"):
        store.find("ffff")


def test_the_folder_of_the_store_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWLOOP_CALIBRATIONS", str(tmp_path / "here"))
    assert Store().folder == tmp_path / "here"
    monkeypatch.delenv("HWLOOP_CALIBRATIONS")
    assert Store().folder.name == "calibrations"


def test_a_device_name_cannot_leave_the_store(calibrated: Calibrated, tmp_path: Path) -> None:
    hostile = calibrated.calibration.model_copy(update={"device_id": "../../etc/../x"}).sealed()
    assert Store(tmp_path / "s").save(hostile).resolve().is_relative_to(tmp_path / "s")


# -- use ------------------------------------------------------------------------------------------


def _other(calibrated: Calibrated) -> EmulatorDevice:
    return opened(preset(48), 6)


def test_a_calibration_of_another_device_is_refused_unless_the_policy_allows_it(calibrated: Calibrated) -> None:
    device = _other(calibrated)
    with pytest.raises(CalibrationError, match="is of device emulator:5"):
        device.apply(calibrated.calibration)
    assert device.calibration is None
    with pytest.warns(CalibrationWarning, match="is of device"):
        device.apply(calibrated.calibration, policy="warn")
    device.apply(calibrated.calibration, policy="allow")
    assert device.calibration is calibrated.calibration


def test_a_stale_calibration_is_refused(calibrated: Calibrated) -> None:
    old = datetime.now(UTC) - timedelta(days=3)
    stale = calibrated.calibration.model_copy(update={"date": old.isoformat(timespec="seconds")}).sealed()
    device = opened(preset(48), 5)
    with pytest.raises(CalibrationError, match="s old; allowed: up to 86400 s"):
        device.apply(stale)
    device.apply(stale, max_age=7 * 86400.0)
    assert device.calibration is stale


def test_an_unknown_policy_is_refused(calibrated: Calibrated) -> None:
    with pytest.raises(OptionError, match="allowed: 'error', 'warn', 'allow'"):
        calibrated.device.apply(calibrated.calibration, policy="ignore")


def test_applying_writes_the_codes_of_the_document(calibrated: Calibrated) -> None:
    device = opened(preset(48), 5)
    device.apply(calibrated.calibration)
    for name, codes in calibrated.calibration.codes.items():
        np.testing.assert_array_equal(device.trim_codes(name), codes)


def test_a_write_that_fails_while_applying_leaves_the_codes_of_before(calibrated: Calibrated) -> None:
    device = opened(preset(48), 5, fail_after=(60,))
    with pytest.raises(TargetError, match="broke off"):
        device.apply(calibrated.calibration)
    assert device.calibration is None
    for name, allowed in device.trim_ranges.items():
        assert (device.trim_codes(name) == allowed.default).all()


def test_compiling_for_a_calibrated_device_avoids_masked_neurons(calibrated: Calibrated) -> None:
    masked = calibrated.calibration.model_copy(
        update={"verdict": ["masked", *calibrated.calibration.verdict[1:]], "reasons": {"0": "silent: never fired"}}
    ).sealed()
    device = opened(preset(48), 5)
    device.apply(masked)
    net = hl.Network([hl.Dense(4, 3), hl.LIF(3, 10e-3, 5e-3)])
    assert 0 not in hl.compile(net, device).layers[0].neurons
    with pytest.raises(CalibrationError, match="physical neuron 0 is masked: silent"):
        net.with_twin(masked, device.target.compile(net))


def test_parts_of_different_devices_are_not_merged(calibrated: Calibrated) -> None:
    other = calibrated.calibration.model_copy(update={"device_id": "emulator:1/x"}).sealed()
    with pytest.raises(CalibrationError, match="does not fit into"):
        merged(calibrated.calibration, other)
