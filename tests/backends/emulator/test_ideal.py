"""With all effects off the chip is the simulator, spike for spike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.network import Network
from hwloop.record import Record
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice, Preset

MODELS: list[dict[str, Any]] = [
    {},
    {"dtype": torch.float32},
    {"tau_mem": 7e-3, "tau_syn": 7e-3},
    {"tau_mem": torch.linspace(5e-3, 20e-3, 40), "n_out": 40},
    {"reset": "subtract", "v_reset": -0.5, "t_ref": 1e-3},
    {"max_spikes": 1},
    {"delay": 2e-3},
    {"v_leak": 1.2, "dtype": torch.float32},
]


def same(a: Record, b: Record) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.times, y.times) and torch.equal(x.units, y.units) and torch.equal(x.counts, y.counts)
        for x, y in zip(a.populations, b.populations, strict=True)
    )


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_an_ideal_chip_fires_as_the_simulator_bit_for_bit(
    build: Callable[..., Network], chip: Callable[..., EmulatorDevice], spikes: Spikes, model: dict[str, Any]
) -> None:
    net = build(**model)
    recording, record = chip(net).run(spikes), net(spikes)
    assert int(record.output.counts.sum()) > 0
    assert same(recording, record)
    assert (recording.lost_events, recording.late_events) == (0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_ideal_chips_spikes_give_the_simulators_gradients_bit_for_bit(
    build: Callable[..., Network], chip: Callable[..., EmulatorDevice], spikes: Spikes, dtype: torch.dtype
) -> None:
    net = build(dtype=dtype)
    measured = chip(net).run(spikes)
    gradients = []
    for record in (net(spikes), net(spikes, measured=measured)):
        net.zero_grad()
        times = record.output.times
        (times[torch.isfinite(times)] ** 2).sum().backward()
        gradients.append([block[0].weight.grad.clone() for block in net.blocks])
    for own, replayed in zip(*gradients, strict=True):
        assert torch.equal(own, replayed)
        assert bool((own != 0).any())


def test_physical_placement_changes_nothing_on_an_ideal_chip(
    build: Callable[..., Network], chip: Callable[..., EmulatorDevice], spikes: Spikes
) -> None:
    net = build()
    assert same(chip(net, compiling={"mask": [0, 5, 17]}).run(spikes), net(spikes))


def test_acceleration_alone_changes_times_by_rounding_only(
    build: Callable[..., Network], chip: Callable[..., EmulatorDevice], spikes: Spikes
) -> None:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["speedup"] = {"value": 1000.0, "source": "test"}
    net = build(t_ref=1e-3)
    fast, record = chip(net, Preset.model_validate(data)).run(spikes), net(spikes)
    for a, b in zip(fast.populations, record.populations, strict=True):
        assert torch.equal(a.units, b.units)
        valid = b.valid
        # a handful of roundings of 1e-16, amplified by at most 1/D of the spikes' slopes
        assert torch.allclose(a.times[valid], b.times[valid].detach(), rtol=1e-9, atol=0)


def test_a_gain_of_the_program_acts_on_the_chip(
    build: Callable[..., Network], chip: Callable[..., EmulatorDevice], spikes: Spikes
) -> None:
    device = chip(build())
    expected = device.run(spikes)
    program = device.program
    assert program is not None
    gain = np.where(np.arange(40) % 2, 2.0, 0.5)  # powers of two: no rounding
    first = dataclasses.replace(program.layers[0], codes=program.layers[0].codes / gain[:, None], gain=gain)
    device.load(dataclasses.replace(program, layers=(first, *program.layers[1:])))
    assert same(device.run(spikes), expected)
