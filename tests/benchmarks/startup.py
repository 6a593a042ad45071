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

COLD_GOAL, WARM_GOAL, MEMORY_GOAL, CONV_MEMORY_GOAL = 15.0, 3.0, 150e6, 500e6

#: What is imported beside torch: what it is called, the arguments of the worker, and the goal. The package imports a name when it
#: is used: training brings Numba, which alone is a third of torch, and all names besides bring what every target and calibration needs.
IMPORTS = {
    "import hwloop": (("import", "hwloop"), 1.2),
    "import hwloop.training": (("import", "hwloop.training"), 1.5),
    "import hwloop, every public name used": (("names",), 2.0),
}

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
    """All figures but those of imports."""
    with tempfile.TemporaryDirectory(prefix="hwloop-bench-") as cache:
        cold_cache = Path(cache) / "cold"
        factors = [str(f) for f in _work("factors", WORKLOAD, cache=Path(cache) / "tuning")["factors"]]
        cold = _work("first", WORKLOAD, *factors, cache=cold_cache)
        warm = [_work("first", WORKLOAD, *factors, cache=cold_cache) for _ in range(WARM_STARTS)]
        middle = sorted(warm, key=lambda w: float(w["total"]))[WARM_STARTS // 2]
        memory = _work("memory", WORKLOAD, *factors, cache=cold_cache)
        maps = _work("conv-memory", cache=cold_cache)
    held = f"{memory['after import'] / 1e6:.0f} MB after import"
    return [
        Figure("cold start", cold["total"], COLD_GOAL, "s", _parts(cold)),
        Figure("warm start", middle["total"], WARM_GOAL, "s", _parts(middle)),
        Figure(f"peak memory above import, {WORKLOAD}", memory["above import"] / 1e6, MEMORY_GOAL / 1e6, "MB", held),
        Figure(
            "peak memory above import, convolutions, batch of 20", maps["above import"] / 1e6, CONV_MEMORY_GOAL / 1e6, "MB",
            f"{maps['spikes']:.0f} spikes a sample",
        ),
    ]  # fmt: skip


def measure_imports() -> list[Figure]:
    """What importing takes against importing torch: medians of the ratios of processor time in :data:`PAIRS` interleaved rounds."""
    with tempfile.TemporaryDirectory(prefix="hwloop-bench-") as cache:
        commands = {"torch": ("import", "torch"), **{name: command for name, (command, _) in IMPORTS.items()}}
        rounds = [
            {name: _work(*command, cache=Path(cache)) for name, command in commands.items()} for _ in range(PAIRS + 1)
        ][1:]  # the first reads everything from the disk
    figures = []
    for name, (_, goal) in IMPORTS.items():
        ratio = statistics.median(found[name]["cpu"] / found["torch"]["cpu"] for found in rounds)
        walls, cpus = (
            [statistics.median(found[key][clock] for found in rounds) for key in (name, "torch")]
            for clock in ("seconds", "cpu")
        )
        detail = f"{cpus[0]:.2f} s / {cpus[1]:.2f} s of the processor, {walls[0]:.2f} s / {walls[1]:.2f} s of the clock"
        figures.append(Figure(f"{name} / import torch", ratio, goal, "x", detail))
    return figures


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
    parser.add_argument("--imports", action="store_true", help="imports alone: a minute")
    options = parser.parse_args(arguments)
    figures = measure_imports() if options.imports else [*measure(), *measure_imports()]
    for f in figures:
        verdict = "reached" if f.reached else "NOT reached"
        print(f"{f.name:<55} {f.value:8.2f} {f.unit:<3} goal <= {f.goal:g} {f.unit:<3} {verdict:<12} {f.detail}")
    if options.out:
        rows = [{**asdict(f), "reached": f.reached} for f in figures]
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps({"format": "hwloop-startup", "version": 1, "figures": rows}, indent=2) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
