"""Each pass does, bit for bit, what the chain of operations of ``events`` does that it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.spikes import Spikes
from hwloop_emulator import events
from hwloop_emulator.link import Link
from hwloop_emulator.many import events as passes
from hwloop_emulator.streams import Array, Stream

T_STOP = 5e-5


def _spikes(seed: int, batch: int, most: int, dtype: torch.dtype) -> Spikes:
    """Trains of unequal length, ties and events at both ends of the window among them."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, batch)
    counts[rng.integers(batch)] = most
    samples = []
    for n in counts:
        times = np.sort(rng.choice([0.0, T_STOP, *rng.random(8) * T_STOP], n))
        samples.append((times, rng.integers(0, 5, n)))
    return Spikes.from_events(samples, n_units=5, t_stop=T_STOP, dtype=dtype)


def _arrays(spikes: Spikes) -> tuple[Array, Array, Array]:
    return spikes.times.numpy(), spikes.units.numpy(), spikes.counts.numpy()


def _equal(expected: Spikes, times: Array, units: Array, counts: Array) -> bool:
    width = int(counts.max()) if len(counts) else 0
    padded = bool(np.isinf(times[:, width:]).all())
    return padded and all(
        np.array_equal(wanted, found)
        for wanted, found in zip(_arrays(expected), (times[:, :width], units[:, :width], counts), strict=True)
    )


CASE = {
    "seed": st.integers(0, 2**32 - 1),
    "batch": st.integers(1, 6),
    "most": st.sampled_from([0, 1, 7, 40, 200]),
    "double": st.booleans(),
}


@settings(max_examples=60, deadline=None)
@given(**CASE, sigma=st.sampled_from([0.0, 1e-7, 1e-5, 1.0]))
def test_jitter_sorts_as_events_do(seed: int, batch: int, most: int, double: bool, sigma: float) -> None:
    spikes = _spikes(seed, batch, most, torch.float64 if double else torch.float32)
    expected = events.jittered(spikes, sigma, Stream("wafer", seed, "jitter"))
    times, units, counts = _arrays(spikes)
    dense = Stream("wafer", seed, "jitter").normal(times.shape)
    noise = np.concatenate([row[:n] for row, n in zip(dense, counts, strict=True)])
    out, to = np.empty_like(times), np.empty_like(units)
    passes.jitter(times, units, counts, noise, sigma, T_STOP, out, to)
    assert _equal(expected, out, to, counts)


@settings(max_examples=60, deadline=None)
@given(
    **CASE,
    probability=st.sampled_from([0.0, 0.2, 1.0]),
    latency=st.sampled_from([0.0, 2e-7, 3e-5]),
    tick=st.sampled_from([0.0, 1e-7, 3.3e-6]),
)
def test_the_read_out_loses_and_stamps_as_events_do(
    seed: int, batch: int, most: int, double: bool, probability: float, latency: float, tick: float
) -> None:
    spikes = _spikes(seed, batch, most, torch.float64 if double else torch.float32)
    expected, lost, late = spikes, 0, 0
    if probability > 0:
        expected, lost = events.lossy(expected, probability, Stream("wafer", seed, "loss"))
    if latency > 0 or tick > 0:
        expected, late = events.stamped(expected, latency, tick)
    times, units, counts = _arrays(spikes)
    dense = Stream("wafer", seed, "loss").random(times.shape)
    draws = np.concatenate([row[:n] for row, n in zip(dense, counts, strict=True)])
    out, to, left = np.empty_like(times), np.empty_like(units), np.empty_like(counts)
    found = passes.read_out(times, units, counts, draws, probability, latency, tick, T_STOP, out, to, left)
    assert found[:2] == (lost, late)
    assert found[2] == (float(expected.times[expected.valid].max()) if int(left.sum()) else -math.inf)
    assert _equal(expected, out, to, left)


@settings(max_examples=30, deadline=None)
@given(**CASE, factor=st.sampled_from([1.0, 1e-3, 1000.0]))
def test_rescaled_events_are_those_of_events(seed: int, batch: int, most: int, double: bool, factor: float) -> None:
    spikes = _spikes(seed, batch, most, torch.float64 if double else torch.float32)
    expected = events.rescaled(spikes, factor, T_STOP * factor)
    times, units, counts = _arrays(spikes)
    out, to = np.empty_like(times), np.empty_like(units)
    passes.rescale(times, units, counts, factor, T_STOP * factor, out, to)
    assert _equal(expected, out, to, counts)


@pytest.mark.parametrize("rate", [0.0, 2e4, 2e7])
@pytest.mark.parametrize("period", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize("depth", [3, 100])
def test_a_link_is_passed_by_only_where_it_changes_nothing(rate: float, period: float, depth: int) -> None:
    link, passed, changed = Link(rate, depth, period), 0, 0
    for seed in range(40):
        # squeezed into the first part of the window, so that some queues empty in time
        spikes = events.rescaled(_spikes(seed, 3, seed % 6, torch.float64), 0.3, T_STOP)
        latest = float(spikes.times[spikes.valid].max()) if int(spikes.counts.sum()) else -math.inf
        may = link.may_change(int(spikes.counts.max()), T_STOP, latest)
        (delivered,), lost, late = link.deliver([spikes])
        same = (lost, late) == (0, 0) and torch.equal(delivered.times, spikes.times)
        assert may or same
        passed, changed = passed + (not may), changed + (not same)
    assert passed > 0
    assert (changed > 0) == (rate == 2e4 or period == 1e-5)
