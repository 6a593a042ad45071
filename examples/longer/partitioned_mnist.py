"""A network larger than the chip: MNIST 784-800-10 on an emulated chip of 512 circuits with 256 inputs each, piece by piece.

    python examples/longer/partitioned_mnist.py --out out/partitioned          # trains 784-800-10 first; resumable
    python examples/longer/partitioned_mnist.py --out out/quick --quick

Four circuits are joined to a neuron of 784 inputs; the hidden layer runs in pieces, the output with the recorded spikes of all
of them. With the noise of a run off, the pieces give the spikes of a chip without limits that has the same circuits (checked
here, spike for spike); then accuracies with all effects of preset ``bss2``, as is and fine-tuned piece by piece.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import hwloop as hl
from hwloop import datasets
from hwloop.device.deploy import measure
from hwloop.losses import FirstSpike, SilentHinge
from hwloop_emulator import EmulatorTarget, Preset

TAU_MEM, TAU_SYN = 10e-3, 5e-3
LOSS = FirstSpike(temperature=0.2 * TAU_SYN) + 20 * SilentHinge(only_label=True)


def network(hidden: int, seed: int) -> hl.Network:
    generator = torch.Generator().manual_seed(seed)
    first = hl.Dense(784, hidden).init_normal_(0.05, 0.1, generator)
    second = hl.Dense(hidden, 10).init_normal_(0.02, 0.06, generator)
    return hl.Network([first, hl.LIF(hidden, TAU_MEM, TAU_SYN), second, hl.LIF(10, TAU_MEM, TAU_SYN)])


def chip(base: str, *, limited: bool) -> EmulatorTarget:
    """Chip 7 of preset ``base``, its 512 circuits of 256 inputs, or as many and as large ones as asked for."""
    data = Preset.load(base).model_dump(exclude_unset=True)
    limits = (
        {"n_neurons": 512, "fan_in": 256, "joined": 4} if limited else {"n_neurons": 4096, "fan_in": 4096, "joined": 1}
    )
    limits["weight_bits"] = 6
    data["limits"].update({name: {"value": value, "source": "this example"} for name, value in limits.items()})
    return EmulatorTarget("7", preset=Preset.model_validate(data), session=0)


def equal_to_unlimited(net: hl.Network, inputs: hl.Spikes) -> tuple[int, bool]:
    """Spikes compared, and whether pieces and the chip without limits gave the same, noise and mismatch off."""
    small, large = chip("ideal", limited=True), chip("ideal", limited=False)
    with small.open() as device, large.open() as whole:
        device.load(hl.compile(net, device, partition=True, weight_scale="max"))
        whole.load(hl.compile(net, whole, weight_scale="max"))
        ours, theirs = device.run(inputs), whole.run(inputs)
    same = all(
        torch.equal(a.units, b.units) and torch.equal(a.times, b.times)
        for a, b in zip(ours.populations, theirs.populations, strict=True)
    )
    return sum(int(p.counts.sum()) for p in theirs.populations), same


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("out/partitioned"))
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument(
        "--quick", action="store_true", help="a few hundred samples and one epoch: to see that it runs"
    )
    chosen = options.parse_args()
    task, net, epochs = datasets.mnist(), network(800, 0), 1 if chosen.quick else chosen.epochs
    if chosen.quick:
        parts = [part.select(torch.arange(200)) for part in (task.train, task.validation, task.test)]
        task = datasets.Task(task.name, *parts, n_in=784, n_out=10, t_stop=task.t_stop)
    hl.fit(
        net,
        task,
        LOSS,
        epochs=epochs,
        batch_size=100,
        lr=3e-3,
        lr_decay=0.75,
        clip_norm=1.0,
        input_dropout=0.2,
        checkpoint_dir=chosen.out / "train",
        resume=True,
    )
    print(f"simulated: {hl.evaluate(net, task.test).accuracy:.2%} of {len(task.test)} test samples")
    spikes, same = equal_to_unlimited(net, task.test.inputs[:200])
    print(f"pieces and a chip without limits, no noise: {'equal' if same else 'NOT equal'}, {spikes} spikes")
    with chip("bss2", limited=True).open() as device:
        program = hl.compile(net, device, partition=True, weight_scale="quantile:0.999")
        device.load(program)
        print(next(note for note in program.notes if "pieces" in note))
        print(f"as is, emulated bss2: {measure(device, task.test).accuracy:.2%}")
        tuning = (
            task
            if chosen.quick
            else datasets.Task(
                task.name,
                task.train.select(torch.arange(10_000)),
                task.validation.select(torch.arange(2_000)),
                task.test,
                n_in=784,
                n_out=10,
                t_stop=task.t_stop,
            )
        )
        hl.finetune(
            net,
            device,
            tuning,
            LOSS,
            epochs=1 if chosen.quick else 3,
            batch_size=100,
            lr=1e-3,
            weight_scale="quantile:0.999",
            validation_repeats=1,
            partition=True,
            checkpoint_dir=chosen.out / "tune",
            resume=True,
        )
        print(f"fine-tuned in pieces: {measure(device, task.test).accuracy:.2%}")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
