"""A chip is a pure function of (preset, number)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hwloop.network import Network
from hwloop_emulator import EmulatorDevice, Preset, silicon
from hwloop_emulator.oracle import Oracle
from hwloop_emulator.silicon import Silicon

ALL = np.arange(512)
Build = Callable[..., Network]
Chip = Callable[..., EmulatorDevice]
Only = Callable[..., Preset]


def test_a_chip_is_the_same_chip_each_time_it_is_made() -> None:
    a, b = (Silicon(Preset.load("bss2"), 7) for _ in range(2))
    b.offset("v_th", ALL)  # another order of asking
    assert np.array_equal(a.factor("tau_mem", ALL), b.factor("tau_mem", ALL))
    assert np.array_equal(a.offset("v_th", ALL), b.offset("v_th", ALL))


def test_chips_differ() -> None:
    a, b = (Silicon(Preset.load("bss2"), number) for number in (7, 8))
    assert not np.isclose(a.factor("tau_mem", ALL), b.factor("tau_mem", ALL)).any()


def test_this_is_chip_7_for_good() -> None:
    # a change of these numbers is a change of every published result: it needs a new FIRMWARE version
    drawn = Silicon(Preset.load("bss2"), 7).factor("tau_mem", np.array([0, 1, 511]))
    assert drawn == pytest.approx(CHIP_7, rel=1e-12)


CHIP_7 = [1.0184075635799241, 1.0171973332983377, 1.0792177858515812]


def test_scaling_one_effect_moves_no_other_draw() -> None:
    base = Preset.load("bss2")
    a, b = Silicon(base, 3), Silicon(base.with_effect("tau_mem", 0.2), 3)
    assert np.log(b.factor("tau_mem", ALL)) == pytest.approx(2 * np.log(a.factor("tau_mem", ALL)), rel=1e-9)
    for name in ("tau_syn", "gain", "t_ref"):
        assert np.array_equal(a.factor(name, ALL), b.factor(name, ALL))
    assert np.array_equal(a.synapses("synapse", ALL[:5], 9), b.synapses("synapse", ALL[:5], 9))


def test_effects_do_not_share_their_draws() -> None:
    silicon = Silicon(Preset.load("bss2"), 7)
    rows = [np.log(silicon.factor(name, ALL)) for name in ("tau_mem", "tau_syn", "gain", "t_ref")]
    rows += [silicon.offset(name, ALL) for name in ("v_th", "v_leak", "v_reset")]
    correlation = np.corrcoef(np.array(rows)) - np.eye(len(rows))
    # 21 pairs of 512 independent draws: standard error 1/sqrt(512) = .044, five of them
    assert np.abs(correlation).max() < 0.22


def test_a_synapse_has_its_draw_whatever_is_loaded_beside_it() -> None:
    wide, narrow = (Silicon(Preset.load("worst"), 2) for _ in range(2))
    all_draws = wide.synapses("synapse", ALL, 256)
    assert np.array_equal(narrow.synapses("synapse", np.array([9, 4]), 10), all_draws[[9, 4], :10])
    assert np.array_equal(narrow.synapses("synapse", np.array([4]), 256), all_draws[[4]])


@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "gain", "t_ref"])
def test_relative_spread_is_log_normal_about_the_asked_value(name: str) -> None:
    preset = Preset.load("ideal").with_effect(name, 0.1)
    z = np.log(Silicon(preset, 1).factor(name, np.arange(100_000)))
    # standard errors: .1/sqrt(1e5) = 3.2e-4 of the mean, .1/sqrt(2e5) = 2.2e-4 of the deviation; five of each
    assert abs(z.mean()) < 1.6e-3
    assert abs(z.std() - 0.1) < 1.1e-3


@pytest.mark.parametrize("name", ["v_th", "v_leak", "v_reset"])
def test_absolute_spread_is_in_units_of_the_swing(build: Build, chip: Chip, only: Only, name: str) -> None:
    net = build(hidden=2000, v_th=1.5, v_reset=-0.5)
    asked = {"v_th": 1.5, "v_leak": 0.0, "v_reset": -0.5}[name]
    oracle = Oracle(chip(net, only(**{name: 0.03})))
    error = oracle.parameter(0, name) - asked
    # 3 % of the swing of 2; standard error of a deviation of 2000 draws is 1.6 %, five of them
    assert error.std() == pytest.approx(0.06, rel=0.08)


def test_a_normal_relative_spread_never_turns_negative() -> None:
    data = Preset.load("ideal").with_effect("tau_mem", 1.0).model_dump(exclude_unset=True)
    data["effects"]["tau_mem"]["distribution"] = "normal"
    factor = Silicon(Preset.model_validate(data), 1).factor("tau_mem", np.arange(10_000))
    assert factor.min() == 0.05


@pytest.mark.parametrize("effect", ["tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref"])
def test_one_effect_disturbs_its_own_parameter_alone(build: Build, chip: Chip, only: Only, effect: str) -> None:
    net = build(t_ref=1e-3)
    oracle = Oracle(chip(net, only(**{effect: 0.1})))
    for name, asked in net.blocks[0][1].parameters_dict().items():
        exact = np.array_equal(oracle.parameter(0, name), asked.numpy())
        assert exact == (name != effect), name
    assert np.array_equal(oracle.weight(0), net.blocks[0][0].weight.detach().numpy())


def test_true_parameters_are_in_model_units_by_logical_neuron(build: Build, chip: Chip) -> None:
    net = build(t_ref=1e-3)
    oracle = Oracle(chip(net, "bss2", compiling={"mask": [0, 1]}))
    factors = oracle.factors("tau_mem")
    # layers follow each other on neurons 2.. : the first two are masked
    assert oracle.parameter(0, "tau_mem") == pytest.approx(10e-3 * factors[2:42])
    assert oracle.parameter(1, "tau_mem") == pytest.approx(10e-3 * factors[42:45])
    assert oracle.parameter(0, "v_th") == pytest.approx(1.0 + oracle.offsets("v_th")[2:42])


def test_the_minimum_refractory_time_is_held(build: Build, chip: Chip) -> None:
    oracle = Oracle(chip(build(t_ref=0.0), "bss2"))
    # .04 us, 40 us in the model, with each neuron's own factor
    assert oracle.parameter(0, "t_ref") == pytest.approx(0.04e-3 * oracle.factors("t_ref")[:40])
    long = Oracle(chip(build(t_ref=2e-3), "bss2"))
    assert long.parameter(0, "t_ref") == pytest.approx(2e-3 * long.factors("t_ref")[:40])


def test_the_variant_without_mismatch_has_nominal_parameters(build: Build, chip: Chip) -> None:
    oracle = Oracle(chip(build(), "bss2", mismatch=False))
    for name, asked in (("tau_mem", 10e-3), ("tau_syn", 5e-3), ("v_th", 1.0), ("v_leak", 0.0), ("v_reset", 0.0)):
        assert oracle.parameter(0, name) == pytest.approx(np.full(40, asked), rel=1e-12, abs=1e-15)
    assert oracle.weight(0) == pytest.approx(oracle._program.weights()[0])
    assert not oracle.struck(0, "dead").any()


def test_the_20_percent_variant_is_the_same_chip_with_twice_the_spread(build: Build, chip: Chip) -> None:
    a, b = Oracle(chip(build(), "bss2")), Oracle(chip(build(), "bss2", spread=0.2))
    for name in ("tau_mem", "tau_syn", "gain"):
        assert np.log(b.factors(name)) == pytest.approx(2 * np.log(a.factors(name)), rel=1e-9)
    assert np.array_equal(a.offsets("v_th"), b.offsets("v_th"))


def test_a_block_of_synapses_that_is_kept_is_the_one_that_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [([9, 4], 10), ([4, 9], 10), ([9, 4], 12), ([9], 10), ([9, 4], 10)]
    kept = Silicon(Preset.load("bss2"), 3)
    found = [kept.synapses("synapse", np.array(neurons), n_in) for neurons, n_in in asked]
    assert found[4] is found[0]
    with pytest.raises(ValueError, match="read-only"):
        found[0][0] = 1.0
    monkeypatch.setattr(silicon, "KEPT_BYTES", 0)
    drawn = Silicon(Preset.load("bss2"), 3)
    for (neurons, n_in), block in zip(asked, found, strict=True):
        assert np.array_equal(drawn.synapses("synapse", np.array(neurons), n_in), block)
    assert drawn.synapses("synapse", np.array([9, 4]), 10) is not drawn.synapses("synapse", np.array([9, 4]), 10)
