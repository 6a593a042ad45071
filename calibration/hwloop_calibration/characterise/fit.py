"""Levenberg-Marquardt over all neurons at once, with the simulator's exact derivatives.

Noise of a sample's threshold moves all spikes of that sample together, jitter moves each by itself:

    Sigma = (sigma_threshold^2 g g^T + sigma_jitter^2 1) / repeats + rounding^2 1,    g = dT/dv_th;

its inverse is that of a diagonal with a rank-one update (Sherman & Morrison 1950). Each neuron has a damping of its
own; a step that does not lower its cost is taken back (Marquardt 1963, scaling by the diagonal of the normal matrix).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bench import Observations
from .kernels import Predicted, Seen, Sums, accumulate
from .model import KEEP, LEAK, OWN, T_REF, Array, Neurons, Prediction, predict

#: Iterations; from 30 % off a neuron needs about eight.
MAX_ITERATIONS = 30
#: First damping, and the factors by which it falls and rises.
DAMPING, EASIER, HARDER, MOST_DAMPING = 1e-2, 0.1, 8.0, 1e6
#: A neuron has converged when a step lowers its cost, a chi-squared, by less than this and less than this share: what is
#: left is a hundredth of a standard error.
COST_STEP, COST_SHARE = 1e-4, 1e-7
#: Samples this many deviations off count with less weight (Huber 1964).
HUBER = 4.0
#: Longest step: of logarithms and of the leak (swing); beyond it the linear model says nothing.
LONGEST = 0.5
#: Cost of a spike that was seen and that the model lacks: far from the solution, where losing spikes must never pay, and
#: near it, where a spike that occurs in nine of ten repeats must not pull the fit.
LACKING, LACKING_AT_LAST = 1e3, 9.0
#: Nodes of the quadrature over noise of the threshold; the outer ones lie 2.9 deviations off.
NODES = 5
#: A spike whose shift at a node leaves the straight line by more than this share of it is not used.
BENT = 0.5
#: Relative error of a spike time that float64 arithmetic leaves; keeps noise-free fits finite.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Noise:
    """Noise of one repeat: of a sample's threshold (swing), of a spike (s), and what repeats do not average out (s)."""

    threshold: float
    jitter: float
    rounding: float


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit found.

    Attributes
    ----------
    neurons : Neurons
    covariance : ``[n, p, p]`` of the coordinates (:data:`~.model.SHARED`, then ``ln w`` of each column)
    cost : ``[n]`` sum of squares in units of the noise
    freedom : ``[n]`` spikes used less coordinates
    used : ``[n]`` spikes used
    unexplained : ``[n]`` agreed spikes that the model lacks
    converged : ``[n]`` bool
    """

    neurons: Neurons
    covariance: Array
    cost: Array
    freedom: Array
    used: Array
    unexplained: Array
    converged: Array

    def put(self, index: Array, other: Fit) -> Fit:
        """The same with neurons ``index`` replaced."""
        changed = {}
        for name in ("covariance", "cost", "freedom", "used", "unexplained", "converged"):
            changed[name] = getattr(self, name).copy()
            changed[name][index] = getattr(other, name)
        return Fit(self.neurons.put(index, other.neurons), **changed)


@dataclass(frozen=True, eq=False)
class _Normal:
    matrix: Array
    right: Array
    cost: Array
    used: Array
    missing: Array


def fit(start: Neurons, seen: Observations, noise: Noise, bias: Array | None = None, lacking: float = LACKING) -> Fit:
    """Fit all neurons to what was seen of them, from ``start``.

    Parameters
    ----------
    start : Neurons
        A column of weight 0 is not fitted.
    seen : Observations
    noise : Noise
    bias : ``[samples, n, MODEL_KEEP]`` of :func:`mean_shift`, optional
    lacking : cost of a spike that the model lacks; it is no part of the fit's ``cost``
    """
    neurons, n = start, len(start)
    damping, active = np.full(n, DAMPING), np.ones(n, bool)
    normal = normal_of(neurons, seen, noise, predict(neurons, seen.stimuli), bias, lacking)
    converged = np.zeros(n, bool)
    for _ in range(MAX_ITERATIONS):
        index = np.flatnonzero(active)
        if not index.size:
            break
        part = seen.of(index)
        step = _step(normal, index, damping[index])
        tried = neurons[index].moved(step)
        own_bias = None if bias is None else np.ascontiguousarray(bias[:, index])
        after = normal_of(tried, part, noise, predict(tried, seen.stimuli), own_bias, lacking)
        better = after.cost <= normal.cost[index]
        promised = np.einsum("np,np->n", step, normal.right[index])
        little = COST_STEP + COST_SHARE * normal.cost[index]
        gained = normal.cost[index] - after.cost
        done = (promised <= little) | (better & (gained <= little) & (damping[index] < 1.0))
        taken = index[better]
        neurons = neurons.put(taken, tried[better])
        for name in ("matrix", "right", "cost", "used", "missing"):
            getattr(normal, name)[taken] = getattr(after, name)[better]
        damping[index] = np.where(better, np.maximum(damping[index] * EASIER, 1e-12), damping[index] * HARDER)
        converged[index[done]] = True
        active[index[done | (damping[index] > MOST_DAMPING)]] = False
    parameters = _fitted(normal.matrix).sum(1)
    return Fit(
        neurons, covariance_of(normal.matrix), normal.cost - lacking * normal.missing, np.maximum(normal.used - parameters, 0),
        normal.used, normal.missing, converged | (damping > MOST_DAMPING),
    )  # fmt: skip


def sums(
    neurons: Neurons,
    seen: Observations,
    noise: Noise,
    model: Prediction,
    bias: Array | None,
    place: Array | None = None,
    lacking: float = LACKING,
) -> Sums:
    """Normal equations of what was ``seen`` against ``model``; ``bias`` see :func:`mean_shift`.

    ``place [samples]``: which column of ``neurons.weight`` a sample belongs to, by default the one it was sent on.
    """
    n, columns = neurons.weight.shape
    by_column = (n, columns)
    result = Sums(
        np.zeros((n, OWN, OWN)),
        np.zeros((n, OWN)),
        np.zeros((n, columns, OWN)),
        *(np.zeros(by_column) for _ in range(5)),
    )
    where = np.asarray(seen.stimuli.columns if place is None else place, np.int64)
    variances = np.array([noise.threshold, noise.jitter, noise.rounding]) ** 2
    shift = np.zeros_like(model.times) if bias is None else bias
    predicted = Predicted(model.times, model.rows, model.threshold, shift)
    found = Seen(seen.mean, seen.support, seen.agreed, seen.repeats)
    accumulate(predicted, found, where, neurons.weight != 0, variances, HUBER, lacking, result)
    return result


def normal_of(
    neurons: Neurons,
    seen: Observations,
    noise: Noise,
    model: Prediction,
    bias: Array | None = None,
    lacking: float = LACKING,
) -> _Normal:
    """Normal equations ``[n, p, p]`` of all neurons, outliers with less weight."""
    found = sums(neurons, seen, noise, model, bias, None, lacking)
    n, columns = neurons.weight.shape
    matrix, right = np.zeros((n, OWN + columns, OWN + columns)), np.zeros((n, OWN + columns))
    matrix[:, :OWN, :OWN], right[:, :OWN], right[:, OWN:] = found.shared, found.right, found.own_right
    matrix[:, OWN:, :OWN], matrix[:, :OWN, OWN:] = found.cross, found.cross.swapaxes(1, 2)
    place = np.arange(OWN, OWN + columns)
    matrix[:, place, place] = found.own
    return _Normal(matrix, right, found.cost.sum(1), found.used.sum(1), found.missing.sum(1))


def mean_shift(neurons: Neurons, seen: Observations, noise: Noise) -> Array:
    """By how much noise of the threshold moves the mean of each spike's time, ``[samples, n, MODEL_KEEP]`` (s).

    Time is a curved function of the threshold: the mean over normal noise, by Gauss and Hermite's rule with five nodes, is
    not the time at the mean. NaN where that says nothing: the spike is missing at one of the nodes, or the shift is no
    small part of the noise (it grazes the threshold, or another spike takes its place), and so for all spikes after it.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    centre = predict(neurons, seen.stimuli)
    if noise.threshold == 0:
        return np.zeros_like(centre.times)
    total, bent = np.zeros_like(centre.times), np.zeros(centre.times.shape, bool)
    linear = noise.threshold * np.abs(centre.threshold)
    for node, weight in zip(nodes, weights, strict=True):
        at = predict(neurons, seen.stimuli, threshold=1.0 + noise.threshold * node, derivatives=False).times
        moved = at - centre.times
        bent |= ~(
            np.abs(moved - node * noise.threshold * centre.threshold) <= BENT * (abs(node) * linear + noise.jitter)
        )
        total += weight * moved
    return np.where(np.logical_or.accumulate(bent, axis=2), np.nan, total)


def _fitted(matrix: Array) -> Array:
    """Bool ``[n, p]``: coordinates about which something was seen."""
    return np.asarray(np.einsum("npp->np", matrix) > 0)


def _step(normal: _Normal, index: Array, damping: Array) -> Array:
    matrix, right = normal.matrix[index], normal.right[index]
    informed = _fitted(matrix)
    diagonal = np.einsum("npp->np", matrix)
    scale = np.where(informed, 1.0 / np.sqrt(np.where(informed, diagonal, 1.0)), 0.0)
    scaled = matrix * scale[:, :, None] * scale[:, None, :]
    p = np.arange(matrix.shape[1])
    scaled[:, p, p] = np.where(informed, 1.0 + damping[:, None], 1.0)
    step = scale * np.linalg.solve(scaled, (scale * right)[..., None])[..., 0]
    share = np.abs(np.delete(step, (T_REF, T_REF + 1), axis=1)).max(1) / LONGEST
    return np.asarray(step / np.maximum(share, 1.0)[:, None])


def covariance_of(matrix: Array) -> Array:
    """Inverse of normal matrices ``[n, p, p]``; infinite variance where nothing is known."""
    informed = _fitted(matrix)
    diagonal = np.einsum("npp->np", matrix)
    scale = np.where(informed, 1.0 / np.sqrt(np.where(informed, diagonal, 1.0)), 0.0)
    scaled = matrix * scale[:, :, None] * scale[:, None, :]
    p = np.arange(matrix.shape[1])
    scaled[:, p, p] = 1.0
    values, vectors = np.linalg.eigh(scaled)
    # a direction that the data say nothing about has no finite variance
    inverse = np.where(values > 1e-14, 1.0 / np.maximum(values, 1e-14), 1e14)
    whole = np.einsum("npi,ni,nqi->npq", vectors, inverse, vectors) * scale[:, :, None] * scale[:, None, :]
    whole[:, p, p] = np.where(informed, whole[:, p, p], np.inf)
    return np.asarray(whole)


__all__ = ["KEEP", "LEAK", "Fit", "Noise", "covariance_of", "fit", "mean_shift", "normal_of", "sums"]
