"""Cost per spike of a layer that spikes more and more often.

    python -m tests.benchmarks.spikes [--against CHECKOUT] [--rounds N]

A batch of 32 through 100-200 neurons whose weights are scaled until each spikes 1, 2, 4, 8 and 16 times a sample; forward and
backward pass, process CPU time on one thread, interleaved, medians. The cost of the events and of the batch itself, which a
layer that hardly spikes has as well, is measured and taken away. What is left is printed as a cost per spike, and split into
one that a spike has and one of the interval between two input events that it falls into, which all spikes there share: flags
are gathered, lanes listed, spikes sorted, once for each interval in which anything spikes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the script also runs beside another checkout's sources

from checkouts import HERE, Worker, by_turns, serve

#: Spikes per neuron and sample.
RATES = (1, 2, 4, 8, 16)

N_IN, N_OUT, BATCH, EVENTS, T_STOP = 100, 200, 32, 100, 40e-3

#: Largest cost per spike wanted, as a multiple of the smallest.
GOAL = 1.3

#: CPU time (s) of one slice.
SLICE = 0.1


def worker() -> None:
    """Tune the weights to each rate, then measure a step of each for every round."""
    import torch

    import hwloop as hl
    from hwloop.simulate import Options, layer_call

    generator = torch.Generator().manual_seed(0)
    inputs = hl.Spikes.from_first_times(torch.rand(BATCH, N_IN, generator=generator) * T_STOP, T_STOP)
    drawn = torch.randn(N_IN, N_OUT, generator=generator).t() * 0.5 + 0.5
    lif = hl.LIF(N_OUT, tau_mem=10e-3, tau_syn=5e-3)
    params = lif.acting_parameters()

    def layer(factor: float) -> torch.Tensor:
        return (drawn * factor).requires_grad_()

    def rate(factor: float) -> float:
        with torch.no_grad():
            return float(layer_call(inputs, layer(factor), params, Options())[0].counts.float().mean()) / N_OUT

    def tuned(wanted: float) -> float:
        low, high = 0.0, 64.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if rate(middle) < wanted else (low, middle)
        return high

    weights = {0.0: layer(tuned(0.02))} | {float(r): layer(tuned(r)) for r in RATES}
    outputs = {r: layer_call(inputs, weight.detach(), params, Options())[0] for r, weight in weights.items()}
    spikes = {r: int(out.counts.sum()) for r, out in outputs.items()}
    intervals = {r: _busy_intervals(inputs, out) for r, out in outputs.items()}

    def step(weight: torch.Tensor) -> None:
        out, _ = layer_call(inputs, weight, params, Options())
        weight.grad = None
        torch.autograd.backward(out.times, torch.ones_like(out.times))

    def measure() -> dict[str, Any]:
        return {
            str(r): {"seconds": _seconds(step, weight), "spikes": spikes[r], "intervals": intervals[r]}
            for r, weight in weights.items()
        }

    serve(measure)


def _busy_intervals(inputs: Any, out: Any) -> int:
    """Intervals between two input events of a sample in which any neuron spikes, over the batch."""
    import numpy as np

    pairs = zip(inputs.to_events(), out.to_events(), strict=True)
    return sum(len(np.unique(np.searchsorted(arrived, fired))) for (arrived, _), (fired, _) in pairs)


def _seconds(step: Any, weight: Any) -> float:
    start, calls = time.process_time(), 0
    while (spent := time.process_time() - start) < SLICE:
        step(weight)
        calls += 1
    return spent / calls


def costs(rounds: list[dict[str, Any]]) -> dict[int, float]:
    """Median nanoseconds per spike at every rate, above the cost of a layer that hardly spikes."""
    quiet = str(0.0)
    return {
        rate: statistics.median(
            (found[str(float(rate))]["seconds"] - found[quiet]["seconds"])
            / (found[str(float(rate))]["spikes"] - found[quiet]["spikes"])
            * 1e9
            for found in rounds
        )
        for rate in RATES
    }


def parts(rounds: list[dict[str, Any]]) -> tuple[float, float]:
    """Nanoseconds of a spike, and of an interval in which any neuron spikes: least squares over all rates and rounds."""
    import numpy as np

    quiet, rows, cost = str(0.0), [], []
    for found in rounds:
        for rate in RATES:
            row, none = found[str(float(rate))], found[quiet]
            # each rate counts alike: relative to its own cost
            above = row["seconds"] - none["seconds"]
            rows.append([(row[what] - none[what]) / above for what in ("spikes", "intervals")])
            cost.append(1.0)
    spike, interval = np.linalg.lstsq(np.array(rows), np.array(cost), rcond=None)[0] * 1e9
    return float(spike), float(interval)


def main() -> int:
    """Print the figures; exit status 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--against", type=Path, help="root of another checkout")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker()
        return 0
    roots = {"here": HERE} | ({"against": arguments.against.resolve()} if arguments.against else {})
    found = by_turns({name: Worker(Path(__file__), root) for name, root in roots.items()}, arguments.rounds)
    ratio = 0.0
    for name, rounds in found.items():
        cost = costs(rounds)
        spread = max(cost.values()) / min(cost.values())
        ratio = ratio or spread
        row = ", ".join(f"{rate} -> {value:.0f} ns" for rate, value in cost.items())
        values = list(cost.values())
        rise = max(b / a for k, a in enumerate(values) for b in values[k:])
        print(f"{name}: spikes per neuron -> cost per spike: {row}")
        print(f"    largest / smallest {spread:.2f} (goal <= {GOAL}); largest rise with the rate {rise:.2f}")
        print(
            "    which is {:.0f} ns a spike and {:.0f} ns an interval in which any neuron spikes".format(*parts(rounds))
        )
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
