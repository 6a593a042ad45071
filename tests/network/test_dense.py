from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from hwloop.errors import InputError
from hwloop.network import Dense
from hwloop.spikes import Spikes


def test_weights_are_stored_pre_major_and_named_post_by_pre() -> None:
    dense = Dense(3, 5)
    assert dense.weight.shape == (5, 3)
    assert dense.weight.t().is_contiguous()
    assert dense.double().weight.t().is_contiguous()


def test_same_generator_seed_gives_the_same_weights() -> None:
    a, b, c = (Dense(4, 6, generator=torch.Generator().manual_seed(seed)).weight for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_initial_weights_have_the_documented_mean_and_deviation() -> None:
    w = Dense(400, 500, generator=torch.Generator().manual_seed(0)).weight.detach()
    assert w.mean().item() == pytest.approx(6 / 400, abs=4 * 3 / math.sqrt(400) / math.sqrt(200_000))
    assert w.std().item() == pytest.approx(3 / math.sqrt(400), rel=0.01)


def test_delay_shifts_each_input_unit_and_sorts_again() -> None:
    dense = Dense(3, 1, delay=[5e-3, 0.0, 1e-3])
    spikes = Spikes.from_events([([1e-3, 2e-3, 3e-3], [0, 1, 2]), ([0.0], [0])], 3, 0.05, torch.float64)
    sent = dense.transmit(spikes)
    torch.testing.assert_close(sent.times[0], torch.tensor([2e-3, 4e-3, 6e-3], dtype=torch.float64), rtol=1e-6, atol=0)
    assert sent.units[0].tolist() == [1, 2, 0]
    assert sent.counts.tolist() == [3, 1]
    assert sent.times[1, 0].item() == pytest.approx(5e-3)
    assert math.isinf(sent.times[1, 1].item())


def test_equal_times_keep_their_order_under_equal_delays() -> None:
    spikes = Spikes.from_events([([1e-3] * 4, [3, 1, 2, 0])], 4, 0.05)
    assert Dense(4, 1, delay=2e-3).transmit(spikes).units[0].tolist() == [3, 1, 2, 0]


def test_gradient_reaches_times_and_delays_through_the_sorting() -> None:
    delay = nn.Parameter(torch.tensor([5e-3, 0.0, 1e-3], dtype=torch.float64))
    times = torch.tensor([[1e-3, 2e-3, 3e-3]], dtype=torch.float64, requires_grad=True)
    spikes = Spikes(times, torch.tensor([[0, 1, 2]]), torch.tensor([3]), 3, 0.05)
    sent = Dense(3, 1, delay=delay).transmit(spikes)
    (sent.times[0] * torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64)).sum().backward()  # type: ignore[no-untyped-call]
    assert delay.grad is not None
    assert times.grad is not None
    assert delay.grad.tolist() == [30.0, 10.0, 20.0]
    assert times.grad[0].tolist() == [30.0, 10.0, 20.0]


def test_padding_stays_out_of_the_gradient_of_delays() -> None:
    delay = nn.Parameter(torch.tensor([1e-3]))
    spikes = Spikes.from_events([([1e-3], [0]), ([], [])], 1, 0.05)
    sent = Dense(1, 1, delay=delay).transmit(spikes)
    torch.where(sent.valid, sent.times, torch.zeros_like(sent.times)).sum().backward()  # type: ignore[no-untyped-call]
    assert delay.grad is not None
    assert delay.grad.tolist() == [1.0]


def test_delay_of_one_number_holds_for_all_inputs_and_is_no_parameter() -> None:
    dense = Dense(3, 2, delay=1e-3)
    assert dense.delay is not None
    assert dense.delay.shape == (3,)
    assert [name for name, _ in dense.named_parameters()] == ["weight"]
    assert "delay" in dense.state_dict()


@pytest.mark.parametrize(("n_in", "n_out"), [(0, 1), (1, 0), (-2, 3), (2.0, 3)])
def test_size_below_one_or_not_whole_is_refused(n_in: Any, n_out: Any) -> None:
    with pytest.raises(InputError, match="allowed: a whole number >= 1"):
        Dense(n_in, n_out)


@pytest.mark.parametrize("value", [-1e-3, math.nan, math.inf])
def test_delay_out_of_range_is_refused_naming_the_unit(value: float) -> None:
    with pytest.raises(InputError, match="input unit 1.*allowed: finite and >= 0 s"):
        Dense(3, 2, delay=[0.0, value, 0.0])


def test_delay_trained_below_zero_is_refused_when_used() -> None:
    dense = Dense(1, 1, delay=nn.Parameter(torch.tensor([1e-3])))
    assert dense.delay is not None
    with torch.no_grad():
        dense.delay -= 2e-3
    with pytest.raises(InputError, match="delay of input unit 0"):
        dense.transmit(Spikes.from_events([([1e-3], [0])], 1, 0.05))


def test_delay_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match="delay has shape"):
        Dense(3, 2, delay=[1e-3, 1e-3])
