"""Interleaved timing: every peer gets a slice of each round, so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

#: Process CPU time (s) that one slice should last: far above the clock's resolution and one garbage collection.
SLICE = 0.2

#: Steps taken and thrown away before the first slice: compilation, caches, memory pools.
WARM_UP = 2


def calibrate(step: Callable[[], None]) -> int:
    """Warm ``step`` up; how many calls of it fill one slice."""
    for _ in range(WARM_UP):
        step()
    calls = 1
    while (spent := _cpu_time(step, calls)) < SLICE / 4:
        calls *= 2
    return max(1, round(calls * SLICE / spent))


def interleave(
    steps: Mapping[str, Callable[[], None]], rounds: int, tick: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """CPU seconds per call of every step in each of ``rounds`` rounds (A B C A B C ...).

    ``tick`` is called after each slice, for a progress bar.
    """
    calls = {name: calibrate(step) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            gc.collect()
            seconds[name].append(_cpu_time(step, calls[name]) / calls[name])
            tick()
    return seconds


def _cpu_time(step: Callable[[], None], calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        step()
    return time.process_time() - start
