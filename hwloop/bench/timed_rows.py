"""Forward + backward samples/s on one core, hwloop beside its peers, in one process.

Every peer gets a slice of each round (A B C A B C ...), timed by process CPU time; a ratio is hwloop's samples/s
divided by the peer's in the same round; what counts is the median over the rounds, and the quartiles.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .peers import AHEAD_OF, REFERENCE, Peer, Unavailable, build, tune
from .results import Row, goal_of, measured
from .timing import interleave
from .workloads import Workload

#: Rounds of a full and of a quick run.
ROUNDS, QUICK_ROUNDS = 9, 3


def run_workload(
    workload: Workload, names: Sequence[str], rounds: int, seed: int, tick: Callable[[], None] = lambda: None
) -> list[Row]:
    """Build, tune, check and time the peers ``names``; a row for each, those that cannot run with the reason.

    ``tick`` is called ``len(names) * (1 + rounds)`` times at most, for a progress bar.
    """
    ready: dict[str, tuple[Peer, list[float]]] = {}
    reasons: dict[str, str] = {}
    for name in names:
        try:
            ready[name] = _prepare(name, workload, seed)
        except Unavailable as error:
            reasons[name] = str(error)
        except Exception as error:  # whatever a foreign library raises becomes its row's reason, never a silent gap
            reasons[name] = f"{type(error).__name__}: {error}"
        tick()
    seconds = interleave({name: peer.step for name, (peer, _) in ready.items()}, rounds, tick)
    batch = ready[REFERENCE][0].description.batch if REFERENCE in ready else 1
    reference = [s / batch for s in seconds[REFERENCE]] if REFERENCE in ready else None
    return [
        measured(workload, name, ready[name][0].description, ready[name][1], seconds[name], reference)
        if name in ready
        else Row(workload.name, name, goal=goal_of(workload, name), reason=reasons[name])
        for name in names
    ]


def _prepare(name: str, workload: Workload, seed: int) -> tuple[Peer, list[float]]:
    peer = build(name, workload, seed)
    tune(peer, workload.rate)
    peer.step()
    return peer, peer.rates()


def verdict(rows: Sequence[Row]) -> list[str]:
    """Lines: where hwloop is not ahead, how many goals are reached, which were not measured."""
    timed = [r for r in rows if r.quartiles is not None and r.peer in AHEAD_OF]
    behind = [f"{r.peer} on {r.workload} ({r.quartiles[1]:.2g})" for r in timed if r.quartiles and r.quartiles[1] < 1]
    held = [r for r in rows if r.reached is not None]
    missed = [f"{r.peer} on {r.workload}" for r in held if not r.reached]
    unmeasured = [f"{r.peer} on {r.workload}" for r in rows if r.goal is not None and r.reached is None]
    return [
        f"ahead of spiking peers in {len(timed) - len(behind)} of {len(timed)} rows" + _named("; not ahead", behind),
        f"goals reached: {len(held) - len(missed)} of {len(held)}" + _named("; missed", missed),
        *([f"goals not measured: {', '.join(unmeasured)}"] if unmeasured else []),
    ]


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}: {', '.join(names)}" if names else ""


def machine(core: int | None, rounds: int, seed: int) -> dict[str, Any]:
    """What the figures were measured on, and how."""
    import torch

    return {
        "cpu": _cpu_model(),
        "core": core,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rounds": rounds,
        "seed": seed,
        "clock": "process CPU time",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
