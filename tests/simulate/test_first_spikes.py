"""First spikes as a dense view, as a cross-entropy and as a decision, each against its definition in torch's operations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hwloop.losses import predict
from hwloop.simulate.first_spikes import (
    cross_entropy_by_torch,
    first_spike_cross_entropy,
    first_times,
    first_units,
    first_units_by_torch,
)
from hwloop.spikes import Spikes

N, T_STOP, TEMPERATURE = 4, 1.0, 0.1

#: The rounding of a chain of some ten operations.
ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-13}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def spikes(dtype: torch.dtype = torch.float64) -> Spikes:
    """Several spikes a neuron, silent neurons, ties, and a silent sample."""
    given = [
        ([0.1, 0.2, 0.2, 0.5], [3, 1, 0, 3]), ([], []), ([0.3, 0.3, 0.3], [2, 1, 2]), ([0.0, 0.9], [0, 0]), ([1.0], [1])
    ]  # fmt: skip
    found = Spikes.from_events(given, N, T_STOP, dtype)
    return Spikes(found.times.requires_grad_(), found.units, found.counts, N, T_STOP)


def defined_first(of: Spikes) -> Tensor:
    rows = []
    for b in range(len(of)):
        mine = [of.times[b, : of.counts[b]][of.units[b, : of.counts[b]] == j] for j in range(N)]
        rows.append(torch.stack([t[0] if len(t) else of.times.new_tensor(math.inf) for t in mine]))
    return torch.stack(rows)


def finite(first: Tensor) -> Tensor:
    return torch.where(torch.isinf(first.detach()), T_STOP, first)


@DTYPES
def test_first_times_are_those_of_the_definition_and_so_are_their_gradients(dtype: torch.dtype) -> None:
    of = spikes(dtype)
    assert torch.equal(first_times(of), defined_first(of))
    weight = torch.arange(1.0, 1 + 5 * N, dtype=dtype).reshape(5, N)
    found, defined = (
        torch.autograd.grad((finite(first) * weight).sum(), of.times)[0]
        for first in (first_times(of), defined_first(of))
    )
    assert torch.equal(found, defined)


def test_second_derivatives_of_first_times_are_those_of_the_definition() -> None:
    of = spikes()
    found = []
    for first in (first_times(of), defined_first(of)):
        (once,) = torch.autograd.grad(finite(first).pow(3).sum(), of.times, create_graph=True)
        found.append(torch.autograd.grad((once * torch.arange(once.shape[1])).sum(), of.times)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-14, atol=0)


@DTYPES
def test_cross_entropy_is_that_of_torch(dtype: torch.dtype) -> None:
    of, labels = spikes(dtype), torch.tensor([0, 3, 1, 0, 2])
    found = first_spike_cross_entropy(of, labels, TEMPERATURE)
    expected = torch.nn.functional.cross_entropy(-finite(defined_first(of)) / TEMPERATURE, labels)
    assert found.dtype == dtype
    tolerance = ROUNDING[dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)
    gradients = [torch.autograd.grad(2.5 * value, of.times)[0] for value in (found, expected)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("labels", [[3, 1, 2, 0, 1], [1, 0, 0, 3, 2]], ids=["of spikes", "also of silent neurons"])
def test_the_gradient_of_the_cross_entropy_is_that_of_finite_differences(labels: list[int]) -> None:
    given = spikes().detach()
    distinct = given.times + 1e-3 * torch.arange(
        given.times.shape[1]
    )  # a neuron's tied spikes pass each other otherwise

    def value(times: Tensor) -> Tensor:
        of = Spikes.trusted(times, given.units, given.counts, N, T_STOP)
        return first_spike_cross_entropy(of, torch.tensor(labels), TEMPERATURE)

    assert torch.autograd.gradcheck(value, (distinct.requires_grad_(),), eps=1e-6, atol=1e-8)


def test_cross_entropy_of_extreme_times_is_finite() -> None:
    of = spikes()
    assert float(first_spike_cross_entropy(of, torch.tensor([0, 0, 0, 0, 0]), 1e-300).detach()) >= 0
    assert float(first_spike_cross_entropy(of, torch.tensor([3, 3, 1, 0, 1]), 1e300).detach()) == pytest.approx(
        math.log(N)
    )


def test_a_second_derivative_of_the_cross_entropy_is_refused() -> None:
    of = spikes()
    value = first_spike_cross_entropy(of, torch.zeros(5, dtype=torch.int64), TEMPERATURE)
    (once,) = torch.autograd.grad(value.square(), of.times, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        once.sum().backward()  # type: ignore[no-untyped-call]


@DTYPES
def test_the_earliest_spike_decides_and_of_equal_ones_the_lowest_unit(dtype: torch.dtype) -> None:
    of = spikes(dtype)
    assert first_units(of).tolist() == [3, -1, 1, 0, 1]
    assert torch.equal(predict(of), first_units(of))


def test_spikes_elsewhere_have_first_times_and_decisions_there() -> None:
    elsewhere = spikes().detach().to("meta")
    assert elsewhere.first_times().device.type == "meta"
    assert predict(elsewhere).device.type == "meta"
    of = spikes().detach()
    assert torch.equal(first_units_by_torch(of), first_units(of))
    labels = torch.arange(len(of)) % N
    torch.testing.assert_close(
        cross_entropy_by_torch(of, labels, TEMPERATURE), first_spike_cross_entropy(of, labels, TEMPERATURE)
    )


def test_spikes_without_any_event_have_no_first() -> None:
    silent = Spikes.from_events([([], []), ([], [])], N, T_STOP, torch.float64)
    of = Spikes(silent.times.requires_grad_(), silent.units, silent.counts, N, T_STOP)
    assert bool(torch.isinf(first_times(of)).all())
    assert first_units(of).tolist() == [-1, -1]
    value = first_spike_cross_entropy(of, torch.tensor([0, 1]), TEMPERATURE)
    assert float(value.detach()) == pytest.approx(math.log(N), rel=1e-14)
    value.backward()  # type: ignore[no-untyped-call]
    assert of.times.grad is not None
    (none,) = torch.autograd.grad(finite(first_times(of)).sum(), of.times, create_graph=True)
    assert none.shape == (2, 0)
