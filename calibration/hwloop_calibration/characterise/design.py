"""Which stimuli to send: those that say most about what is least known (A-optimal design, greedy).

The Fisher information of a stimulus is ``J^T Sigma^-1 J`` of the exact model at the parameters believed so far; before
anything was measured these are the nominal ones and some around them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .fit import Noise
from .model import OWN, Array, Neurons, Prediction, predict
from .stimuli import Pattern, on_columns, window

#: Deviation around the nominal values that the first design reckons with (of logarithms and of the swing).
SPREAD, BELIEVED = 0.15, 12
#: Error that counts as one in the sum that a design makes small: 1 % of a time constant, of the swing, of a weight; a
#: twentieth of tau_syn of t_ref and latency (they move spikes no further than that).
SCALE, TIME_SCALE = 0.01, 0.05
#: Spikes whose time moves by more than this many tau_syn for one swing graze the threshold: their noise is not normal.
GRAZING = 60.0


def around(neurons: Neurons, spread: float = SPREAD, count: int = BELIEVED) -> Neurons:
    """``count`` neurons around the first of ``neurons``: a fixed set of points, the same in every calibration."""
    typical = neurons[np.zeros(count, np.int64)]
    step = np.zeros((count, OWN + typical.weight.shape[1]))
    # a lattice of signs (rows of a Hadamard-like pattern): each coordinate is as often high as low
    for x in range(OWN - 2):
        step[:, x] = spread * np.array([1 if (k >> (x % 3)) & 1 else -1 for k in range(count)])
    step[:, 2] *= 0.3
    step[:, OWN:] = spread * np.array([(k % 3) - 1 for k in range(count)])[:, None]
    step[0] = 0.0
    return typical.moved(step)


def choose(
    patterns: Sequence[Pattern], neurons: Neurons, noise: Noise, count: int, known: Array | None = None
) -> list[Pattern]:
    """``count`` of ``patterns`` (repeated where that is best) that make the mean error of ``neurons`` small.

    ``neurons`` have one column; ``known [n, 6, 6]`` is the information that there is already.
    """
    information = information_of(patterns, neurons, noise)
    scale = _scales(neurons)
    total = np.zeros(information.shape[1:]) if known is None else known.copy()
    total += np.eye(OWN + 1) * (scale**-2 * 1e-4)[:, None, :]  # a vague belief: errors of a hundred times the scale
    chosen = []
    for _ in range(count):
        after = np.linalg.inv(total[None] + information)
        error = np.einsum("cnpp,np->c", after, scale**-2)
        best = int(np.argmin(error))
        chosen.append(patterns[best])
        total = total + information[best]
    return chosen


def information_of(patterns: Sequence[Pattern], neurons: Neurons, noise: Noise) -> Array:
    """Fisher information ``[patterns, n, 6, 6]`` of one repeat of each pattern on column 0."""
    t_stop = window(patterns, float(neurons.tau_mem.max()), float(neurons.tau_syn.max()), float(neurons.t_ref.max()))
    model = predict(neurons, on_columns(patterns, [0], neurons.weight.shape[1], t_stop))
    return sample_information(model, noise, float(np.median(neurons.tau_syn)))


def sample_information(model: Prediction, noise: Noise, tau_syn: float) -> Array:
    """``J^T Sigma^-1 J`` of each sample and neuron; grazing spikes and those after them do not count."""
    good = np.isfinite(model.times) & (np.abs(model.threshold) < GRAZING * tau_syn)
    good = np.logical_and.accumulate(good, axis=2)
    inverse = good / (noise.jitter**2 + noise.rounding**2)
    g = model.threshold * good
    weighted = model.rows * inverse[..., None]
    jg = (weighted * g[..., None]).sum(2)
    common = noise.threshold**2 / (1.0 + noise.threshold**2 * (g * g * inverse).sum(2))
    matrix = np.matmul(weighted.swapaxes(2, 3), model.rows)
    return np.asarray(matrix - common[..., None, None] * jg[..., None] * jg[..., None, :])


def _scales(neurons: Neurons) -> Array:
    """Error of each coordinate that counts as one, ``[n, 6]``."""
    scale = np.full((len(neurons), OWN + 1), SCALE)
    scale[:, 3:5] = TIME_SCALE * neurons.tau_syn[:, None]
    return scale
