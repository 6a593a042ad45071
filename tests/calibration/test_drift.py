"""Drift is found by the sentinel, and only the neurons that drifted are calibrated anew."""

from __future__ import annotations

import numpy as np
import pytest

import hwloop as hl
from hwloop.errors import CalibrationError
from hwloop_calibration.document import parts
from hwloop_calibration.document.renewed import merged
from hwloop_calibration.drift.sentinel import Sentinel

from .conftest import Calibrated
from .support import network, opened, preset, program_for

#: Device time between checks (s).
MINUTE = 60.0


def _drifting():
    """A chip on which some neurons wander by some per cent an hour, the others not at all."""
    return preset(
        24, drift_ou=0.0, drift_power=0.05, drift_power_time=3600.0, drift_power_exponent=1.0, drift_share=0.2, dead=0.0
    )


def test_only_neurons_that_drift_are_found_and_calibrated_again() -> None:
    device = opened(_drifting(), 3)
    program = program_for(device)
    device.load(program)
    calibration = hl.calibrate(device, program, neurons="all", synapses=False, repeats=8)
    moving = device._chip.silicon.chosen("drift_share", np.arange(24))
    assert 2 <= moving.sum() <= 12
    sentinel = Sentinel(device, calibration, program)
    assert not sentinel.check().drifted
    found: set[int] = set()
    for _ in range(6):
        device.advance(20 * MINUTE)
        found |= set(sentinel.check().neurons)
    assert found
    assert found <= set(np.flatnonzero(moving).tolist())
    before = {n: calibration.value("tau_mem")[n] for n in range(24)}
    renewed = sentinel.recalibrate(repeats=8, synapses=False)
    assert renewed.id != calibration.id
    assert device.calibration is renewed
    assert device.program is not None
    assert device.program.digest == program.digest
    kept = [n for n in range(24) if n not in sentinel.history[-1].neurons]
    assert all(renewed.value("tau_mem")[n] == before[n] for n in kept)
    assert not sentinel.check().drifted
    # figures of the whole are those of its neurons as they are now, and each row says when it was measured
    assert renewed.held_out is not None
    assert calibration.held_out is not None
    assert renewed.held_out.samples == calibration.held_out.samples
    # eight repeats leave errors of a third of the jitter; a drifted neuron would add several times that
    assert renewed.held_out.twin < 1.7 * renewed.held_out.jitter
    for name in ("tau_mem", "tau_syn", "gain"):
        relative = renewed.value(name) / (renewed.asked(name) if name in renewed.targets else 1.0)
        assert renewed.spread[name].after == pytest.approx(float(np.nanstd(relative)), rel=1e-9)
        assert renewed.spread[name].before == calibration.spread[name].before
    assert [date == calibration.date for date in renewed.dates].count(False) <= len(sentinel.history[-2].neurons)
    assert renewed.age() >= 0


def test_merging_keeps_what_was_not_measured_again_and_dates_every_row(calibrated: Calibrated) -> None:
    whole = calibrated.calibration
    chosen = [n for n in whole.neurons if n not in whole.mask][:2]
    rows = [whole.neurons.index(n) for n in chosen]
    data = whole.model_dump()
    part = {name: data[name] for name in data if name not in ("estimates", "before", "targets", "codes")}
    part |= {name: [data[name][r] for r in rows] for name in ("neurons", "verdict", "residual")}
    part["targets"] = {name: [values[r] for r in rows] for name, values in data["targets"].items()}
    part["estimates"] = {
        name: {key: [values[r] for r in rows] for key, values in estimate.items()}
        for name, estimate in data["estimates"].items()
    }
    old = whole.value("gain")[rows]
    part["estimates"]["gain"]["value"] = [1.1 * g for g in old]
    part["weights"] = [[1.25, None, None, None] for _ in rows]
    part |= {"reasons": {}, "notes": {}, "date": "2030-01-01T00:00:00+00:00", "held_out": None}
    part["noise"] = {"threshold": 10 * whole.noise.threshold, "jitter": whole.noise.jitter}
    found = merged(whole, hl.Calibration.model_validate(part).sealed())
    for k, neuron in enumerate(whole.neurons):
        assert found.dates[k] == ("2030-01-01T00:00:00+00:00" if neuron in chosen else whole.date)
        if neuron not in chosen:
            assert found.weights[k] == whole.weights[k]
    for row in rows:
        before, now = whole.weights[row], found.weights[row]
        assert now[0] == 1.25
        # columns that were not measured move with the gain
        for a, b in zip(before[1:], now[1:], strict=True):
            assert (a is None and b is None) or b == pytest.approx(1.1 * a, rel=1e-5)
    assert found.held_out is None
    spread = np.std([g for g, v in zip(found.value("gain"), found.verdict, strict=True) if v != "masked"])
    assert found.spread["gain"].after == pytest.approx(float(spread), rel=1e-9)
    assert found.noise.threshold == pytest.approx(whole.noise.threshold * np.sqrt(46 / 48 + 100 * 2 / 48), rel=1e-9)


def test_a_part_with_more_columns_than_the_whole_is_refused(calibrated: Calibrated) -> None:
    whole = calibrated.calibration
    wider = whole.model_copy(update={"weights": [[*row, 1.0] for row in whole.weights]})
    with pytest.raises(CalibrationError, match="9 synapse columns.*8 columns"):
        merged(whole, wider)


def test_a_chip_that_stays_raises_no_alarm(calibrated: Calibrated) -> None:
    sentinel = Sentinel(calibrated.device, calibrated.calibration, calibrated.program)
    assert not any(sentinel.check().drifted for _ in range(40))
    z = np.array([check.z for check in sentinel.history])
    z = z[:, np.abs(z).sum((0, 2)) > 0]
    # 40 checks of 47 neurons, directions all but one with each other: 1 +- 1 / sqrt(2 * 40 * 47) = 1.6 % each
    assert np.sqrt(np.mean(z**2, axis=(0, 1))) == pytest.approx(1.0, abs=0.08)
    # what stays from check to check is the error of the reference: variance 1/17, and 1/40 of the rest
    offset = z.mean(0) / np.sqrt(1 / 17 + 16 / 17 / 40)
    assert np.abs(offset).max() < 5.0
    assert np.mean(offset**2) == pytest.approx(1.0, abs=0.5)


def test_very_many_neurons_are_watched_in_turns(calibrated: Calibrated, monkeypatch: pytest.MonkeyPatch) -> None:
    device = opened(preset(48), 5)  # of its own: a cell is written
    device.apply(calibrated.calibration)
    device.load(calibrated.program)
    whole = Sentinel(device, calibrated.calibration, calibrated.program)
    monkeypatch.setattr(parts, "CROWD", 20)
    turns = Sentinel(device, calibrated.calibration, calibrated.program)
    for sentinel in (whole, turns):
        assert not any(sentinel.check().drifted for _ in range(6))
    z = np.array([check.z for check in turns.history])
    assert z.shape == np.array([check.z for check in whole.history]).shape
    # the same neurons are sound, and what is measured of them has its variance: 47 neurons, 6 checks
    assert np.sqrt(np.mean(z[:, np.abs(z).sum((0, 2)) > 0] ** 2)) == pytest.approx(1.0, abs=0.15)
    # a neuron that moves is found at its own place
    device.write_trim("tau_mem", device.trim_codes("tau_mem")[[30]] + 40, np.array([30]))
    assert turns.check().neurons == (30,)


def test_a_sentinel_watches_fine_tuning_and_leaves_its_program(calibrated: Calibrated) -> None:
    device = calibrated.device
    other = hl.compile(network(), device, weight_scale=0.2)
    sentinel = Sentinel(device, calibrated.calibration, calibrated.program)
    device.load(other)
    sentinel.on_epoch(None)
    assert len(sentinel.history) == 1
    assert device.program is not None
    assert device.program.digest == other.digest
    device.load(calibrated.program)


def test_a_sentinel_of_another_device_is_refused(calibrated: Calibrated) -> None:
    other = opened(preset(48), 6)
    with pytest.raises(CalibrationError, match="is of device emulator:5"):
        Sentinel(other, calibrated.calibration, calibrated.program)
