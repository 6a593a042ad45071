"""How exact each peer is: spikes lost near the threshold, and its gradient against one of 40 digits.

The census is a layer whose membranes, without a spike, would rise to within a share of 1e-3 of the threshold, half of them above
it; what is true is decided at 70 digits. A peer loses a spike where a membrane that crosses has none, and invents one where it
has one that does not cross. Peers on a grid of time see a membrane between two steps not at all.

The gradient is that of the cross-entropy on first spike times of a small network, by the implicit function theorem at 70 digits,
from the weights as the peer holds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import torch
from mpmath import mpf
from numpy.typing import NDArray

from .forty_digits import DIGITS, Setting, kernel, maximum, spike_times
from .peers import DOUBLE, PEERS, REFERENCE, VARIANT, Unavailable, made
from .peers.base import Problem
from .workloads import T_STOP, TAU_MEM, TAU_SYN, Inputs

#: Neurons and inputs of the census, and how far from the threshold their maxima lie at most (a share).
CENSUS, CENSUS_INPUTS, NEAR = 300, 6, 1e-3

#: Closer than this a membrane is left out: float32 does not tell on which side it is.
UNDECIDED = 2e-6

#: Network of the gradient, and its batch.
SMALL, SMALL_BATCH = (4, 5, 3), 3

#: Peers of the table.
ROWS = tuple(name for name in PEERS if name not in (VARIANT, "dense"))


@dataclass(frozen=True)
class Exactness:
    """What one peer makes of the census and of the gradient.

    Attributes
    ----------
    lost, invented, census : spikes, of so many neurons
    gradient_error : largest deviation of a weight's gradient, relative to the largest gradient of its layer
    remark : why there is none
    """

    peer: str
    dtype: str = "-"
    gradient: str = "-"
    steps: int | None = None
    lost: int | None = None
    invented: int | None = None
    census: int | None = None
    gradient_error: float | None = None
    remark: str = ""


def examine(names: Sequence[str], seed: int = 0) -> list[Exactness]:
    """A row for each of ``names``, and one of hwloop in float64."""
    near, true = near_threshold(seed)
    small = small_network(seed)
    found = []
    for name in names:
        if name not in ROWS:
            continue
        found.append(_examined(name, near, true, small))
        if name == REFERENCE:
            found.append(_examined(DOUBLE, near, true, small))
    return found


def _examined(name: str, near: Problem, true: NDArray[np.bool_], small: Problem) -> Exactness:
    try:
        peer = made(name, near)
        fired = peer.fired()[0][: len(true)]
        d = peer.description
        lost, invented = int((true & ~fired).sum()), int((~true & fired).sum())
        row = {
            "dtype": d.dtype,
            "gradient": d.gradient,
            "steps": d.steps,
            "lost": lost,
            "invented": invented,
            "census": len(true),
        }
        error, remark = None, "a surrogate gradient is no estimate of this one"
        other = made(name, small)
        other.step()
        if (gradients := other.gradients()) is not None:
            error, remark = gradient_error(gradients, small), ""
        return Exactness(name, **row, gradient_error=error, remark=remark)  # type: ignore[arg-type]
    except Unavailable as error:
        return Exactness(name, remark=str(error))
    except Exception as error:  # of a foreign library: the row says so
        return Exactness(name, remark=f"{type(error).__name__}: {error}")


# -- the census -----------------------------------------------------------------------------------


def near_threshold(seed: int) -> tuple[Problem, NDArray[np.bool_]]:
    """A layer near its threshold in float32, and which of its neurons cross it; those that are undecided are left out."""
    r = np.random.default_rng([seed, 5])
    times = np.sort(r.uniform(0, 0.4 * T_STOP, CENSUS_INPUTS)).astype(np.float32).astype(np.float64)
    weights = r.normal(0.5, 1.0, (CENSUS, CENSUS_INPUTS))
    weights[:, 0] = r.uniform(0.5, 2.0, CENSUS)  # the first to arrive: every membrane rises at least once
    with mp.workdps(DIGITS):
        for row in weights:
            row /= float(maximum(_neuron(times, row))) / (1 + r.uniform(-NEAR, NEAR))
        weights = weights.astype(np.float32).astype(np.float64)
        excess = np.array([float(maximum(_neuron(times, row)) - 1) for row in weights])
    clear = np.abs(excess) > UNDECIDED
    second = torch.zeros(2, int(clear.sum()), dtype=torch.float64)
    problem = Problem(Inputs(times[None], np.zeros(1, np.int64)), [torch.from_numpy(weights[clear]), second], 1)
    return problem, excess[clear] > 0


def _neuron(times: NDArray[np.float64], weights: NDArray[np.float64]) -> Setting:
    return Setting(tuple(map(float, times)), tuple(map(float, weights)), TAU_MEM, TAU_SYN, t_stop=T_STOP)


# -- the gradient ---------------------------------------------------------------------------------


def small_network(seed: int) -> Problem:
    """A network whose neurons spike, all values exact in float32."""
    r = np.random.default_rng([seed, 6])
    times = r.uniform(0, 0.3 * T_STOP, (SMALL_BATCH, SMALL[0])).astype(np.float32).astype(np.float64)
    weights = [r.normal(mean, 0.4, shape).astype(np.float32).astype(np.float64)
               for mean, shape in ((2.0, (SMALL[1], SMALL[0])), (1.6, (SMALL[2], SMALL[1])))]  # fmt: skip
    labels = np.arange(SMALL_BATCH) % SMALL[-1]
    return Problem(Inputs(times, labels), [torch.from_numpy(w) for w in weights], 1)


def gradient_error(found: Sequence[NDArray[Any]], problem: Problem) -> float:
    """Largest deviation from :func:`true_gradients`, relative to the largest gradient of the layer."""
    true = true_gradients(problem)
    return max(
        float(np.abs(ours.astype(np.float64) - its).max() / np.abs(its).max())
        for ours, its in zip(found, true, strict=True)
    )


def true_gradients(problem: Problem) -> list[NDArray[np.float64]]:
    """Gradients of the mean cross-entropy of ``softmax(-T / tau_syn)`` by weight, ``T`` first spikes, ``t_stop`` where silent."""
    with mp.workdps(DIGITS):
        sums = [mp.zeros(*weight.shape) for weight in problem.weights]
        for times, label in zip(problem.inputs.times, problem.inputs.labels, strict=True):
            each = _of_sample(times, int(label), problem)
            sums = [total + one / problem.batch for total, one in zip(sums, each, strict=True)]
        return [np.array([[float(x) for x in row] for row in total.tolist()]) for total in sums]


def _of_sample(times: NDArray[np.float64], label: int, problem: Problem) -> list[Any]:
    weights = [mp.matrix(weight.tolist()) for weight in problem.weights]
    trains = [[mpf(float(t)) if math.isfinite(t) else None for t in times]]
    for weight in weights:
        trains.append([_first(trains[-1], weight[j, :]) for j in range(weight.rows)])
    scores = [-(mpf(T_STOP) if t is None else t) / mpf(TAU_SYN) for t in trains[-1]]
    total = sum(mp.exp(s) for s in scores)
    back = [
        mpf(0) if t is None else -(mp.exp(s) / total - (j == label)) / mpf(TAU_SYN)
        for j, (t, s) in enumerate(zip(trains[-1], scores, strict=True))
    ]
    found: list[Any] = []
    for layer in range(len(weights) - 1, -1, -1):
        inputs, outputs, weight = trains[layer], trains[layer + 1], weights[layer]
        gradient, before = mp.zeros(weight.rows, weight.cols), [mpf(0)] * weight.cols
        for j, t in enumerate(outputs):
            if t is None:
                continue
            came = [i for i, start in enumerate(inputs) if start is not None and start < t]
            slope = sum(weight[j, i] * _slope(t - inputs[i]) for i in came)
            for i in came:
                gradient[j, i] = -back[j] * kernel(t - inputs[i], mpf(TAU_MEM), mpf(TAU_SYN)) / slope
                before[i] += back[j] * weight[j, i] * _slope(t - inputs[i]) / slope
        found.insert(0, gradient)
        back = before
    return found


def _first(inputs: Sequence[Any], weight: Any) -> Any:
    came = [(t, weight[i]) for i, t in enumerate(inputs) if t is not None]
    setting = Setting(tuple(t for t, _ in came), tuple(w for _, w in came), TAU_MEM, TAU_SYN, t_stop=T_STOP)
    return next(iter(spike_times(setting, 1)), None)


def _slope(s: Any) -> Any:
    """Derivative of :func:`kernel`."""
    tau_mem, tau_syn = mpf(TAU_MEM), mpf(TAU_SYN)
    return tau_syn / (tau_mem - tau_syn) * (mp.exp(-s / tau_syn) / tau_syn - mp.exp(-s / tau_mem) / tau_mem)
