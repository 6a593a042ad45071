"""Delays that a step rounds by much, and a step that does not; spikes that come round a loop later than in the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hwloop.errors import CompileError
from hwloop.mapping import LayerValues, rounded_up
from hwloop.mapping.loss import FAR_FROM_TICK, far_delays, ticks_off
from hwloop_fixed_point.registers import MAX_DELAY, Array

from .remedy import LARGEST_DT, SMALLEST_DT, Compilation
from .timing import Timing, timings, wanted_ticks

#: Parts of the step that are tried, and delays that a step is fitted to.
PARTS, FITTED = 20, 8


def delay_losses(asked: Compilation, compiling: Callable[[Compilation], Any]) -> list[str]:
    """One sentence a layer whose delays a step rounds by more than a tenth of a tick, with a step that was tried."""
    times = timings(asked.layers)
    pairs = list(zip(asked.layers, times, strict=True))
    late = [text for layer, timing in pairs if (text := _late(layer, timing, asked.dt)) is not None]
    found = [
        text
        for layer, timing in pairs
        if layer.delay is not None and (text := far_delays(layer, _off(layer, timing, asked.dt), asked.dt)) is not None
    ]
    if not found:
        return late
    delays = [layer.delay for layer in asked.layers if layer.delay is not None]
    fitting = (dt for dt in _steps(asked.dt, delays) if _fits(dt, asked.layers, times))
    step = next((dt for dt in fitting if _compiles(asked, dt, compiling)), None)
    rounding = f"build Dense with delays that are multiples of {asked.dt:g} s"
    advice = rounding if step is None else f"open the target with dt={step:g} (tried), or {rounding}"
    return [*late, *(f"{text}: {advice}" for text in found)]


def _off(layer: LayerValues, timing: Timing, dt: float) -> Array:
    """Distance of each delay from its tick (ticks); 0 where half a tick is missing in a graph: whichever tick is as near."""
    wanted = wanted_ticks(layer, dt, timing)
    if wanted is None:
        return np.zeros(1)
    off = ticks_off(np.maximum(wanted, 0.0), 1.0)  # what is below 0 is told by _late
    return off if timing.shift is None else np.where(timing.shift % 1.0 == 0.0, off, 0.0)


def _late(layer: LayerValues, timing: Timing, dt: float) -> str | None:
    """A sentence on edges that close a loop and whose delays are too short for it, or None."""
    wanted = wanted_ticks(layer, dt, timing)
    if wanted is None or timing.shift is None:
        return None
    missing = float(-wanted.min())
    # half a tick is seen late on average whatever the delay
    if missing <= 0.5 + FAR_FROM_TICK:
        return None
    least = rounded_up(float(-timing.shift.min()) * dt, 3)
    return (
        f"{layer.weights_at}: spikes that come round a loop act up to {missing * dt:g} s later than in the model: give "
        f"the edge that closes it a delay of {least:g} s or more, or open the target with a smaller dt"
    )


def _steps(dt: float, delays: list[Array]) -> Iterator[float]:
    """Steps (s) as they are typed: near ``dt``, whole parts of one of the delays; then parts of ``dt``."""
    distinct = sorted({float(delay) for values in delays for delay in values.ravel() if delay > 0}, reverse=True)
    exact = [delay / max(1, round(delay / dt) + more) for delay in distinct[:FITTED] for more in (0, 1, 2)]
    for step in [*exact, *(dt / part for part in range(2, PARTS + 1))]:
        typed = float(f"{step:g}")
        if SMALLEST_DT <= typed <= LARGEST_DT:
            yield typed


def _fits(dt: float, layers: Sequence[LayerValues], times: Sequence[Timing]) -> bool:
    return all(
        float(_off(layer, timing, dt).max()) <= FAR_FROM_TICK and round(float(layer.delay.max()) / dt) <= MAX_DELAY
        for layer, timing in zip(layers, times, strict=True)
        if layer.delay is not None
    )


def _compiles(asked: Compilation, dt: float, compiling: Callable[[Compilation], Any]) -> bool:
    try:
        compiling(replace(asked.alone(), dt=dt))
    except CompileError:
        return False
    return True
