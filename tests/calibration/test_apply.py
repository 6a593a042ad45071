"""Codes and calibration of a device belong together, whatever ends a write: an error, Ctrl-C, a second failure."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import hwloop as hl
from hwloop.errors import TargetError
from hwloop_calibration.calibrate import _Run
from hwloop_calibration.drift.sentinel import Sentinel
from hwloop_calibration.trim.apply import trim_codes, unless_complete
from hwloop_emulator import EmulatorDevice

from .conftest import Calibrated
from .support import opened, preset, program_for

#: Where lines are counted.
FILES = ("hwloop_calibration/apply.py", "hwloop_emulator/device.py", "hwloop_emulator/trimming.py")


@pytest.fixture
def pair(calibrated: Calibrated) -> tuple[hl.Calibration, hl.Calibration]:
    """Two calibrations of one chip with other codes."""
    first = calibrated.calibration
    codes = {name: [max(0, code - 7) for code in values] for name, values in first.codes.items()}
    return first, first.model_copy(update={"codes": codes}).sealed()


def held_by(device: EmulatorDevice, calibration: hl.Calibration) -> bool:
    return all(np.array_equal(device.trim_codes(name), codes) for name, codes in calibration.codes.items())


def _trims_and_ends(device: EmulatorDevice, error: BaseException) -> None:
    with unless_complete(device):
        device.write_trim("v_th", np.zeros(48, np.int64))
        assert device.calibration is None
        raise error


def _closes_and_ends(device: EmulatorDevice) -> None:
    with unless_complete(device):
        device.close()
        raise KeyboardInterrupt


def test_applying_that_is_interrupted_at_any_line_leaves_codes_and_calibration_that_belong_together(
    pair: tuple[hl.Calibration, hl.Calibration], interruption: Any
) -> None:
    device = opened(preset(48), 5)
    device.apply(pair[0])
    with interruption(FILES) as counted:
        device.apply(pair[1])
    assert counted.lines > 100
    outcomes = set()
    for index in range(counted.lines):
        device.apply(pair[0])
        with pytest.raises(KeyboardInterrupt), interruption(FILES, index):
            device.apply(pair[1])
        assert device.calibration in pair
        assert held_by(device, device.calibration)
        outcomes.add(device.calibration.id)
    assert pair[0].id in outcomes


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, TargetError])
def test_whatever_ends_a_block_the_codes_and_the_calibration_of_before_are_back(
    calibrated: Calibrated, error: type[BaseException]
) -> None:
    device = opened(preset(48), 5)
    device.apply(calibrated.calibration)
    with pytest.raises(error, match="x"):
        _trims_and_ends(device, error("x"))
    assert device.calibration is calibrated.calibration
    assert held_by(device, calibrated.calibration)


def test_where_putting_back_fails_too_the_device_has_no_calibration_and_the_error_says_so(
    pair: tuple[hl.Calibration, hl.Calibration], caplog: pytest.LogCaptureFixture
) -> None:
    device = opened(preset(48), 5)
    device.apply(pair[0])
    used = device.writes.trims
    device = opened(preset(48), 5, fail_after=(used + 30, used + 40))
    device.apply(pair[0])
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(TargetError, match="broke off after 30 .* has no calibration now; apply one, or calibrate anew"),
    ):
        device.apply(pair[1])
    assert device.calibration is None
    assert "has no calibration now" in caplog.text
    spikes = hl.Spikes.from_events([([1e-3], [0])], n_units=4, t_stop=0.05)
    device.load(program_for(device))
    assert device.run(spikes).calibration_id is None
    device.apply(pair[0])
    assert device.calibration is pair[0]
    assert held_by(device, pair[0])


def test_ctrl_c_whose_codes_cannot_be_put_back_says_so_in_a_note(calibrated: Calibrated) -> None:
    device = opened(preset(48), 5)
    device.apply(calibrated.calibration)
    device._fail_after = [device._trim_cells + 53]
    with pytest.raises(KeyboardInterrupt) as raised:
        _trims_and_ends(device, KeyboardInterrupt())
    assert "has no calibration now" in "".join(raised.value.__notes__)
    assert device.calibration is None


def test_a_cell_written_by_hand_ends_the_calibration_and_one_that_holds_its_code_does_not(
    calibrated: Calibrated,
) -> None:
    device = opened(preset(48), 5)
    device.apply(calibrated.calibration)
    device.write_trim("v_th", device.trim_codes("v_th"))
    assert device.calibration is calibrated.calibration
    device.write_trim("v_th", device.trim_codes("v_th")[:1] ^ 1, np.array([0]))
    assert device.calibration is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, TargetError])
def test_a_calibration_interrupted_while_trimming_leaves_codes_and_calibration_of_before(
    calibrated: Calibrated, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    device = opened(preset(48), 5)
    device.apply(calibrated.calibration)
    program = program_for(device)
    device.load(program)

    def trims_and_ends(run: Any, trim: bool) -> None:
        run.bench.load()
        run._write({"tau_mem": (np.arange(48), np.full(48, 3))})
        assert device.calibration is None
        raise error("while trimming")

    monkeypatch.setattr(_Run, "calibrate", trims_and_ends)
    with pytest.raises(error, match="while trimming"):
        hl.calibrate(device, program, neurons="all")
    assert device.calibration is calibrated.calibration
    assert held_by(device, calibrated.calibration)
    assert device.program is program


def test_a_device_that_closed_meanwhile_keeps_its_error_and_no_calibration(calibrated: Calibrated) -> None:
    device = opened(preset(48), 5)
    device.apply(calibrated.calibration)
    with pytest.raises(KeyboardInterrupt):
        _closes_and_ends(device)
    assert device.calibration is None


def test_a_device_without_trim_cells_has_no_codes() -> None:
    with hl.open("loihi") as device:
        assert trim_codes(device) == {}
        with pytest.raises(KeyboardInterrupt), unless_complete(device):
            raise KeyboardInterrupt


@pytest.mark.parametrize("ends", ["_verified", "_measure"])
def test_a_sentinel_whose_recalibration_is_interrupted_goes_on_with_the_calibration_of_before(
    calibrated: Calibrated, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    device = opened(preset(48), 5)
    device.apply(calibrated.calibration)
    device.load(calibrated.program)
    sentinel = Sentinel(device, calibrated.calibration, calibrated.program)
    before = (sentinel.calibration, sentinel._reference, sentinel._neurons)

    def trimmed(*_: object, **__: object) -> hl.Calibration:
        device.write_trim("tau_mem", np.full(48, 3))
        device.calibration = calibrated.calibration
        return calibrated.calibration

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hwloop_calibration.drift.sentinel.calibrate", trimmed)
    monkeypatch.setattr(Sentinel, "_verified", lambda self, found: found)
    monkeypatch.setattr(Sentinel, ends, interrupted)
    with pytest.raises(KeyboardInterrupt):
        sentinel.recalibrate([2, 3])
    assert (sentinel.calibration, sentinel._reference, sentinel._neurons) == before
    assert device.calibration is calibrated.calibration
    assert held_by(device, calibrated.calibration)
