"""Jitter of a network with a loop: it acts within the loop, not only on what leaves it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import hwloop as hl
from hwloop.spikes import Spikes
from hwloop.training.noise import NoiseModel, NoisyForward, _OfGraph

PAIRS, JITTER, DELAY = 200, 1e-4, 3e-3


class _AsSent(_OfGraph):
    """Without the jitter of what leaves the loop, so that the loop's own remains."""

    def sent(self, spikes: Spikes) -> Spikes:
        return spikes


def pairs(delay: float = DELAY, trained: bool = False) -> tuple[hl.Network, hl.Spikes]:
    """Neuron k of a fires neuron k of b; what comes back has no weight, but makes it a loop."""
    after = nn.Parameter(torch.full((PAIRS,), delay)) if trained else torch.full((PAIRS,), delay)
    forth, back, into = hl.Dense(PAIRS, PAIRS), hl.Dense(PAIRS, PAIRS), hl.Dense(1, PAIRS)
    with torch.no_grad():
        into.weight.fill_(6.0)
        back.weight.zero_()
        forth.weight.copy_(6.0 * torch.eye(PAIRS))
    net = hl.Network.graph(
        {name: hl.Input(1) if name == "in" else hl.LIF(PAIRS, 1e-2, 5e-3, max_spikes=1) for name in ("in", "a", "b")},
        [
            hl.Projection("in", "a", into), hl.Projection("a", "b", [hl.Delay(PAIRS, after), forth]),
            hl.Projection("b", "a", back),
        ],
        output="b",
    ).double()  # fmt: skip
    return net, hl.Spikes.from_events([([1e-3], [0])] * 2, 1, 5e-2, torch.float64)


def waits(net: hl.Network, spikes: hl.Spikes, chip: NoisyForward) -> torch.Tensor:
    """``[batch, PAIRS]`` from the spike of a to that of b."""
    record = net.imagined(spikes, _AsSent(chip, net))
    return record["b"].first_times() - record["a"].first_times()


def test_jitter_moves_what_a_loop_sends_to_itself() -> None:
    net, spikes = pairs()
    exact = net(spikes)
    alone = exact["b"].first_times() - exact["a"].first_times()
    moved = (waits(net, spikes, NoisyForward(NoiseModel(jitter=JITTER))) - alone).detach()
    assert torch.equal(moved[0], moved[1])  # one draw a neuron in a call, whatever the sample
    # mean and deviation of 200 normal draws: four standard errors are .28 and .20 of the jitter
    assert abs(moved[0].mean().item()) < 0.28 * JITTER
    assert moved[0].std().item() == pytest.approx(JITTER, rel=0.2)


def test_every_call_draws_anew_and_none_without_jitter() -> None:
    net, spikes = pairs()
    chip = NoisyForward(NoiseModel(jitter=JITTER))
    assert not torch.equal(waits(net, spikes, chip), waits(net, spikes, chip))
    still = NoisyForward(NoiseModel())
    assert torch.equal(waits(net, spikes, still), waits(net, spikes, still))


def test_no_spike_of_a_loop_acts_before_it_was_sent() -> None:
    net, spikes = pairs(delay=0.0)
    exact = net(spikes)
    alone = exact["b"].first_times() - exact["a"].first_times()
    moved = waits(net, spikes, NoisyForward(NoiseModel(jitter=JITTER))) - alone
    assert moved.min().item() > -1e-12
    assert 0.3 < (moved[0] > 1e-9).double().mean().item() < 0.7  # the half that is drawn late


def test_a_delay_within_a_loop_keeps_its_gradient_under_jitter() -> None:
    net, spikes = pairs(delay=0.0, trained=True)
    NoisyForward(NoiseModel(jitter=JITTER))(net, spikes)["b"].first_times().sum().backward()
    (delay,) = (p for name, p in net.named_parameters() if "delay" in name)
    assert delay.grad is not None
    assert torch.allclose(delay.grad, torch.full_like(delay.grad, 2.0))  # one second a second, in each of two samples
