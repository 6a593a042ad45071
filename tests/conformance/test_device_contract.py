"""What every target and device promises, whatever it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from hwloop.device.registry import Device, Target, compile, find, repetitions
from hwloop.errors import CompileError, InputError, TargetError
from hwloop.network import LIF, Dense, Network
from hwloop.record import Recording
from hwloop.spikes import Spikes

Build = Callable[..., Network]


def test_target_and_device_have_the_protocols(target: Target, device: Device) -> None:
    assert isinstance(target, Target)
    assert isinstance(device, Device)
    assert device.target is target
    assert device.capabilities == target.capabilities


def test_limits_print_and_have_a_digest(target: Target) -> None:
    assert target.capabilities.name in target.capabilities.describe()
    assert len(target.capabilities.digest) == 64


def test_a_network_compiles_for_the_device_as_for_its_target(target: Target, device: Device, build: Build) -> None:
    assert compile(build(), device).digest == compile(build(), target).digest


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_recording_has_valid_spikes_of_every_layer(
    device: Device, build: Build, spikes: Spikes, dtype: torch.dtype
) -> None:
    net = build(dtype)
    device.load(compile(net, device))
    recording = device.run(spikes)
    assert isinstance(recording, Recording)
    assert [p.n_units for p in recording.populations] == [6, 2]
    for population in recording.populations:
        assert len(population) == 4
        assert population.times.dtype == dtype
        # the constructor refuses whatever is unsorted, outside the window, or of an unknown unit
        Spikes(population.times, population.units, population.counts, population.n_units, population.t_stop)
        assert population.t_stop == spikes.t_stop


def test_a_recording_says_where_it_comes_from(device: Device, build: Build, spikes: Spikes) -> None:
    program = compile(build(), device)
    device.load(program)
    recording = device.run(spikes)
    assert recording.program_digest == program.digest
    assert recording.device_id == device.device_id
    assert recording.firmware == device.firmware
    assert recording.ran_on in ("emulator", "hardware")
    assert recording.wall_time > 0
    assert recording.inputs is spikes


def test_a_recording_serves_as_measured_spikes(device: Device, build: Build, spikes: Spikes) -> None:
    net = build()
    device.load(compile(net, device))
    record = net(spikes, measured=device.run(spikes))
    record.output.times[torch.isfinite(record.output.times)].sum().backward()
    gradient = net.blocks[0][0].weight.grad
    assert gradient is not None
    assert bool(torch.isfinite(gradient).all())


def test_repeats_follow_each_other(device: Device, build: Build, spikes: Spikes) -> None:
    device.load(compile(build(), device))
    recording = device.run(spikes, repeats=3)
    assert len(recording.output) == 12
    parts = repetitions(recording, 3)
    assert [len(part.output) for part in parts] == [4, 4, 4]
    assert parts[1].inputs is not None
    assert torch.equal(parts[1].inputs.times, spikes.times)
    assert parts[2].program_digest == recording.program_digest
    assert int(parts[0].output.counts.sum()) == int(recording.output.counts[:4].sum())


def test_the_second_load_of_a_program_writes_nothing(device: Device, build: Build) -> None:
    program = compile(build(), device)
    device.load(program)
    assert device.writes.last == device.writes.total == 3 * 6 + 6 * 2
    device.load(program)
    assert device.writes.last == 0
    assert device.writes.total == 30
    assert device.writes.loads == 2


def test_only_the_changed_weight_is_written(device: Device, build: Build) -> None:
    net = build()
    program = compile(net, device)
    device.load(program)
    with torch.no_grad():
        weight = net.blocks[0][0].weight
        weight[1, 2] -= math.copysign(1.1 * program.scales[0], weight[1, 2].item())
    device.load(program.with_weights(net))
    assert device.writes.last == 1


def test_a_closed_device_refuses(target: Target, build: Build, spikes: Spikes) -> None:
    with target.open() as device:
        program = compile(build(), device)
        device.load(program)
    device.close()
    for action in (lambda: device.load(program), lambda: device.run(spikes), device.__enter__):
        with pytest.raises(TargetError, match="closed; open it again"):
            action()


def test_running_before_loading_is_refused(device: Device, spikes: Spikes) -> None:
    with pytest.raises(TargetError, match=r"no program; call load"):
        device.run(spikes)


def test_spikes_of_another_width_are_refused(device: Device, build: Build, spikes: Spikes) -> None:
    device.load(compile(build(n_in=4), device))
    with pytest.raises(TargetError, match="3 units for a program of 4 inputs"):
        device.run(spikes)


def test_a_program_for_another_target_is_refused(device: Device, build: Build) -> None:
    other = find("tiny:0", weight_bits=7)
    with pytest.raises(TargetError, match="compile the network for this device"):
        device.load(compile(build(), other))


@pytest.mark.parametrize("repeats", [0, -1, 1.5])
def test_a_senseless_number_of_repeats_is_refused(device: Device, build: Build, spikes: Spikes, repeats: int) -> None:
    device.load(compile(build(), device))
    with pytest.raises(InputError, match="repeats"):
        device.run(spikes, repeats=repeats)


def test_more_events_than_the_target_takes_are_refused(device: Device, build: Build) -> None:
    limit = device.capabilities.max_events
    if limit is None:
        pytest.skip("no limit on input events")
    device.load(compile(build(), device))
    many = Spikes.from_events([([0.0] * (limit + 1), [0] * (limit + 1))], n_units=3, t_stop=0.05)
    with pytest.raises(TargetError, match=f"takes {limit} a sample"):
        device.run(many)


def test_a_refused_run_or_load_leaves_the_device_usable(device: Device, build: Build, spikes: Spikes) -> None:
    program = compile(build(), device)
    device.load(program)
    with pytest.raises(TargetError):
        device.load(compile(build(), find("tiny:0", weight_bits=7)))
    assert device.run(spikes).program_digest == program.digest


def test_a_network_too_wide_for_the_target_is_refused(target: Target) -> None:
    limits = target.capabilities
    if limits.fan_in > 10_000:
        pytest.skip("no practical limit")
    net = Network([Dense(limits.fan_in + 1, 1), LIF(1, 10e-3, 5e-3)])
    with pytest.raises(CompileError, match=f"fan-in of {limits.fan_in}"):
        target.compile(net)
