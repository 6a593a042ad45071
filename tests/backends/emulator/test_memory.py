"""Synapse cells: converters, spread, defects, and the error of each write."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwloop.device.registry import compile
from hwloop.errors import InputError
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset
from hwloop_emulator.oracle import Oracle

Build = Callable[..., Network]
Chip = Callable[..., EmulatorDevice]
Only = Callable[..., Preset]


@pytest.fixture
def square() -> Network:
    """200 neurons, 100 inputs, codes of every size."""
    weight = torch.linspace(-31, 31, 63, dtype=torch.float64).repeat(400)[: 200 * 100].reshape(200, 100)
    net = Network([Dense(100, 200), LIF(200, 10e-3, 5e-3)]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(weight / 31)
    return net


def codes_and_weights(device: EmulatorDevice) -> tuple[np.ndarray, np.ndarray]:
    """Codes and the effective weights in LSB."""
    assert device.program is not None
    layer = device.program.layers[0]
    return layer.codes, Oracle(device).weight(0) / layer.scale


def test_resolution_alone_leaves_the_codes_values(square: Network, chip: Chip, only: Only) -> None:
    codes, weights = codes_and_weights(chip(square, only(bits=6)))
    assert weights == pytest.approx(codes)


def test_neuron_gain_scales_all_synapses_of_a_neuron(square: Network, chip: Chip, only: Only) -> None:
    device = chip(square, only(bits=6, gain=0.1))
    codes, weights = codes_and_weights(device)
    assert weights == pytest.approx(codes * Oracle(device).factors("gain")[:200, None])


def test_synapse_spread_is_relative_and_each_synapses_own(square: Network, chip: Chip, only: Only) -> None:
    codes, weights = codes_and_weights(chip(square, only(bits=6, synapse=0.05)))
    ratio = weights[codes != 0] / codes[codes != 0]
    # about 19,700 synapses: standard errors .05/sqrt(n) = 3.6e-4 and 2.5e-4; five of each
    assert ratio.mean() == pytest.approx(1.0, abs=1.8e-3)
    assert ratio.std() == pytest.approx(0.05, abs=1.3e-3)
    assert (weights[codes == 0] == 0).all()


def test_a_bowed_converter_is_exact_at_both_ends_and_worst_at_mid_range(
    square: Network, chip: Chip, only: Only
) -> None:
    codes, weights = codes_and_weights(chip(square, only(bits=6, dac_integral=0.01)))
    error = np.abs(weights - codes)
    assert error[np.isin(np.abs(codes), (0, 31))].max() < 1e-9
    middle = (weights - codes)[np.isin(np.abs(codes), (15, 16))]
    # about 1270 synapses at mid range, 1 % of 31 codes; five standard errors of a deviation, 1/sqrt(2n) = 2 % each
    assert middle.std() == pytest.approx(0.31, rel=0.1)


def test_a_binary_converter_errs_most_where_all_bits_are_on(square: Network, chip: Chip, only: Only) -> None:
    codes, weights = codes_and_weights(chip(square, only(bits=6, dac_differential=0.05)))
    error = weights - codes
    for magnitude in (1, 8, 31):
        # that many unit elements, independent: .05 sqrt(m); about 630 synapses, five standard errors of 2.8 %
        assert error[np.abs(codes) == magnitude].std() == pytest.approx(0.05 * magnitude**0.5, rel=0.14)
    assert (error[codes == 0] == 0).all()


def test_a_converter_never_turns_a_sign(square: Network, chip: Chip, only: Only) -> None:
    codes, weights = codes_and_weights(chip(square, only(bits=6, dac_differential=2.0, dac_integral=0.5)))
    assert (weights * codes >= 0).all()


def test_dead_synapses_carry_nothing(square: Network, chip: Chip, only: Only) -> None:
    codes, weights = codes_and_weights(chip(square, only(bits=6, dead_synapse=0.02)))
    dead = (weights == 0) & (codes != 0)
    # 19,700 synapses of 2 %: 394 +- 20, five standard errors
    assert dead.sum() == pytest.approx(394, abs=100)
    assert weights[~dead] == pytest.approx(codes[~dead])


def test_a_rewritten_cell_draws_its_error_anew_and_the_others_keep_theirs(
    square: Network, chip: Chip, only: Only
) -> None:
    device = chip(square, only(bits=6, programming=0.2))
    codes, first = codes_and_weights(device)
    live = codes != 0
    # five standard errors of a deviation of 19,700 draws, .5 % each
    assert (first - codes)[live].std() == pytest.approx(0.2, rel=0.025)
    assert (first[~live] == 0).all()
    assert device.program is not None
    program = device.program
    with torch.no_grad():
        square.blocks[0][0].weight[3, 5] += 2 * program.scales[0]
    device.load(program.with_weights(square))
    _, second = codes_and_weights(device)
    changed = np.argwhere(first != second)
    assert changed.tolist() == [[3, 5]]
    device.load(program)
    _, third = codes_and_weights(device)
    assert np.argwhere(first != third).tolist() == [[3, 5]]


def test_a_chip_that_a_loop_reloads_runs_as_one_that_was_just_opened(build: Build, spikes: Spikes, chip: Chip) -> None:
    net = build()
    device = chip(net, "bss2")
    assert device.program is not None
    with torch.no_grad():
        net.blocks[0][0].weight.mul_(0.8)
        net.blocks[1][1].tau_mem[0] *= 1.1
    device.load(device.program.with_weights(net))  # the first layer has other synapses, the second other neurons too
    for trimmed in (False, True):
        fresh = EmulatorTarget("7", preset="bss2", session=0, batch=device.batch).open()
        if trimmed:
            for one in (device, fresh):
                one.write_trim("v_th", np.full(4, one.trim_ranges["v_th"].codes_min), np.arange(4))
        device.load(device.program.with_weights(net))
        fresh.load(device.program)
        for mine, its in zip(device.run(spikes).populations, fresh.run(spikes).populations, strict=True):
            assert int(its.counts.sum()) > 0
            assert torch.equal(mine.times, its.times)
            assert torch.equal(mine.units, its.units)


def test_a_layer_placed_elsewhere_is_written_anew(square: Network, chip: Chip, only: Only) -> None:
    device = chip(square, only(bits=6))
    device.load(compile(square, device, mask=range(200)))
    assert device.writes.last == 200 * 100
    device.load(compile(square, device))
    assert device.writes.last == 0


def test_weights_beyond_an_explicit_scale_saturate(square: Network, chip: Chip, only: Only) -> None:
    device = chip(square, only(bits=6), compiling={"weight_scale": 1 / 62})
    codes, weights = codes_and_weights(device)
    assert codes.max() == 31
    assert weights.max() == pytest.approx(31)
    assert device.program is not None
    assert device.program.report().saturated > 0


@pytest.mark.parametrize("effect", ["dac_integral", "dac_differential", "programming"])
def test_an_effect_in_codes_needs_codes(effect: str) -> None:
    with pytest.raises(InputError, match=rf"effects.{effect} is stated in weight codes"):
        Preset.load("ideal").with_effect(effect, 0.1)
