"""Ties and near-ties: where a simulator that compares rounded roots loses or invents spikes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from hwloop.bench import forty_digits as mp_reference
from hwloop.bench.forty_digits import Setting
from hwloop.simulate import cpu
from hwloop.simulate.contract import Events
from hwloop.simulate.reference import layer as reference

from .support import EXACT, TAUS, events, layer

ENGINES = pytest.mark.parametrize("engine", [cpu, reference], ids=["cpu", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])

#: Crossings per kind of taus in the 1-ulp regression: 5 kinds x 5 offsets x 2 weights x 200 = 10,000 cases a dtype.
CROSSINGS = 200

#: Neurons per kind of taus in the near-threshold census: 5 x 1,000.
CENSUS = 1000

#: Float32 rounds the state (u, i) at every event, by half an ulp of a threshold of 1 (6e-8) each: six events leave up
#: to some 4e-7. A maximum closer to the threshold than this may fall on either side; none further away may.
FLOAT32_STATE = 4e-7


@ENGINES
def test_equal_input_times_add_up(engine: ModuleType) -> None:
    apart = layer([[1.5], [1.7], [1.8]])
    together = layer([[5.0]])
    a = engine.forward(apart, events([([1e-3] * 3, [0, 1, 2])]), 0.05)
    b = engine.forward(together, events([([1e-3], [0])]), 0.05)
    np.testing.assert_allclose(a.spikes.times, b.spikes.times, rtol=1e-14)
    assert b.spikes.counts[0] >= 1


@ENGINES
@DTYPES
@pytest.mark.parametrize("weight", [-50.0, 50.0])
def test_input_at_a_neurons_own_spike_time_is_not_felt_by_that_spike(
    engine: ModuleType, dtype: Any, weight: float
) -> None:
    case = layer([[4.5], [weight]], dtype=dtype)
    one = engine.forward(case, events([([1e-3], [0])], dtype), 0.05)
    tied = events([([1e-3, one.spikes.times[0, 0]], [0, 1])], dtype)
    trace = engine.forward(case, tied, 0.05, one.spikes)
    assert trace.current[0, 0] == one.current[0, 0]
    grad = np.ones_like(trace.spikes.times)
    d_weight, d_times = engine.backward(case, tied, 0.05, trace, grad, EXACT, True)
    assert d_weight[0, 0] < 0
    assert d_weight[1, 0] == 0
    assert d_times[0, 1] == 0


@ENGINES
def test_strong_input_right_after_a_spike_does_not_undo_it(engine: ModuleType) -> None:
    case = layer([[4.5], [-50.0]])
    t = engine.forward(case, events([([1e-3], [0])]), 0.05).spikes.times[0, 0]
    pair = events([([1e-3, np.nextafter(t, 1.0)], [0, 1])])
    assert engine.forward(case, pair, 0.05).spikes.times.tolist() == [[t]]


@ENGINES
def test_input_at_time_zero_counts(engine: ModuleType) -> None:
    a = engine.forward(layer([[4.5]]), events([([0.0], [0])]), 0.05)
    b = engine.forward(layer([[4.5]]), events([([1e-3], [0])]), 0.05)
    np.testing.assert_allclose(a.spikes.times + 1e-3, b.spikes.times, rtol=1e-13)


@ENGINES
def test_input_at_t_stop_is_not_felt_and_a_spike_there_is_kept(engine: ModuleType) -> None:
    case = layer([[4.5]])
    t = engine.forward(case, events([([1e-3], [0])]), 0.05).spikes.times[0, 0]
    until = engine.forward(case, events([([1e-3, t], [0, 0])]), float(t))
    assert until.spikes.counts.tolist() == [1]
    assert until.spikes.times[0, 0] <= t


def true_crossings(taus: str, dtype: Any, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], Any]:
    """``(input times, thresholds, crossing times)`` of a weight 3.5, all in ``dtype``, the last to nearest."""
    r = np.random.default_rng(seed)
    tau_mem, tau_syn = (dtype(tau) for tau in TAUS[taus])
    start = r.uniform(0, 30e-3, CROSSINGS).astype(dtype)
    threshold = r.uniform(0.2, 0.7, CROSSINGS).astype(dtype)
    with mp.workdps(40):
        found = [
            mp_reference.spike_times(Setting((float(t),), (3.5,), float(tau_mem), float(tau_syn), float(c)), 1)[0]
            for t, c in zip(start, threshold, strict=True)
        ]
    # to float64 first would round twice, by at most an ulp of float64: no matter for offsets counted in ulp
    return start, threshold, np.array([dtype(float(t)) for t in found])


@DTYPES
@pytest.mark.parametrize("taus", TAUS)
def test_input_within_two_ulp_of_the_crossing_loses_no_spike(taus: str, dtype: Any) -> None:
    start, threshold, crossing = true_crossings(taus, dtype, 1)
    tau_mem, tau_syn = TAUS[taus]
    lost = 0
    for offset in (-2, -1, 0, 1, 2):
        second = crossing.copy()
        for _ in range(abs(offset)):
            second = np.nextafter(second, dtype(np.inf if offset > 0 else -np.inf))
        times = np.stack([start, second], 1)
        pair = Events(times, np.tile([0, 1], (CROSSINGS, 1)), np.full(CROSSINGS, 2))
        for weight in (0.4, -0.4):  # too weak to turn the membrane around: the spike is due in any case
            one = layer([[3.5], [weight]], tau_mem, tau_syn, threshold[:, None], max_spikes=1, dtype=dtype)
            found = cpu.forward(one, pair, 0.1).spikes
            lost += int((found.counts != 1).sum())
            times_found = found.times[found.counts == 1, 0]
            late = np.abs(times_found - crossing[found.counts == 1])
            # the crossing of a membrane rounded by some ulp: |dT| <= rounding / slope, and the slope exceeds 1 / tau_mem
            assert late.max() <= 16 * np.finfo(dtype).eps * 40e-3
    assert lost == 0


def near_threshold(taus: str, dtype: Any, seed: int, count: int = CENSUS) -> tuple[Any, Events, np.ndarray[Any, Any]]:
    """A layer whose membrane maxima lie within 1e-3 of the threshold, its input, and the exact maxima less 1."""
    r = np.random.default_rng(seed)
    tau_mem, tau_syn = TAUS[taus]
    inputs = events([(r.uniform(0, 25e-3, 6), range(6))], dtype)
    weight = r.normal(0.5, 1.0, (6, count))
    weight[inputs.units[0, 0]] = r.uniform(0.5, 2.0, count)  # the first to arrive: every membrane rises at least once
    raw = layer(weight, tau_mem, tau_syn)
    exact_inputs = Events(inputs.times.astype(float), inputs.units, inputs.counts)
    top, _ = cpu.membrane_maximum(raw, exact_inputs, 0.08, np.ones((1, count), bool))
    scaled = layer(weight / top[0] * (1 + r.uniform(-1e-3, 1e-3, count)), tau_mem, tau_syn, dtype=dtype)
    taus_exact = float(scaled.tau_mem[0]), float(scaled.tau_syn[0])
    times = tuple(map(float, inputs.times[0]))
    with mp.workdps(40):
        excess = [
            mp_reference.maximum(Setting(times, tuple(map(float, column)), *taus_exact, t_stop=0.08)) - 1
            for column in scaled.weight[inputs.units[0]].T
        ]
    return scaled, inputs, np.array([float(x) for x in excess])


@DTYPES
@pytest.mark.parametrize("taus", TAUS)
def test_near_threshold_census_loses_and_invents_no_spike(taus: str, dtype: Any) -> None:
    scaled, inputs, excess = near_threshold(taus, dtype, 7)
    assert np.abs(excess).max() < 1.1e-3
    assert 0.4 < (excess >= 0).mean() < 0.6
    fired = np.bincount(cpu.forward(scaled, inputs, 0.08).spikes.units[0], minlength=CENSUS) > 0
    clear = np.abs(excess) > (FLOAT32_STATE if dtype is np.float32 else 0.0)
    assert clear.mean() > 0.995
    lost, invented = (~fired & (excess >= 0) & clear).sum(), (fired & (excess < 0) & clear).sum()
    assert (lost, invented) == (0, 0)


@pytest.mark.parametrize("taus", TAUS)
def test_near_threshold_census_of_the_reference(taus: str) -> None:
    scaled, inputs, excess = near_threshold(taus, np.float64, 8, 200)
    spikes = reference.forward(scaled, inputs, 0.08).spikes
    fired = np.bincount(spikes.units[0, : spikes.counts[0]], minlength=200) > 0
    np.testing.assert_array_equal(fired, excess >= 0)
