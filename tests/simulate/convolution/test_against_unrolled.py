"""A convolution answers as the dense layer that it abbreviates: spikes, traces, gradients, whatever its geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import InputError
from hwloop.simulate import cpu
from hwloop.simulate.contract import Trace
from hwloop.simulate.convolution import engine, unrolled
from hwloop.simulate.convolution.geometry import Geometry

from .. import support
from ..support import EXACT, TAUS, random_gradient
from .conv_support import MANY, T_STOP, WIDE, Case, random_convolution

#: Float32 rounds membrane and current at every event, the dense layer at events that a position does not even see: some
#: 60 roundings of 6e-8 each, times up to 10 by a slope D of a tenth of the threshold; gradients once more by 1/D.
TOLERANCE = {np.float64: 1e-9, np.float32: 1e-3}

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "general": {"taus": "general"},
    "equal taus": {"taus": "equal"},
    "refractory": {"t_ref": 2e-3},
    "refractory, general": {"taus": "slow synapse", "t_ref": 2e-3, "subtract": True},
    "capped": {"max_spikes": 1},
    "capped at two": {"max_spikes": 2, "t_ref": 1e-3},
    "subtract": {"subtract": True},
    "every neuron its own": {"taus": None, "t_ref": 2e-3},
    "restless": {"restless": True},
    "restless, its own": {"taus": None, "restless": True, "max_spikes": 3},
    "thresholds of samples": {"per_sample": True},
}


def error(found: Any, expected: Any) -> float:
    """As :func:`.support.error`; nothing agrees with nothing."""
    return support.error(found, expected) if expected.size else float(found.size)


def measured(case: Case, trace: Trace, late: float = 0.0) -> Trace:
    """Replay at the spikes of ``trace``, each ``late`` (s) after them, up to the end."""
    spikes = trace.spikes
    times = np.where(np.isfinite(spikes.times), np.minimum(spikes.times + late, T_STOP), np.inf)
    shifted = type(spikes)(times.astype(spikes.times.dtype), spikes.units, spikes.counts)
    return engine.forward(case.layer, case.inputs, T_STOP, shifted)


def compare(case: Case, seed: int = 0) -> int:
    """Spikes, trace and gradients against the dense layer; returns the number of spikes."""
    dense, dtype = unrolled.unrolled(case.layer), case.layer.weight.dtype.type
    trace = engine.forward(case.layer, case.inputs, T_STOP)
    expected = cpu.forward(dense, case.inputs, T_STOP)
    assert trace.spikes.counts.tolist() == expected.spikes.counts.tolist()
    if dtype is np.float64:
        assert np.array_equal(trace.spikes.units, expected.spikes.units)
    # the order of near-ties is free, and the derivatives are compared at the same spikes
    expected = cpu.forward(dense, case.inputs, T_STOP, trace.spikes)
    finite = np.arange(trace.current.shape[1]) < trace.spikes.counts[:, None]
    for name in ("current", "release_time", "release_current"):
        found, wanted = getattr(trace, name)[finite], getattr(expected, name)[finite]
        assert np.array_equal(np.isinf(found), np.isinf(wanted)), name
        released = np.isfinite(wanted)
        assert error(found[released], wanted[released]) < TOLERANCE[dtype], name
    grad = random_gradient(seed, trace.spikes.times, trace.spikes.counts)
    found = engine.backward(case.layer, case.inputs, T_STOP, trace, grad, EXACT, True)
    d_weight, d_times = cpu.backward(dense, case.inputs, T_STOP, expected, grad, EXACT, True)
    assert error(found[0], unrolled.gathered(case.layer, d_weight)) < TOLERANCE[dtype]
    assert error(found[1], d_times) < TOLERANCE[dtype]
    return int(trace.spikes.counts.sum())


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("geometry", [MANY, WIDE], ids=["many options", "two blocks"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_convolution_answers_as_its_unrolled_layer(name: str, geometry: Geometry, dtype: Any) -> None:
    assert compare(random_convolution(3, geometry, dtype=dtype, **OPTIONS[name])) > 20


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_geometry_answers_as_its_unrolled_layer(data: st.DataObject) -> None:
    def pick(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    groups = pick(1, 2)
    try:
        geometry = Geometry(
            (groups * pick(1, 2), pick(1, 6), pick(1, 6)), groups * pick(1, 9), (pick(1, 3), pick(1, 3)),
            (pick(1, 3), pick(1, 2)), (pick(0, 2), pick(0, 2)), (pick(1, 2), pick(1, 2)), groups,
        )  # fmt: skip
    except InputError:
        return
    option = data.draw(st.sampled_from(sorted(OPTIONS)))
    compare(random_convolution(pick(0, 1000), geometry, n_events=pick(0, 30), **OPTIONS[option]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", OPTIONS)
def test_own_spikes_replayed_give_equal_bits(name: str, dtype: Any) -> None:
    case = random_convolution(5, dtype=dtype, **OPTIONS[name])
    trace = engine.forward(case.layer, case.inputs, T_STOP)
    again = measured(case, trace)
    grad = random_gradient(1, trace.spikes.times, trace.spikes.counts)
    for field in ("current", "release_time", "release_current"):
        assert np.array_equal(getattr(trace, field), getattr(again, field)), field
    gradients = [
        engine.backward(case.layer, case.inputs, T_STOP, t, grad, EXACT, True) for t in (trace, again)
    ]  # fmt: skip
    for found, expected in zip(*gradients, strict=True):
        assert found is not None
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ["plain", "refractory", "refractory, general", "every neuron its own", "subtract"])
def test_replay_of_spikes_that_a_device_shifted_agrees_with_the_unrolled_layer(name: str) -> None:
    case = random_convolution(6, **OPTIONS[name])
    trace = engine.forward(case.layer, case.inputs, T_STOP)
    found = measured(case, trace, 1.3e-3)
    expected = cpu.forward(unrolled.unrolled(case.layer), case.inputs, T_STOP, found.spikes)
    finite = np.arange(found.current.shape[1]) < found.spikes.counts[:, None]
    for field in ("current", "release_time", "release_current", "residual"):
        a, b = getattr(found, field)[finite], getattr(expected, field)[finite]
        assert np.array_equal(np.isinf(a), np.isinf(b)), field
        assert error(a[np.isfinite(a)], b[np.isfinite(b)]) < 1e-9, field


def test_measured_spikes_within_the_refractory_time_have_no_derivative_as_in_the_unrolled_layer() -> None:
    case = random_convolution(7, t_ref=4e-3, taus="general", subtract=True)
    trace = engine.forward(case.layer, case.inputs, T_STOP)
    spikes = trace.spikes
    rows = [
        sorted(
            (t + d, u) for t, u in zip(spikes.times[b, :n], spikes.units[b, :n], strict=True) for d in (0.0, 1e-3, 9e-3)
        )
        for b, n in enumerate(spikes.counts)
    ]
    rows = [[(t, u) for t, u in row if t < T_STOP] for row in rows]
    width = max(map(len, rows))
    times, units = np.full((len(rows), width), np.inf), np.zeros((len(rows), width), np.int64)
    for b, row in enumerate(rows):
        times[b, : len(row)], units[b, : len(row)] = zip(*row, strict=True)
    given_ = type(spikes)(times, units, np.array([len(row) for row in rows]))
    dense = unrolled.unrolled(case.layer)
    found, expected = (
        run.forward(layer, case.inputs, T_STOP, given_) for run, layer in ((engine, case.layer), (cpu, dense))
    )
    assert np.isneginf(found.current).any()
    for field in ("current", "release_time", "release_current", "residual"):
        a, b = getattr(found, field), getattr(expected, field)
        finite = (np.arange(width) < given_.counts[:, None]) & np.isfinite(b)
        assert np.array_equal(np.isinf(a), np.isinf(b)), field
        assert error(a[finite], b[finite]) < 1e-9, field
    grad = random_gradient(2, times, given_.counts)
    d_weight, d_times = engine.backward(case.layer, case.inputs, T_STOP, found, grad, EXACT, True)
    dense_weight, dense_times = cpu.backward(dense, case.inputs, T_STOP, expected, grad, EXACT, True)
    assert error(d_weight, unrolled.gathered(case.layer, dense_weight)) < 1e-9
    assert error(d_times, dense_times) < 1e-9


@pytest.mark.parametrize("name", ["plain", "refractory, general", "every neuron its own", "restless", "capped at two"])
def test_the_reference_twin_agrees(name: str) -> None:
    case = random_convolution(8, Geometry((1, 4, 4), 2, (3, 3)), batch=1, n_events=20, **OPTIONS[name])
    runs = []
    for run in (engine, unrolled):
        trace = run.forward(case.layer, case.inputs, T_STOP)
        grad = random_gradient(3, trace.spikes.times, trace.spikes.counts)
        s, start = run.sensitivities(case.layer, case.inputs, T_STOP, trace, grad, EXACT)
        values = (s.tau_mem, s.tau_syn, s.threshold, s.reset, s.t_ref, start)
        runs.append(
            (trace.spikes.times, *run.backward(case.layer, case.inputs, T_STOP, trace, grad, EXACT, True), *values)
        )
    assert runs[0][0].size > 3
    for found, expected in zip(*runs, strict=True):
        assert error(found, expected) < 1e-9


@pytest.mark.parametrize("taus", TAUS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_spike_near_the_threshold_is_lost_or_invented(taus: str, dtype: Any) -> None:
    """Inputs scaled so that maxima lie within a thousandth of the threshold."""
    geometry = Geometry((1, 12, 12), 1, (3, 3))
    case = random_convolution(9, geometry, taus, dtype=dtype, batch=1, n_events=120, max_spikes=1)
    dense = unrolled.unrolled(case.layer)
    mask = np.ones((1, geometry.n_out), bool)
    top, _ = cpu.membrane_maximum(dense, case.inputs, T_STOP, mask)
    share = 1 + np.random.default_rng(0).uniform(-1e-3, 1e-3, geometry.n_out)
    threshold = np.where(top > 0.05, top * share, 10.0).astype(dtype)
    near = case.with_neurons(threshold=threshold)
    trace = engine.forward(near.layer, near.inputs, T_STOP)
    # float32 rounds the state at every event: up to some 4e-7 either way decide nothing
    sure = np.abs(top[0] - threshold[0]) > (4e-7 if dtype is np.float32 else 1e-13)
    fired = np.isin(np.arange(geometry.n_out), trace.spikes.units[0, : trace.spikes.counts[0]])
    assert np.array_equal(fired[sure], (top >= threshold)[0][sure])
    assert 20 < fired.sum() < geometry.n_out - 20
