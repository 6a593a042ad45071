"""Cold start, warm start, import time and peak memory of hwloop, each in interpreters of their own.

Wall-clock time and all cores, as a user meets them; every figure is held against its goal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: The network that is started: the largest workload.
WORKLOAD = "MULTI"

#: Interleaved pairs of import timings, and warm starts.
PAIRS, WARM_STARTS = 7, 3

#: A worker that takes longer is stuck (s); the slowest, a cold start, has a goal of 15 s.
DEADLINE = 300.0

COLD_GOAL, WARM_GOAL, IMPORT_GOAL, MEMORY_GOAL, CONV_MEMORY_GOAL = 15.0, 3.0, 1.5, 150e6, 500e6

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Figure:
    """One measured figure and the largest value wanted."""

    name: str
    value: float
    goal: float
    unit: str
    detail: str

    @property
    def reached(self) -> bool:
        """Whether the goal is met."""
        return self.value <= self.goal


def measure() -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="hwloop-bench-") as cache:
        cold_cache = Path(cache) / "cold"
        factors = [str(f) for f in _work("factors", WORKLOAD, cache=Path(cache) / "tuning")["factors"]]
        cold = _work("first", WORKLOAD, *factors, cache=cold_cache)
        warm = [_work("first", WORKLOAD, *factors, cache=cold_cache) for _ in range(WARM_STARTS)]
        middle = sorted(warm, key=lambda w: float(w["total"]))[WARM_STARTS // 2]
        memory = _work("memory", WORKLOAD, *factors, cache=cold_cache)
        maps = _work("conv-memory", cache=cold_cache)
        pairs = [
            (
                _work("import", "hwloop.training", cache=cold_cache)["seconds"],
                _work("import", "torch", cache=cold_cache)["seconds"],
            )
            for _ in range(PAIRS)
        ]
    own, torch = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    ratio = statistics.median(a / b for a, b in pairs)
    held = f"{memory['after import'] / 1e6:.0f} MB after import"
    return [
        Figure("cold start", cold["total"], COLD_GOAL, "s", _parts(cold)),
        Figure("warm start", middle["total"], WARM_GOAL, "s", _parts(middle)),
        Figure("import hwloop.training / import torch", ratio, IMPORT_GOAL, "x", f"{own:.2f} s / {torch:.2f} s"),
        Figure(f"peak memory above import, {WORKLOAD}", memory["above import"] / 1e6, MEMORY_GOAL / 1e6, "MB", held),
        Figure(
            "peak memory above import, convolutions, batch of 20", maps["above import"] / 1e6, CONV_MEMORY_GOAL / 1e6, "MB",
            f"{maps['spikes']:.0f} spikes a sample",
        ),
    ]  # fmt: skip


def _parts(first: dict[str, Any]) -> str:
    return f"import {first['import']:.2f} s, first forward + backward {first['first step']:.2f} s"


def _work(*arguments: str, cache: Path) -> dict[str, Any]:
    """What one fresh interpreter reports, with compiled kernels kept in ``cache``."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.startup_worker", *arguments],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"worker {' '.join(arguments)} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures beside their goals; write them as JSON where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.startup", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args(arguments)
    figures = measure()
    for f in figures:
        verdict = "reached" if f.reached else "NOT reached"
        print(f"{f.name:<52} {f.value:8.2f} {f.unit:<3} goal <= {f.goal:g} {f.unit:<3} {verdict:<12} {f.detail}")
    if options.out:
        rows = [{**asdict(f), "reached": f.reached} for f in figures]
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps({"format": "hwloop-startup", "version": 1, "figures": rows}, indent=2) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
