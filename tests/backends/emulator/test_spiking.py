"""The kernel of the population gives the bits of the simulator's kernel, which is its specification."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.simulate.forward import forward_range
from hwloop.simulate.narrow import LANES
from hwloop.simulate.scalar import GENERAL
from hwloop.simulate.vector import propagators, rate_tables
from hwloop_emulator.decay import long_propagators
from hwloop_emulator.spiking import WIDTH, fire_range

T_STOP = 5e-5


def _layer(seed: int, n: int, n_in: int, batch: int, most: int, dtype: Any, low: bool) -> dict[str, Any]:
    """A layer with time constants up to the window, and inputs that arrive together or at its ends."""
    rng = np.random.default_rng(seed)
    table = np.empty((n, 4))
    table[:, 0], table[:, 1] = (np.exp(rng.uniform(np.log(1e-6), np.log(T_STOP), n)).astype(dtype) for _ in range(2))
    table[rng.random(n) < 0.2, 1] = 1e-5  # some equal, or nearly
    table[rng.random(n) < 0.2, 0] = 1e-5
    table[:, :2] = table[:, :2].astype(dtype)
    table[:, 2] = np.where(rng.random(n) < 0.3, 0.0, rng.choice([4e-8, 1e-6, 2e-5], n)).astype(dtype)
    table[:, 3] = rng.normal(0.0, 0.1, n).astype(dtype)
    threshold = (1.0 + rng.normal(0.0, 0.05, (batch, n))).astype(dtype)
    threshold[rng.random((batch, n)) < 0.05] = np.inf
    if low:
        threshold[:, rng.random(n) < 0.3] = -0.2
        table[:, 3] = np.minimum(table[:, 3], -0.4)
    start = np.where((threshold <= 0).any(0), table[:, 3], 0).astype(dtype)
    times, units = np.full((batch, max(most, 1)), np.inf, dtype), np.zeros((batch, max(most, 1)), np.int64)
    counts = rng.integers(0, most + 1, batch)
    for b, k in enumerate(counts):
        drawn = rng.choice([0.0, 1e-5, T_STOP, *rng.random(12) * T_STOP], k)
        times[b, :k], units[b, :k] = np.sort(drawn.astype(dtype)), rng.integers(0, n_in, k)
    rates, bases, powers = rate_tables(table[:, 0].astype(dtype), table[:, 1].astype(dtype))
    # what a spike needs grows with tau_mem / tau_syn
    weight = (rng.normal(0.5, 1.0, (n_in, n)) * np.clip(table[:, 0] / table[:, 1], 1.0, 4.0)).astype(dtype)
    return {
        "inputs": (times, units, counts),
        "neurons": (weight, table, threshold, start, bool((threshold <= 0).any())),
        "rates": (rates, bases, powers),
    }


def _run(layer: dict[str, Any], subtract: bool, most: int, room: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """``(times, units, counts)`` of the specification and of the kernel."""
    times, _, counts = layer["inputs"]
    batch, dtype = len(counts), times.dtype
    weight, table, threshold, start, moves = layer["neurons"]

    def outputs() -> tuple[Any, Any, Any]:
        return np.full((batch, room), -1, dtype), np.full((batch, room), -1, np.int64), np.zeros(batch, np.int64)

    expected, found = outputs(), outputs()
    spare = [np.empty((batch, room), dtype) for _ in range(3)]
    rates, bases, powers = layer["rates"]
    forward_range(
        0, batch, GENERAL, *layer["inputs"], weight, table, threshold, start, moves, True, rates, bases, powers, T_STOP,
        subtract, most, None, None, None, *expected, *spare, np.empty((1, 1), dtype),
    )  # fmt: skip
    fire_range(0, batch, *layer["inputs"], *layer["neurons"], rates, bases, powers, T_STOP, subtract, most, *found)
    return expected, found


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.sampled_from([LANES, LANES + 1, 40, 2 * WIDTH + 3]),
    most=st.sampled_from([0, 1, 5, 40]),
    double=st.booleans(),
    low=st.booleans(),
    subtract=st.booleans(),
    cap=st.sampled_from([0, 1, 3]),
)
def test_all_spikes_are_those_of_the_simulator(
    seed: int, n: int, most: int, double: bool, low: bool, subtract: bool, cap: int
) -> None:
    layer = _layer(seed, n, 7, 5, most, np.float64 if double else np.float32, low)
    expected, found = _run(layer, subtract, cap, 4000)
    for wanted, got in zip(expected, found, strict=True):
        assert np.array_equal(wanted, got)


def test_the_cases_spike_often_and_more_than_once() -> None:
    most, total = 0, 0
    for seed in range(20):
        expected, found = _run(_layer(seed, 40, 7, 5, 40, np.float32, False), False, 0, 4000)
        assert np.array_equal(expected[0], found[0])
        total += int(found[2].sum())
        most = max(most, *(int(np.bincount(row[:k]).max()) for row, k in zip(found[1], found[2], strict=True) if k))
    assert total > 1000
    assert most > 3


@pytest.mark.parametrize("room", [1, 10])
def test_more_spikes_than_room_are_counted(room: int) -> None:
    layer = _layer(3, 40, 7, 5, 40, np.float32, False)
    assert int(_run(layer, False, 0, 4000)[1][2].max()) > 10
    expected, found = _run(layer, False, 0, room)
    assert np.array_equal(expected[2], found[2])
    fits = found[2] <= room
    assert np.array_equal(expected[0][fits], found[0][fits])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 70), exponent=st.floats(-9, 1), double=st.booleans())
def test_propagators_are_those_of_the_simulator(seed: int, n: int, exponent: float, double: bool) -> None:
    dtype = np.float64 if double else np.float32
    rng = np.random.default_rng(seed)
    taus = [np.exp(rng.uniform(np.log(1e-7), np.log(1e-4), n)).astype(dtype) for _ in range(2)]
    tables = rate_tables(*taus)
    expected, found = (np.empty((3, n), dtype) for _ in range(2))
    propagators(*expected, 10.0**exponent, *tables)
    long_propagators(*found, 10.0**exponent, *tables)
    assert np.array_equal(expected, found)
