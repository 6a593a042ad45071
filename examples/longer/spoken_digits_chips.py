"""Spoken digits on emulated chips: the network with axonal delays of `spoken_digits.py`, with an output that spikes, on `bss2` and `loihi`.

    python examples/longer/spoken_digits.py --kind axonal --seeds 1 --out out/digits
    python examples/longer/spoken_digits_chips.py --out out/digits                   # an interrupted run goes on

`bss2` has no delays and reads no membranes. But only inputs are delayed here, and when an input event reaches the chip is the
host's choice: every channel gets five lines, 200 inputs in all, and each line its event as much later as training found. The
readout becomes ten neurons that spike, whose counts decide, started from the readout's weights and trained on. The same network
then runs as is, on a calibrated chip, and fine-tuned in the loop. What is chosen is chosen on validation data.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from spoken_digits import EPOCHS, HIDDEN, TAU_MEM, TAU_SYN, trained
from torch import Tensor

import hwloop as hl
from hwloop import datasets, storage
from hwloop.datasets import Dataset, Task
from hwloop.device.deploy import deploy, measure
from hwloop.losses import Loss, class_labels, differentiable_counts
from hwloop.record import Record

#: Membrane of the output: nearly an integrator over a word. Factor and offset turn the readout's weights into its own.
TAU_OUT, FACTOR, OFFSET = 50e-3, 2.0, 0.12


@dataclass(frozen=True)
class CountCrossEntropy(Loss):
    """Cross-entropy of ``softmax(count / scale)``; ``d count / d T := -1``, as of :class:`hwloop.losses.SpikeCount`."""

    scale: float = 1.0

    def __call__(self, net: hl.Network, record: Record, labels: Tensor) -> Tensor:
        """Mean over the batch (nat)."""
        logits = differentiable_counts(record.output) / self.scale
        return torch.nn.functional.cross_entropy(logits, class_labels(labels, len(logits), logits.shape[1]))


def on_lines(data: Dataset, delay: Tensor) -> Dataset:
    """``data`` with every channel on ``delay [lines, channels]`` (s) lines; events that come after the window are left out."""
    spikes = data.inputs
    later = spikes.times[:, :, None] + delay.t()[spikes.units]  # [batch, events, lines]
    units = spikes.units[:, :, None] + spikes.n_units * torch.arange(len(delay))
    times, order = torch.sort(later.flatten(1), dim=1, stable=True)
    units = torch.gather(units.flatten(1), 1, order)
    counts = (times <= spikes.t_stop).sum(1)
    pairs = [(times[k, :n], units[k, :n]) for k, n in enumerate(counts.tolist())]
    return Dataset(hl.Spikes.from_events(pairs, spikes.n_units * len(delay), spikes.t_stop), data.labels)


def for_chips(net: hl.Network, task: Task) -> tuple[hl.Network, Task]:
    """A chain of what ``net`` learned, its delays moved into the data, its readout turned into neurons that spike."""
    maps = [projection.maps[0] for projection in net.projections]
    lines, readout = maps[:-1], maps[-1]
    delay = torch.stack([line.delay.detach() for line in lines])
    hidden = hl.Dense(task.n_in * len(lines), HIDDEN)
    output = hl.Dense(HIDDEN, task.n_out)
    with torch.no_grad():
        hidden.weight.copy_(torch.cat([line.weight for line in lines], 1))
        output.weight.copy_(FACTOR * readout.weight + OFFSET)
    chain = hl.Network([hidden, hl.LIF(HIDDEN, TAU_MEM, TAU_SYN), output, hl.LIF(task.n_out, TAU_OUT, TAU_SYN)])
    parts = [on_lines(part, delay) for part in (task.train, task.validation, task.test)]
    return chain, Task(f"{task.name}-lines", *parts, n_in=hidden.weight.shape[1], n_out=task.n_out, t_stop=task.t_stop)


def on_bss2(net: hl.Network, task: Task, chip_number: int, mismatch: bool, epochs: int, out: Path) -> dict[str, object]:
    """As is, on the calibrated chip, and fine-tuned in the loop: accuracies of single runs on the test set."""
    name = f"emulator:{chip_number}"
    row: dict[str, object] = {"target": "bss2", "device": name, "mismatch": mismatch}
    with hl.open(name, preset="bss2", mismatch=mismatch) as chip:
        program = deploy(net, chip, validation=task.validation, decision="count")
        row["as is"] = measure(chip, task.test, decision="count").accuracy
        tuned = copy.deepcopy(net)
        loop = hl.finetune(
            tuned, chip, task, CountCrossEntropy(), epochs=epochs, batch_size=24, lr=1e-3, lr_decay=0.7, floor=0.3,
            validation_repeats=1, decision="count", checkpoint_dir=out / f"bss2-{chip_number}-{mismatch}", resume=True,
        )  # fmt: skip
        row["in the loop"] = measure(chip, task.test, decision="count").accuracy
        row["validation in the loop"] = loop.best_validation.accuracy
        print(row, flush=True)
        if mismatch:  # the longest part: hundreds of neurons are measured
            hl.calibrate(chip, program, repeats=10, synapses=False)
            deploy(net, chip, validation=task.validation, decision="count")
            row["calibrated"] = measure(chip, task.test, decision="count").accuracy
            print(row, flush=True)
    return row


def on_loihi(net: hl.Network, task: Task) -> dict[str, object]:
    """As is, in steps of .1 ms."""
    with hl.open("loihi", dt=1e-4) as chip:
        deploy(net, chip, validation=task.validation, decision="count")
        return {"target": "loihi", "as is": measure(chip, task.test, decision="count").accuracy}


def main() -> int:
    """Train the output that spikes, then print a line for each chip."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("out/spoken-digits"))
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--epochs", type=int, default=EPOCHS, help="those of the network with axonal delays")
    options.add_argument("--loop-epochs", type=int, default=5)
    options.add_argument("--chips", type=int, default=1)
    options.add_argument("--quick", action="store_true", help="sixty recordings: to see that it runs")
    chosen = options.parse_args()
    task = datasets.spoken_digits()
    if chosen.quick:
        task = datasets.subset(task, 60, 20, 20)
    base, _ = trained("axonal", chosen.seed, chosen.epochs, task, chosen.out)
    net, lines = for_chips(base, task)
    out = chosen.out / f"chips-{chosen.seed}"
    found = hl.fit(
        net, lines, CountCrossEntropy(), epochs=3, batch_size=12, lr=2e-3, lr_decay=0.5, clip_norm=1.0, floor=0.3,
        averaging=0.99, seed=chosen.seed, decision="count", checkpoint_dir=out / "software", resume=True,
    )  # fmt: skip
    software = hl.evaluate(net, lines.test, decision="count").accuracy
    print(f"simulated: test {software:.2%}, validation {found.best_validation.accuracy:.2%}", flush=True)
    rows: list[dict[str, object]] = [{"target": "simulator", "test": software}, on_loihi(net, lines)]
    print(rows[-1], flush=True)
    for number in range(chosen.chips):
        for mismatch in (False, True):
            rows.append(on_bss2(net, lines, number, mismatch, chosen.loop_epochs, out))
    storage.write_json(out / "rows.json", {"rows": rows}, kind="hwloop-spoken-digits-chips", version=1)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
