"""Each compiled pass does, bit for bit, what the chain of array operations does that it stands for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.spikes import Spikes
from hwloop_emulator.compiled import trains
from hwloop_emulator.compiled.streams import Streams
from hwloop_emulator.link import Link
from hwloop_emulator.streams import Stream

from . import chains

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


def _equal(expected: Spikes, found: Spikes) -> bool:
    """Equal but for padding beyond the fullest sample."""
    width = int(expected.counts.max())
    padded = bool(torch.isinf(found.times[:, width:]).all())
    return padded and all(
        torch.equal(wanted, own)
        for wanted, own in (
            (expected.times[:, :width], found.times[:, :width]),
            (expected.units[:, :width], found.units[:, :width]),
            (expected.counts, found.counts),
        )
    )


def _padded(spikes: Spikes, more: int) -> Spikes:
    """With ``more`` columns than it needs: the draws of an event depend on how wide its batch is."""
    times = torch.nn.functional.pad(spikes.times, (0, more), value=math.inf)
    return Spikes(times, torch.nn.functional.pad(spikes.units, (0, more)), spikes.counts, spikes.n_units, spikes.t_stop)


CASE = {
    "seed": st.integers(0, 2**32 - 1),
    "batch": st.integers(1, 6),
    "most": st.sampled_from([0, 1, 7, 40, 200]),
    "double": st.booleans(),
}


@settings(max_examples=60, deadline=None)
@given(**CASE, more=st.integers(0, 3), sigma=st.sampled_from([0.0, 1e-7, 1e-5, 1.0]))
def test_jitter_moves_and_sorts_as_its_chain(
    seed: int, batch: int, most: int, double: bool, more: int, sigma: float
) -> None:
    spikes = _padded(_spikes(seed, batch, most, torch.float64 if double else torch.float32), more)
    expected = chains.jittered(spikes, sigma, Stream("wafer", seed, "jitter", 1, 2, 3))
    assert _equal(expected, trains.jittered(spikes, sigma, Streams.one("wafer", seed, "jitter", (1, 2, 3))))


@settings(max_examples=60, deadline=None)
@given(
    **CASE,
    more=st.integers(0, 3),
    probability=st.sampled_from([0.0, 0.2, 1.0]),
    latency=st.sampled_from([0.0, 2e-7, 3e-5]),
    tick=st.sampled_from([0.0, 1e-7, 3.3e-6]),
)
def test_the_read_out_loses_and_stamps_as_its_chain(
    seed: int, batch: int, most: int, double: bool, more: int, probability: float, latency: float, tick: float
) -> None:
    spikes = _padded(_spikes(seed, batch, most, torch.float64 if double else torch.float32), more)
    expected, lost, late = spikes, 0, 0
    if probability > 0:
        expected, lost = chains.lossy(expected, probability, Stream("wafer", seed, "loss"))
    if latency > 0 or tick > 0:
        expected, late = chains.stamped(expected, latency, tick)
    streams = Streams.one("wafer", seed, "loss", (0, 0, 0)) if probability > 0 else None
    found = trains.read_out(spikes, probability, latency, tick, streams)
    assert (found.lost, found.late) == (lost, late)
    left = int(expected.counts.sum())
    assert found.latest == (float(expected.times[expected.valid].max()) if left else -math.inf)
    assert _equal(expected, found.spikes)


@settings(max_examples=30, deadline=None)
@given(**CASE, more=st.integers(0, 3), factor=st.sampled_from([1.0, 1e-3, 1000.0]))
def test_times_are_rescaled_as_by_their_chain(
    seed: int, batch: int, most: int, double: bool, more: int, factor: float
) -> None:
    spikes = _padded(_spikes(seed, batch, most, torch.float64 if double else torch.float32), more)
    expected = chains.rescaled(spikes, factor, T_STOP * factor)
    for found, width in (
        (trains.rescaled(spikes, factor, T_STOP * factor), spikes.times.shape[1]),
        (trains.narrowed(spikes, factor, T_STOP * factor), int(spikes.counts.max())),
    ):
        assert _equal(expected, found)
        assert (found.times.shape[1], found.t_stop) == (width, T_STOP * factor)


def test_what_is_narrowed_lies_in_memory_of_its_own() -> None:
    spikes = _spikes(1, 3, 7, torch.float32)
    assert trains.rescaled(spikes, 1.0, T_STOP).times.data_ptr() == spikes.times.data_ptr()
    assert trains.narrowed(spikes, 1.0, T_STOP).times.data_ptr() != spikes.times.data_ptr()


@pytest.mark.parametrize("rate", [0.0, 2e4, 2e7])
@pytest.mark.parametrize("period", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize("depth", [3, 100])
def test_a_link_is_passed_by_only_where_it_changes_nothing(rate: float, period: float, depth: int) -> None:
    link, passed, changed = Link(rate, depth, period), 0, 0
    for seed in range(40):
        # squeezed into the first part of the window, so that some queues empty in time
        spikes = chains.rescaled(_spikes(seed, 3, seed % 6, torch.float64), 0.3, T_STOP)
        latest = float(spikes.times[spikes.valid].max()) if int(spikes.counts.sum()) else -math.inf
        may = link.may_change(int(spikes.counts.max()), T_STOP, latest)
        (delivered,), lost, late = link.deliver([spikes])
        same = (lost, late) == (0, 0) and torch.equal(delivered.times, spikes.times)
        assert may or same
        passed, changed = passed + (not may), changed + (not same)
    assert passed > 0
    assert (changed > 0) == (rate == 2e4 or period == 1e-5)
