"""Second starts for neurons whose fit ended in a wrong minimum.

Where a neuron's spike counts differ from those at the start, its sum of squares has many minima. Its fit is begun again
from points drawn from the distribution of the neurons that were fitted well, somewhat widened since those in a
distribution's tails are the ones that fail; of many draws, whose prediction all such neurons share, the best are fitted.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .bench import Observations
from .fit import LACKING, Fit, Noise, fit, normal_of
from .model import LATENCY, LEAK, OWN, T_REF, TAU_MEM, TAU_SYN, Array, Neurons, predict

#: A sum of squares beyond this many times the noise makes a fit bad enough to try again.
BAD = 2.0
#: Points drawn, how much wider than the neurons found well, and how many of them a neuron is fitted from.
DRAWS, WIDER, BEST = 1024, 1.5, 16
#: All bad neurons together are compared with and fitted from no more points; where more than this share of the neurons is
#: bad, it is not for their starting points, and each has the least.
MOST_COMPARED, MOST_FITS, MOST_BAD, LEAST_COMPARED, LEAST_FITS = 16384, 512, 0.4, 64, 2
#: Deviations of the draws (logarithms, swing) where too few neurons were fitted well to know them.
USUAL = {TAU_MEM: 0.15, TAU_SYN: 0.15, LEAK: 0.05}
USUAL_WEIGHT = 0.15
SEED = 20240


def restarted(found: Fit, seen: Observations, noise: Noise) -> Fit:
    """``found`` with neurons whose residuals are too large fitted again from other points; the best is kept."""
    bad = np.flatnonzero((found.cost > BAD * np.maximum(found.freedom, 1)) & (seen.agreed > 0).any(0))
    if not len(bad):
        return found
    exceptions = len(bad) <= MOST_BAD * len(found.cost)
    count = max(LEAST_COMPARED, min(DRAWS, MOST_COMPARED // len(bad)) if exceptions else 0)
    points = draws(found)[np.arange(count)]
    model = predict(points, seen.stimuli)
    best = max(LEAST_FITS, min(BEST, MOST_FITS // len(bad)) if exceptions else 0)
    chosen = np.empty((len(bad), best), np.int64)
    for row, k in enumerate(bad):
        at = normal_of(_as_driven(points, found.neurons.weight[k]), seen.of(np.full(count, k)), noise, model)
        chosen[row] = np.argsort(at.cost, kind="stable")[:best]
    owner = np.repeat(np.arange(len(bad)), best)
    start = points[chosen.reshape(-1)]
    start = start.with_weight(np.where(found.neurons.weight[bad][owner] == 0, 0.0, start.weight))
    tried = fit(start, seen.of(bad[owner]), noise)
    total = (tried.cost + LACKING * tried.unexplained).reshape(len(bad), best)
    first = total.argmin(1)
    better = total.min(1) < found.cost[bad] + LACKING * found.unexplained[bad]
    return found.put(bad[better], some(tried, (np.arange(len(bad)) * best + first)[better]))


def draws(found: Fit) -> Neurons:
    """``DRAWS`` neurons as those fitted well may be: normal in their coordinates; the same draws in every calibration."""
    well = found.neurons[np.flatnonzero(found.cost <= BAD * np.maximum(found.freedom, 1))]
    live = well[np.flatnonzero((well.weight > 0).all(1))]
    source = live if len(live) >= 4 * (OWN + live.weight.shape[1]) else None
    centre = _coordinates(found.neurons[[typical(found)]])[0] if source is None else np.median(_coordinates(source), 0)
    covariance = _usual(len(centre)) if source is None else np.cov(_coordinates(source).T)
    values, vectors = np.linalg.eigh(covariance)
    normal = np.random.Generator(np.random.Philox(SEED)).normal(size=(DRAWS, len(centre)))
    x = centre + WIDER * (normal * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return Neurons(
        np.exp(x[:, TAU_MEM]), np.exp(x[:, TAU_SYN]), x[:, LEAK], np.maximum(x[:, T_REF], 0.0), x[:, LATENCY],
        np.exp(x[:, OWN:]),
    )  # fmt: skip


def typical(found: Fit) -> int:
    """The neuron in the middle: least far from the medians of all."""
    n = found.neurons
    values = np.log(np.array([n.tau_mem, n.tau_syn, np.maximum(n.weight.mean(1), 1e-12)]))
    return int(np.argmin(np.abs(values - np.median(values, axis=1, keepdims=True)).sum(0)))


def some(found: Fit, index: Array) -> Fit:
    """Neurons ``index`` of a fit."""
    return Fit(
        found.neurons[index], found.covariance[index], found.cost[index], found.freedom[index], found.used[index],
        found.unexplained[index], found.converged[index],
    )  # fmt: skip


def _coordinates(neurons: Neurons) -> Array:
    own = [np.log(neurons.tau_mem), np.log(neurons.tau_syn), neurons.leak, neurons.t_ref, neurons.latency]
    return np.concatenate([np.array(own).T, np.log(np.maximum(neurons.weight, 1e-12))], 1)


def _usual(size: int) -> Array:
    deviation = np.zeros(size)
    deviation[OWN:] = USUAL_WEIGHT
    for x, value in USUAL.items():
        deviation[x] = value
    return np.diag(deviation**2)


def _as_driven(points: Neurons, weight: Array) -> Neurons:
    """``points`` without the columns that have no effect on a neuron with ``weight [columns]``."""
    return replace(points, weight=np.where(weight == 0, 0.0, points.weight))
