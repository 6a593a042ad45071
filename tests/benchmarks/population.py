"""A population of emulated chips against the same chips one by one: Yin-Yang 5-120-3 on preset bss2, in one run.

    python -m tests.benchmarks.population [--rounds N] [--chips N] [--out FILE]          # or: make bench-population

Each round opens, compiles for, loads and runs chips one by one and then runs them, among others, as one population
(A B A B ...), with 20 and with 100 samples a chip, on one thread and on two. Before that, a population of 1,000 chips runs
in one batch, and what it adds to the peak of the process's memory is printed. Goal: a chip of a population takes at most a
fifth of the time of a chip alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import hwloop as hl
from hwloop.experiment import Experiment
from hwloop.record import Recording
from hwloop.spikes import Spikes
from hwloop_emulator import Population

SAMPLES, THREADS = (20, 100), (1, 2)
#: Chips of one slice: enough of the population for two chunks, and as long as those.
ALONE, TOGETHER = 16, 64
ROUNDS, CHIPS, GOAL = 7, 1000, 5.0


def alone(net: hl.Network, numbers: range, spikes: Spikes) -> list[Recording]:
    """Chips opened, compiled for, loaded and run one after the other."""
    found = []
    for number in numbers:
        with hl.open(f"emulator:{number}", session=0) as chip:
            chip.load(hl.compile(net, chip))
            found.append(chip.run(spikes))
    return found


def together(net: hl.Network, numbers: range, spikes: Spikes) -> int:
    """The same as one population; output spikes of all."""
    chips = Population(numbers, session=0)
    program = hl.compile(net, chips.target)
    return sum(int(recording.output.counts.sum()) for recording in chips.run(program, spikes))


def check(net: hl.Network, spikes: Spikes) -> None:
    """Both ways give the same spikes; also compiles all kernels."""
    chips = Population(range(4), session=0)
    for mine, its in zip(chips.run(hl.compile(net, chips.target), spikes), alone(net, range(4), spikes), strict=True):
        if not all(torch.equal(a.times, b.times) for a, b in zip(mine.populations, its.populations, strict=True)):
            raise SystemExit("a chip of the population differs from the chip alone: nothing to compare the speed of")


def one_batch(net: hl.Network, spikes: Spikes, chips: int) -> dict[str, float]:
    """``chips`` in one batch: ms a chip, and MB that it adds to the process's peak memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu, output = _timed(lambda: together(net, range(chips), spikes))
    # kilobytes on Linux
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    return {
        "chips": chips, "samples": len(spikes), "output_spikes": output, "ms_a_chip_cpu": cpu / chips * 1e3,
        "ms_a_chip_wall": wall / chips * 1e3, "seconds": wall, "peak_mb_before": before / 1000, "peak_mb_added": added,
    }  # fmt: skip


def compared(net: hl.Network, spikes: Spikes, rounds: int) -> dict[str, Any]:
    """Medians over the rounds of both ways, and of their ratio in the same round."""
    rows: dict[str, list[float]] = {name: [] for name in ("alone_cpu", "alone_wall", "together_cpu", "together_wall")}
    for number in range(rounds):
        begin = number * TOGETHER
        wall, cpu, _ = _timed(lambda: len(alone(net, range(begin, begin + ALONE), spikes)))  # noqa: B023 (called here)
        rows["alone_wall"].append(wall / ALONE * 1e3)
        rows["alone_cpu"].append(cpu / ALONE * 1e3)
        wall, cpu, _ = _timed(lambda: together(net, range(begin, begin + TOGETHER), spikes))  # noqa: B023
        rows["together_wall"].append(wall / TOGETHER * 1e3)
        rows["together_cpu"].append(cpu / TOGETHER * 1e3)
    ratios = {
        f"ratio_{clock}": [a / b for a, b in zip(rows[f"alone_{clock}"], rows[f"together_{clock}"], strict=True)]
        for clock in ("cpu", "wall")
    }
    medians = {name: statistics.median(values) for name, values in {**rows, **ratios}.items()}
    return {"samples": len(spikes), "threads": torch.get_num_threads(), **medians, "ratios_cpu": ratios["ratio_cpu"]}


def _timed(step: Callable[[], int]) -> tuple[float, float, int]:
    """Wall-clock and process CPU time (s) of ``step``, and what it returns."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = step()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--chips", type=int, default=CHIPS)
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    experiment = Experiment.load("yin-yang")
    net, inputs = experiment.build_network(), experiment.build_task().test.inputs
    torch.set_num_threads(1)
    check(net, inputs[: max(SAMPLES)])
    batch = one_batch(net, inputs[: max(SAMPLES)], arguments.chips)
    print(
        f"{batch['chips']} chips in one batch, {batch['samples']} samples each, one thread: {batch['seconds']:.1f} s, "
        f"{batch['ms_a_chip_cpu']:.2f} ms of CPU time a chip; peak memory + {batch['peak_mb_added']:.0f} MB "
        f"(before: {batch['peak_mb_before']:.0f} MB)"
    )
    rows = []
    for threads in THREADS:
        torch.set_num_threads(threads)
        for samples in SAMPLES:
            row = compared(net, inputs[:samples], arguments.rounds)
            rows.append(row)
            print(
                f"{samples:4d} samples, {threads} thread(s), ms a chip: CPU {row['alone_cpu']:.2f} alone, "
                f"{row['together_cpu']:.2f} together, ratio {row['ratio_cpu']:.1f}; wall {row['alone_wall']:.2f} alone, "
                f"{row['together_wall']:.2f} together, ratio {row['ratio_wall']:.1f} (goal {GOAL:g})"
            )
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        found = {"cores": os.cpu_count(), "goal": GOAL, "one_batch": batch, "rows": rows}
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
