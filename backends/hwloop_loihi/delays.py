"""Delays that a step rounds by much, and a step that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from hwloop.errors import CompileError
from hwloop.mapping.loss import FAR_FROM_TICK, far_delays, ticks_off
from hwloop_fixed_point.registers import MAX_DELAY, Array

from .remedy import LARGEST_DT, SMALLEST_DT, Compilation

#: Parts of the step that are tried, and delays that a step is fitted to.
PARTS, FITTED = 20, 8


def delay_losses(asked: Compilation, compiling: Callable[[Compilation], Any]) -> list[str]:
    """One sentence a layer whose delays a step rounds by more than a tenth of a tick, with a step that was tried."""
    delays = [layer.delay for layer in asked.layers if layer.delay is not None]
    found = [
        text
        for index, layer in enumerate(asked.layers)
        if layer.delay is not None and (text := far_delays(index, layer.delay, asked.dt)) is not None
    ]
    if not found:
        return []
    step = next((dt for dt in _steps(asked.dt, delays) if _fits(dt, delays) and _compiles(asked, dt, compiling)), None)
    rounding = f"build Dense with delays that are multiples of {asked.dt:g} s"
    advice = rounding if step is None else f"open the target with dt={step:g} (tried), or {rounding}"
    return [f"{text}: {advice}" for text in found]


def _steps(dt: float, delays: list[Array]) -> Iterator[float]:
    """Steps (s) as they are typed: near ``dt``, whole parts of one of the delays; then parts of ``dt``."""
    distinct = sorted({float(delay) for values in delays for delay in values if delay > 0}, reverse=True)
    exact = [delay / max(1, round(delay / dt) + more) for delay in distinct[:FITTED] for more in (0, 1, 2)]
    for step in [*exact, *(dt / part for part in range(2, PARTS + 1))]:
        typed = float(f"{step:g}")
        if SMALLEST_DT <= typed <= LARGEST_DT:
            yield typed


def _fits(dt: float, delays: list[Array]) -> bool:
    return all(
        float(ticks_off(delay, dt).max()) <= FAR_FROM_TICK and round(float(delay.max()) / dt) <= MAX_DELAY
        for delay in delays
    )


def _compiles(asked: Compilation, dt: float, compiling: Callable[[Compilation], Any]) -> bool:
    try:
        compiling(replace(asked.alone(), dt=dt))
    except CompileError:
        return False
    return True
