"""False alarms and delay of the drift alarm: the figures behind its allowance and limit, from the statistic alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from hwloop_calibration.drift.sentinel import ALLOWANCE, LIMIT, NAMES, REFERENCE_REPEATS, REPEATS

#: Checks of a day, one a minute, and charts of a chip: neurons, directions, both signs.
DAY, CHIP = 1440, 512 * len(NAMES) * 2


def _alarmed(offset: float, sigma: float, checks: int, k: float, h: float, states: int = 100) -> np.ndarray:
    """Chance ``[checks]`` of an alarm until then: Markov chain over the CUSUM's level (Brook & Evans 1972)."""
    width = 2 * h / (2 * states - 1)
    level = np.arange(states) * width
    step = level[None, :] - level[:, None] + k - offset
    up = norm.cdf((step + width / 2) / sigma)
    chain = up - norm.cdf((step - width / 2) / sigma)
    chain[:, 0] = up[:, 0]  # the level cannot fall below 0
    left, found = np.eye(states)[0], np.empty(checks)
    for check in range(checks):
        left = left @ chain
        found[check] = 1.0 - left.sum()
    return found


def _false_alarms(ratio: float, k: float, h: float, checks: int = DAY) -> float:
    """Expected neurons of a chip in a false alarm, the reference having ``ratio`` times a check's repeats."""
    shared = 1 / (1 + ratio)
    draws = np.arange(-3.0, 7.01, 0.1)  # below, the offset leads away from the limit
    chances = [_alarmed(r * np.sqrt(shared), np.sqrt(1 - shared), checks, k, h)[-1] for r in draws]
    return CHIP * float(np.sum(np.array(chances) * norm.pdf(draws)) * 0.1)


def _delays(shift: np.ndarray, ratio: float, k: float, h: float, runs: int = 4000) -> np.ndarray:
    """Checks until the alarm of a chart whose mean is ``shift [checks]``, by simulation."""
    rng, shared = np.random.default_rng(1), 1 / (1 + ratio)
    offset, level = np.sqrt(shared) * rng.standard_normal(runs), np.zeros(runs)
    delay = np.full(runs, np.inf)
    for check, mean in enumerate(shift, 1):
        level = np.maximum(0.0, level + mean + offset + np.sqrt(1 - shared) * rng.standard_normal(runs) - k)
        delay[(level > h) & np.isinf(delay)] = check
    return delay


def test_a_chip_that_stays_has_a_false_alarm_in_a_month_at_most() -> None:
    found = _false_alarms(REFERENCE_REPEATS / REPEATS, ALLOWANCE, LIMIT)
    print(f"{found:.3f} neurons a day")
    assert found < 1 / 30 * 1.05
    # what was there before the study: most of two days had one
    assert _false_alarms(8, 1.5, 9.0) == pytest.approx(0.69, rel=0.05)


def test_the_markov_chain_agrees_with_simulation() -> None:
    for ratio, k, h in ((16, 0.5, 4.0), (8, 1.0, 3.0)):
        shared = 1 / (1 + ratio)
        for offset in (0.0, 0.5):
            rng = np.random.default_rng(3)
            level, over = np.zeros(20_000), np.zeros(20_000, bool)
            for _ in range(60):
                level = np.maximum(0.0, level + offset + np.sqrt(1 - shared) * rng.standard_normal(20_000) - k)
                over |= level > h
            expected = _alarmed(offset, np.sqrt(1 - shared), 60, k, h)[-1]
            # binomial: three deviations; the chain's grid adds 2 %
            assert np.mean(over) == pytest.approx(expected, rel=0.02, abs=3 * np.sqrt(expected / 20_000))


def test_a_drift_of_one_sigma_a_check_is_found_within_seven_checks() -> None:
    delay = _delays(np.arange(1.0, 30.0), REFERENCE_REPEATS / REPEATS, ALLOWANCE, LIMIT)
    assert delay.mean() == pytest.approx(5.4, abs=0.1)
    assert np.quantile(delay, 0.99) <= 7


def test_a_lasting_shift_of_two_and_a_half_sigma_is_found_in_eight_checks() -> None:
    delay = _delays(np.full(200, 2.5), REFERENCE_REPEATS / REPEATS, ALLOWANCE, LIMIT)
    assert np.median(delay) == 8
    assert np.quantile(delay, 0.95) <= 18
