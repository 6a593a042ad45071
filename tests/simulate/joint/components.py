"""Random components for the tests of joint simulation; times in milliseconds' range, everything in SI."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwloop.simulate.contract import Events
from hwloop.simulate.joint import derivatives, engine, reference
from hwloop.simulate.joint.contract import CURRENT, Component, Neurons, Synapses

#: Ratios of the time constants.
TAUS = {"ratio 2": (10e-3, 5e-3), "equal": (8e-3, 8e-3), "general": (12e-3, 5e-3), "slow synapse": (5e-3, 12e-3)}

T_STOP = 60e-3


@dataclass(frozen=True)
class Case:
    """A component and its input."""

    component: Component
    inputs: Events
    t_stop: float = T_STOP

    def with_neurons(self, **changes: Any) -> Case:
        """The same case with other values of the neurons."""
        c = self.component
        return replace(self, component=Component(c.n_external, c.neurons._replace(**changes), c.synapses))

    def with_synapses(self, **changes: Any) -> Case:
        """The same case with other values of the synapses."""
        c = self.component
        return replace(self, component=Component(c.n_external, c.neurons, c.synapses._replace(**changes)))


def neurons(n: int, dtype: Any = np.float64, **values: Any) -> Neurons:
    """``n`` neurons; numbers are the same for all."""
    base = {"tau_mem": 10e-3, "tau_syn": 5e-3, "t_ref": 0.0, "reset": 0.0, "start": 0.0, "ramp": 0.0, "threshold": 1.0}
    base |= {"subtract": False, "max_spikes": 0, "kind": CURRENT} | values
    kinds = {"subtract": np.bool_, "max_spikes": np.int64, "kind": np.int64}
    arrays = {}
    for name, value in base.items():
        array = np.asarray(value, kinds.get(name, dtype))
        arrays[name] = np.ascontiguousarray(array if array.ndim == 2 else np.broadcast_to(array, (n,)))
    if arrays["threshold"].ndim == 1:
        arrays["threshold"] = arrays["threshold"][None].copy()
    return Neurons(**arrays)


def synapses(
    bundles: list[tuple[int, float, list[int], list[float]]], sources: int, dtype: Any = np.float64
) -> Synapses:
    """From ``(source, delay (s), targets, weights)`` of each bundle."""
    order = sorted(range(len(bundles)), key=lambda b: bundles[b][0])
    chosen = [bundles[b] for b in order]
    counts = np.bincount([b[0] for b in chosen], minlength=sources) if chosen else np.zeros(sources, int)
    sizes = [len(b[2]) for b in chosen]
    return Synapses(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.array([b[1] for b in chosen], dtype),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.array([t for b in chosen for t in b[2]], np.int64),
        np.array([w for b in chosen for w in b[3]], dtype),
    )


def events(samples: list[tuple[Any, Any]], dtype: Any = np.float64) -> Events:
    """Events from ``(times, units)`` of each sample, which need not be sorted."""
    width = max(len(t) for t, _ in samples)
    times, units = np.full((len(samples), width), np.inf, dtype), np.zeros((len(samples), width), np.int64)
    for b, (t, u) in enumerate(samples):
        order = np.argsort(np.asarray(t), kind="stable")
        times[b, : len(t)], units[b, : len(t)] = np.asarray(t)[order], np.asarray(u)[order]
    return Events(times, units, np.array([len(t) for t, _ in samples], np.int64))


def random_case(
    seed: int,
    taus: str | None = "ratio 2",
    delay: str = "drawn",
    *,
    n: int = 6,
    n_in: int = 4,
    batch: int = 3,
    n_events: int = 10,
    t_ref: float = 0.0,
    subtract: bool = False,
    kinds: tuple[int, ...] = (CURRENT,),
    leak: float = 0.0,
    strength: float = 1.0,
    share: float = 0.6,
    caps: bool = False,
    dtype: Any = np.float64,
) -> Case:
    """A loop that spikes some times a neuron. ``delay``: 'zero', 'one' for all, 'drawn' by source, or 'by pair'."""
    r = np.random.default_rng(seed)
    kind = r.choice(np.array(kinds), n)
    tau_mem, tau_syn = (np.full(n, tau) for tau in TAUS[taus or "ratio 2"])
    if taus is None:
        tau_mem, tau_syn = r.uniform(5e-3, 15e-3, n), r.uniform(3e-3, 12e-3, n)
    v_leak = leak * r.normal(0, 1, n)
    c, reset = 1 - v_leak, 0.1 * leak * r.normal(0, 1, n) - v_leak
    start = np.where(c <= 0, reset, 0.3 * leak * r.uniform(-1, 0, n))
    bundles = []
    for source in range(n_in + n):
        targets = np.flatnonzero(r.random(n) < share)
        outside = source < n_in
        weights = (r.normal(0.8, 1.2, n) if outside else r.normal(0.0, 0.6, n)) * strength
        weights = np.where(kind == CURRENT, weights, 0.5 * weights)
        own = {"zero": 0.0, "one": 2e-3, "drawn": r.choice([0.0, 1e-3, 3e-3]) + 1e-3 * r.random()}
        if not outside and delay in ("zero", "drawn") and kind[source - n_in] != CURRENT:
            own["zero"] = own["drawn"] = 1.5e-3
        if delay == "by pair":
            bundles += [(source, r.uniform(0.2e-3, 4e-3), [int(j)], [weights[j]]) for j in targets]
        elif len(targets):
            bundles.append((source, own[delay], targets.tolist(), weights[targets].tolist()))
    made = neurons(
        n, dtype, tau_mem=tau_mem, tau_syn=tau_syn, t_ref=t_ref * r.uniform(0.5, 1.5, n), reset=reset, start=start,
        threshold=c, subtract=subtract, kind=kind, max_spikes=r.integers(0, 4, n) if caps else 0,
        ramp=np.where(kind == 2, r.uniform(-20, 60, n), 0.0),
    )  # fmt: skip
    samples = [(r.uniform(0, 45e-3, n_events), r.integers(0, n_in, n_events)) for _ in range(batch)]
    return Case(Component(n_in, made, synapses(bundles, n_in + n, dtype)), events(samples, dtype))


def compared(case: Case, seed: int = 0, measured: Events | None = None) -> dict[str, float]:
    """Largest deviations of the kernels from the reference: of spike times (s), and of every gradient, relative."""
    from hwloop.simulate.contract import Floor

    exact = Floor(0.0, False)
    trace = engine.forward(case.component, case.inputs, case.t_stop, measured)
    runs = reference.simulate(case.component, case.inputs, case.t_stop, measured, exact)
    result: dict[str, float] = {"times": 0.0}
    for b, (times, units) in enumerate(reference.spikes_of(runs)):
        found = trace.spikes
        if found.counts[b] != len(times) or not np.array_equal(found.units[b, : len(times)], units):
            return {"spikes": float("inf")}
        result["times"] = max(result["times"], float(np.abs(found.times[b, : len(times)] - times).max(initial=0)))
    grad = random_gradient(seed, trace.spikes.times, trace.spikes.counts)
    back = engine.backward(case.component, case.inputs, case.t_stop, trace, grad, exact)
    own = engine.sensitivities(case.component, case.inputs, case.t_stop, trace, back.upstream, exact)
    expected = derivatives.contracted(case.component, case.inputs, runs, lambda b, k: float(grad[b, k]))
    found_all = {"weight": back.weight, "delay": back.delay, "times": back.times, **own}
    for name, values in expected.items():
        result[f"d_{name}"] = error(found_all[name], values)
    return result


def random_gradient(seed: int, times: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A different upstream gradient for every spike, 0 where padded."""
    g = np.random.default_rng(seed).normal(size=times.shape).astype(times.dtype)
    return np.where(np.arange(times.shape[1]) < counts[:, None], g, 0).astype(times.dtype)


def error(found: Any, expected: Any) -> float:
    """Largest deviation relative to the largest expected value."""
    f, e = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if f.shape != e.shape:
        return float("inf")
    scale = np.abs(e).max() if e.size else 1.0
    return float(np.abs(f - e).max(initial=0) / scale) if scale > 0 else float(np.abs(f).max(initial=0.0))
