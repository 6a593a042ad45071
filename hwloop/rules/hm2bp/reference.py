"""HM2-BP in plain NumPy, written from the formulas: simulation in steps, and ``e_i|j`` as its double sum over spikes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .neurons import MAX_LOOP, SLACK, LeakyNeurons

Array = NDArray[Any]


def simulate(inputs: Array, weight: Array, neurons: LeakyNeurons) -> NDArray[np.uint8]:
    """Spikes ``[steps, n_out]`` of one population on ``inputs [steps, n_in]``; ``weight [n_out, n_in]``."""
    n = len(weight)
    v, e, wait = np.zeros(n), np.zeros(n), np.zeros(n, int)
    spikes = np.zeros((len(inputs), n), np.uint8)
    for t in range(len(inputs)):
        v -= v / neurons.tau_m
        e -= e / neurons.tau_s
        if t > 0:
            own = spikes[t - 1].astype(float)
            e += weight @ inputs[t - 1] + neurons.lateral * (own.sum() - own)
        v = np.where(wait > 0, 0.0, v + e / neurons.tau_s)
        wait = np.maximum(wait - 1, 0)
        spikes[t] = v > neurons.v_th - SLACK
        v, wait = np.where(spikes[t], 0.0, v), np.where(spikes[t], neurons.t_ref, wait)
    return spikes


def kernel_value(d: float, s: float, tau_m: float, tau_s: float) -> float:
    """Potential per unit weight a time ``d`` after an input spike, where the membrane was let go ``s`` ago."""
    if tau_m == tau_s:
        shape = min(s, d) / tau_m * math.exp(-min(s, d) / tau_m)
    else:
        shape = (math.exp(-min(s, d) / tau_m) - math.exp(-min(s, d) / tau_s)) / (1 - tau_s / tau_m)
    return math.exp(-max(d - s, 0.0) / tau_s) * shape


def effect(pre: Sequence[float], post: Sequence[float], tau_m: float, tau_s: float, hold: float = 0.0) -> float:
    """``e_i|j`` of two trains: the sum over output spikes and the input spikes before each.

    ``hold``: how long after an output spike its membrane is held (the refractory time); the kernel is cut there.
    """
    total, before = 0.0, -math.inf
    for t_f in post:
        s = t_f - (before + hold)
        total += sum(kernel_value(t_f - t_j, s, tau_m, tau_s) for t_j in pre if t_j < t_f) if s > 0 else 0.0
        before = t_f
    return total


def effects(pre: Array, post: Array, tau_m: float, tau_s: float, hold: int) -> Array:
    """``e [n_out, n_in]`` of rasters ``pre [steps, n_in]`` and ``post [steps, n_out]``."""
    trains = [np.nonzero(pre[:, j])[0] for j in range(pre.shape[1])]
    outputs = [np.nonzero(post[:, i])[0] for i in range(post.shape[1])]
    return np.array([[effect(t.tolist(), o.tolist(), tau_m, tau_s, hold) for t in trains] for o in outputs])


def gradients(
    rasters: Sequence[Array], weights: Sequence[Array], neurons: Sequence[LeakyNeurons], grad: Array, teacher: int
) -> list[Array]:
    """Weight gradients of one sample, neuron by neuron: ``rasters`` of inputs and populations, ``grad`` of the counts."""
    post = rasters[-1].copy()
    for i in range(len(grad)):
        if grad[i] < 0 and not post[:, i].any() and teacher:
            post[[k * len(post) // teacher - 1 for k in range(1, teacher + 1)], i] = 1
    layers = [*rasters[:-1], post]
    delta = grad / neurons[-1].v_th
    found: list[Array] = []
    for k in range(len(weights) - 1, -1, -1):
        found.insert(0, np.zeros_like(weights[k]))
        n, pre, post = neurons[k], layers[k], layers[k + 1]
        e = effects(pre, post, n.tau_m, n.tau_s, n.t_ref)
        o, o_pre = post.sum(0).astype(float), pre.sum(0).astype(float)
        for i in range(len(o)):
            ratio = e[i] / o[i] if o[i] else np.full(len(o_pre), 0.5)
            bracket = 1 + weights[k][i] @ ratio / n.v_th
            found[0][i] = delta[i] * e[i] * bracket * lateral_factor(post, n)[i]
        if k:
            below = np.zeros(len(o_pre))
            for j in range(len(o_pre)):
                for i in range(len(o)):
                    ratio = e[i, j] / o_pre[j] if o[i] and o_pre[j] else 1.0
                    below[j] += delta[i] * weights[k][i, j] * ratio
            delta = below / neurons[k - 1].v_th
    return found


def lateral_factor(post: Array, neurons: LeakyNeurons) -> Array:
    """``1 / (1 - loop)`` for each neuron: one turn around every other neuron of its own population and back."""
    if neurons.lateral == 0:
        return np.ones(post.shape[1])
    e = effects(post, post, neurons.tau_m, neurons.tau_s, neurons.t_ref)
    o = post.sum(0).astype(float)
    factor = np.ones(len(o))
    for i in range(len(o)):
        loop = 0.0
        for other in range(len(o)):
            if other != i:
                forth = e[other, i] / o[i] if o[other] and o[i] else 0.5
                back = e[i, other] / o[other] if o[other] and o[i] else 0.5
                loop += (neurons.lateral / neurons.v_th) ** 2 * forth * back
        factor[i] = 1 / (1 - min(loop, MAX_LOOP))
    return factor
