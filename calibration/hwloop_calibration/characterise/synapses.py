"""Weights of all synapse columns, one by one, with the neurons' own parameters held: a scalar Newton iteration each.

Columns share no unknown once the neurons are known, so the normal equations are numbers: their right-hand side and
curvature come from the same derivatives and the same noise as those of the neurons. The error of a weight is its own
plus what the error of the neuron's parameters does to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bench import Observations, Targets
from .fit import COST_SHARE, COST_STEP, Noise, mean_shift, sums
from .model import KEEP, Array, Neurons, Prediction, predict
from .stimuli import LEAD, Pattern, Stimuli, window

#: Iterations; from 30 % off a weight needs about six.
ITERATIONS = 15
#: Weights that a search begins at, as factors of the neuron's mean.
STARTS = (0.5, 0.65, 0.78, 0.88, 1.0, 1.12, 1.25, 1.5)
#: Longest step of ``ln w``, the change below which a weight has settled, and the damping at which it is given up.
LONGEST, SETTLED, MOST_DAMPING = 0.4, 1e-10, 1e5

#: Pulses and their spacing (tau_syn) of the two stimuli of a synapse.
BURSTS = ((2, 0.1), (4, 0.1))
#: Columns whose synapses are measured in one run.
COLUMNS_A_RUN = 32


def synapse_patterns(targets: Targets) -> tuple[list[Pattern], float]:
    """The two stimuli of a synapse, and how long a sample of them lasts (model s)."""
    tau_syn = targets.typical("tau_syn")
    patterns = [Pattern(tuple((LEAD + k * spacing) * tau_syn for k in range(pulses))) for pulses, spacing in BURSTS]
    return patterns, window(patterns, targets.typical("tau_mem"), tau_syn, targets.typical("t_ref"))


def column_parts(columns: Array) -> list[Array]:
    """``columns`` in parts that are measured in one run each."""
    return np.array_split(columns, max(1, len(columns) // COLUMNS_A_RUN))


@dataclass(frozen=True, eq=False)
class Weights:
    """``value [n, columns]`` (swing a pulse; 0: no effect) and relative error ``error [n, columns]`` (inf: unknown)."""

    value: Array
    error: Array


def fit_weights(
    neurons: Neurons, covariance: Array, seen: Observations, noise: Noise, columns: Array, start: Array
) -> Weights:
    """Weights of ``columns [c]`` of all neurons, from ``start [n, c]``.

    ``covariance [n, 5, 5]``: of the shared coordinates. A column that answers to none of its samples, though the model
    says it should to at least one, has no effect.
    """
    place = np.searchsorted(columns, np.asarray(seen.stimuli.columns))
    narrow = _relabelled(seen, place, len(columns))
    weight = _nearest_start(neurons, start, narrow, noise, place)
    bias: Array | None = None
    for _ in range(2):
        weight, curvature, cross = _newton(neurons, weight, narrow, noise, place, bias)
        bias = mean_shift(neurons.with_weight(weight), narrow, noise)
    weight, curvature, cross = _newton(neurons, weight, narrow, noise, place, bias)
    own = 1.0 / np.where(curvature > 0, curvature, np.inf)
    lever = cross * own[..., None]
    variance = own + np.einsum("ncp,npq,ncq->nc", lever, covariance, lever)
    error = np.where(curvature > 0, np.sqrt(variance), np.inf)
    answered = _sum_by(seen.agreed.astype(float), place, len(columns))
    expected = _sum_by(
        predict(neurons.with_weight(start), narrow.stimuli, derivatives=False).counts.astype(float), place, len(columns)
    )
    silent = (answered == 0) & (expected > 0)
    return Weights(np.where(silent, 0.0, weight), np.where(silent, np.inf, error))


def _relabelled(seen: Observations, place: Array, n_columns: int) -> Observations:
    stimuli = Stimuli(seen.stimuli.patterns, tuple(int(p) for p in place), n_columns, seen.stimuli.t_stop)
    return Observations(
        stimuli, seen.mean, seen.variance, seen.support, seen.agreed, seen.repeats, seen.extra, seen.spikes, seen.halves
    )


def _newton(
    neurons: Neurons, weight: Array, seen: Observations, noise: Noise, place: Array, bias: Array | None
) -> tuple[Array, Array, Array]:
    """``(weight, curvature [n, c], cross [n, c, 5])`` where the cost of each weight is least."""
    best = _cost(neurons, weight, seen, noise, place, bias)
    damping = np.full(weight.shape, 1e-3)
    for _ in range(ITERATIONS):
        step = best.right / np.where(best.curvature > 0, best.curvature * (1 + damping), np.inf)
        step = np.clip(step, -LONGEST, LONGEST)
        if np.abs(step).max(initial=0.0) < SETTLED:
            break
        tried = weight * np.exp(step)
        after = _cost(neurons, tried, seen, noise, place, bias)
        # a spike that was seen may not be lost again, however well the others fit without it
        better = (after.missing < best.missing) | ((after.missing == best.missing) & (after.cost <= best.cost))
        weight = np.where(better, tried, weight)
        damping = np.where(better, damping * 0.2, np.maximum(damping, 0.1) * 8.0)
        settled = better & (best.cost - after.cost <= COST_STEP + COST_SHARE * best.cost)
        best = _Cost(
            *(
                _pick(better, getattr(after, k), getattr(best, k))
                for k in ("cost", "curvature", "right", "cross", "missing")
            )
        )
        stuck = damping > MOST_DAMPING
        best.right[settled | stuck] = 0.0
    return weight, best.curvature, best.cross


def _nearest_start(neurons: Neurons, start: Array, seen: Observations, noise: Noise, place: Array) -> Array:
    """Of some weights around ``start`` the one that explains most: the cost has a valley for each number of spikes."""
    best, fewest, weight = np.full(start.shape, np.inf), np.full(start.shape, np.inf), start.copy()
    for factor in STARTS:
        there = neurons.with_weight(start * factor)
        model = predict(there, seen.stimuli)
        found = _cost_of(there, seen, noise, model, place, None)
        spikes = np.minimum(np.isfinite(model.times).sum(2), KEEP)
        unlike = _sum_by(np.abs(spikes - seen.agreed), place, start.shape[1])
        better = (unlike < fewest) | ((unlike == fewest) & (found.cost < best))
        weight = np.where(better, start * factor, weight)
        best, fewest = np.where(better, found.cost, best), np.where(better, unlike, fewest)
    return weight


@dataclass(frozen=True, eq=False)
class _Cost:
    cost: Array
    curvature: Array
    right: Array
    cross: Array
    missing: Array


def _pick(better: Array, new: Array, old: Array) -> Array:
    chosen = better if new.ndim == 2 else better[..., None]
    return np.where(chosen, new, old)


def _cost(neurons: Neurons, weight: Array, seen: Observations, noise: Noise, place: Array, bias: Array | None) -> _Cost:
    there = neurons.with_weight(weight)
    return _cost_of(there, seen, noise, predict(there, seen.stimuli), place, bias)


def _cost_of(
    there: Neurons, seen: Observations, noise: Noise, model: Prediction, place: Array, bias: Array | None
) -> _Cost:
    found = sums(there, seen, noise, model, bias, place, 0.0)
    return _Cost(found.cost, found.own, found.own_right, found.cross, found.missing)


def _sum_by(values: Array, place: Array, n_columns: int) -> Array:
    """Sum over samples of the same column: ``[samples, n]`` to ``[n, columns]``."""
    total = np.zeros((n_columns, *values.shape[1:]))
    np.add.at(total, place, values)
    return total.T
