"""Characterisation against the chip's own truth, and chips that cannot be characterised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import InputError, TargetError
from hwloop_calibration.characterise import measure as characterise
from hwloop_calibration.characterise.bench import Bench, targets_of
from hwloop_calibration.characterise.fit import Noise, fit
from hwloop_calibration.characterise.measure import Session
from hwloop_calibration.characterise.restarts import WIDER, draws
from hwloop_calibration.characterise.restarts import some as _some
from hwloop_emulator import EmulatorTarget, Preset

from .support import errors, opened, preset, program_for, quiet, truth


def test_without_noise_every_identifiable_parameter_is_found_within_a_thousandth() -> None:
    device = opened(quiet(preset(24)), trial_noise=False)
    found = characterise(device, program_for(device), neurons="all", repeats=4)
    true = truth(device)
    sound = ~found.judgement.masked
    assert sound.sum() >= 22
    assert found.judgement.identified[sound].all()
    off = errors(found.neurons, true)[sound] / [1, 1, 1, 2e-3, 5e-3]
    assert np.abs(off).max() < 1e-3
    live = sound[:, None] & (true.weight > 0)
    assert np.abs(np.log(found.weights.value[live] / true.weight[live])).max() < 1e-3


@pytest.mark.parametrize(("number", "neuron"), [(1, 208), (2, 370)])
def test_weak_fast_neurons_whose_first_fit_ends_in_a_wrong_minimum_are_found(number: int, neuron: int) -> None:
    # both weights and tau_syn a fifth below the nominal: from there the spike counts of many stimuli differ
    device = EmulatorTarget(str(number), preset=quiet(Preset.load("bss2")), trial_noise=False, session=0).open()
    neurons = range(neuron - neuron % 32, neuron - neuron % 32 + 32)
    program = program_for(device)
    targets = targets_of(program, device, neurons)
    bench = Bench(device, targets, 4)
    session = Session(bench, 4)
    bench.load()
    found = session.characterise()
    true, k = truth(device), neuron % 32
    nominal = targets.nominal(4, device.capabilities.latency, device.capabilities.refractory_min)
    seen, noise = session._measure(session.patterns or []), Noise(0.02, 1e-4, 0.0)
    assert fit(nominal, seen, noise).cost[k] > 1e3
    assert not found.judgement.masked[k]
    assert np.abs(errors(found.neurons[[k]], true[[k]]) / [1, 1, 1, 2e-3, 5e-3]).max() < 1e-3


def test_draws_for_a_second_start_follow_the_neurons_found_well_and_are_the_same_each_time() -> None:
    device = opened(preset(96), 3)
    found = characterise(device, program_for(device), neurons="all", synapses=False)
    points = draws(found.fit)
    sound = found.neurons[np.flatnonzero(found.fit.cost < 2 * np.maximum(found.fit.freedom, 1))]
    assert np.std(np.log(points.tau_mem)) == pytest.approx(WIDER * np.std(np.log(sound.tau_mem)), rel=0.15)
    assert np.median(points.weight) == pytest.approx(np.median(sound.weight), rel=0.05)
    assert (draws(found.fit).weight == points.weight).all()
    few = draws(_some(found.fit, np.arange(6)))
    assert np.std(np.log(few.tau_syn)) == pytest.approx(WIDER * 0.15, rel=0.15)


def test_with_noise_errors_are_small_and_as_large_as_stated() -> None:
    device = opened(preset(64), 8)
    found = characterise(device, program_for(device), neurons="all")
    true, sound = truth(device), ~found.judgement.masked
    off = errors(found.neurons, true)[sound]
    scaled = np.abs(off) / [1, 1, 1, 2e-3, 5e-3]
    assert (np.median(scaled, axis=0) < 0.01).all()
    z = off / found.errors[sound][:, :5]
    # 5 correlated coordinates of 60 neurons: the share within 1.96 has a deviation of about 2 %
    assert 0.88 < np.mean(np.abs(z) < 1.96) <= 1.0
    # the standard error is the Cramer-Rao bound of the noise model: RMS of z is error over bound
    assert np.sqrt(np.mean(z**2)) < 1.5
    weights = np.log(found.weights.value / true.weight)[sound] / found.weights.error[sound]
    assert 0.88 < np.mean(np.abs(weights) < 1.96) <= 1.0


def test_noise_of_the_chip_is_found_from_repeats() -> None:
    device = opened(preset(32), 2)
    found = characterise(device, program_for(device), neurons="all", synapses=False)
    # jitter of .1 ms and the rounding of stamps to .1 ms add in square
    assert found.noise.threshold == pytest.approx(0.015, rel=0.1)
    assert found.noise.jitter == pytest.approx(np.hypot(0.1e-3, 0.1e-3 / np.sqrt(12)), rel=0.1)


def test_defects_are_masked_with_their_reason() -> None:
    chip = preset(48, dead=0.1, stuck=0.06, stuck_rate=5e4, hot=0.06, hot_rate=2e4, dead_synapse=0.03)
    device = opened(chip, 4)
    found = characterise(device, program_for(device), neurons="all", repeats=8)
    from hwloop_emulator.oracle import Oracle

    oracle = Oracle(device)
    struck = {name: np.flatnonzero(oracle.struck(0, name)).tolist() for name in ("dead", "stuck", "hot")}
    assert all(struck.values())
    for k in struck["dead"]:
        if k not in struck["stuck"]:
            assert found.judgement.reasons[k].startswith("silent")
    for k in {*struck["stuck"], *struck["hot"]} - set(struck["dead"]):
        assert k in found.judgement.reasons
    defective = {k for names in struck.values() for k in names}
    assert set(found.judgement.reasons) == defective
    dead = (oracle.weight(0) == 0) & ~found.judgement.masked[:, None]
    assert dead.any()
    assert (found.weights.value[dead] == 0).all()


def test_a_refractory_time_below_the_noise_is_known_no_better_than_stated_and_left_alone() -> None:
    device = opened(preset(16), 6)
    program = program_for(device, t_ref=0.0)
    calibration = hl.calibrate(device, program, neurons="all", synapses=False, repeats=8)
    # the chip holds .04 us; its jitter is .1 us, so single errors of some 20 % are what there is to have
    off = np.abs(calibration.value("t_ref") - 0.04e-3)
    assert (calibration.error("t_ref") > 0.05 * 0.04e-3).all()
    known = np.isfinite(off)
    assert known.sum() >= 14
    assert (off[known] < 5 * calibration.error("t_ref")[known]).all()
    assert (device.trim_codes("t_ref") == device.trim_ranges["t_ref"].default).all()


def test_a_silent_chip_is_refused() -> None:
    device = opened(preset(16, dead=1.0))
    with pytest.raises(TargetError, match="no neuron fired on any of"):
        characterise(device, program_for(device), neurons="all")


def test_a_chip_that_answers_with_noise_is_refused() -> None:
    device = opened(preset(16, hot=1.0, hot_rate=5e4))
    with pytest.raises(TargetError, match="neurons cannot be calibrated"):
        characterise(device, program_for(device), neurons="all", repeats=8)


def test_a_chip_that_drifts_meanwhile_is_refused() -> None:
    device = opened(preset(16, temperature_common=0.01))
    original, calls = device._execute, []

    def warming(*arguments):
        calls.append(1)
        device.temperature = min(10.0, 1.0 * len(calls))
        return original(*arguments)

    device._execute = warming
    import hwloop_calibration.characterise.bench as bench

    before, bench.RUN_SAMPLES = bench.RUN_SAMPLES, 160
    try:
        with pytest.raises(TargetError, match="drifts|does not behave"):
            characterise(device, program_for(device), neurons="all")
    finally:
        bench.RUN_SAMPLES = before


@pytest.mark.parametrize("option, value", [("repeats", 2), ("tolerance", 0.0), ("tolerance", 2.0)])
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    device = opened(preset(8))
    with pytest.raises(InputError, match=f"{option} = {value}; allowed"):
        characterise(device, program_for(device, hidden=4), **{option: value})


def test_neurons_that_do_not_exist_are_refused() -> None:
    device = opened(preset(16))
    with pytest.raises(InputError, match="different ones of 0..15"):
        characterise(device, program_for(device), neurons=[3, 99])


@pytest.mark.parametrize("repeats", [np.int64(4), np.uint8(4), torch.tensor(4)])
def test_repeats_are_whole_numbers_of_every_kind(repeats: Any) -> None:
    device = opened(preset(8), 3)
    bench = Bench(device, targets_of(program_for(device, hidden=3), device), 4)
    session = Session(bench, repeats)
    assert (session.repeats, type(session.repeats)) == (4, int)


@pytest.mark.parametrize("repeats", [3, True, 4.0, np.float64(4), "4", None])
def test_what_is_no_number_of_repeats_is_refused(repeats: Any) -> None:
    device = opened(preset(8), 3)
    bench = Bench(device, targets_of(program_for(device, hidden=3), device), 4)
    with pytest.raises(InputError, match="allowed: a whole number >= 4"):
        Session(bench, repeats)
