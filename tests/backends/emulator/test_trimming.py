"""Trim cells: nothing moves at default codes, every converter is monotone, writes cost time and shift neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwloop.device.registry import Device
from hwloop.device.trim import TRIMMED, Trimmable, TrimRange
from hwloop.errors import InputError, OptionError, TargetError
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset
from hwloop_emulator.oracle import Oracle

Build = Callable[..., Network]
Chip = Callable[..., EmulatorDevice]


def opened(preset: str | Preset = "bss2", **options: object) -> EmulatorDevice:
    return EmulatorTarget("7", preset=preset, session=0, **options).open()  # type: ignore[arg-type]


def without(name: str, *effects: str) -> Preset:
    preset = Preset.load(name)
    for effect in effects:
        preset = preset.with_effect(effect, 0.0)
    return preset


def truth(device: EmulatorDevice, name: str) -> np.ndarray:
    """Log factors or offsets of all neurons, straight from the chip: the oracle wants a program."""
    neurons = np.arange(512)
    analog = device._chip.analog
    found = analog.offset(name, neurons) if name.startswith("v_") else analog.factor(name, neurons)
    assert found is not None
    return found if name.startswith("v_") else np.log(found)


def test_the_emulator_is_a_trimmable_device() -> None:
    device = opened()
    assert isinstance(device, Trimmable)
    assert isinstance(device, Device)
    assert set(device.trim_ranges) == set(TRIMMED)
    assert opened("ideal").trim_ranges == {}


def test_a_chip_at_default_codes_is_the_chip_without_trim_cells(build: Build, chip: Chip, spikes: Spikes) -> None:
    # every preset of before had no trim cells; the draws must be the same to the bit
    bare = Preset.load("bss2").model_copy(update={"trims": {}})
    net = build()
    with_cells, without_cells = chip(net, "bss2"), chip(net, bare)
    for name, allowed in with_cells.trim_ranges.items():
        with_cells.write_trim(name, np.full(512, allowed.default))
    assert with_cells.writes.trims == 0
    a, b = with_cells.run(spikes), without_cells.run(spikes)
    for k in range(2):
        assert torch.equal(a[k].times, b[k].times)
        assert torch.equal(a[k].units, b[k].units)


@pytest.mark.parametrize("parameter", TRIMMED)
def test_every_converter_is_monotone(parameter: str) -> None:
    device = opened(without("worst", "trim_write", "trim_crosstalk", "drift_power", "drift_ou"))
    values = []
    for code in range(0, 256, 5):
        device.write_trim(parameter, np.full(512, code))
        values.append(truth(device, parameter))
    assert (np.diff(values, axis=0) > 0).all()


def test_neurons_follow_the_nominal_law_on_average_and_not_one_by_one() -> None:
    device = opened()
    before = truth(device, "tau_mem")
    allowed = device.trim_ranges["tau_mem"]
    code = allowed.codes(np.array(1.2))
    device.write_trim("tau_mem", np.full(512, code))
    moved = truth(device, "tau_mem") - before
    # slopes spread by 10 %: mean within four standard errors of .1 / sqrt(512), single neurons not within 1 %
    assert moved.mean() / np.log(1.2) == pytest.approx(1.0, abs=0.02)
    assert 0.05 < (moved / np.log(1.2)).std() < 0.2


def test_only_changed_cells_are_written_and_time_passes() -> None:
    device = opened()
    codes = device.trim_codes("v_th")
    codes[[3, 9]] += 5
    device.write_trim("v_th", codes)
    assert (device.writes.last, device.writes.trims, device.writes.total) == (2, 2, 2)
    assert device.device_time == pytest.approx(0.02 + 2e-6, rel=1e-12)
    device.write_trim("v_th", codes)
    assert (device.writes.last, device.writes.trims) == (0, 2)
    assert device.device_time == pytest.approx(0.02 + 2e-6, rel=1e-12)
    assert np.array_equal(device.trim_codes("v_th"), codes)


def test_a_write_moves_the_neighbours_until_they_are_written_anew() -> None:
    device = opened(without("bss2", "trim_write"))
    before = truth(device, "tau_syn")
    step = 400
    device.write_trim("tau_syn", np.array([511 + step]), np.array([100]))
    moved = truth(device, "tau_syn") - before
    expected = 0.005 * step * 0.002  # crosstalk * codes * step of the law
    assert moved[[99, 101]] == pytest.approx(expected, rel=1e-6)
    assert np.flatnonzero(moved).tolist() == [99, 100, 101]
    device.write_trim("tau_syn", np.array([511, 511]), np.array([99, 101]), refresh=True)
    moved = truth(device, "tau_syn") - before
    assert np.flatnonzero(np.abs(moved) > 1e-12).tolist() == [100]


def test_cells_written_together_land_in_ascending_order() -> None:
    device = opened(without("bss2", "trim_write", "trim_slope", "trim_bow", "trim_step"))
    before = truth(device, "v_leak")
    device.write_trim("v_leak", np.array([611, 711]), np.array([20, 21]))
    moved = (truth(device, "v_leak") - before) / 0.001
    # 21 is written after 20: it wipes what 20 did to it, and moves 20
    assert moved[19:24] == pytest.approx([0.5, 101.0, 200.0, 1.0, 0.0], abs=1e-9)


def test_each_write_lands_with_its_own_error() -> None:
    device = opened(without("bss2", "trim_crosstalk"))
    neurons = np.arange(512)
    found = []
    for _ in range(2):
        device.write_trim("gain", np.full(512, 511), neurons, refresh=True)
        found.append(truth(device, "gain"))
    error = (found[1] - found[0]) / 0.002
    # the difference of two errors of .5 LSB; 512 draws give the deviation to 3.1 %, five of them
    assert error.std() == pytest.approx(0.5 * np.sqrt(2), rel=0.16)


def test_trims_act_on_spikes_and_the_oracle_sees_them(build: Build, chip: Chip, spikes: Spikes) -> None:
    device = chip(build(), "bss2", trial_noise=False)
    before, tau = device.run(spikes), Oracle(device).parameter(0, "tau_mem")
    device.write_trim("tau_mem", np.full(512, 800))
    after = device.run(spikes)
    assert (Oracle(device).parameter(0, "tau_mem") > 1.3 * tau).all()
    assert not torch.equal(before[0].counts, after[0].counts)


def test_seeking_keeps_the_trim_codes(build: Build, chip: Chip) -> None:
    device = chip(build(), "bss2")
    device.write_trim("tau_mem", np.full(512, 600))
    time = device.device_time
    device.seek(3, 4)
    assert (device.trim_codes("tau_mem") == 600).all()
    assert device.device_time >= time


def test_a_write_that_breaks_off_leaves_the_cells_before_it_written() -> None:
    device = opened(fail_after=(5,))
    codes = np.full(512, 520)
    with pytest.raises(TargetError, match=r"broke off after 5 of 512 cells.*trim_codes"):
        device.write_trim("v_th", codes)
    assert np.flatnonzero(device.trim_codes("v_th") != 511).tolist() == [0, 1, 2, 3, 4]
    assert device.writes.trims == 5
    device.write_trim("v_th", codes)
    assert (device.trim_codes("v_th") == 520).all()


REFUSED = [
    ("tau", np.full(512, 1), None, OptionError, "no trim cells for 'tau'.*tau_mem, tau_syn"),
    ("v_th", np.full(512, 1023), None, InputError, r"v_th, neuron 0: code 1023; allowed: 0\.\.1022"),
    ("v_th", np.array([1.5]), np.array([0]), InputError, "float64; allowed: whole numbers"),
    ("v_th", np.array([1]), np.array([512]), InputError, r"neuron 512; allowed: 0\.\.511"),
    ("v_th", np.array([1, 2]), np.array([4, 4]), InputError, "neuron 4 is named twice"),
    ("v_th", np.array([1, 2]), np.array([4]), InputError, "for 1 neurons; allowed: one for each"),
]


@pytest.mark.parametrize("parameter, codes, neurons, kind, message", REFUSED)
def test_bad_writes_are_refused_before_anything_is_written(
    parameter: str, codes: np.ndarray, neurons: np.ndarray | None, kind: type[Exception], message: str
) -> None:
    device = opened()
    with pytest.raises(kind, match=message):
        device.write_trim(parameter, codes, neurons)
    assert (device.writes.total, device.device_time) == (0, 0.0)


def test_a_closed_chip_and_a_chip_without_cells_refuse_writes() -> None:
    device = opened()
    device.close()
    with pytest.raises(TargetError, match="is closed"):
        device.write_trim("v_th", np.full(512, 1))
    with pytest.raises(OptionError, match="it has them for: none"):
        opened("ideal").write_trim("v_th", np.array([1]), np.array([0]))


def test_ranges_turn_changes_into_codes_and_back() -> None:
    factor = TrimRange(0, 1022, 511, "exponential", 0.002)
    offset = TrimRange(0, 1022, 511, "linear", 0.001)
    codes = np.arange(1023)
    assert np.array_equal(factor.codes(factor.change(codes)), codes)
    assert np.array_equal(offset.codes(offset.change(codes)), codes)
    assert factor.codes(np.array([1e-9, 1e9])).tolist() == [0, 1022]
    with pytest.raises(InputError, match="change -1 of a trimmed parameter; allowed: finite and > 0"):
        factor.codes(np.array([-1.0]))
