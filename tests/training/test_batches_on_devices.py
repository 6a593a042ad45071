"""A network that was moved is trained and evaluated where it is: batches follow it, the data set stays."""

from __future__ import annotations

import torch

import hwloop as hl
from hwloop.training.evaluate import count_right, where_it_is

SPIKES = hl.Spikes.from_events([([1e-3], [0])], 2, 0.05)


def net() -> hl.Network:
    return hl.Network([hl.Dense(2, 3), hl.LIF(3, tau_mem=10e-3, tau_syn=5e-3)])


def test_a_batch_is_moved_to_the_weights_and_stays_where_they_are_already() -> None:
    assert where_it_is(net().to("meta"), SPIKES).times.device.type == "meta"
    assert where_it_is(net(), SPIKES) is SPIKES


def test_what_is_no_spikes_is_left_as_it_is() -> None:
    images = torch.zeros(1, 2)
    assert where_it_is(net().to("meta"), images) is images


def test_decisions_are_compared_where_the_labels_are() -> None:
    assert count_right(hl.Record((SPIKES,)), torch.tensor([0]), "first") == 1
