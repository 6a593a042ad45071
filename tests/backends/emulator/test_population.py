"""A population is its chips: bit for bit, in order, in much less time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import InputError, TargetError
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop.target import compile, open
from hwloop_emulator import Population, bulk
from hwloop_emulator.streams import Stream

Build = Callable[..., Network]


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(0, 2**63 - 1),
    positions=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 4)),
    uniform=st.booleans(),
)
def test_bulk_draws_are_the_streams_draws(
    number: int, positions: list[int], shape: tuple[int, int], uniform: bool
) -> None:
    found = bulk.rows("wafer", number, "synapse", np.array(positions), shape, uniform)
    for row, position in zip(found, positions, strict=True):
        stream = Stream("wafer", number, "synapse", position)
        assert np.array_equal(row, stream.random(shape) if uniform else stream.normal(shape))
    n = shape[0] * 100
    for name, row in zip("ab", bulk.vectors("wafer", number, ["a", "b"], n, uniform), strict=True):
        stream = Stream("wafer", number, name)
        assert np.array_equal(row, stream.random(n) if uniform else stream.normal(n))


@pytest.mark.parametrize("preset", ["bss2", "worst", "ideal"])
@pytest.mark.parametrize("threads", [1, 2])
def test_each_chip_returns_what_it_returns_alone(build: Build, spikes: Spikes, preset: str, threads: int) -> None:
    net, numbers = build(), [7, 3, 12345678901]
    population = Population(numbers, preset=preset, session=4)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = list(population.run(compile(net, population.target), spikes, repeats=2))
    finally:
        torch.set_num_threads(before)
    for number, recording in zip(numbers, found, strict=True):
        with open(f"emulator:{number}", preset=preset, session=4) as chip:
            chip.load(compile(net, chip))
            alone = chip.run(spikes, repeats=2)
        for k in range(2):
            assert torch.equal(recording[k].times, alone[k].times)
            assert torch.equal(recording[k].units, alone[k].units)
        for name in ("device_id", "firmware", "program_digest", "lost_events", "late_events", "ran_on"):
            assert getattr(recording, name) == getattr(alone, name)


def test_a_population_takes_the_options_of_the_target(build: Build, spikes: Spikes) -> None:
    population = Population([1], preset="bss2", mismatch=False, trial_noise=False, spread=0.2)
    (found,) = population.run(compile(build(), population.target), spikes)
    with open("emulator:1", preset="bss2", mismatch=False, trial_noise=False, spread=0.2, session=0) as chip:
        chip.load(compile(build(), chip))
        assert torch.equal(chip.run(spikes).output.times, found.output.times)


def test_no_chips_and_the_same_chip_twice_are_refused(build: Build, spikes: Spikes) -> None:
    with pytest.raises(InputError, match="0 chips, 0 of them different"):
        Population([])
    with pytest.raises(InputError, match="3 chips, 2 of them different"):
        Population([1, 2, 1])
    with pytest.raises(TargetError, match="emulator:-1 is no chip"):
        Population([1, -1])


def test_programs_and_spikes_that_do_not_fit_are_refused(build: Build, spikes: Spikes) -> None:
    population = Population([1, 2])
    with open("emulator:1", preset="worst") as other, pytest.raises(TargetError, match="cannot load a program for"):
        population.run(compile(build(), other), spikes)
    with pytest.raises(TargetError, match="5 units for a program of 4 inputs"):
        population.run(compile(build(n_in=4), population.target), spikes)
    with pytest.raises(InputError, match="repeats = 0"):
        population.run(compile(build(), population.target), spikes, repeats=0)
