"""What a training step costs before its first spike: the fixed overhead of a small batch, on Yin-Yang (5-120-3).

    python -m tests.benchmarks.overhead [--against CHECKOUT] [--rounds N]

A step is forward pass, loss and backward pass; a step of `fit` is that with all that training does beside. Process CPU time on
one thread, interleaved with another checkout. The fixed overhead is where the line through the batches of :data:`SIZES`
samples meets a batch of none.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the script also runs beside another checkout's sources

from checkouts import HERE, Worker, by_turns, serve

#: Samples a batch that the line goes through, and steps that one slice of a round takes.
SIZES, STEPS = (1, 9, 17, 25), 60

#: The part whose one call takes STEPS steps.
WHOLE_EPOCH = "step of fit"

#: Share of the other checkout's overhead that is wanted at most.
GOAL = 0.5


def steps() -> dict[str, Callable[[int], None]]:
    """Parts of a training step, and the whole of it, on a batch of that many samples."""
    import torch

    import hwloop as hl
    from hwloop.datasets import yin_yang
    from hwloop.losses import FirstSpike

    generator = torch.Generator().manual_seed(0)
    net = hl.Network([
        hl.Dense(5, 120, generator=generator), hl.LIF(120, tau_mem=10e-3, tau_syn=5e-3),
        hl.Dense(120, 3, generator=generator), hl.LIF(3, tau_mem=10e-3, tau_syn=5e-3),
    ])  # fmt: skip
    first = torch.rand(max(SIZES), 5, generator=generator) * 10e-3
    batches = {size: hl.Spikes.from_first_times(first[:size], 30e-3) for size in SIZES}
    labels = torch.randint(0, 3, (max(SIZES),), generator=generator)
    loss, parameters = FirstSpike(2e-3), list(net.parameters())
    tasks = {size: yin_yang(sizes=(size * STEPS, 1, 1)) for size in SIZES}

    def forward(size: int) -> None:
        net(batches[size])

    def layers(size: int) -> None:
        for parameter in parameters:
            parameter.grad = None
        net(batches[size]).output.times.sum().backward()  # type: ignore[no-untyped-call]

    def whole(size: int) -> None:
        value = loss(net, net(batches[size]), labels[:size])
        for parameter in parameters:
            parameter.grad = None
        value.backward()  # type: ignore[no-untyped-call]

    def training(size: int) -> None:
        hl.fit(net, tasks[size], loss, epochs=1, batch_size=size, lr=1e-6, progress=False)

    return {"forward": forward, "forward and backward": layers, "step with loss": whole, WHOLE_EPOCH: training}


def worker() -> None:
    """Measure microseconds of CPU a step, for every part and batch size."""
    parts = steps()

    def measure() -> dict[str, dict[str, float]]:
        return {
            name: {str(size): _microseconds(step, size, 1 if name == WHOLE_EPOCH else STEPS) for size in SIZES}
            for name, step in parts.items()
        }

    serve(measure)


def _microseconds(step: Callable[[int], None], size: int, calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        step(size)
    return (time.process_time() - start) / STEPS * 1e6


def intercept(found: dict[str, float]) -> float:
    """Microseconds of a batch of no samples."""
    return statistics.linear_regression([float(size) for size in found], list(found.values())).intercept


def main() -> int:
    """Print the figures; exit status 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="root of another checkout")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker()
        return 0
    roots = {"here": HERE} | ({"against": arguments.against.resolve()} if arguments.against else {})
    found = by_turns({name: Worker(Path(__file__), root) for name, root in roots.items()}, arguments.rounds)
    missed = False
    for part in found["here"][0]:
        fixed = {name: [intercept(round_[part]) for round_ in rounds] for name, rounds in found.items()}
        line = f"{part:22}" + "".join(f"  {name} {statistics.median(values):6.0f} us" for name, values in fixed.items())
        for name, rounds in found.items():
            line += f"  (batch of 25: {name} {statistics.median(r[part]['25'] for r in rounds):.0f} us)"
        if "against" in fixed:
            ratio = statistics.median(a / b for a, b in zip(fixed["here"], fixed["against"], strict=True))
            line += f"  ratio {ratio:.2f} (goal <= {GOAL})"
            missed |= ratio > GOAL
        print(line)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
