"""The figures of the issue at full size: 512 neurons, 10 emulated chips, truth through the oracle. All slow.

    .venv/bin/python -m pytest -n 0 -m slow -s tests/calibration/test_must_show.py

prints one line a chip and figure.
"""

from __future__ import annotations

import numpy as np
import pytest

import hwloop as hl
from hwloop.experiment import Experiment
from hwloop_calibration import Sentinel, Upkeep
from hwloop_calibration.characterise import measure as characterise
from hwloop_emulator import EmulatorTarget, Preset
from hwloop_emulator.oracle import Oracle

from .binary_search import binary_search
from .support import errors, program_for, quiet, residuals, truth

CHIPS = range(10)
pytestmark = pytest.mark.slow


def _device(number: int, **options: object) -> object:
    return EmulatorTarget(str(number), preset=options.pop("preset", "bss2"), **{"session": 0, **options}).open()


@pytest.mark.parametrize("number", CHIPS)
def test_noise_free_every_identifiable_parameter_within_a_thousandth(number: int) -> None:
    device = _device(number, preset=quiet(Preset.load("bss2")), trial_noise=False)
    found = characterise(device, program_for(device), neurons="all", repeats=4)
    true, sound = truth(device), ~found.judgement.masked
    off = np.abs(errors(found.neurons, true)[sound] / [1, 1, 1, 2e-3, 5e-3])
    weights = np.abs(np.log(found.weights.value[sound] / true.weight[sound]))
    print(
        f"chip {number}: {sound.sum()} neurons, largest error {100 * off.max():.2g} %, of a synapse {100 * weights.max():.2g} %"
    )
    assert sound.sum() == 512 - Oracle(device).struck(0, "dead").sum()
    assert off.max() < 1e-3
    assert weights.max() < 1e-3


@pytest.mark.parametrize("number", CHIPS)
def test_with_bss2_noise_errors_coverage_and_bound(number: int) -> None:
    device = _device(number)
    found = characterise(device, program_for(device), neurons="all")
    true, sound = truth(device), ~found.judgement.masked
    off = errors(found.neurons, true)[sound]
    z = off / found.errors[sound][:, :5]
    median = np.median(np.abs(off) / [1, 1, 1, 2e-3, 5e-3], axis=0)
    cover, ratio = 100 * np.mean(np.abs(z) < 1.96), np.sqrt(np.mean(z**2, axis=0))
    print(
        f"chip {number}: median errors {np.round(100 * median, 2)} %, coverage {cover:.1f} %, error / bound {np.round(ratio, 2)}"
    )
    assert median.max() <= 0.01
    assert 92 <= cover <= 98
    assert ratio.max() <= 1.5


@pytest.mark.parametrize("number", CHIPS)
def test_trim_held_out_and_cost_against_binary_search(number: int) -> None:
    device = _device(number)
    program = program_for(device)
    calibration = hl.calibrate(device, program, neurons="all")
    held = calibration.held_out
    assert held is not None
    spread = {name: (round(100 * s.before, 1), round(100 * s.after, 2)) for name, s in calibration.spread.items()}
    usable = 1 - len(calibration.mask) / len(calibration.neurons)
    effort = calibration.effort
    # each by the gain that it aims at: the mean over the synapse columns of the program, or over the four that it drives
    columns = max(layer.n_in for layer in program.layers)
    own = residuals(device, program, np.array([v != "masked" for v in calibration.verdict]), columns)
    print(
        f"chip {number}: spread {spread}; usable {100 * usable:.1f} %; held out twin {held.twin / held.jitter:.3f}, nominal "
        f"{held.nominal / held.jitter:.2f} of the jitter; {effort.seconds:.0f} s computing, {effort.trim_cells_written} trim "
        f"cells, {effort.device_seconds:.2f} device s, {effort.samples} samples, residual (oracle) {_percent(own)} %"
    )
    others = {}
    for share in (1.0, 0.25):
        other = _device(number, session=1)
        cost = binary_search(other, program, share)
        left = others[share] = residuals(other, program, cost.reached & ~Oracle(other).struck(0, "dead"))
        print(
            f"chip {number}: binary search, effort {share}: {cost.trim_cells} trim cells, {cost.device_seconds:.2f} device s, "
            f"{cost.samples} samples, residual (oracle) {_percent(left)} %"
        )
        assert effort.trim_cells_written < cost.trim_cells / 5
        assert effort.device_seconds < cost.device_seconds / 2
    assert held.twin <= 1.2 * held.jitter
    assert all(s.after <= 0.02 for s in calibration.spread.values())
    assert usable >= 0.98
    # with three times the device time of ours the search leaves more of every parameter; with five times, more in all
    assert all(own[name] < value for name, value in others[0.25].items())
    assert _whole(own) < _whole(others[1.0])


def _percent(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(100 * value, 2) for name, value in shares.items()}


def _whole(shares: dict[str, float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(shares.values())))))


def test_drift_of_one_sigma_a_minute_for_an_hour_is_followed() -> None:
    """On every tenth neuron; accuracy of a twin-trained Yin-Yang network held within one point."""
    # a sigma of the calibration is about .5 % of a time constant: .3 an hour
    preset = Preset.load("bss2").with_effect("drift_ou", 0.0).with_effect("drift_power_time", 3600.0)
    preset = (
        preset.with_effect("drift_power_exponent", 1.0).with_effect("drift_share", 0.1).with_effect("drift_power", 0.3)
    )
    device = _device(3, preset=preset)
    experiment = Experiment.load("demo-quick")
    task, net = experiment.build_task(), experiment.build_network()
    program = hl.compile(net, device)
    # without a refractory time bursts of all 512 neurons overflow the event link; these 96 hold the network
    calibration = hl.calibrate(device, program, neurons=range(96))
    twin = net.with_twin(calibration)
    hl.fit(twin, task, experiment.build_loss(), progress=False, **experiment.fit_options())
    program = hl.deploy(twin, device, validation=task.validation)
    start = hl.measure(device, task.test, repeats=3).accuracy
    upkeep = Upkeep(twin, device, program, task, experiment.build_loss())
    sentinel = Sentinel(device, calibration, program, upkeep=upkeep)
    renewed, lost = set(), []
    for minute in range(1, 61):
        device.advance(60.0)
        done = sentinel.tend()
        renewed |= set(done.check.neurons)
        if done.followed is not None and done.followed.action == "move":
            shown = ", ".join(f"{100 * accuracy:.1f}" for accuracy in done.followed.validation)
            print(f"after {minute} min moved {done.followed.moved}; validation on the device {shown} %")
        if minute % 15 == 0:
            lost.append(round(start - hl.measure(device, task.test, repeats=3).accuracy, 4))
    moving = set(np.flatnonzero(device._chip.silicon.chosen("drift_share", np.arange(96))).tolist())
    print(
        f"drift: {len(renewed)} of {len(moving)} drifting neurons calibrated anew, accuracy {100 * start:.1f} %, lost {lost}; "
        f"{len(upkeep.history)} times followed, {sum(bool(f.moved) for f in upkeep.history)} times by moving, "
        f"{sum(f.epochs for f in upkeep.history)} epochs trained"
    )
    assert renewed
    beside = {neuron + step for neuron in moving for step in (-1, 1)}  # writing a cell shifts its neighbours: crosstalk
    assert len(renewed - moving - beside) <= 2
    assert max(lost) <= 0.01
