"""Populations that reset by subtraction: the kernel against its NumPy twin, bit for bit, and against the neurons of the rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwloop.errors import InputError
from hwloop.rules.steps.integrate_fire import IntegrateFire, binary, fire, retracting
from hwloop_fixed_point.soft_reset import SoftPopulation, run_population, run_population_reference


def _random(seed: int, *, signed: bool, recurrent: bool) -> tuple[SoftPopulation, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    n, n_in, batch, ticks = 7, 5, 3, 40
    own = 2 * generator.integers(-20, 21, size=(n, n)) if recurrent else None
    vth = int(generator.integers(20, 300))
    population = SoftPopulation(
        (2 * generator.integers(-127, 128, size=(n, n_in))).astype(np.int32),
        None if own is None else own.astype(np.int32),
        vth,
        int(generator.integers(1, 3)) * vth << 6,
        generator.integers(-500, 500, size=n).astype(np.int32),
        signed,
    )
    inputs = generator.integers(-1 if signed else 0, 4, size=(batch, ticks, n_in)) * (
        generator.random((batch, ticks, n_in)) < 0.3
    )
    return population, inputs.astype(np.int32), generator.integers(-800, 800, size=(batch, n)).astype(np.int32)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
def test_the_kernel_equals_its_twin_bit_for_bit(signed: bool, recurrent: bool) -> None:
    fired = 0
    for seed in range(25):
        population, inputs, bias = _random(seed, signed=signed, recurrent=recurrent)
        found, expected = run_population(population, inputs, bias), run_population_reference(population, inputs, bias)
        assert np.array_equal(found.raster, expected.raster)
        assert found.overflows == expected.overflows
        fired += int(np.abs(found.raster).sum())
        assert signed or not (found.raster < 0).any()
        assert (np.cumsum(found.raster, axis=1) >= 0).all()
    assert fired > 1000


def test_sums_beyond_a_current_are_counted() -> None:
    population = SoftPopulation(np.full((1, 1), 254, np.int32), None, 100, 6400, np.ones(1, np.int32))
    inputs = np.zeros((1, 3, 1), np.int32)
    inputs[0, 0, 0] = 2**10
    for run in (run_population, run_population_reference):
        assert run(population, inputs, np.zeros((1, 1), np.int32)).overflows == 1


@pytest.mark.parametrize(
    "neuron,signed", [(binary(20.0, 40.0), False), (retracting(20.0), True)], ids=["binary", "retracting"]
)
def test_a_start_of_one_makes_it_the_neuron_of_the_rules(neuron: IntegrateFire, signed: bool) -> None:
    """Integers: ``v > threshold`` after a start of 1 is ``u >= threshold``, and ``v <= 0`` is ``u < 0``."""
    generator = np.random.default_rng(2)
    batch, ticks, n = 4, 60, 9
    inputs = generator.integers(-1 if signed else 0, 2, size=(batch, ticks, n)).astype(np.int32)
    weight = (2 * generator.integers(-8, 9, size=(n, n))).astype(np.int32)
    population = SoftPopulation(weight, None, 20, int(neuron.quantum) << 6, np.ones(n, np.int32), signed)
    found = run_population(population, inputs, np.zeros((batch, n), np.int32)).raster
    potential, count = torch.zeros(batch, n).double(), torch.zeros(batch, n).double()
    for tick in range(ticks):
        if tick:
            potential += torch.from_numpy(inputs[:, tick - 1] @ weight.T).double()
        spikes = fire(potential, neuron, count)
        assert np.array_equal(found[:, tick], spikes.numpy())
    assert (found != 0).any()


def test_inputs_of_another_shape_are_refused() -> None:
    population, inputs, bias = _random(0, signed=False, recurrent=False)
    with pytest.raises(InputError, match="expected"):
        run_population(population, inputs[:, :, :2], bias)
    with pytest.raises(InputError, match="expected"):
        run_population(population, inputs, bias[:1])
