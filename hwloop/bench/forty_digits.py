"""One neuron at 60 digits, for golden values: no state, no sensitivities, nothing shared with the engines.

The membrane since the last release is a sum over input spikes. Gradients are central differences with a step of 1e-25:
their truncation error (about 1e-50) and their rounding error (about 1e-35) are below 40 digits' worth of any use here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import mpmath as mp
from mpmath import mpf

#: Digits of the arithmetic; the answers hold 40 after the differences have cost 25.
DIGITS = 70

#: Step of the central differences.
STEP = "1e-25"


@dataclass(frozen=True)
class Setting:
    """A neuron and its input, all numbers exact (float or mpf); membrane absolute, SI seconds."""

    times: tuple[Any, ...]
    weights: tuple[Any, ...]
    tau_mem: Any
    tau_syn: Any
    v_th: Any = 1.0
    v_leak: Any = 0.0
    v_reset: Any = 0.0
    t_ref: Any = 0.0
    t_stop: Any = 1.0


def exact(setting: Setting) -> Setting:
    """The same numbers as mpf."""

    def convert(value: Any) -> Any:
        return tuple(map(mpf, value)) if isinstance(value, tuple) else mpf(value)

    return Setting(**{field.name: convert(getattr(setting, field.name)) for field in fields(Setting)})


def kernel(s: Any, tau_mem: Any, tau_syn: Any) -> Any:
    """Membrane a time ``s`` after a unit of current."""
    if tau_mem == tau_syn:
        return s / tau_mem * mp.exp(-s / tau_mem)
    return tau_syn / (tau_mem - tau_syn) * (mp.exp(-s / tau_mem) - mp.exp(-s / tau_syn))


def spike_times(setting: Setting, at_most: int = 10_000) -> list[Any]:
    """All spike times, as mpf."""
    with mp.workdps(DIGITS):
        n = exact(setting)
        order = sorted(range(len(n.times)), key=lambda j: n.times[j])
        inputs = [(n.times[j], n.weights[j]) for j in order if n.times[j] < n.t_stop]
        found: list[Any] = []
        free_from = mpf(0)
        u_free = mpf(0) if n.v_leak < n.v_th else n.v_reset - n.v_leak
        while len(found) < at_most:
            t = _first_crossing(n, inputs, free_from, u_free)
            if t is None:
                break
            found.append(t)
            free_from, u_free = t + n.t_ref, n.v_reset - n.v_leak
        return found


def maximum(setting: Setting) -> Any:
    """Largest membrane in the absence of spikes."""
    with mp.workdps(DIGITS):
        n = exact(setting)
        inputs = sorted((t, w) for t, w in zip(n.times, n.weights, strict=True) if t < n.t_stop)
        edges = [mpf(0), *(t for t, _ in inputs), n.t_stop]
        best = mpf(0)
        for low, high in pairwise(edges):
            u, i = _state(n, inputs, mpf(0), mpf(0), low)
            top = _extremum(n, u, i)
            if top is not None and 0 < top < high - low:
                best = max(best, _later(n, u, i, top))
            best = max(best, _later(n, u, i, high - low))
        return best + n.v_leak


def gradient(setting: Setting, loss: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """Derivatives of ``loss(spike times)`` by field of the setting (lists for times and weights), as floats."""
    with mp.workdps(DIGITS):
        n = exact(setting)
        result: dict[str, Any] = {}
        for name in ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref"):
            result[name] = _difference(n, loss, name, None)
        for name in ("times", "weights"):
            result[name] = [_difference(n, loss, name, j) for j in range(len(n.times))]
        return result


def _difference(n: Setting, loss: Callable[[list[Any]], Any], name: str, place: int | None) -> float:
    h = mpf(STEP)
    up, down = (spike_times(_moved(n, name, place, step)) for step in (h, -h))
    if len(up) != len(down):
        raise ValueError("the number of spikes changes within the step; choose another setting")
    return float((loss(up) - loss(down)) / (2 * h))


def _moved(n: Setting, name: str, place: int | None, step: Any) -> Setting:
    value = getattr(n, name)
    if place is None:
        return replace(n, **{name: value + step})
    return replace(n, **{name: tuple(v + step if j == place else v for j, v in enumerate(value))})


def _state(n: Setting, inputs: Sequence[tuple[Any, Any]], since: Any, u_since: Any, t: Any) -> tuple[Any, Any]:
    """``(u, i)`` at ``t``, inputs at ``t`` included, the membrane released at ``since`` from ``u_since``."""
    u, i = u_since * mp.exp(-(t - since) / n.tau_mem), mpf(0)
    before = mpf(0)  # current at the release, from inputs that came before it
    for t_j, w in inputs:
        if t_j > t:
            break
        i += w * mp.exp(-(t - t_j) / n.tau_syn)
        if t_j < since:
            before += w * mp.exp(-(since - t_j) / n.tau_syn)
        else:
            u += w * kernel(t - t_j, n.tau_mem, n.tau_syn)
    return u + before * kernel(t - since, n.tau_mem, n.tau_syn), i


def _later(n: Setting, u: Any, i: Any, s: Any) -> Any:
    return u * mp.exp(-s / n.tau_mem) + i * kernel(s, n.tau_mem, n.tau_syn)


def _extremum(n: Setting, u: Any, i: Any) -> Any:
    if n.tau_mem == n.tau_syn:
        return n.tau_mem * (i - u) / i if i != 0 else None
    k = n.tau_syn / (n.tau_mem - n.tau_syn)
    if u + k * i == 0 or (ratio := k * i * n.tau_mem / ((u + k * i) * n.tau_syn)) <= 0:
        return None
    return mp.log(ratio) / (1 / n.tau_syn - 1 / n.tau_mem)


def _first_crossing(n: Setting, inputs: Sequence[tuple[Any, Any]], since: Any, u_since: Any) -> Any:
    """Interval by interval: an up-crossing lies before the maximum, or before the end where that is above."""
    c = n.v_th - n.v_leak
    edges = [since, *(t for t, _ in inputs if t > since), n.t_stop]
    for low, high in pairwise(edges):
        u, i = _state(n, inputs, since, u_since, low)
        span = high - low
        if span <= 0:
            continue
        top = span
        if _later(n, u, i, span) < c:
            top = _extremum(n, u, i)
            if top is None or not 0 < top < span or _later(n, u, i, top) < c:
                continue
        return low + _root(n, u, i, c, top)
    return None


def _root(n: Setting, u: Any, i: Any, c: Any, top: Any) -> Any:
    """Newton's iteration, kept inside its bracket by bisection."""
    low, high = mpf(0), top
    s = (low + high) / 2
    for _ in range(400):
        value = _later(n, u, i, s)
        low, high = (low, s) if value >= c else (s, high)
        current = i * mp.exp(-s / n.tau_syn)
        slope = (current - value) / n.tau_mem
        new = s - (value - c) / slope if slope > 0 else low
        if not low < new < high:
            new = (low + high) / 2
        if abs(new - s) <= mpf(10) ** (5 - DIGITS) * top:
            return new
        s = new
    raise ArithmeticError("no convergence")
