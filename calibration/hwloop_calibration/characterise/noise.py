"""How noisy the device is, from repeats alone: variance of each spike time against its derivative by the threshold.

Variance between repeats is ``sigma_threshold^2 g^2 + sigma_jitter^2`` with ``g = dT/dv_th``: two numbers, fitted over all
neurons and samples by weighted least squares that looks away from outliers.
"""

from __future__ import annotations

import numpy as np

from .bench import Observations
from .fit import ROUNDING, Noise
from .model import KEEP, Prediction

#: Rounds of reweighting, and variances beyond this many times the fitted ones that are left out.
ROUNDS, OUTLIER = 12, 9.0
#: Spikes with fewer repeats than this say nothing about their variance.
LEAST_REPEATS = 4


def estimate_noise(seen: Observations, model: Prediction, tick: float, before: Noise) -> Noise:
    """Noise of ``seen`` (one repeat); what repeats cannot show (no noise at all, too few) stays at the least value."""
    present = np.isfinite(model.times)
    equal = present.sum(2) == seen.agreed  # else the model's derivatives may belong to other spikes
    usable = seen.usable() & present[..., :KEEP] & equal[..., None] & (seen.support >= LEAST_REPEATS)
    least = least_noise(seen.stimuli.t_stop)
    if not usable.any():
        return before
    variance, g2 = seen.variance[usable], model.threshold[..., :KEEP][usable] ** 2
    if float(np.median(variance)) <= least**2:
        return Noise(0.0, least, rounding_left(0.0, tick))
    threshold, jitter = 0.5 * float(np.median(variance / np.maximum(g2, 1e-300))), 0.5 * float(np.median(variance))
    for _ in range(ROUNDS):
        fitted = threshold * g2 + jitter
        # a variance of m repeats has the variance 2 fitted^2 / (m - 1): weights are its inverse
        weight = np.where(variance < OUTLIER * fitted, 1.0 / fitted**2, 0.0)
        design = np.array([g2, np.ones_like(g2)])
        normal, right = (design * weight) @ design.T, (design * weight) @ variance
        threshold, jitter = _non_negative(normal, right)
        jitter = max(jitter, least**2)
    deviation = float(np.sqrt(jitter + threshold * np.median(g2)))
    return Noise(float(np.sqrt(threshold)), float(np.sqrt(jitter)), rounding_left(deviation, tick))


def least_noise(t_stop: float) -> float:
    """Deviation (s) that arithmetic alone leaves."""
    return ROUNDING * t_stop


def rounding_left(deviation: float, tick: float) -> float:
    """Deviation (s) of the mean of many stamps from the true time where single stamps scatter by ``deviation``.

    Noise dithers the rounding: of its variance ``tick^2/12`` there is left, of the first harmonic of the sawtooth,
    ``tick^2/(2 pi^2) e^(-4 pi^2 deviation^2/tick^2)`` (Widrow & Kollar, Quantization Noise, 2008, ch. 4).
    """
    if tick == 0:
        return 0.0
    left = tick**2 / (2 * np.pi**2) * np.exp(-4 * np.pi**2 * min(deviation / tick, 10.0) ** 2)
    return float(np.sqrt(min(tick**2 / 12, left * np.pi**2 / 6)))


def _non_negative(normal: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Solution of two normal equations with both unknowns >= 0."""
    both = np.linalg.solve(normal, right)
    if (both >= 0).all():
        return float(both[0]), float(both[1])
    alone = np.maximum(right / np.diag(normal), 0.0)
    gain = alone * right
    return (float(alone[0]), 0.0) if gain[0] > gain[1] else (0.0, float(alone[1]))
