"""Noise, read-out and defects, one effect at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwloop.errors import TargetError
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record, Recording
from hwloop.spikes import Spikes, concatenate
from hwloop_emulator import EmulatorDevice, Preset
from hwloop_emulator.oracle import Oracle

Build = Callable[..., Network]
Chip = Callable[..., EmulatorDevice]
Only = Callable[..., Preset]


def same(a: Record, b: Record) -> bool:
    return all(
        torch.equal(x.times, y.times) and torch.equal(x.units, y.units)
        for x, y in zip(a.populations, b.populations, strict=True)
    )


def half(recording: Recording, first: bool) -> Recording:
    n = len(recording.output) // 2
    part = slice(0, n) if first else slice(n, None)
    return Recording(tuple(p[part] for p in recording.populations))


# -- reproducibility ------------------------------------------------------------------------------


def test_chip_session_and_run_fix_every_spike(build: Build, chip: Chip, spikes: Spikes) -> None:
    net = build()
    a, b = (chip(net, "worst", session=4) for _ in range(2))
    for _ in range(2):
        assert same(a.run(spikes), b.run(spikes))
    assert a.batch == 2


def test_a_later_session_can_go_on_where_an_earlier_one_stopped(build: Build, chip: Chip, spikes: Spikes) -> None:
    net = build()
    a = chip(net, "bss2", session=4)
    a.run(spikes)
    assert same(a.run(spikes), chip(net, "bss2", session=4, batch=1).run(spikes))


@pytest.mark.parametrize("change", [{"session": 5}, {"batch": 1}, {"number": 8}])
def test_another_session_run_or_chip_gives_other_noise(
    build: Build, chip: Chip, spikes: Spikes, change: dict[str, int]
) -> None:
    net = build()
    a, b = chip(net, "bss2", mismatch=False), chip(net, "bss2", mismatch=False, **change)
    assert not same(a.run(spikes), b.run(spikes))


def test_sessions_count_up_where_none_is_asked_for(build: Build, chip: Chip) -> None:
    net = build()
    first, second = (chip(net, "bss2", number=4242, session=None).session for _ in range(2))
    assert second == first + 1


def test_without_trial_noise_two_runs_are_equal(build: Build, chip: Chip, spikes: Spikes) -> None:
    net = build()
    device = chip(net, "worst", trial_noise=False)
    assert same(device.run(spikes), device.run(spikes))


# -- threshold noise ------------------------------------------------------------------------------


def test_threshold_noise_of_a_sample_differs_within_a_batch(
    build: Build, chip: Chip, only: Only, spikes: Spikes
) -> None:
    recording = chip(build(), only(threshold_sample=0.02)).run(concatenate([spikes, spikes]))
    assert not same(half(recording, True), half(recording, False))


def test_threshold_noise_of_a_sample_does_not_depend_on_the_batch_size(
    build: Build, chip: Chip, only: Only, spikes: Spikes
) -> None:
    net = build()
    whole, part = (chip(net, only(threshold_sample=0.02)).run(s) for s in (spikes, spikes[:7]))
    for a, b in zip(whole.populations, part.populations, strict=True):
        width = b.times.shape[1]
        assert torch.equal(a.times[:7, :width], b.times)


def test_threshold_noise_of_a_batch_is_one_for_all_its_samples(
    build: Build, chip: Chip, only: Only, spikes: Spikes
) -> None:
    device = chip(build(), only(threshold_batch=0.02))
    first = device.run(concatenate([spikes, spikes]))
    assert same(half(first, True), half(first, False))
    assert not same(first, device.run(concatenate([spikes, spikes])))


def test_each_repeat_is_a_batch_of_its_own(build: Build, chip: Chip, only: Only, spikes: Spikes) -> None:
    recording = chip(build(), only(threshold_batch=0.02)).run(spikes, repeats=2)
    assert not same(half(recording, True), half(recording, False))


def test_threshold_noise_of_a_session_holds_until_it_is_closed(
    build: Build, chip: Chip, only: Only, spikes: Spikes
) -> None:
    net = build()
    device = chip(net, only(threshold_session=0.02), session=1)
    first = device.run(spikes)
    assert same(first, device.run(spikes))
    assert not same(first, chip(net, only(threshold_session=0.02), session=2).run(spikes))


def test_threshold_noise_has_its_size(chip: Chip, only: Only) -> None:
    # one input of weight w at t = 0 into tau_mem = tau_syn: u(t) = w (t/tau) e^(-t/tau); the first crossing time
    # gives back the threshold that was crossed
    n, tau, w = 4000, 10e-3, 6.0
    net = Network([Dense(1, n), LIF(n, tau, tau)]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.fill_(w)
    inputs = Spikes.from_events([([0.0], [0])], 1, 0.01, torch.float64)
    first = chip(net, only(threshold_sample=0.015)).run(inputs).output.first_times()[0]
    crossed = w * (first / tau) * torch.exp(-first / tau)
    # 4000 draws: five standard errors, .015/sqrt(n) = 2.4e-4 of the mean and 1.1 % of the deviation
    assert float(crossed.mean()) == pytest.approx(1.0, abs=1.2e-3)
    assert float(crossed.std()) == pytest.approx(0.015, rel=0.056)


# -- spikes on their way --------------------------------------------------------------------------


def test_jitter_has_its_size_and_travels_on(build: Build, chip: Chip, only: Only, spikes: Spikes) -> None:
    net = build(max_spikes=1)
    sigma = 1e-5
    noisy = chip(net, only(jitter=sigma)).run(spikes)
    with torch.no_grad():
        clean, heard = net(spikes), Network(list(net.layers[2:]))(noisy[0])
    shift = noisy[0].first_times() - clean[0].first_times()
    shift = shift[torch.isfinite(shift)]
    assert len(shift) > 500
    # clipping at 0 and t_stop is rare; five standard errors of a deviation, sqrt(1/2n)
    assert float(shift.std()) == pytest.approx(sigma, rel=5 / (2 * len(shift)) ** 0.5)
    # the output layer heard the jittered spikes: fed with the recorded ones, the model fires where the chip did,
    # but for the output's own jitter (six sigma of at most a few hundred)
    expected = heard.output.first_times()
    rest = (noisy.output.first_times() - expected)[torch.isfinite(expected)]
    assert float(rest.abs().max()) < 6 * sigma


def test_stamps_are_late_by_the_latency_on_a_grid_and_nothing_of_it_travels_on(
    build: Build, chip: Chip, only: Only, spikes: Spikes
) -> None:
    net = build()
    tick, latency = 1e-4, 3e-4
    clean, stamped = net(spikes), chip(net, only(time_stamp=tick, latency=latency)).run(spikes)
    for own, read in zip(clean.populations, stamped.populations, strict=True):
        stamps = read.times[read.valid] + stamped.latency  # as sent: the recording is corrected for their mean offset
        assert torch.allclose(stamps / tick, (stamps / tick).round(), atol=1e-6)
        shift = (read.first_times() - own.first_times().detach())[torch.isfinite(read.first_times())]
        assert float(shift.min()) >= -tick / 2 - 1e-12
        assert float(shift.max()) <= tick / 2 + 1e-12
    assert chip(net, only(time_stamp=tick, latency=latency)).capabilities.latency == pytest.approx(2.5e-4)


def test_every_event_is_recorded_lost_or_late(build: Build, chip: Chip, only: Only, spikes: Spikes) -> None:
    net = build(v_leak=1.1)  # fires to the end of the window
    fired = sum(int(p.counts.sum()) for p in net(spikes).populations)
    recording = chip(net, only(event_loss=0.1, latency=1e-3)).run(spikes)
    recorded = sum(int(p.counts.sum()) for p in recording.populations)
    assert recorded + recording.lost_events + recording.late_events == fired
    assert recording.late_events > 0
    # binomial: five standard errors
    assert recording.lost_events == pytest.approx(0.1 * fired, abs=5 * (0.09 * fired) ** 0.5)


def test_lost_events_were_heard_by_the_next_layer(build: Build, chip: Chip, only: Only, spikes: Spikes) -> None:
    net = build()
    recording = chip(net, only(event_loss=0.5)).run(spikes)
    # whatever reached the host of the output stands where the simulator has it
    times = net(spikes).output.times
    for sample in range(len(spikes)):
        read = recording.output.times[sample, : int(recording.output.counts[sample])]
        assert bool(torch.isin(read, times[sample]).all())


# -- defects --------------------------------------------------------------------------------------


def test_a_dead_neuron_never_fires_and_its_neighbours_do_as_ever(
    build: Build, chip: Chip, only: Only, spikes: Spikes
) -> None:
    net = build(v_leak=1.1)
    device = chip(net, only(dead=0.2))
    dead = Oracle(device).struck(0, "dead")
    assert 0 < dead.sum() < 40
    counts, clean = device.run(spikes)[0].unit_counts(), net(spikes)[0].unit_counts()
    assert int(counts[:, dead].sum()) == 0
    assert torch.equal(counts[:, ~dead], clean[:, ~dead])
    assert int(clean[:, dead].sum()) > 0


def test_masked_neurons_are_not_used(build: Build, chip: Chip, only: Only) -> None:
    preset = only(dead=0.2)
    struck = np.flatnonzero(Oracle(chip(build(hidden=200), preset)).struck(0, "dead"))
    device = chip(build(), preset, compiling={"mask": struck})
    assert not Oracle(device).struck(0, "dead").any()


def test_a_stuck_neuron_fires_at_its_rate_whatever_its_input(
    build: Build, chip: Chip, only: Only, spikes: Spikes
) -> None:
    device = chip(build(), only(stuck=0.2, stuck_rate=500.0))
    stuck = Oracle(device).struck(0, "stuck")
    assert 0 < stuck.sum() < 40
    hidden = device.run(spikes)[0]
    # a period of 2 ms in a window of 60 ms
    assert bool((hidden.unit_counts()[:, stuck] == 30).all())
    neuron = int(np.flatnonzero(stuck)[0])
    times = hidden.times[0][(hidden.units[0] == neuron) & hidden.valid[0]]
    assert torch.allclose(times.diff(), torch.full((29,), 2e-3, dtype=times.dtype))


def test_a_hot_neuron_works_and_fires_spuriously_besides(build: Build, chip: Chip, only: Only, spikes: Spikes) -> None:
    net = build()
    device = chip(net, only(hot=0.2, hot_rate=200.0))
    hot = Oracle(device).struck(0, "hot")
    extra = device.run(spikes)[0].unit_counts() - net(spikes)[0].unit_counts()
    assert int(extra[:, ~hot].abs().sum()) == 0
    assert int(extra[:, hot].min()) >= 0
    # Poisson with 12 events a neuron and sample; five standard errors
    expected = 12.0 * int(hot.sum()) * len(spikes)
    assert float(extra[:, hot].sum()) == pytest.approx(expected, abs=5 * expected**0.5)


def test_spurious_spikes_travel_on(build: Build, chip: Chip, only: Only, spikes: Spikes) -> None:
    net = build()
    recording = chip(net, only(hot=0.5, hot_rate=200.0)).run(spikes)
    assert int(recording.output.counts.sum()) != int(net(spikes).output.counts.sum())


@pytest.mark.parametrize("defect", ["stuck", "hot"])
def test_a_rate_that_no_neuron_has_is_refused(
    build: Build, chip: Chip, only: Only, spikes: Spikes, defect: str
) -> None:
    device = chip(build(), only(**{defect: 1.0, f"{defect}_rate": 1e9}))
    with pytest.raises(TargetError, match=rf"{defect}_rate.scale = 1e\+09 device_hz"):
        device.run(spikes)


# -- the whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["bss2", "worst"])
def test_a_real_preset_is_far_from_the_simulator_and_finite(
    build: Build, chip: Chip, spikes: Spikes, preset: str
) -> None:
    net = build(dtype=torch.float32)
    recording = chip(net, preset).run(spikes)
    assert not same(recording, net(spikes))
    for population in recording.populations:
        assert int(population.counts.sum()) > 0
        Spikes(population.times, population.units, population.counts, population.n_units, population.t_stop)


def test_silence_in_is_silence_out_on_bss2(build: Build, chip: Chip) -> None:
    silence = Spikes.from_events([([], []), ([], [])], n_units=5, t_stop=0.06, dtype=torch.float64)
    assert [int(p.counts.sum()) for p in chip(build(), "bss2").run(silence).populations] == [0, 0]
