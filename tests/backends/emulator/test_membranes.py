"""Sampled membranes follow the reference neuron, pass the converter, and exist only where the preset has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.device.trim import MembraneReader
from hwloop.errors import InputError, TargetError
from hwloop.network import Network
from hwloop.simulate.reference.neuron import Membrane, Neuron
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice, Preset

Build = Callable[..., Network]
Chip = Callable[..., EmulatorDevice]
TIMES = np.linspace(0.0, 0.06, 61)


def reader(**effects: float) -> Preset:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["membrane_channels"] = {"value": 8, "source": "test"}
    data["effects"] = {name: {"scale": scale, "source": "test"} for name, scale in effects.items()}
    return Preset.model_validate(data)


def reference(net: Network, spikes: Spikes, sample: int, neuron: int) -> list[float]:
    """Membrane of a neuron of the first layer by the simulator's plain specification."""
    dense, lif = net.blocks[0]
    p = {name: float(value[neuron]) for name, value in lif.parameters_dict().items()}
    threshold, reset = p["v_th"] - p["v_leak"], p["v_reset"] - p["v_leak"]
    start = reset if threshold <= 0 else 0.0
    own = net(spikes)[0]
    count = int(own.counts[sample])
    fired = own.times[sample, :count][own.units[sample, :count] == neuron].tolist()
    n_in = int(spikes.counts[sample])
    events = [(t, 0, -1) for t in fired]
    events += [(float(spikes.times[sample, e]), 1, int(spikes.units[sample, e])) for e in range(n_in)]
    result = []
    for goal in TIMES:
        membrane = Membrane(
            Neuron(p["tau_mem"], p["tau_syn"], p["t_ref"], threshold, reset, start, lif.reset == "subtract")
        )
        for number, (t, kind, unit) in enumerate(sorted(events)):
            if t > goal or (t == goal and kind == 1):
                break
            membrane.advance(t)
            if kind == 0:
                membrane.fire()
            else:
                membrane.arrive(number, float(dense.weight.detach()[neuron, unit]))
        membrane.advance(goal)
        result.append(membrane.u + p["v_leak"])
    return result


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"v_leak": 0.2, "v_reset": -0.3, "t_ref": 2e-3},
        {"tau_mem": 5e-3, "reset": "subtract"},
        {"v_leak": 1.2},
    ],
)
def test_membranes_are_those_of_the_reference_neuron(
    build: Build, chip: Chip, spikes: Spikes, settings: dict[str, Any]
) -> None:
    net = build(**settings)
    device = chip(net, reader())
    assert isinstance(device, MembraneReader)
    neurons = np.array([3, 17, 39])
    found = device.read_membrane(spikes[:4], 0, neurons, TIMES)
    assert found.shape == (4, 3, 61)
    for sample in range(4):
        for k, neuron in enumerate(neurons):
            # one flow from event to event against one from sample to sample: some 70 roundings of 1e-16 of values of 1
            assert found[sample, k] == pytest.approx(reference(net, spikes, sample, int(neuron)), abs=1e-11)


def test_the_second_layer_is_driven_by_the_first(build: Build, chip: Chip, spikes: Spikes) -> None:
    net = build()
    record = net(spikes)
    first = record.output.first_times().detach()[0]
    for neuron, time in enumerate(first.tolist()):
        around = np.array([time - 1e-8, time])
        found = chip(net, reader()).read_membrane(spikes[:1], 1, np.array([neuron]), around)[0, 0]
        # slopes are below 1e3 a second: 1e-8 s before its spike the membrane lies 1e-5 below threshold at most
        assert found == pytest.approx([1.0, 0.0], abs=1e-5)


def test_the_converter_adds_noise_and_steps(build: Build, chip: Chip, spikes: Spikes) -> None:
    net, neurons = build(), np.arange(8)
    plain = chip(net, reader()).read_membrane(spikes, 0, neurons, TIMES)
    noisy = chip(net, reader(adc_noise=0.02)).read_membrane(spikes, 0, neurons, TIMES) - plain
    # 30 * 8 * 61 draws: the deviation to .6 %, five of them
    assert noisy.std() == pytest.approx(0.02, rel=0.03)
    stepped = chip(net, reader(adc_step=0.05)).read_membrane(spikes, 0, neurons, TIMES)
    assert np.allclose(np.round(stepped / 0.05), stepped / 0.05)
    inside = (plain > -0.9) & (plain < 1.9)
    assert np.abs(stepped - plain)[inside].max() <= 0.025 + 1e-12


def test_reading_membranes_is_a_run_of_its_own(build: Build, chip: Chip, spikes: Spikes) -> None:
    device = chip(build(), reader(threshold_sample=0.02))
    first = device.read_membrane(spikes, 0, np.arange(2), TIMES)
    assert device.batch == 1
    assert device.device_time == pytest.approx(30 * 0.06)
    assert not np.array_equal(first, device.read_membrane(spikes, 0, np.arange(2), TIMES))


def test_a_chip_without_converter_and_one_with_too_few_channels_refuse(
    build: Build, chip: Chip, spikes: Spikes
) -> None:
    assert chip(build(), "bss2").membrane_channels == 0
    with pytest.raises(TargetError, match="samples 0 membranes in a run, 1 were asked for"):
        chip(build(), "bss2").read_membrane(spikes, 0, np.array([0]), TIMES)
    with pytest.raises(TargetError, match="samples 8 membranes in a run, 9 were asked for"):
        chip(build(), reader()).read_membrane(spikes, 0, np.arange(9), TIMES)


@pytest.mark.parametrize(
    "population, neurons, times, message",
    [
        (2, [0], TIMES, r"population 2; allowed: 0\.\.1"),
        (0, [40], TIMES, r"whole numbers 0\.\.39"),
        (0, [0.5], TIMES, "whole numbers"),
        (0, [0], [0.07], r"within 0\.\.0\.06 s"),
        (0, [0], [0.02, 0.01], "ascending"),
    ],
)
def test_samples_that_do_not_exist_are_refused(
    build: Build, chip: Chip, spikes: Spikes, population: int, neurons: list[int], times: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        chip(build(), reader()).read_membrane(spikes, population, np.array(neurons), np.asarray(times))


def test_dtype_of_the_model_does_not_change_what_is_read(build: Build, chip: Chip, spikes: Spikes) -> None:
    double = chip(build(), reader()).read_membrane(spikes, 0, np.arange(4), TIMES)
    single = chip(build(dtype=torch.float32), reader()).read_membrane(spikes, 0, np.arange(4), TIMES)
    assert single.dtype == np.float64
    # float32 spikes move by some 1e-9 s; slopes are some 1e3 a second
    assert np.median(np.abs(single - double)) < 1e-5
