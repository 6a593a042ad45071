"""Random layers and inputs for the tests of the simulator; times in milliseconds' range, everything in SI."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from hwloop.simulate.contract import Events, Floor, Layer

#: No floor: every gradient is the exact one.
EXACT = Floor(0.0, False)

#: Ratios of the time constants: both closed forms, general, nearly equal, and the slower synapse.
TAUS = {
    "ratio 2": (10e-3, 5e-3),
    "equal": (8e-3, 8e-3),
    "general": (12e-3, 5e-3),
    "nearly equal": (8e-3, 8e-3 * (1 + 1e-7)),
    "slow synapse": (5e-3, 12e-3),
}


@dataclass(frozen=True)
class Case:
    """One layer and its input."""

    layer: Layer
    inputs: Events
    t_stop: float

    def with_(self, **changes: Any) -> Case:
        """The same case with other fields of the layer."""
        return replace(self, layer=replace(self.layer, **changes))


def events(samples: list[tuple[Any, Any]], dtype: Any = np.float64) -> Events:
    """Events from ``(times, units)`` of each sample, which need not be sorted."""
    width = max(len(t) for t, _ in samples)
    times, units = np.full((len(samples), width), np.inf, dtype), np.zeros((len(samples), width), np.int64)
    for b, (t, u) in enumerate(samples):
        order = np.argsort(np.asarray(t), kind="stable")
        times[b, : len(t)], units[b, : len(t)] = np.asarray(t)[order], np.asarray(u)[order]
    return Events(times, units, np.array([len(t) for t, _ in samples], np.int64))


def layer(
    weight: Any,
    tau_mem: Any = 10e-3,
    tau_syn: Any = 5e-3,
    threshold: Any = 1.0,
    reset: Any = 0.0,
    t_ref: Any = 0.0,
    start: Any = 0.0,
    subtract: bool = False,
    max_spikes: int = 0,
    dtype: Any = np.float64,
) -> Layer:
    """A layer from ``weight [n_in, n_out]``; numbers are the same for all neurons."""
    w = np.ascontiguousarray(weight, dtype)

    def full(value: Any) -> Any:
        return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype), (w.shape[1],)))

    c = np.asarray(threshold, dtype)
    c = np.ascontiguousarray(c) if c.ndim == 2 else full(c)[None]
    return Layer(w, full(tau_mem), full(tau_syn), full(t_ref), c, full(reset), full(start), subtract, max_spikes)


def random_case(
    seed: int,
    taus: str | None = "ratio 2",
    *,
    batch: int = 4,
    n_in: int = 8,
    n_out: int = 6,
    n_events: int = 20,
    t_ref: float = 0.0,
    subtract: bool = False,
    leak: float = 0.0,
    strength: float = 1.0,
    dtype: Any = np.float64,
) -> Case:
    """A layer that spikes some times a neuron; ``taus=None`` draws taus and all else neuron by neuron.

    ``leak`` (membrane units) is the deviation of ``v_leak``, threshold and reset from neuron to neuron; some neurons
    then spike without input.
    """
    r = np.random.default_rng(seed)
    t_stop = 60e-3
    weight = r.normal(0.6, 1.0, (n_in, n_out)) * strength
    if taus is None:
        tau_mem, tau_syn = r.uniform(5e-3, 15e-3, n_out), r.uniform(3e-3, 12e-3, n_out)
    else:
        tau_mem, tau_syn = (np.full(n_out, tau) for tau in TAUS[taus])
    v_leak = leak * r.normal(0, 1, n_out)
    v_th, v_reset = 1 + 0.2 * leak * r.normal(0, 1, n_out), 0.2 * leak * r.normal(0, 1, n_out)
    c, reset = v_th - v_leak, v_reset - v_leak
    made = layer(
        weight, tau_mem, tau_syn, c, reset, t_ref * r.uniform(0.5, 1.5, n_out), np.where(c <= 0, reset, 0.0), subtract,
        dtype=dtype,
    )  # fmt: skip
    samples = [(r.uniform(0, 45e-3, n_events), r.integers(0, n_in, n_events)) for _ in range(batch)]
    return Case(made, events(samples, dtype), t_stop)


def random_gradient(seed: int, times: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A different upstream gradient for every spike, 0 where padded."""
    g = np.random.default_rng(seed).normal(size=times.shape).astype(times.dtype)
    return np.where(np.arange(times.shape[1]) < counts[:, None], g, 0).astype(times.dtype)


def error(found: Any, expected: Any) -> float:
    """Largest deviation relative to the largest expected value."""
    f, e = (np.asarray(x.detach() if isinstance(x, torch.Tensor) else x, np.float64) for x in (found, expected))
    if f.shape != e.shape:
        return float("inf")
    scale = np.abs(e).max() if e.size else 1.0
    return float(np.abs(f - e).max() / scale) if scale > 0 else float(np.abs(f).max(initial=0.0))
