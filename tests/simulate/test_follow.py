"""Neurons with time constants of their own, on long intervals and in their refractory time: followed together, none lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from hwloop.bench import forty_digits as mp_reference
from hwloop.bench.forty_digits import Setting
from hwloop.simulate import cpu
from hwloop.simulate.contract import Events, Layer
from hwloop.simulate.reference import layer as reference

from .support import EXACT, error, events, layer, random_gradient

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])

#: Neurons of the census and of the 1-ulp cases.
NEURONS = 400

#: As in the tests of ties: what six roundings of a float32 state leave of a threshold of 1.
FLOAT32_STATE = 4e-7

T_STOP = 60e-3


def taus(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Time constants of a chip, with a third each at ratios near 1 and near 2, from one part in 1e3 to one in 1e15."""
    r = np.random.default_rng(seed)
    tau_mem = 10e-3 * (1 + 0.2 * r.normal(size=n).clip(-2, 2))
    ratio = np.resize([1.0, 2.0, 0.0], n)
    near = tau_mem / np.where(ratio > 0, ratio, 1) * (1 + r.choice([-1, 0, 1], n) * 10.0 ** r.uniform(-15, -3, n))
    return tau_mem, np.where(ratio > 0, near, 5e-3 * (1 + 0.2 * r.normal(size=n).clip(-2, 2)))


def chip_like(n: int, dtype: Any, *, t_ref: float = 0.0, strength: float = 1.0, seed: int = 0, **options: Any) -> Layer:
    """A layer that spikes a few times a neuron on five inputs: intervals as long as its time constants."""
    r = np.random.default_rng(seed + 1)
    weight = r.normal(1.5, 2.0, (5, n)) * strength
    hold = t_ref * r.choice([0.0, 0.5, 1.0, 1.5], n)
    return layer(weight, *taus(n, seed), reset=r.normal(0, 0.1, n), t_ref=hold, dtype=dtype, **options)


def few_inputs(batch: int, dtype: Any, seed: int = 0) -> Events:
    r = np.random.default_rng(seed + 2)
    return events([(r.uniform(0, 40e-3, 5), r.permutation(5)) for _ in range(batch)], dtype)


def by_neuron(spikes: Events, sample: int, neuron: int) -> np.ndarray:
    count = spikes.counts[sample]
    return spikes.times[sample, :count][spikes.units[sample, :count] == neuron]


@pytest.mark.parametrize("strength", [1.0, 30.0, 1e6])
@pytest.mark.parametrize("t_ref", [0.0, 2e-3, 30e-3])
@pytest.mark.parametrize("subtract", [False, True])
def test_spikes_are_those_of_the_reference(t_ref: float, strength: float, subtract: bool) -> None:
    cap = {1.0: 0, 30.0: 40, 1e6: 3}[strength]  # a million spikes would be as right, but long
    case = chip_like(30, np.float64, t_ref=t_ref, strength=strength, subtract=subtract, max_spikes=cap)
    inputs = few_inputs(3, np.float64)
    found, expected = (engine.forward(case, inputs, T_STOP) for engine in (cpu, reference))
    assert found.spikes.counts.tolist() == expected.spikes.counts.tolist()
    assert found.spikes.counts.sum() > 60
    # where huge weights bring spikes closer than rounding, their order may differ: neuron by neuron
    for b in range(3):
        for j in range(30):
            np.testing.assert_allclose(
                by_neuron(found.spikes, b, j), by_neuron(expected.spikes, b, j), rtol=1e-9, atol=1e-12
            )


@DTYPES
@pytest.mark.parametrize("t_ref", [0.0, 2e-3])
@pytest.mark.parametrize("subtract", [False, True])
def test_replay_of_own_spikes_gives_equal_bits(dtype: Any, t_ref: float, subtract: bool) -> None:
    case = chip_like(150, dtype, t_ref=t_ref, subtract=subtract)
    inputs = few_inputs(6, dtype)
    own = cpu.forward(case, inputs, T_STOP)
    again = cpu.forward(case, inputs, T_STOP, own.spikes)
    assert own.spikes.counts.sum() > 1000
    for name in ("current", "release_time", "release_current"):
        assert np.array_equal(getattr(own, name), getattr(again, name)), name
    grad = random_gradient(5, own.spikes.times, own.spikes.counts)
    for a, b in zip(*(cpu.backward(case, inputs, T_STOP, t, grad, EXACT, True) for t in (own, again)), strict=True):
        assert a is not None
        assert np.array_equal(a, b)


@pytest.mark.parametrize("t_ref", [0.0, 2e-3])
def test_gradients_are_those_of_the_reference(t_ref: float) -> None:
    case, inputs = chip_like(12, np.float64, t_ref=t_ref), few_inputs(2, np.float64)
    fast, slow = (engine.forward(case, inputs, T_STOP) for engine in (cpu, reference))
    grad = random_gradient(6, fast.spikes.times, fast.spikes.counts)
    found = cpu.backward(case, inputs, T_STOP, fast, grad, EXACT, True)
    expected = reference.backward(case, inputs, T_STOP, slow, grad, EXACT, True)
    assert error(found[0], expected[0]) < 1e-9
    assert error(found[1], expected[1]) < 1e-9


@DTYPES
def test_a_neuron_spikes_alike_whoever_is_followed_with_it(dtype: Any) -> None:
    # every interval is a long one, whose factors know no other neuron: one of each pair has tau_mem near 2 tau_syn
    n, r = 70, np.random.default_rng(0)
    inputs = events([((1 + 7 * np.arange(5) + r.uniform(0, 1, 5)) * 1e-3, r.permutation(5)) for _ in range(4)], dtype)
    case = chip_like(n, dtype, t_ref=1e-3)
    wide = cpu.forward(case, inputs, T_STOP).spikes
    for j in range(0, n, 9):
        pair = [j, (j // 3 * 3 + 43) % 69]
        part = Layer(
            np.ascontiguousarray(case.weight[:, pair]), case.tau_mem[pair], case.tau_syn[pair], case.t_ref[pair],
            case.threshold[:, pair], case.reset[pair], case.start[pair],
        )  # fmt: skip
        narrow = cpu.forward(part, inputs, T_STOP).spikes
        for b in range(4):
            assert np.array_equal(by_neuron(narrow, b, 0), by_neuron(wide, b, j))


def test_equal_times_stand_in_the_order_of_neurons() -> None:
    one = chip_like(1, np.float64)
    twice = Layer(
        np.repeat(one.weight, 90, 1), *(np.repeat(x, 90) for x in (one.tau_mem, one.tau_syn, one.t_ref)),
        np.repeat(one.threshold, 90, 1), *(np.repeat(x, 90) for x in (one.reset, one.start)),
    )  # fmt: skip
    twice.tau_mem[-1] *= 1.1  # so that they do not share their taus
    spikes = cpu.forward(twice, few_inputs(1, np.float64), T_STOP).spikes
    times, units = spikes.times[0], spikes.units[0]
    tied = times[1:] == times[:-1]
    assert tied.sum() > 80
    assert (units[1:][tied] > units[:-1][tied]).all()


def census(dtype: Any, seed: int) -> tuple[Layer, Events, np.ndarray]:
    """Neurons whose maxima lie within 1e-3 of the threshold, their input, and the exact maxima less 1."""
    r = np.random.default_rng(seed)
    tau_mem, tau_syn = (x.astype(dtype).astype(float) for x in taus(NEURONS, seed))
    inputs = events([(r.uniform(0, 40e-3, 4), range(4))], dtype)
    weight = r.normal(0.5, 1.0, (4, NEURONS))
    weight[inputs.units[0, 0]] = r.uniform(0.5, 2.0, NEURONS)
    exact_inputs = Events(inputs.times.astype(float), inputs.units, inputs.counts)
    raw = layer(weight, tau_mem, tau_syn)
    top, _ = cpu.membrane_maximum(raw, exact_inputs, T_STOP, np.ones((1, NEURONS), bool))
    scaled = layer(weight / top[0] * (1 + r.uniform(-1e-3, 1e-3, NEURONS)), tau_mem, tau_syn, dtype=dtype)
    times = tuple(map(float, inputs.times[0]))
    with mp.workdps(40):
        excess = [
            mp_reference.maximum(
                Setting(
                    times,
                    tuple(map(float, scaled.weight[inputs.units[0], j])),
                    float(scaled.tau_mem[j]),
                    float(scaled.tau_syn[j]),
                    t_stop=T_STOP,
                )
            )
            - 1
            for j in range(NEURONS)
        ]
    return scaled, inputs, np.array([float(x) for x in excess])


@DTYPES
def test_near_threshold_no_spike_is_lost_and_none_invented(dtype: Any) -> None:
    scaled, inputs, excess = census(dtype, 3)
    assert 0.4 < (excess >= 0).mean() < 0.6
    fired = np.bincount(cpu.forward(scaled, inputs, T_STOP).spikes.units[0], minlength=NEURONS) > 0
    clear = np.abs(excess) > (FLOAT32_STATE if dtype is np.float32 else 0.0)
    assert ((~fired & (excess >= 0) & clear).sum(), (fired & (excess < 0) & clear).sum()) == (0, 0)


@DTYPES
def test_an_input_within_two_ulp_of_the_crossing_loses_no_spike(dtype: Any) -> None:
    tau_mem, tau_syn = (x.astype(dtype) for x in taus(NEURONS, 4))
    threshold = np.random.default_rng(4).uniform(0.2, 0.6, NEURONS).astype(dtype)
    weight = np.outer([3.5, 0.0], np.ones(NEURONS))
    alone = layer(weight, tau_mem, tau_syn, threshold, max_spikes=1, dtype=dtype)
    with mp.workdps(40):
        true = [
            mp_reference.spike_times(Setting((1e-3,), (3.5,), *map(float, row)), 1)[0]
            for row in zip(tau_mem[:60], tau_syn[:60], threshold[:60], strict=True)
        ]
    start = dtype(1e-3)
    first = cpu.forward(alone, events([([start], [0])], dtype), 0.1).spikes
    crossing = np.zeros(NEURONS, dtype)
    crossing[first.units[0]] = first.times[0]
    assert first.counts.tolist() == [NEURONS]
    if dtype is np.float64:
        np.testing.assert_allclose(crossing[:60], [float(t) for t in true], rtol=1e-13)
    lost = 0
    for offset in (-2, -1, 0, 1, 2):
        for late in (0.2, -0.2):
            second = crossing.copy()
            for _ in range(abs(offset)):
                second = np.nextafter(second, dtype(np.inf if offset > 0 else -np.inf))
            # one sample a neuron, whose second input comes when that neuron is about to cross
            pair = events([([start, t], [0, 1]) for t in second], dtype)
            weight[1] = late
            pressed = layer(weight, tau_mem, tau_syn, threshold, max_spikes=1, dtype=dtype)
            spikes = cpu.forward(pressed, pair, 0.1).spikes
            for j in range(0, NEURONS, 7):
                times = by_neuron(spikes, j, j)
                lost += len(times) != 1
                assert np.abs(times - crossing[j]).max(initial=0.0) <= 16 * np.finfo(dtype).eps * 40e-3
    assert lost == 0


@pytest.mark.parametrize("seed", range(3))
def test_spike_times_agree_with_sixty_digits(seed: int) -> None:
    n = 24
    case, inputs = chip_like(n, np.float64, t_ref=2e-3, seed=seed), few_inputs(1, np.float64, seed)
    found = cpu.forward(case, inputs, T_STOP).spikes
    times, units, checked = tuple(inputs.times[0]), inputs.units[0], 0
    for j in range(n):
        with mp.workdps(60):
            true = mp_reference.spike_times(
                Setting(
                    times, tuple(case.weight[units, j]), case.tau_mem[j], case.tau_syn[j], 1.0, 0.0, case.reset[j],
                    case.t_ref[j], T_STOP,
                )
            )  # fmt: skip
        np.testing.assert_allclose(by_neuron(found, 0, j), [float(t) for t in true], rtol=1e-12)
        checked += len(true)
    assert checked > 20


@pytest.mark.parametrize("t_ref", [0.0, 2e-3])
@pytest.mark.parametrize("cap", [0, 1, 3])
@pytest.mark.parametrize("subtract", [False, True])
def test_thresholds_below_rest_and_without_end_give_the_spikes_of_the_reference(
    subtract: bool, cap: int, t_ref: float
) -> None:
    n, r = 40, np.random.default_rng(8)
    case = chip_like(n, np.float64, t_ref=t_ref, subtract=subtract, max_spikes=cap)
    low, never = np.arange(n) % 4 == 1, np.arange(n) % 4 == 3
    threshold = np.where(never, np.inf, np.where(low, -0.2, case.threshold))
    reset = np.where(low, np.minimum(case.reset, -0.4), case.reset)
    # at rest those with a low threshold would be above it
    case = replace(case, threshold=threshold, reset=reset, start=np.where(low, reset, 0.0))
    # inputs that come together, at the begin and at the end, and a sample without any
    inputs = events(
        [(r.choice([0.0, 10e-3, T_STOP, *r.uniform(0, T_STOP, 6)], 12), r.integers(0, 5, 12)) for _ in range(3)]
        + [([], [])],
        np.float64,
    )
    found, expected = (engine.forward(case, inputs, T_STOP) for engine in (cpu, reference))
    assert found.spikes.counts.tolist() == expected.spikes.counts.tolist()
    assert found.spikes.counts[3] > 0  # of those below rest, which need no input
    fired = np.unique(found.spikes.units[np.isfinite(found.spikes.times)])
    assert low[fired].any()
    assert not never[fired].any()
    for b in range(4):
        for j in range(n):
            np.testing.assert_allclose(
                by_neuron(found.spikes, b, j), by_neuron(expected.spikes, b, j), rtol=1e-9, atol=1e-12
            )
    again = cpu.forward(case, inputs, T_STOP, found.spikes)
    for name in ("current", "release_time", "release_current"):
        assert np.array_equal(getattr(found, name), getattr(again, name)), name
