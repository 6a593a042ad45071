"""Delays and time constants are trained in units of the network's time constants, and stay where they mean something."""

from __future__ import annotations

import pytest
import torch

import hwloop as hl
from hwloop import datasets
from hwloop.losses import FirstSpike
from hwloop.training import set_lr
from hwloop.training.time_parameters import UNIT, grouped

TAU = 5e-3


def network(delay: torch.nn.Parameter, tau_syn: object = TAU) -> hl.Network:
    generator = torch.Generator().manual_seed(0)
    hidden = hl.Dense(5, 10, delay=delay, generator=generator).init_normal_(1.0, 1.0, generator)
    output = hl.Dense(10, 3, generator=generator)
    return hl.Network([hidden, hl.LIF(10, 2 * TAU, tau_syn), output, hl.LIF(3, 2 * TAU, TAU)])


def test_a_network_without_trained_times_has_one_group_of_tensors() -> None:
    net = hl.Network([hl.Dense(2, 3), hl.LIF(3, 2 * TAU, TAU)])
    assert all(isinstance(value, torch.Tensor) for value in grouped(net))


def test_the_learning_rate_of_a_delay_is_one_of_tau_syn() -> None:
    net = network(torch.nn.Parameter(torch.full((5,), 1e-3)))
    optimizer = torch.optim.Adam(grouped(net), lr=1.0)
    set_lr(optimizer, 0.1)
    weights, times = optimizer.param_groups
    assert (weights["lr"], UNIT in weights) == (0.1, False)
    assert times["lr"] == pytest.approx(0.1 * TAU)
    assert [tuple(value.shape) for value in times["params"]] == [(5,)]


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_training_does_not_depend_on_the_unit_of_time(optimizer: type[torch.optim.Optimizer]) -> None:
    """The same network and data in seconds and in milliseconds: the same weights, and delays 1,000 times as large."""
    found = []
    for scale in (1.0, 1e3):
        task = datasets.yin_yang(seed=0, sizes=(100, 20, 20), dtype=torch.float64)
        task = in_unit(task, scale)
        torch.set_default_dtype(torch.float64)
        try:
            net = network(torch.nn.Parameter(torch.full((5,), 1e-3 * scale)))
            for lif in (net.layers[1], net.layers[3]):
                lif.tau_mem, lif.tau_syn = lif.tau_mem * scale, lif.tau_syn * scale
        finally:
            torch.set_default_dtype(torch.float32)
        loss = FirstSpike(temperature=0.2 * TAU * scale)
        hl.fit(net, task, loss, epochs=2, batch_size=10, lr=1e-2, optimizer=optimizer, clip_norm=1.0)
        found.append((net.layers[0].weight.detach().clone(), net.layers[0].delay.detach() / scale))
    # Adam's epsilon (1e-8) stands beside a gradient that is 1e-3 at least; SGD has nothing of the kind
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-7)
    assert not torch.equal(found[0][1], torch.full((5,), 1e-3, dtype=torch.float64))


def in_unit(task: datasets.Task, scale: float) -> datasets.Task:
    """``task`` with all times ``scale`` times as large."""

    def data(held: datasets.Dataset) -> datasets.Dataset:
        s = held.inputs
        return datasets.Dataset(hl.Spikes(s.times * scale, s.units, s.counts, s.n_units, s.t_stop * scale), held.labels)

    return datasets.Task(
        task.name,
        data(task.train),
        data(task.validation),
        data(task.test),
        n_in=task.n_in,
        n_out=task.n_out,
        t_stop=task.t_stop * scale,
    )


def test_a_delay_that_a_step_takes_below_zero_stays_at_zero() -> None:
    net = network(torch.nn.Parameter(torch.zeros(10, 5)))
    task = datasets.yin_yang(seed=0, sizes=(100, 20, 20))
    hl.fit(net, task, FirstSpike(temperature=0.2 * TAU), epochs=2, batch_size=10, lr=0.1)
    delay = net.layers[0].delay
    assert delay is not None
    assert bool((delay == 0).any())
    assert bool((delay > 0).any())
    assert bool((delay >= 0).all())


def test_trained_time_constants_stay_positive() -> None:
    net = network(torch.nn.Parameter(torch.zeros(5)), torch.nn.Parameter(torch.full((10,), TAU)))
    task = datasets.yin_yang(seed=0, sizes=(100, 20, 20))
    hl.fit(net, task, FirstSpike(temperature=0.2 * TAU), epochs=3, batch_size=10, lr=0.5)
    # the unit is the mean tau_syn as training began
    assert float(net.layers[1].tau_syn.detach().min()) >= 0.05 * TAU * (1 - 1e-6)


def test_a_run_with_trained_delays_resumes_bit_for_bit(tmp_path: object) -> None:
    task = datasets.yin_yang(seed=0, sizes=(100, 20, 20))
    loss = FirstSpike(temperature=0.2 * TAU)
    whole = network(torch.nn.Parameter(torch.full((10, 5), 1e-3)))
    hl.fit(whole, task, loss, epochs=4, batch_size=10, lr=1e-2)
    parts = network(torch.nn.Parameter(torch.full((10, 5), 1e-3)))
    hl.fit(parts, task, loss, epochs=2, batch_size=10, lr=1e-2, checkpoint_dir=tmp_path)
    again = network(torch.nn.Parameter(torch.full((10, 5), 1e-3)))
    hl.fit(again, task, loss, epochs=4, batch_size=10, lr=1e-2, checkpoint_dir=tmp_path, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
