"""`loihi` against `lava`: seconds a sample at 784-350-10, 100 ticks, batch 32, in one run.

    python -m tests.benchmarks.loihi_lava [--out FILE]          # or: make bench-loihi

Wall-clock time of ``device.run`` on both, the same program, interleaved, and every spike compared. Lava is measured in
three layouts: as the target chooses (copies side by side, samples one after the other), one sample after the other in
one graph of Dense and LIFReset, and a graph of its own for each sample. The goal is a factor of 50 to the first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import hwloop as hl
from hwloop.spikes import Spikes
from hwloop_lava import LavaDevice, request

SIZES = (784, 350, 10)
BATCH, TICKS = 32, 100
#: One tick (s), tau_syn / 10, and the window that makes up the ticks of two layers.
DT = 5e-4
T_STOP = DT * (TICKS - 2)
#: Input spikes a sample: a digit of MNIST has about 100 pixels that are not black, and as many units spike.
INPUT_SPIKES = 100
ROUNDS, RUNS_OF_LOIHI = 5, 20
GOAL = 50.0


def network() -> hl.Network:
    """Weights with which a fifth of the hidden neurons and the outputs spike."""
    generator = torch.Generator().manual_seed(1)
    neuron = {"tau_mem": 10e-3, "tau_syn": 5e-3}
    first = hl.Dense(SIZES[0], SIZES[1]).init_normal_(0.05, 0.1, generator)
    second = hl.Dense(SIZES[1], SIZES[2]).init_normal_(0.08, 0.08, generator)
    return hl.Network([first, hl.LIF(SIZES[1], **neuron), second, hl.LIF(SIZES[2], **neuron)])


def inputs() -> Spikes:
    """One spike of each of :data:`INPUT_SPIKES` units, spread over the first half of the window."""
    rng = np.random.default_rng(1)
    rows = [
        (np.sort(rng.random(INPUT_SPIKES)) * T_STOP / 2, rng.choice(SIZES[0], INPUT_SPIKES, replace=False))
        for _ in range(BATCH)
    ]
    return Spikes.from_events(rows, n_units=SIZES[0], t_stop=T_STOP)


def measure() -> dict[str, object]:
    """Medians over the rounds, and what was compared."""
    net, batch = network(), inputs()
    with hl.open("loihi", dt=DT) as twin, hl.open("lava", dt=DT) as opened:
        if not isinstance(opened, LavaDevice):
            raise SystemExit("the target lava is not the one of this project")
        lava, program = opened, hl.compile(net, twin)
        twin.load(program)
        lava.load(program)
        expected, found = twin.run(batch), lava.run(batch)
        for mine, its in zip(expected.populations, found.populations, strict=True):
            if not (torch.equal(mine.times, its.times) and torch.equal(mine.units, its.units)):
                raise SystemExit("loihi and lava differ: nothing to compare the speed of")
        layouts: dict[str, Callable[[], object]] = {
            "loihi": lambda: twin.run(batch),
            "lava": lambda: lava.run(batch),
            "lava, one after the other": lambda: _with_copies(lava, batch, 1),
            "lava, a graph a sample": lambda: [lava.run(batch[k : k + 1]) for k in range(4)],
        }
        samples = dict.fromkeys(layouts, BATCH) | {"lava, a graph a sample": 4}
        rounds: dict[str, list[float]] = {name: [] for name in layouts}
        for _ in range(ROUNDS):
            for name, step in layouts.items():
                calls = RUNS_OF_LOIHI if name == "loihi" else 1
                rounds[name].append(_seconds(step, calls) / samples[name])
    ratios = [slow / fast for fast, slow in zip(rounds["loihi"], rounds["lava"], strict=True)]
    return {
        "sizes": SIZES, "ticks": program.graph.n_ticks(T_STOP), "batch": BATCH, "firmware": found.firmware,
        "spikes_a_sample": [float(p.counts.float().mean()) for p in found.populations],
        "seconds_a_sample": {name: statistics.median(values) for name, values in rounds.items()},
        "ratio": statistics.median(ratios), "ratios": ratios, "goal": GOAL,
    }  # fmt: skip


def _seconds(step: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - start) / calls


def _with_copies(device: LavaDevice, batch: Spikes, copies: int) -> object:
    """A run with a layout of our choosing."""
    kept = request.MAX_COPIES
    request.MAX_COPIES = copies
    try:
        return device.run(batch)
    finally:
        request.MAX_COPIES = kept


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measure()
    print(json.dumps(found, indent=1))
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
