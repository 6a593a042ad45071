"""What is fitted: predictions, their derivatives, and the sums that a fit is made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwloop.errors import InputError
from hwloop_calibration.characterise.bench import Observations
from hwloop_calibration.characterise.fit import Noise, mean_shift, normal_of, sums
from hwloop_calibration.characterise.kernels import pair
from hwloop_calibration.characterise.model import KEEP, OWN, Neurons, predict
from hwloop_calibration.characterise.stimuli import Pattern, Stimuli, candidates, on_columns, pulse_weight, window

from .reference import normal_equations, pairing

TAU_MEM, TAU_SYN = 10e-3, 5e-3


def _neurons(n: int = 4, columns: int = 2) -> Neurons:
    rng = np.random.default_rng(3)
    spread = [1 + 0.1 * rng.standard_normal(n) for _ in range(2)]
    return Neurons(
        TAU_MEM * spread[0], TAU_SYN * spread[1], 0.05 * rng.standard_normal(n), np.full(n, 2e-3), np.full(n, 1e-4),
        pulse_weight(TAU_MEM, TAU_SYN) * (1 + 0.1 * rng.standard_normal((n, columns))),
    )  # fmt: skip


def _stimuli(columns: int = 2) -> Stimuli:
    patterns = candidates(TAU_MEM, TAU_SYN)[::9]
    return on_columns(patterns, range(columns), columns, window(patterns, TAU_MEM, TAU_SYN, 2e-3))


def test_derivatives_of_spike_times_agree_with_finite_differences() -> None:
    neurons, stimuli = _neurons(), _stimuli()
    model = predict(neurons, stimuli)
    steady = np.abs(model.threshold) < 60 * TAU_SYN  # a grazing spike is curved: a difference says little
    h = 1e-6
    for x in range(OWN + 1):
        step = np.zeros((len(neurons), OWN + 2))
        scale = TAU_SYN if x in (3, 4) else 1.0
        step[:, x if x < OWN else slice(OWN, None)] = h * scale
        up, down = (predict(neurons.moved(sign * step), stimuli, derivatives=False).times for sign in (1, -1))
        found = (up - down) / (2 * h * scale)
        kept = steady & np.isfinite(found) & np.isfinite(model.times)
        assert kept.sum() > 200
        # central differences: h^2 of third derivatives, up to 1e5 (1/swing)^3 near grazing
        assert np.abs(found - model.rows[..., x])[kept].max() < 1e-5 * max(1.0, np.abs(model.rows[..., x][kept]).max())


def test_scaling_all_potentials_and_weights_moves_no_spike() -> None:
    """The gauge that spikes leave open; in swings it is gone, so leak and weight alone must move spikes."""
    neurons, stimuli = _neurons(), _stimuli()
    rows = predict(neurons, stimuli).rows
    assert np.abs(rows[..., 2]).max() > 0
    assert np.abs(rows[..., OWN]).max() > 0


@pytest.mark.parametrize("peak", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("tau_syn", [2e-3, 5e-3, 10e-3])
def test_one_pulse_lifts_a_resting_membrane_by_the_peak(peak: float, tau_syn: float) -> None:
    s = np.linspace(0, 60e-3, 200_001)
    w = pulse_weight(TAU_MEM, tau_syn, peak)
    if tau_syn == TAU_MEM:
        u = w * s / TAU_MEM * np.exp(-s / TAU_MEM)
    else:
        u = w * tau_syn / (TAU_MEM - tau_syn) * (np.exp(-s / TAU_MEM) - np.exp(-s / tau_syn))
    assert u.max() == pytest.approx(peak, rel=1e-6)


def test_a_pattern_out_of_order_is_refused() -> None:
    with pytest.raises(InputError, match="allowed: finite times >= 0 in order"):
        Pattern((2e-3, 1e-3))


def _observed(neurons: Neurons, stimuli: Stimuli, shift: float = 1e-5) -> Observations:
    times = predict(neurons, stimuli, derivatives=False).times[..., :KEEP]
    rng = np.random.default_rng(1)
    support = np.full(times.shape, 8.0)
    mean = times + shift * rng.standard_normal(times.shape)
    agreed = np.isfinite(times).sum(2)
    n = len(neurons)
    return Observations(
        stimuli, mean, np.full(times.shape, 1e-9), support, agreed, 8, np.zeros(n), np.ones(n), np.stack([mean, mean])
    )


def test_sums_agree_with_the_formulas_in_plain_numpy() -> None:
    neurons, stimuli = _neurons(3), _stimuli()
    seen, noise = _observed(neurons, stimuli), Noise(0.015, 1e-4, 1e-6)
    model = predict(neurons, stimuli)
    found = normal_of(neurons, seen, noise, model)
    variances = np.array([noise.threshold, noise.jitter, noise.rounding]) ** 2
    for j in range(3):
        matrix, right, cost = np.zeros((OWN + 2, OWN + 2)), np.zeros(OWN + 2), 0.0
        for s, column in enumerate(stimuli.columns):
            k = int(seen.agreed[s, j])
            if k == 0:
                continue
            part = normal_equations(
                model.times[s, j, :k], model.rows[s, j, :k], model.threshold[s, j, :k], seen.mean[s, j, :k],
                seen.support[s, j, :k], variances,
            )  # fmt: skip
            place = [*range(OWN), OWN + column]
            matrix[np.ix_(place, place)] += part[0]
            right[place] += part[1]
            cost += part[2]
        # sums of some hundred terms of either sign: rounding of 1e-16 each, relative to the largest
        np.testing.assert_allclose(found.matrix[j], matrix, rtol=1e-9, atol=1e-12 * np.abs(matrix).max())
        np.testing.assert_allclose(found.right[j], right, rtol=1e-8, atol=1e-11 * np.abs(right).max())
        assert found.cost[j] == pytest.approx(cost, rel=1e-9)


def test_a_sample_far_off_counts_less() -> None:
    neurons, stimuli = _neurons(1, 1), _stimuli(1)
    noise = Noise(0.0, 1e-4, 0.0)
    seen = _observed(neurons, stimuli)
    model = predict(neurons, stimuli)
    before = sums(neurons, seen, noise, model, None).cost[0, 0]
    seen.mean[np.flatnonzero(seen.agreed[:, 0])[0], 0] += 5e-3  # 140 deviations of the mean of 8
    after = sums(neurons, seen, noise, model, None).cost[0, 0]
    assert after - before < 3 * 8 * 150  # grows linearly: 2 * 4 * 140 a spike, not 140^2
    assert after - before > 100


@settings(max_examples=200, deadline=None)
@given(
    arrays(float, st.integers(0, 4), elements=st.floats(0, 1)),
    arrays(float, st.integers(0, 5), elements=st.floats(0, 1)),
)
def test_pairing_is_the_nearest_that_keeps_the_order(seen: np.ndarray, model: np.ndarray) -> None:
    seen, model = np.sort(seen), np.sort(model)
    match = np.full(6, -2)
    pair(seen, len(seen), model, len(model), np.empty((7, 7)), match)
    chosen = match[: len(seen)]
    used = chosen[chosen >= 0]
    assert (np.diff(used) > 0).all()
    assert len(used) == min(len(seen), len(model))
    distance = float(np.abs(seen[chosen >= 0] - model[used]).sum())
    assert distance == pytest.approx(pairing(seen, model), abs=1e-12)


def test_noise_of_the_threshold_delays_the_mean_as_a_simulation_of_it_does() -> None:
    neurons = _neurons(1, 1)
    stimuli = on_columns([Pattern((1e-3, 1.5e-3, 2e-3))], [0], 1, 0.08)
    noise = Noise(0.03, 1e-4, 0.0)
    seen = _observed(neurons, stimuli)
    shift = mean_shift(neurons, seen, noise)[0, 0, 0]
    draws = np.random.default_rng(2).standard_normal(20_000)
    levels = 1 + noise.threshold * draws
    drawn = np.array(
        [predict(neurons, stimuli, threshold=float(c), derivatives=False).times[0, 0, 0] for c in levels[:2000]]
    )
    centre = predict(neurons, stimuli, derivatives=False).times[0, 0, 0]
    # the linear part is taken out of the sample: its mean is not zero by its own noise
    slope = predict(neurons, stimuli).threshold[0, 0, 0] * noise.threshold
    sampled = float(np.mean(drawn - centre - slope * draws[:2000]))
    assert shift > 0
    assert sampled == pytest.approx(shift, rel=0.15)
