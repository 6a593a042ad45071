"""Chips age with their own clock, as a pure function of it, and come back where the cause goes away."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwloop.device.trim import TRIMMED
from hwloop.errors import InputError
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset
from hwloop_emulator.drift import Drift
from hwloop_emulator.oracle import Oracle
from hwloop_emulator.silicon import Silicon

Build = Callable[..., Network]
Chip = Callable[..., EmulatorDevice]
#: A chip that only drifts, with many neurons: the deviation of 20,000 draws is known to 1/sqrt(40,000) = .5 %.
N = 20_000
ALL = np.arange(N)


def drifting(**effects: float) -> Drift:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["n_neurons"] = {"value": N, "source": "test"}
    data["effects"] = {name: {"scale": scale, "source": "test"} for name, scale in effects.items()}
    return Drift(Silicon(Preset.model_validate(data), 3))


def shift(drift: Drift, clock: float, temperature: float = 0.0, parameter: str = "tau_mem") -> np.ndarray:
    found = drift.shift(parameter, ALL, clock, temperature)
    return np.zeros(N) if found is None else found


def test_a_chip_at_clock_zero_and_reference_temperature_has_not_moved() -> None:
    drift = drifting(drift_ou=0.1, drift_ou_time=60.0, drift_power=0.1, drift_power_time=60.0, drift_power_exponent=0.5)
    assert drift.shift("tau_mem", ALL, 0.0, 0.0) is None


def test_ornstein_uhlenbeck_drift_has_its_variance_and_its_memory() -> None:
    drift = drifting(drift_ou=0.1, drift_ou_time=320.0)
    for clock in (10.0, 160.0, 3200.0):
        # exact: sigma^2 (1 - e^(-2 t/T)); five standard errors of a deviation are 2.5 %
        expected = 0.1 * math.sqrt(-math.expm1(-2 * clock / 320.0))
        assert shift(drift, clock).std() == pytest.approx(expected, rel=0.025)
    early, late = shift(drift, 3200.0), shift(drift, 3200.0 + 320.0)
    # correlation e^-1 after a correlation time, standard error 1/sqrt(20,000) = .7 %, five of them
    assert np.corrcoef(early, late)[0, 1] == pytest.approx(math.exp(-1), abs=0.035)


def test_drift_is_a_function_of_the_clock_alone_whatever_was_asked_before() -> None:
    a, b = (drifting(drift_ou=0.1, drift_ou_time=32.0) for _ in range(2))
    for clock in (5.0, 300.0, 600.0, 1.0):
        shift(a, clock)
    for clock in (600.0, 40.0):
        assert np.array_equal(shift(a, clock), shift(b, clock))


def test_power_law_drift_grows_with_its_exponent() -> None:
    drift = drifting(drift_power=0.02, drift_power_time=60.0, drift_power_exponent=0.5)
    assert shift(drift, 60.0).std() == pytest.approx(0.02, rel=0.025)
    assert shift(drift, 240.0) == pytest.approx(2 * shift(drift, 60.0), rel=1e-12)


def test_only_the_share_that_drifts_moves() -> None:
    drift = drifting(drift_power=0.02, drift_power_time=60.0, drift_power_exponent=1.0, drift_share=0.25)
    moved = [shift(drift, 60.0, parameter=name) != 0 for name in TRIMMED]
    assert all(np.array_equal(moved[0], other) for other in moved)
    # binomial: standard error sqrt(.25 * .75 / 20,000) = .3 %
    assert moved[0].mean() == pytest.approx(0.25, abs=0.016)


def test_temperature_shifts_all_and_each_neuron_and_is_undone() -> None:
    drift = drifting(temperature=0.001, temperature_common=0.002)
    warm = shift(drift, 0.0, 10.0)
    assert warm.mean() == pytest.approx(0.02, abs=5 * 0.01 / math.sqrt(N))
    assert warm.std() == pytest.approx(0.01, rel=0.025)
    assert shift(drift, 0.0, -10.0) == pytest.approx(-warm, rel=1e-12)
    assert drift.shift("v_th", ALL, 0.0, 0.0) is None


def test_an_advanced_chip_is_the_chip_opened_later(build: Build, chip: Chip, spikes: Spikes) -> None:
    net = build()
    aged = chip(net, "worst")
    before = Oracle(aged).parameter(0, "tau_mem")
    aged.advance(3600.0 - aged.device_time)
    late = chip(net, "worst", clock=3600.0 - 1e-3)  # loading takes device time too, less than a tick
    assert not np.allclose(Oracle(aged).parameter(0, "tau_mem"), before)
    assert np.array_equal(Oracle(aged).parameter(0, "tau_mem"), Oracle(late).parameter(0, "tau_mem"))
    a, b = aged.run(spikes), late.run(spikes)
    assert torch.equal(a.output.times, b.output.times)


def test_bss2_is_at_rest_for_the_first_minute_and_drifts_within_hours(build: Build, chip: Chip) -> None:
    device = chip(build(), "bss2")
    oracle = Oracle(device)
    new = oracle.parameter(0, "tau_mem")
    device.advance(60.0)
    assert np.array_equal(oracle.parameter(0, "tau_mem"), new)
    device.advance(7200.0)
    moved = np.log(oracle.parameter(0, "tau_mem") / new)
    assert 0.002 < moved.std() < 0.01
    device.temperature = 5.0
    assert np.log(oracle.parameter(0, "tau_mem") / new).mean() == pytest.approx(moved.mean() + 0.01, abs=0.004)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_time_does_not_run_backwards(seconds: float) -> None:
    device = EmulatorTarget("1").open()
    with pytest.raises(InputError, match=r"advance\(.*allowed: 0\.\.1e\+09 device s"):
        device.advance(seconds)
    with pytest.raises(InputError, match="clock = "):
        EmulatorTarget("1", clock=seconds)


def test_a_temperature_out_of_this_world_is_refused() -> None:
    with pytest.raises(InputError, match=r"temperature = 300 K above reference; allowed: -200\.\.200"):
        EmulatorTarget("1").open().temperature = 300


def test_drift_without_its_time_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"effects\.drift_ou > 0 without effects\.drift_ou_time; state it \(device_s\)"
    ):
        Preset.load("ideal").with_effect("drift_ou", 0.1)
