"""The health of a record is that of the weights it ran with, whatever happens to the network afterwards."""

from __future__ import annotations

import pytest
import torch

import hwloop as hl
from hwloop.datasets import yin_yang
from hwloop.errors import InputError
from hwloop.spikes import Spikes


def network(seed: int = 0) -> hl.Network:
    g = torch.Generator().manual_seed(seed)
    first, second = hl.Dense(5, 12).init_normal_(1.2, 1.2, g), hl.Dense(12, 3).init_normal_(0.6, 0.6, g)
    return hl.Network([first, hl.LIF(12, 10e-3, 5e-3), second, hl.LIF(3, 10e-3, 5e-3)])


@pytest.fixture(scope="module")
def spikes() -> Spikes:
    return yin_yang(sizes=(40, 2, 2)).train.inputs


def measured(spikes: Spikes) -> hl.Record:
    with torch.no_grad():
        return network(seed=3)(spikes)


def test_health_is_that_of_the_weights_that_ran(spikes: Spikes) -> None:
    asked_at_once = network()(spikes, measured=measured(spikes)).health
    net = network()
    record = net(spikes, measured=measured(spikes))
    assert asked_at_once is not None
    assert record.health is not None
    expected = (asked_at_once.missing, asked_at_once.extra)
    assert sum(map(sum, expected)) > 0
    with torch.no_grad():
        for dense, lif in net.blocks:
            dense.weight.mul_(0.3)
            lif.tau_mem.mul_(3.0)
    assert (record.health.missing, record.health.extra) == expected


def test_own_spikes_differ_in_nothing_after_a_step(spikes: Spikes) -> None:
    net = network()
    with torch.no_grad():
        own = net(spikes)
    record = net(spikes, measured=own)
    with torch.no_grad():
        net.blocks[0][0].weight.mul_(0.5)
    assert record.health is not None
    assert record.health.missing == record.health.extra == (0, 0)


def test_spikes_that_were_changed_in_place_are_refused_when_health_is_asked(spikes: Spikes) -> None:
    net, given = network(), measured(spikes)
    mine = Spikes(spikes.times.clone(), spikes.units, spikes.counts, spikes.n_units, spikes.t_stop)
    record = net(mine, measured=given)
    mine.times.mul_(0.5)
    assert record.health is not None
    with pytest.raises(InputError, match="changed in place after it was made"):
        record.health.missing  # noqa: B018  # the access is what is tested


def test_health_can_be_asked_in_inference_mode(spikes: Spikes) -> None:
    with torch.inference_mode():
        health = network()(spikes, measured=measured(spikes)).health
    assert health is not None
    assert sum(health.missing) + sum(health.extra) > 0
