"""CPU time of an epoch in the loop, and of the calibration of a chip; on an emulated `bss2`, interleaved with another checkout.

    python -m tests.benchmarks.chip_work [epoch] [calibrate] [--against CHECKOUT] [--rounds N] [--neurons N]

An epoch is one of `finetune` on Yin-Yang (5-120-3): chip runs, replays, gradients, steps, and validation at its end; the
first of each round is not counted. Calibration trims and measures the first ``--neurons`` neurons; a round more comes first,
for compilation. One thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the script also runs beside another checkout's sources

from checkouts import HERE, Worker, by_turns, serve

#: Rounds of each kind, where none are asked for, and how many times faster than the parent commit each is wanted.
ROUNDS = {"epoch": 7, "calibrate": 2}
GOAL = 1.5

#: Yin-Yang's samples for training, validation and test; epochs in a round; samples a batch.
SIZES, EPOCHS, BATCH = (1000, 200, 10), 3, 25

#: Neurons that are calibrated, of 512, and runs of every stimulus.
NEURONS, REPEATS = 128, 8


def worker(kind: str, neurons: int) -> None:
    """Measure CPU seconds of an epoch, or of a calibration."""
    import torch

    import hwloop as hl
    from hwloop.datasets import yin_yang
    from hwloop.losses import FirstSpike, SilentHinge
    from hwloop_calibration import calibrate

    task = yin_yang(source="generated", sizes=SIZES)
    loss = FirstSpike(1e-3) + 30 * SilentHinge(only_label=True)

    def network() -> hl.Network:
        generator = torch.Generator().manual_seed(0)
        hidden, output = hl.Dense(5, 120, generator=generator), hl.Dense(120, 3, generator=generator)
        hidden.init_normal_(0.8, 1.2, generator)
        output.init_normal_(0.2, 0.3, generator)
        return hl.Network([hidden, hl.LIF(120, 10e-3, 5e-3), output, hl.LIF(3, 10e-3, 5e-3)])

    trained = network()
    hl.fit(trained, task, loss, epochs=3, batch_size=BATCH, lr=4e-3, progress=False)
    state = trained.state_dict()

    def epoch() -> dict[str, float]:
        net, ends = network(), [0.0]
        net.load_state_dict(state)
        with hl.open("emulator:7", preset="bss2", session=0) as chip:
            hl.finetune(
                net, chip, task, loss, epochs=EPOCHS, batch_size=BATCH, validation_repeats=1, progress=False,
                on_epoch=lambda *_: ends.append(time.process_time()),
            )  # fmt: skip
        return {"cpu": (ends[-1] - ends[1]) / (EPOCHS - 1)}

    def calibration() -> dict[str, float]:
        with hl.open("emulator:7", preset="bss2", session=1) as chip:
            program = chip.target.compile(trained)
            start = time.process_time()
            calibrate(chip, program, neurons=range(neurons), repeats=REPEATS, synapses=False)
            return {"cpu": time.process_time() - start}

    serve({"epoch": epoch, "calibrate": calibration}[kind])


def main() -> int:
    """Print the figures; exit status 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="epoch, calibrate", help="default: both")
    parser.add_argument("--against", type=Path, help="root of another checkout")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--neurons", type=int, default=NEURONS)
    parser.add_argument("--worker", choices=list(ROUNDS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.neurons)
        return 0
    roots = {"here": HERE} | ({"against": arguments.against.resolve()} if arguments.against else {})
    missed = False
    for kind in arguments.kinds or ROUNDS:
        options = (kind, "--neurons", str(arguments.neurons))
        workers = {name: Worker(Path(__file__), root, options) for name, root in roots.items()}
        found = by_turns(workers, arguments.rounds or ROUNDS[kind])
        seconds = {name: [round_["cpu"] for round_ in rounds] for name, rounds in found.items()}
        line = f"{kind:10}" + "".join(
            f"  {name} {statistics.median(values):6.2f} s" for name, values in seconds.items()
        )
        if "against" in seconds:
            ratio = statistics.median(b / a for a, b in zip(seconds["here"], seconds["against"], strict=True))
            line += f"  here {ratio:.2f} times faster (goal >= {GOAL})"
            missed |= ratio < GOAL
        print(line, flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
