"""The signed integrate-and-fire neuron against its reference, its closed forms and its refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import InputError
from hwloop.rules.steps.integrate_fire import (
    IntegrateFire,
    binary,
    discharge,
    discharge_reference,
    fire,
    fire_reference,
    retracting,
    retracting_symmetric,
    ternary,
    ternary_symmetric,
)

NEURONS = {
    "retracting": retracting(3.0),
    "retracting as published": retracting_symmetric(3.0),
    "ternary": ternary(3.0),
    "ternary as published": ternary_symmetric(3.0),
    "binary": binary(1.0, 2.0),
    "long quiet interval": IntegrateFire(1.0, 2.5, -4.0, rectified=True),
}
every_neuron = pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS.keys())


def _potentials(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    """Multiples of 1/2 in -12..12, every threshold of NEURONS among them, and net counts 0..4."""
    generator = np.random.default_rng(seed)
    potential = torch.from_numpy(generator.integers(-24, 25, size=(7, 40)) / 2.0)
    return potential.to(dtype), torch.from_numpy(generator.integers(0, 5, size=(7, 40))).to(dtype)


@every_neuron
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_step_equals_the_reference(neuron: IntegrateFire, dtype: torch.dtype) -> None:
    potential, count = _potentials(dtype=dtype)
    expected, after = fire_reference(potential.numpy(), neuron, count.numpy())
    before = count.clone()
    spikes = fire(potential, neuron, count)
    assert np.array_equal(spikes.numpy(), expected)
    assert np.array_equal(potential.numpy(), after)
    assert torch.equal(count, before + spikes)


@every_neuron
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_discharge_equals_firing_until_quiet(neuron: IntegrateFire, dtype: torch.dtype) -> None:
    potential, count = _potentials(dtype=dtype)
    expected, after = discharge_reference(potential.numpy(), neuron, count.numpy())
    stepped, total = potential.clone(), count.clone()
    while bool(fire(stepped, neuron, total).any()):
        pass
    start = count.clone()
    spikes = discharge(potential, neuron, count)
    assert np.array_equal(spikes.numpy(), expected)
    assert np.array_equal(potential.numpy(), after)
    assert torch.equal(potential, stepped)
    assert torch.equal(count, total)
    assert torch.equal(count - start, spikes)


@given(st.integers(-(2**20), 2**20), st.integers(1, 2**12))
@settings(max_examples=300, deadline=None)
def test_a_discharged_neuron_is_quiet_and_conserves_its_input(total: int, theta: int) -> None:
    """In multiples of 1/64 every operation is exact, so the conservation law is too."""
    for kind in (retracting, ternary, ternary_symmetric, retracting_symmetric):
        neuron = kind(theta / 64)
        potential, count = torch.tensor([total / 64], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        discharge(potential, neuron, count)
        assert float(neuron.quantum * count + potential) == total / 64
        assert not bool(fire(potential, neuron, count).any())


def test_net_counts_are_the_closed_forms() -> None:
    inputs = torch.arange(-40, 41, dtype=torch.float64)
    forms = {
        retracting(3.0): torch.clamp(torch.floor(inputs / 3), min=0),
        retracting_symmetric(3.0): torch.clamp(torch.trunc(inputs / 3), min=0),
        ternary(3.0): torch.round(inputs / 3),
        ternary_symmetric(3.0): torch.trunc(inputs / 3),
    }
    for neuron, expected in forms.items():
        count = torch.zeros_like(inputs)
        discharge(inputs.clone(), neuron, count)
        assert torch.equal(count, expected)


def _streams(neuron: IntegrateFire, generator: np.random.Generator, streams: int) -> int:
    """Random integer streams of 30 events whose net count differs from that of their sum, fired after every event."""
    events = torch.from_numpy(generator.integers(-5, 6, size=(30, streams))).double()
    potential, count = torch.zeros(streams, dtype=torch.float64), torch.zeros(streams, dtype=torch.float64)
    for event in events:
        potential += event
        discharge(potential, neuron, count)
    at_once = torch.zeros_like(count)
    discharge(events.sum(0), neuron, at_once)
    return int((at_once != count).sum())


def test_only_a_quiet_interval_of_one_quantum_forgets_the_order() -> None:
    for neuron in (retracting(3.0), retracting(4.0), ternary(3.0), ternary(4.0)):
        assert neuron.order_free
        assert _streams(neuron, np.random.default_rng(1), 2000) == 0
    for neuron in (retracting_symmetric(3.0), ternary_symmetric(3.0)):
        assert not neuron.order_free
        # the negative control: a check that could not see a dependence on order would be worth nothing
        assert _streams(neuron, np.random.default_rng(1), 2000) > 100


def test_a_rectified_neuron_never_takes_back_more_than_it_gave() -> None:
    potential, count = torch.full((3,), -50.0), torch.tensor([0.0, 1.0, 4.0])
    assert discharge(potential, retracting(1.0), count).tolist() == [0.0, -1.0, -4.0]
    assert count.tolist() == [0.0, 0.0, 0.0]


def test_constant_input_fires_at_the_rate_that_it_is_worth() -> None:
    """SPIDE's neuron over T steps: |T a - I T / R| <= 1/2 spike, since the residual is a rounding, not a floor."""
    current = torch.linspace(0.0, 2.0, 201, dtype=torch.float64)
    potential, count, steps = torch.zeros_like(current), torch.zeros_like(current), 40
    for _ in range(steps):
        potential += current
        fire(potential, binary(1.0, 2.0), count)
    # 40 additions of numbers up to 2
    assert float((count - steps * current / 2).abs().max()) <= 0.5 + 40 * 2**-50


@pytest.mark.parametrize(
    "options",
    [
        {"quantum": 0.0},
        {"quantum": -1.0},
        {"quantum": math.inf},
        {"upper": math.nan},
        {"lower": math.inf},
        {"quantum": 1.0, "upper": 0.5, "lower": 0.0},
    ],
)
def test_a_neuron_that_cannot_rest_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="allowed"):
        IntegrateFire(**options)


def test_a_rectified_neuron_without_its_count_is_refused() -> None:
    for operation in (fire, discharge):
        with pytest.raises(InputError, match="give count"):
            operation(torch.zeros(3), retracting(1.0))
