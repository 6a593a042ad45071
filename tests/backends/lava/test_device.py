"""``lava`` as a target: what `loihi` gives, from Lava itself; refusals; fine-tuning and comparison as on any target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError, InputError, TargetError
from hwloop.spikes import Spikes
from hwloop_lava import LavaDevice
from hwloop_loihi import LoihiProgram

DT = 5e-4


def network(n_in: int = 6, *, gain: float = 1.0, **neuron: float) -> hl.Network:
    generator = torch.Generator().manual_seed(1)
    values = {"tau_mem": 20e-3, "tau_syn": 5e-3, **neuron}
    net = hl.Network([
        hl.Dense(n_in, 10, generator=generator), hl.LIF(10, **values),
        hl.Dense(10, 4, generator=generator), hl.LIF(4, **values),
    ])  # fmt: skip
    with torch.no_grad():
        for dense, _ in net.blocks:
            dense.weight.copy_(gain * (dense.weight.abs() + 0.5))
    return net.double()


def stimuli(batch: int, n_in: int = 6, seed: int = 0) -> Spikes:
    rng = np.random.default_rng(seed)
    rows = [(np.sort(rng.random(3 * n_in) * 0.03), rng.integers(0, n_in, 3 * n_in)) for _ in range(batch)]
    return Spikes.from_events(rows, n_units=n_in, t_stop=0.05, dtype=torch.float64)


@pytest.fixture(scope="module")
def device(environment: object) -> Iterator[LavaDevice]:
    with hl.open("lava", dt=DT) as opened:
        assert isinstance(opened, LavaDevice)
        yield opened


def same(one: Spikes, other: Spikes) -> bool:
    return torch.equal(one.times, other.times) and torch.equal(one.units, other.units)


def test_lava_and_loihi_share_programs_and_spikes(device: LavaDevice) -> None:
    net, inputs = network(), stimuli(9)
    program = hl.compile(net, device)
    assert isinstance(program, LoihiProgram)
    device.load(program)
    with hl.open("loihi", dt=DT) as twin:
        assert hl.compile(net, twin).digest == program.digest
        twin.load(program)
        expected, found = twin.run(inputs), device.run(inputs)
    assert int(found.output.counts.sum()) > 20
    assert all(map(same, expected.populations, found.populations))
    assert found.lost_events == expected.lost_events


def test_a_recording_names_lava_and_its_python(device: LavaDevice) -> None:
    device.load(hl.compile(network(), device))
    found = device.run(stimuli(1))
    assert found.ran_on == "emulator"
    assert found.device_id == "lava/fixed/500us"
    assert found.firmware.startswith("lava-nc 0.10.0, Python 3.")
    assert found.firmware.endswith("fixed_pt")


def test_the_next_run_after_a_dead_worker_works(device: LavaDevice) -> None:
    device.load(hl.compile(network(), device))
    before = device.run(stimuli(2))
    assert device._worker is not None
    device._worker.stop()
    assert same(device.run(stimuli(2)).output, before.output)


def test_fine_tuning_and_comparison_work_as_on_any_target(device: LavaDevice) -> None:
    net, inputs = network(), stimuli(4)
    program = hl.compile(net, device)
    device.load(program)
    measured = device.run(inputs)
    record = net(inputs, measured=measured)
    record.output.times[torch.isfinite(record.output.times)].sum().backward()
    gradient = net.blocks[0][0].weight.grad
    assert gradient is not None
    assert bool(gradient.abs().sum() > 0)
    comparison = hl.compare(net(inputs), measured)
    assert comparison.provenance["device_id"] == "lava/fixed/500us"
    with torch.no_grad():
        net.blocks[0][0].weight.mul_(1.3)
    device.load(program.with_weights(net))
    assert device.writes.last > 0


def test_refractory_times_are_carried_in_floating_point_alone(environment: object) -> None:
    net, inputs = network(t_ref=4e-3, gain=2.0), stimuli(3)
    with hl.open("lava", dt=DT, arithmetic="float") as floating:
        program = hl.compile(net, floating)
        floating.load(program)
        found = floating.run(inputs).output
        assert program.with_weights(net).digest == program.digest
        assert hl.compile(network(gain=2.0), floating).digest != program.digest
    for sample in range(3):
        for unit in range(4):
            mine = found.times[sample][(found.units[sample] == unit) & torch.isfinite(found.times[sample])]
            assert len(mine) > 1
            assert float(mine.diff().min()) > 4e-3
    with pytest.raises(CompileError, match='open "lava" with arithmetic="float"'):
        hl.compile(net, hl.target.find("lava", dt=DT))


@pytest.mark.parametrize("arithmetic", ["fixed", "float"])
def test_what_lava_cannot_carry_is_refused(arithmetic: str) -> None:
    target = hl.target.find("lava", dt=DT, arithmetic=arithmetic)
    net = hl.Network([hl.Dense(3, 2), hl.LIF(2, tau_mem=torch.tensor([0.01, 0.02]), tau_syn=5e-3)])
    with pytest.raises(CompileError, match="tau_mem"):
        hl.compile(net, target)
    net = hl.Network([hl.Dense(3, 2), hl.LIF(2, tau_mem=0.01, tau_syn=5e-3, reset="subtract")])
    with pytest.raises(CompileError, match="reset"):
        hl.compile(net, target)


def test_a_wrap_that_lava_does_not_mention_is_an_error(device: LavaDevice) -> None:
    net = network(n_in=40)
    program = hl.compile(net, device)
    first = program.graph.layers[0]
    loud = replace(first, synapses=replace(first.synapses, exponent=7))
    device.load(replace(program, graph=replace(program.graph, layers=(loud, *program.graph.layers[1:]))))
    rows = [(np.full(40, 0.001 * k), np.arange(40)) for k in (1, 2)]
    volley = [(np.concatenate([t for t, _ in rows]), np.concatenate([u for _, u in rows]))]
    with pytest.raises(TargetError, match="changed its sign"):
        device.run(Spikes.from_events(volley, n_units=40, t_stop=0.01, dtype=torch.float64))


@pytest.mark.parametrize(
    "options, kind, message",
    [
        ({"arithmetic": "analog"}, InputError, "arithmetic = 'analog'; allowed: fixed, float"),
        ({"deadline": 0}, InputError, "deadline = 0"),
        ({"deadline": float("inf")}, InputError, "deadline = inf"),
        ({"dt": -1e-3}, InputError, "dt = -0.001"),
        ({"step": 1}, InputError, "no option 'step'"),
    ],
)
def test_options_out_of_bounds_are_refused(options: dict[str, object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        hl.target.find("lava", **options)


def test_the_step_is_chosen_as_on_loihi() -> None:
    net, inputs = network(), stimuli(4)
    chosen = hl.target.choose_dt(hl.target.find("lava"), net, inputs)
    assert chosen.to_dict() == hl.target.choose_dt(hl.target.find("loihi"), net, inputs).to_dict()
    with pytest.raises(InputError, match="a smaller dt is always closer"):
        hl.target.choose_dt(hl.target.find("lava", arithmetic="float"), net, inputs)


def test_there_is_no_address() -> None:
    with pytest.raises(TargetError, match="lava:3 does not exist"):
        hl.target.find("lava:3")


def test_a_program_of_another_kind_is_refused(device: LavaDevice) -> None:
    with pytest.raises(TargetError, match="cannot load a program"):
        device.load(hl.compile(network(), hl.target.find("emulator:7")))
    floating = hl.compile(network(), hl.target.find("lava", dt=DT, arithmetic="float"))
    with pytest.raises(TargetError, match="cannot load a program for lava-float"):
        device.load(floating)


def spaced(batch: int, n_in: int = 6) -> Spikes:
    """A spike of each unit in each 10 ms, at least 2 ms after the one before: none fall into one tick."""
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(batch):
        times = 0.01 * np.arange(3)[:, None] + 0.008 * rng.random((3, n_in))
        order = np.argsort(times, axis=None)
        rows.append((times.ravel()[order], np.tile(np.arange(n_in), 3)[order]))
    return Spikes.from_events(rows, n_units=n_in, t_stop=0.05, dtype=torch.float64)


def error_of(dt: float, net: hl.Network, inputs: Spikes) -> float:
    """Mean error of the first layer's first spikes (s)."""
    with hl.open("lava", dt=dt, arithmetic="float") as opened:
        opened.load(hl.compile(net, opened))
        recording = opened.run(inputs)
    assert recording.lost_events == 0
    found, exact = recording[0].first_times(), net(inputs)[0].first_times().detach()
    assert torch.equal(torch.isfinite(exact), torch.isfinite(found))
    both = torch.isfinite(exact)
    assert int(both.sum()) > 80
    return float((exact - found)[both].abs().mean())


def test_the_floating_graph_converges_to_the_exact_simulation(environment: object) -> None:
    """First layer: its input is the same on both sides, so that only the rounding of times is left, of order dt.

    Input times are rounded to dt/2 and less, and a crossing is seen dt/2 late on average, which decoding takes back:
    mean errors of .23 to .29 dt were measured from 1 ms down to 62.5 us. Slope 1 in dt; within .25 over four octaves.
    """
    net, inputs = network(), spaced(9)
    steps = [1e-3, 2.5e-4, 6.25e-5]
    errors = [error_of(dt, net, inputs) for dt in steps]
    assert all(error < 0.4 * dt for error, dt in zip(errors, steps, strict=True)), errors
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 0.75 < slope < 1.25
