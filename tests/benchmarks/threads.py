"""`fit` on Yin-Yang at torch's default threads beside one thread, alone and beside busy processes.

    python -m tests.benchmarks.threads [--rounds N] [--busy N] [--against CHECKOUT]

Two workers fit by turns, one with torch's default number of threads and one with OMP_NUM_THREADS=1; process CPU time of all
their threads, and wall time. Alone means beside whatever else the machine does: its load is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the script also runs beside another checkout's sources

from checkouts import HERE, Worker, by_turns, serve

#: Training samples and epochs of a round: some .5 s on one thread.
SAMPLES, EPOCHS = 3000, 3

#: Largest CPU and wall time wanted, as multiples of those of one thread.
CPU_GOAL, WALL_GOAL = 1.2, 1.1


def worker() -> None:
    """Fit, and measure it, once for every round."""
    import torch

    import hwloop as hl
    from hwloop.datasets import yin_yang
    from hwloop.losses import FirstSpike

    task = yin_yang(source="generated", sizes=(SAMPLES, 200, 10))

    def measure() -> dict[str, float]:
        generator = torch.Generator().manual_seed(0)
        net = hl.Network([
            hl.Dense(task.n_in, 120, generator=generator), hl.LIF(120, tau_mem=10e-3, tau_syn=5e-3),
            hl.Dense(120, task.n_out, generator=generator), hl.LIF(task.n_out, tau_mem=10e-3, tau_syn=5e-3),
        ])  # fmt: skip
        cpu, wall = time.process_time(), time.perf_counter()
        hl.fit(net, task, FirstSpike(2e-3), epochs=EPOCHS, batch_size=50, progress=False)
        return {
            "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "threads": torch.get_num_threads()
        }  # fmt: skip

    serve(measure)


@contextmanager
def busy(number: int) -> Iterator[None]:
    """That many processes that do nothing but compute."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def compare(root: Path, rounds: int) -> tuple[float, float]:
    """Median ratios of CPU and wall time, default threads to one; prints the seconds."""
    script = Path(__file__)
    found = by_turns({"default": Worker(script, root, threads=None), "one": Worker(script, root)}, rounds)
    for name, figures in found.items():
        cpu, wall = (statistics.median(figure[key] for figure in figures) for key in ("cpu", "wall"))
        print(f"    {figures[0]['threads']:.0f} torch threads ({name}): CPU {cpu:.2f} s, wall {wall:.2f} s")
    ratios = [
        statistics.median(a[key] / b[key] for a, b in zip(found["default"], found["one"], strict=True))
        for key in ("cpu", "wall")
    ]
    print(f"    default / one: CPU {ratios[0]:.2f} (goal <= {CPU_GOAL}), wall {ratios[1]:.2f} (goal <= {WALL_GOAL})")
    return ratios[0], ratios[1]


def main() -> int:
    """Print the figures; exit status 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--busy", type=int, default=2, help="busy processes of the second comparison")
    parser.add_argument("--against", type=Path, help="root of another checkout, whose figures are printed too")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker()
        return 0
    missed = False
    for number in (0, arguments.busy):
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        print(f"{'alone' if not number else f'beside {number} busy processes'}; load before: {load:.1f}")
        with busy(number):
            cpu, wall = compare(HERE, arguments.rounds)
            if arguments.against:
                print("  the other checkout:")
                compare(arguments.against.resolve(), arguments.rounds)
        missed |= cpu > CPU_GOAL or wall > WALL_GOAL
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
