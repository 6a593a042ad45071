"""The GPU's kernels answer what the specification answers, in the same order, and equal bits from run to run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwloop.simulate import cpu
from hwloop.simulate.contract import Events, Trace
from hwloop.simulate.reference import layer as reference

from ..support import EXACT, TAUS, Case, Floor, error, events, layer, random_case, random_gradient
from ..test_ties import FLOAT32_STATE, near_threshold
from .gpu_support import RUNS, needs_kernels

if RUNS:
    from hwloop.simulate.gpu import engine as gpu
    from hwloop.simulate.gpu import memory

pytestmark = needs_kernels

PARAMETERS = ("tau_mem", "tau_syn", "threshold", "reset", "t_ref")

#: float64: times to 1e-12, gradients to 1e-9, relative to the largest.
TIMES, GRADIENTS = 1e-12, 1e-9

#: float32: the state is rounded at each of some ten events, half an ulp (6e-8) of some thresholds each, and a spike's slope
#: may be a tenth of what makes it: 1e-5 of the largest time, and ten times as much where derivatives of slopes enter.
TIMES_32, GRADIENTS_32 = 1e-5, 2e-4

#: Neurons of every kind, two samples each: the smallest that spike several times.
KINDS: dict[str, tuple[str | None, dict[str, Any], dict[str, Any]]] = {
    **{name: (name, {}, {}) for name in TAUS},
    "own taus, leak over threshold": (None, {"leak": 1.5}, {}),
    "refractory": ("general", {"t_ref": 3e-3}, {}),
    "refractory, own taus, subtract": (None, {"t_ref": 1e-3, "leak": 0.3, "subtract": True}, {}),
    "many spikes": (None, {"strength": 4.0}, {}),
    "capped": ("general", {"strength": 4.0}, {"max_spikes": 2}),
}

#: Those that take longest in the interpreter.
LONGER = ("many spikes", "slow synapse", "nearly equal", "equal")


def case(kind: str, dtype: Any = np.float64) -> Case:
    taus, options, changes = KINDS[kind]
    made = random_case(list(KINDS).index(kind), taus, batch=2, n_events=8, n_out=5, dtype=dtype, **options)
    return made.with_(**changes) if changes else made


def moved(found: Case, spikes: Events) -> Events:
    """``spikes`` as a device may measure them: a little early or late."""
    r = np.random.default_rng(7)
    samples = [
        (np.clip(spikes.times[b, :n] + r.normal(0, 5e-4, n), 0, found.t_stop), spikes.units[b, :n])
        for b, n in enumerate(spikes.counts)
    ]
    return events(samples, spikes.times.dtype)


def compare(found: Trace, expected: Trace, most: float) -> None:
    np.testing.assert_array_equal(found.spikes.counts, expected.spikes.counts)
    np.testing.assert_array_equal(found.spikes.units, expected.spikes.units)
    valid = np.isfinite(expected.spikes.times)
    assert error(found.spikes.times[valid], expected.spikes.times[valid]) <= most
    for name in ("current", "release_time", "release_current"):
        a, b = getattr(found, name)[valid], getattr(expected, name)[valid]
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))
        some = np.isfinite(b)
        assert error(a[some], b[some]) <= most * 10


def check_gradients(found: Case, trace: Trace, expected: Trace, floor: Floor, most: float) -> None:
    here = found.layer, found.inputs, found.t_stop
    up = random_gradient(3, expected.spikes.times, expected.spikes.counts)
    d_weight, d_times = gpu.backward(*here, trace, up, floor, True)
    e_weight, e_times = reference.backward(*here, expected, up, floor, True)
    assert error(d_weight, e_weight) <= most
    assert error(d_times, e_times) <= most
    a, b = gpu.sensitivities(*here, trace, up, floor), reference.sensitivities(*here, expected, up, floor)
    assert max(error(getattr(a, name), getattr(b, name)) for name in PARAMETERS) <= most


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow) if k in LONGER else k for k in KINDS])
def test_spikes_and_gradients_are_those_of_the_specification(kind: str) -> None:
    found = case(kind)
    here = found.layer, found.inputs, found.t_stop
    trace, expected = gpu.forward(*here), reference.forward(*here)
    compare(trace, expected, TIMES)
    check_gradients(found, trace, expected, EXACT, GRADIENTS)


@pytest.mark.parametrize("floor", [Floor(0.3, False), Floor(0.3, True)], ids=["clip", "skip"])
@pytest.mark.parametrize("kind", ["general", "refractory, own taus, subtract"])
def test_measured_spikes_and_the_floor_are_those_of_the_specification(kind: str, floor: Floor) -> None:
    found = case(kind)
    here = found.layer, found.inputs, found.t_stop
    measured = moved(found, reference.forward(*here).spikes)
    trace, expected = gpu.forward(*here, measured), reference.forward(*here, measured)
    compare(trace, expected, TIMES)
    np.testing.assert_allclose(trace.residual, expected.residual, atol=1e-12)
    check_gradients(found, trace, expected, floor, GRADIENTS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ratio 2", "own taus, leak over threshold", "refractory, own taus, subtract"])
def test_single_precision_agrees_to_its_rounding(kind: str) -> None:
    found = case(kind, np.float32)
    here = found.layer, found.inputs, found.t_stop
    trace, expected = gpu.forward(*here), reference.forward(*here)
    assert trace.spikes.times.dtype == trace.current.dtype == np.float32
    compare(trace, expected, TIMES_32)
    check_gradients(found, trace, expected, Floor(0.01, False), GRADIENTS_32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["general", "refractory, own taus, subtract"])
def test_its_own_spikes_as_if_measured_have_equal_bits(kind: str, dtype: Any) -> None:
    found = case(kind, dtype)
    here = found.layer, found.inputs, found.t_stop
    trace = gpu.forward(*here)
    again = gpu.forward(*here, trace.spikes)
    for name in ("current", "release_time", "release_current"):
        np.testing.assert_array_equal(getattr(again, name), getattr(trace, name))


def test_equal_calls_have_equal_bits_and_ranges_of_samples_change_no_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    found = case("many spikes")
    here = found.layer, found.inputs, found.t_stop
    trace = gpu.forward(*here)
    up = random_gradient(3, trace.spikes.times, trace.spikes.counts)
    first, second = (gpu.backward(*here, trace, up, EXACT, True) for _ in range(2))
    monkeypatch.setattr("hwloop.simulate.gpu.layer_passes.SCRATCH", 1)  # sample by sample
    third = gpu.backward(*here, trace, up, EXACT, True)
    for a, b, c in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


@pytest.mark.slow
def test_a_neuron_with_more_spikes_than_room_loses_none() -> None:
    found = Case(layer([[14.0, 2.0]], 12e-3, 5e-3), events([([1e-3, 6e-3], [0, 0]), ([2e-3], [0])]), 0.03)
    here = found.layer, found.inputs, found.t_stop
    expected = cpu.forward(*here)
    assert np.bincount(expected.spikes.units[0, : expected.spikes.counts[0]]).max() > memory.FIRST_ROOM
    for _ in range(2):  # with the first room, and with the one that is remembered
        compare(gpu.forward(*here), expected, TIMES)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_input_within_an_ulp_of_the_crossing_loses_no_spike(dtype: Any) -> None:
    n = 12
    threshold = np.random.default_rng(5).uniform(0.2, 0.7, (n, 1))
    alone = layer([[3.5], [0.0]], 12e-3, 5e-3, threshold, max_spikes=1, dtype=dtype)
    crossing = reference.forward(alone, events([([1e-3], [0])] * n, dtype), 0.05).spikes.times[:, 0]
    for second in (np.nextafter(crossing, dtype(0)), crossing, np.nextafter(crossing, dtype(1))):
        for weight in (0.4, -0.4):  # too weak to turn the membrane around: the spike is due in any case
            pair = events([([1e-3, t], [0, 1]) for t in second], dtype)
            tied = layer([[3.5], [weight]], 12e-3, 5e-3, threshold, max_spikes=1, dtype=dtype)
            assert gpu.forward(tied, pair, 0.05).spikes.counts.tolist() == [1] * n


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("taus", TAUS)
def test_the_near_threshold_census_has_no_lost_and_no_invented_spike(taus: str, dtype: Any) -> None:
    scaled, inputs, excess = near_threshold(taus, dtype, 7)
    spikes = gpu.forward(scaled, inputs, 0.08).spikes
    fired = np.bincount(spikes.units[0, : spikes.counts[0]], minlength=len(excess)) > 0
    clear = np.abs(excess) > (FLOAT32_STATE if dtype is np.float32 else 0.0)
    assert clear.mean() > 0.995
    np.testing.assert_array_equal(fired[clear], excess[clear] >= 0)


def test_silence_events_at_the_end_and_thresholds_by_sample() -> None:
    silent = layer([[0.1, 0.2]])
    none = events([([], []), ([], [])])
    trace = gpu.forward(silent, none, 0.05)
    assert trace.spikes.times.shape == (2, 0)
    d_weight, d_times = gpu.backward(silent, none, 0.05, trace, np.zeros((2, 0)), EXACT, True)
    assert not d_weight.any()
    assert d_times is not None
    assert d_times.shape == (2, 0)
    late = events([([1e-3, 0.05], [0, 0]), ([1e-3, 2e-3], [0, 0])])
    of_each = layer([[6.0, 7.0]], threshold=np.array([[1.0, 1.0], [1.3, 1e9]]))
    found, expected = gpu.forward(of_each, late, 0.05), reference.forward(of_each, late, 0.05)
    compare(found, expected, TIMES)
    assert 1 not in found.spikes.units[1, : found.spikes.counts[1]]


def test_the_largest_membrane_and_its_gradient_are_those_of_the_specification() -> None:
    for kind in ("equal", "own taus, leak over threshold"):
        found = case(kind)
        here = found.layer, found.inputs, found.t_stop
        mask = np.ones((2, 5), np.bool_)
        mask[0, 0] = False
        (value, when), (e_value, e_when) = gpu.membrane_maximum(*here, mask), reference.membrane_maximum(*here, mask)
        assert max(error(value, e_value), error(when, e_when)) <= TIMES
        up = np.random.default_rng(1).normal(size=mask.shape) * mask
        a, b = (engine.membrane_maximum_gradient(*here, e_when, up) for engine in (gpu, reference))
        assert max(map(error, a, b)) <= GRADIENTS
