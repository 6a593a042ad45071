"""The chip path (neurons of unlike time constants) against the shared path, and the cost of a spike; CPU time, interleaved.

    python -m tests.benchmarks.chip_path [--workload NAME ...] [--rounds N] [--against CHECKOUT] [--out FILE]

Forward and backward steps of the benchmark's workloads with shared time constants, with one pair for each neuron, and with
refractory times besides; and of one network at 1 to 16 spikes a neuron. With ``--against`` every slice is taken of this
checkout and of another one in turn (A B A B ...), each in a process of its own. Goals: the chip path at most twice the
shared path on YY; beyond a silent network, a spike costs the same within 1.3 whatever their number.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from hwloop.bench.pinning import pin_to_one_core

ROOT = Path(__file__).parents[2]
KINDS = ("shared", "per-neuron", "refractory")
#: The network of the second table, and its spikes a neuron; the first is next to none.
COUNTED, RATES = "TTFS150", (0.01, 1, 2, 4, 8, 16)
ROUNDS = 7

#: CPU seconds of a step in each round, and its spikes.
Slices = list[tuple[float, int]]


class Checkout:
    """A worker process that runs the sources in ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        paths = os.pathsep.join(str(root / part) for part in (".", "backends", "calibration"))
        self._process = subprocess.Popen(
            [sys.executable, "-c", (Path(__file__).parent / "chip_path_worker.py").read_text(encoding="utf-8")],
            cwd=root, env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def slice(self, case: str) -> tuple[float, int]:
        """CPU seconds of a step of ``case``, and its spikes."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        self._process.stdin.write(case + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the worker in {self.root} failed on {case}: its error stands above")
        seconds, spikes = json.loads(answer)
        return float(seconds), int(spikes)


def measured(checkouts: list[Checkout], cases: list[str], rounds: int) -> dict[str, list[Slices]]:
    """Slices of every case and checkout, all cases and checkouts in turn within each round."""
    found: dict[str, list[Slices]] = {case: [[] for _ in checkouts] for case in cases}
    for case in cases:  # compiled, tuned and warm
        for checkout in checkouts:
            checkout.slice(case)
    for _ in range(rounds):
        for case in cases:
            for number, checkout in enumerate(checkouts):
                found[case][number].append(checkout.slice(case))
    return found


def compare_kinds(checkouts: list[Checkout], workload: str, rounds: int) -> list[dict[str, object]]:
    """A row for each kind: ms a step, times the shared path, and the other checkout's time over this one's."""
    cases = [f"{workload}:{kind}:0" for kind in KINDS]
    found = measured(checkouts, cases, rounds)
    rows: list[dict[str, object]] = []
    for case, kind in zip(cases, KINDS, strict=True):
        times = [[seconds for seconds, _ in slices] for slices in found[case]]
        shared = [seconds for seconds, _ in found[cases[0]][0]]
        ratio = statistics.median(a / b for a, b in zip(times[0], shared, strict=True))
        row: dict[str, object] = {"case": case, "ms": statistics.median(times[0]) * 1e3, "times_shared": ratio}
        line = f"{workload:8s} {kind:11s} {row['ms']:8.2f} ms a step, {ratio:5.2f} x shared"
        if len(times) > 1:
            row["faster"] = statistics.median(b / a for a, b in zip(*times, strict=True))
            line += f"; the other checkout takes {row['faster']:.2f} x as long"
        print(line, flush=True)
        rows.append(row)
    return rows


def spikes_a_neuron(checkouts: list[Checkout], kind: str, rounds: int) -> list[dict[str, object]]:
    """A row for each rate: ns a spike, beyond what the step of a silent network costs; of each checkout."""
    cases = [f"{COUNTED}:{kind}:{rate}" for rate in RATES]
    found = measured(checkouts, cases, rounds)
    rows: list[dict[str, object]] = []
    for number, checkout in enumerate(checkouts):
        silent = statistics.median(seconds for seconds, _ in found[cases[0]][number])
        costs = []
        for case in cases[1:]:
            seconds = statistics.median(seconds for seconds, _ in found[case][number])
            costs.append((seconds - silent) / found[case][number][0][1] * 1e9)
        spread = max(costs) / min(costs)
        listed = ", ".join(f"{rate}: {cost:.0f}" for rate, cost in zip(RATES[1:], costs, strict=True))
        print(f"{kind}, ns a spike at spikes a neuron {listed}; spread {spread:.2f} ({checkout.root.name})", flush=True)
        rows.append({"kind": kind, "checkout": str(checkout.root), "ns_a_spike": costs, "spread": spread})
    return rows


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workload", action="append", choices=["YY", "TTFS150", "TTFS784", "MULTI"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="root of another checkout to interleave with")
    parser.add_argument("--no-counts", action="store_true", help="leave out the table of spikes a neuron")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every figure as JSON")
    options = parser.parse_args()
    pin_to_one_core()
    checkouts = [Checkout(root) for root in [ROOT, *([options.against.resolve()] if options.against else [])]]
    rows = [
        row for name in options.workload or ("YY", "TTFS150") for row in compare_kinds(checkouts, name, options.rounds)
    ]
    if not options.no_counts:
        rows += [row for kind in KINDS[:2] for row in spikes_a_neuron(checkouts, kind, options.rounds)]
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
