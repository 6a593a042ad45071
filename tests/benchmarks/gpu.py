"""Training steps on a GPU beside one CPU core: parity first, then samples/s of YY, TTFS150 and MULTI.

    python -m tests.benchmarks.gpu [--out FILE] [--batches 50 1000] [--seconds S]

float32, forward and backward pass; both engines are event-driven and exact, there are no steps of time. The CPU's figure is
process time on one thread, the GPU's is wall time between synchronisations. Without a GPU nothing is timed, and says so.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from hwloop.bench.peers import Problem, tune
from hwloop.bench.peers.hwloop import SharedTaus
from hwloop.bench.workloads import WORKLOADS, Workload

NAMES = ("YY", "TTFS150", "MULTI")

#: Goals of the performance page: times one CPU core, by batch.
GOALS = {50: 40.0, 1000: 200.0}

#: Share of spikes by which float32 may differ between the engines: those that graze the threshold.
GRAZING = 1e-3


@dataclass(frozen=True)
class Row:
    """One workload at one batch size; rates in samples/s, spikes over both layers of a batch."""

    workload: str
    batch: int
    cpu: float
    gpu: float
    spikes_cpu: int
    spikes_gpu: int

    @property
    def ratio(self) -> float:
        """GPU over one CPU core."""
        return self.gpu / self.cpu


def rate(step: Callable[[], None], batch: int, seconds: float, clock: Callable[[], float]) -> float:
    """Samples/s of ``step`` after two calls that compile and make room, over ``seconds`` of ``clock`` or more."""
    step()
    step()
    begin, calls = clock(), 0
    while clock() - begin < seconds or calls < 3:
        step()
        calls += 1
    return batch * calls / (clock() - begin)


def gpu_clock() -> float:
    """Wall time, once the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(workload: Workload, seconds: float, device: torch.device, seed: int = 0) -> Row:
    """Both engines on the same network and batch."""
    network = SharedTaus(Problem.of(workload, seed))
    tune(network, workload.rate)
    spikes = [round(r * workload.batch * n) for r, n in zip(network.rates(), workload.layers[1:], strict=True)]
    cpu = rate(network.step, workload.batch, seconds, time.process_time)
    network.to(device)
    there = [round(r * workload.batch * n) for r, n in zip(network.rates(), workload.layers[1:], strict=True)]
    gpu = rate(network.step, workload.batch, seconds, gpu_clock)
    return Row(workload.name, workload.batch, cpu, gpu, sum(spikes), sum(there))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; exit status 1 where the engines' spikes differ by more than those that graze."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=sorted(GOALS))
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no GPU here (torch.cuda.is_available() is false): nothing was timed.")
        print("The kernels' parity without one: python -m pytest tests/simulate/gpu")
        return 0
    import triton

    torch.set_num_threads(1)
    machine = {
        "device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__,
        "dtype": "float32", "steps": "none (event-driven)", "cpu": "one thread, process time",
    }  # fmt: skip
    print(", ".join(f"{key} {value}" for key, value in machine.items()), flush=True)
    print(f"{'workload':10} {'batch':>6} {'CPU 1/s':>10} {'GPU 1/s':>12} {'ratio':>7} {'goal':>6}  spikes CPU / GPU")
    rows = []
    for batch in options.batches:
        for name in NAMES:
            row = measure(replace(WORKLOADS[name], batch=batch), options.seconds, torch.device("cuda"))
            goal = f"{GOALS[batch]:.0f}" if batch in GOALS else "-"
            figures = f"{row.cpu:10,.0f} {row.gpu:12,.0f} {row.ratio:7.1f} {goal:>6}"
            print(f"{name:10} {batch:6} {figures}  {row.spikes_cpu} / {row.spikes_gpu}", flush=True)
            rows.append(row)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        table = [asdict(row) | {"ratio": row.ratio} for row in rows]
        options.out.write_text(json.dumps({"machine": machine, "rows": table}, indent=1))
    different = [row for row in rows if abs(row.spikes_cpu - row.spikes_gpu) > GRAZING * row.spikes_cpu]
    for row in different:
        print(f"{row.workload}, batch {row.batch}: the engines differ in {row.spikes_gpu - row.spikes_cpu} spikes")
    return 1 if different else 0


if __name__ == "__main__":
    raise SystemExit(main())
