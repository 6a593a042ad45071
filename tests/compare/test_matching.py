from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from hwloop.compare import match
from hwloop.compare.flat_trains import as_trains, paired_trains
from hwloop.compare.matching import align_trains
from hwloop.compare.reference import align
from hwloop.errors import InputError
from hwloop.spikes import Spikes

from .support import disturbed, random_spikes, trains

times = st.lists(st.integers(0, 200), max_size=9).map(lambda x: sorted(t / 20 for t in x))


def best_cost(a: list[float], b: list[float], window: float) -> float:
    """Any assignment, not only ordered ones: an unpaired spike is assigned to a private dummy of cost window / 2."""
    n, m = len(a), len(b)
    cost = np.full((n + m, n + m), 1e9)
    cost[:n, :m] = np.abs(np.subtract.outer(a, b)) if n and m else 0
    cost[range(n), range(m, m + n)] = window / 2
    cost[range(n, n + m), range(m)] = window / 2
    cost[n:, m:] = 0
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].sum())


@settings(max_examples=150, deadline=None)
@given(times, times, st.sampled_from([0.05, 0.4, 1.0, 3.0, 30.0]))
def test_matching_costs_what_the_best_of_all_assignments_costs(a: list[float], b: list[float], window: float) -> None:
    found = match(trains(a), trains(b), window)
    # times are multiples of 1/20 rounded to float32 (6e-7 at 10 s), at most 18 terms
    assert found.cost[0] == pytest.approx(best_cost(a, b, window), abs=2e-5)


@settings(max_examples=150, deadline=None)
@given(times, times, st.sampled_from([0.1, 0.7, 2.0, 11.0]))
def test_kernel_equals_its_plain_twin(a: list[float], b: list[float], rate: float) -> None:
    ours, theirs = paired_trains(trains(a), trains(b))
    partner, cost = align_trains(ours, theirs, rate)
    expected, pairs = align(ours.times, theirs.times, rate)
    assert cost[0] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    found = [(i, int(j)) for i, j in enumerate(partner) if j >= 0]
    # equal costs may be reached by other pairs; what the pairs cost is what counts
    paid = sum(rate * abs(ours.times[i] - theirs.times[j]) for i, j in found)
    assert paid + len(a) + len(b) - 2 * len(found) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert sum(rate * abs(ours.times[i] - theirs.times[j]) - 2 for i, j in pairs) == pytest.approx(
        sum(rate * abs(ours.times[i] - theirs.times[j]) - 2 for i, j in found), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize("seed", range(60))
def test_kernel_pairs_what_its_plain_twin_pairs_where_no_two_matchings_cost_the_same(seed: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = (sorted(generator.uniform(0, 10, size=generator.integers(0, 10)).tolist()) for _ in range(2))
    ours, theirs = paired_trains(trains(a), trains(b))
    rate = [0.1, 0.7, 2.0, 11.0][seed % 4]
    partner, _ = align_trains(ours, theirs, rate)
    _, pairs = align(ours.times, theirs.times, rate)
    assert [(i, int(j)) for i, j in enumerate(partner) if j >= 0] == pairs


@settings(max_examples=60, deadline=None)
@given(times, times, st.sampled_from([0.2, 1.0, 5.0]))
def test_pairs_never_cross_nor_exceed_the_window(a: list[float], b: list[float], window: float) -> None:
    found = match(trains(a), trains(b), window)
    _, theirs = found.pairs
    assert np.all(np.diff(theirs) > 0)
    assert np.all(np.abs(found.errors) <= window * (1 + 1e-6))
    assert len(found.errors) + len(found.missing) == len(a)
    assert len(found.errors) + len(found.extra) == len(b)


def test_a_batch_is_matched_train_by_train() -> None:
    a = random_spikes(1, 5, 7, 4.0)
    b = disturbed(a, 2, 0.2, 0.1, 0.1)
    found = match(a, b, 1.0)
    alone = [match(a[k], b[k], 1.0) for k in range(5)]
    assert np.array_equal(found.errors, np.concatenate([m.errors for m in alone]))
    assert np.array_equal(found.cost, np.concatenate([m.cost for m in alone]))


def test_equal_trains_match_exactly() -> None:
    a = random_spikes(3, 20, 11, 5.0)
    found = match(a, a, 0.3)
    assert not np.any(found.errors)
    assert len(found.missing) == len(found.extra) == 0
    assert np.array_equal(found.pairs[0], found.pairs[1])


def test_bias_rmse_and_jitter_are_those_of_the_pairs() -> None:
    simulated = trains([1.0, 3.0, 5.0], [2.0], [])
    measured = trains([1.1, 3.3, 5.2, 9.0], [], [4.0])
    neurons = match(simulated, measured, 1.0).per_neuron()
    shift = np.array([0.1, 0.3, 0.2])
    assert neurons.bias[0] == pytest.approx(shift.mean(), abs=1e-6)
    assert neurons.rmse[0] == pytest.approx(np.sqrt((shift**2).mean()), abs=1e-6)
    assert neurons.jitter[0] == pytest.approx(shift.std(), abs=1e-6)
    assert neurons.matched.tolist() == [3, 0, 0]
    assert neurons.missing.tolist() == [0, 1, 0]
    assert neurons.extra.tolist() == [1, 0, 1]
    assert np.isnan(neurons.bias[1:]).all()


def test_a_lost_spike_does_not_shift_its_followers() -> None:
    found = match(trains([1.0, 2.0, 3.0, 4.0]), trains([2.0, 3.0, 4.0]), 1.5)
    assert found.missing.tolist() == [0]
    assert not np.any(found.errors)


def test_rounding_to_float32_alone_is_no_error() -> None:
    a = Spikes.from_events([([0.1, 0.7], [0, 1])], 2, 1.0, dtype=torch.float64)
    b = a.to(torch.float32)
    assert not np.any(match(a, b, 0.1).errors)


def test_trains_are_sorted_by_sample_and_neuron() -> None:
    flat = as_trains(Spikes.from_events([([0.1, 0.2, 0.3], [1, 0, 1]), ([], []), ([0.5], [0])], 2, 1.0))
    assert flat.start.tolist() == [0, 1, 3, 3, 3, 4, 4]
    assert flat.unit.tolist() == [0, 1, 1, 0]
    assert flat.of_unit(0, 1) == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize("window", [0.0, -1.0, float("nan"), float("inf")])
def test_a_window_that_is_no_time_is_refused(window: float) -> None:
    with pytest.raises(InputError, match=r"window = .*> 0"):
        match(trains([1.0]), trains([1.0]), window)


def test_batches_of_other_shape_are_refused_naming_both() -> None:
    with pytest.raises(InputError, match="simulated has 1 units, measured has 2"):
        match(trains([1.0]), trains([1.0], []), 1.0)
    with pytest.raises(InputError, match="simulated has 1 samples, measured has 3"):
        match(trains([1.0]), random_spikes(0, 3, 1, 1.0), 1.0)
    with pytest.raises(InputError, match=r"t_stop = 10 s, measured has t_stop = 12 s"):
        match(trains([1.0]), trains([1.0], t_stop=12.0), 1.0)
