from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import InputError, OptionError, TargetError
from hwloop.experiment import Experiment
from hwloop.spikes import Spikes
from hwloop_fixed_point.reference import run_fixed
from hwloop_loihi import LoihiProgram, encode

from .support import network, spikes, with_weight


def test_a_recording_is_the_graph_decoded() -> None:
    net, given, dt = network(4, 12, 3), spikes(4), 2e-4
    with hl.open("loihi", dt=dt) as device:
        program = hl.compile(net, device)
        device.load(program)
        recording = device.run(given)
    assert isinstance(program, LoihiProgram)
    assert recording.ran_on == "emulator"
    assert recording.device_id == "loihi/200us"
    assert "lava-nc 0.10.0" in recording.firmware
    ticks, _ = encode(given, dt)
    rasters = run_fixed(program.graph, ticks.to_raster(program.graph.n_ticks(given.t_stop)))
    for layer, (population, raster) in enumerate(zip(recording.populations, rasters, strict=True), start=1):
        sample, tick, unit = np.nonzero(raster)
        seconds = (tick - 0.5 * layer) * dt
        kept = seconds <= given.t_stop
        assert population.counts.tolist() == np.bincount(sample[kept], minlength=len(given)).tolist()
        np.testing.assert_allclose(population.times[population.valid].numpy(), seconds[kept], atol=1e-15)
        assert population.units[population.valid].tolist() == unit[kept].tolist()


def test_two_runs_are_equal_and_repeats_are_copies() -> None:
    net, given = network(4, 12, 3), spikes(4)
    with hl.open("loihi") as device:
        device.load(hl.compile(net, device))
        first, second, twice = device.run(given), device.run(given), device.run(given, repeats=2)
    assert torch.equal(first.output.times, second.output.times)
    parts = hl.target.repetitions(twice, 2)
    assert all(torch.equal(part.output.times, first.output.times) for part in parts)


def test_a_small_step_comes_close_to_the_exact_simulation() -> None:
    net, given = network(4, 12, 3, seed=1), spikes(4, batch=40)
    exact = net(given)
    with hl.open("loihi", dt=5e-5) as device:
        device.load(hl.compile(net, device))
        found = device.run(given)
    for a, b in zip(exact.populations, found.populations, strict=True):
        here, there = a.first_times().detach(), b.first_times()
        both = torch.isfinite(here) & torch.isfinite(there)
        assert float(both.sum()) > 0.9 * float(torch.isfinite(here).sum())
        # weights of 8 bits: the median error stays below .2 ms where spikes spread over 50 ms (design note, section 4)
        assert float((here - there)[both].abs().median()) < 2e-4


def test_input_spikes_that_fall_together_are_counted_as_lost() -> None:
    net = network(2, 3)
    given = Spikes.from_events([([1e-3, 1.01e-3, 5e-3], [0, 0, 1])], 2, 20e-3, torch.float64)
    with hl.open("loihi", dt=1e-3) as device:
        device.load(hl.compile(net, device))
        assert device.run(given).lost_events == 1
        assert device.run(given, repeats=3).lost_events == 3


def test_a_wrap_while_running_is_refused_and_the_device_stays_usable() -> None:
    # a hundred spikes of one input, one each step: the current sums far beyond one volley
    net = with_weight(network(1, 1, tau_syn=5e-2, tau_mem=5e-2), 0, [[0.1]])
    many = Spikes.from_events([(np.arange(1, 300) * 1e-4, np.zeros(299, int))], 1, 50e-3, torch.float64)
    few = Spikes.from_events([([1e-3], [0])], 1, 50e-3, torch.float64)
    with hl.open("loihi", dt=1e-4) as device:
        device.load(hl.compile(with_weight(net, 0, [[50.0]]), device))
        with pytest.raises(TargetError, match=r"layer 0 \(Dense\), sample 0: a current went beyond 2\^23") as caught:
            device.run(many)
        assert "headroom=256 (tried on these spikes)" in str(caught.value)
        assert device.run(few).output.counts.tolist()[0] > 0


def test_every_layer_is_measured_and_gradients_flow() -> None:
    net, given = network(4, 12, 3), spikes(4)
    with hl.open("loihi") as device:
        device.load(hl.compile(net, device))
        record = net(given, measured=device.run(given))
    record.output.times[torch.isfinite(record.output.times)].sum().backward()
    for dense, _ in net.blocks:
        assert dense.weight.grad is not None
        assert bool(torch.isfinite(dense.weight.grad).all())
        assert float(dense.weight.grad.abs().max()) > 0


@pytest.mark.parametrize("dt", [0.0, -1e-4, math.nan, math.inf, "1e-4", True])
def test_a_step_that_is_none_is_refused(dt: Any) -> None:
    with pytest.raises(InputError, match="dt = "):
        hl.open("loihi", dt=dt)


def test_addresses_and_unknown_options_are_refused() -> None:
    with pytest.raises(TargetError, match="loihi:3 does not exist"):
        hl.open("loihi:3")
    with pytest.raises(OptionError, match="no option 'preset'; it has: dt"):
        hl.open("loihi", preset="bss2")


def test_a_window_of_too_many_ticks_is_refused() -> None:
    net = network(2, 2, tau_mem=1e-6, tau_syn=1e-6)
    with hl.open("loihi", dt=1e-8) as device:
        device.load(hl.compile(net, device))
        with pytest.raises(TargetError, match="a window of 1 s is 100000001 ticks"):
            device.run(Spikes.from_events([([0.5], [0])], 2, 1.0))


def test_a_program_of_another_kind_is_refused() -> None:
    net = network(2, 2)
    with hl.open("loihi") as device, hl.open("emulator:0", preset="ideal") as chip:
        with pytest.raises(TargetError, match="compile the network for this device"):
            device.load(hl.compile(net, chip))
        with pytest.raises(TargetError, match="compile the network for this device"):
            chip.load(hl.compile(net, device))


def test_the_target_says_what_it_does() -> None:
    rows = {name: value for name, value, _ in hl.target.describe(hl.target.find("loihi", dt=2e-4))}
    assert rows["time step"] == "0.0002 s"
    assert rows["delays"] == "of each synapse, 0..63 ticks, up to 0.0126 s"


def test_the_loop_repairs_what_coarse_weights_break() -> None:
    experiment = Experiment.load("demo-quick").changed(task={"train": 600, "validation": 200, "test": 20})
    task, net = experiment.build_task(), experiment.build_network()
    hl.fit(net, task, experiment.build_loss(), **{**experiment.fit_options(), "epochs": 5}, progress=False)
    # one threshold a code in the first layer: a handful of codes are left, training goes through their rounding
    with hl.open("loihi", dt=5e-4) as device:
        options = {**experiment.finetune_options(), "epochs": 2, "weight_scale": [1.0, 0.1]}
        result = hl.finetune(net, device, task, experiment.build_finetune_loss(), **options, progress=False)
        again = hl.measure(device, task.validation)
    # rounding costs some 18 points; two passes over 600 samples bring 14 of them back, and 3 are the noise of 200 samples
    assert result.best_validation.accuracy > result.as_is.accuracy + 0.06
    # the device holds the weights that were kept, and gives the same answer
    assert again.accuracy == result.best_validation.accuracy
    assert result.ran_on == "emulator"
