"""A convolutional network, 15C5-P2-40C5-P2-300-10 on MNIST, trained in continuous time and deployed on the emulated Loihi.

    python examples/conv_loihi.py --out out/conv-loihi          # 10,000 training samples; half an hour, resumable
    python examples/conv_loihi.py --out out/quick --quick

Prints the accuracy in simulation, as is on ``loihi`` and fine-tuned there, and how far measured spike times are from simulated
ones, layer by layer. The emulated device computes in fixed point, as Loihi does; nothing here is a chip's own figure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import hwloop as hl
from hwloop import datasets
from hwloop.device.deploy import measure
from hwloop.losses import FirstSpike, SilentHinge

TAU_MEM, TAU_SYN = 10e-3, 5e-3
LOSS = FirstSpike(temperature=0.2 * TAU_SYN) + 20 * SilentHinge(only_label=True)


def network(seed: int) -> hl.Network:
    """Means of the first weights let every layer spike about as often as its inputs."""
    generator = torch.Generator().manual_seed(seed)

    def lif(shape: tuple[int, ...] | int) -> hl.LIF:
        return hl.LIF(shape, TAU_MEM, TAU_SYN)

    return hl.Network.graph(
        {
            "image": hl.Input((1, 28, 28)),
            "maps1": lif((15, 24, 24)),
            "maps2": lif((40, 8, 8)),
            "hidden": lif(300),
            "class": lif(10),
        },
        [
            hl.Projection("image", "maps1", hl.Conv2d(1, 15, 5).init_normal_(0.3, 0.6, generator)),
            hl.Projection("maps1", "maps2", [hl.SumPool2d(2), hl.Conv2d(15, 40, 5).init_normal_(0.0, 0.06, generator)]),
            hl.Projection(
                "maps2",
                "hidden",
                [hl.SumPool2d(2), hl.Flatten(), hl.Dense(640, 300).init_normal_(0.005, 0.04, generator)],
            ),
            hl.Projection("hidden", "class", hl.Dense(300, 10).init_normal_(0.03, 0.1, generator)),
        ],
    )


def subset(task: datasets.Task, train: int, validation: int, test: int) -> datasets.Task:
    parts = [
        part.select(torch.arange(min(n, len(part))))
        for part, n in ((task.train, train), (task.validation, validation), (task.test, test))
    ]
    return datasets.Task(task.name, *parts, n_in=task.n_in, n_out=task.n_out, t_stop=task.t_stop)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("out/conv-loihi"))
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--dt", type=float, default=2e-4, help="tick of the fixed-point device (s)")
    options.add_argument("--quick", action="store_true", help="sixty samples and one epoch: to see that it runs")
    chosen = options.parse_args()
    sizes = (60, 20, 20) if chosen.quick else (10_000, 1_000, 2_000)
    epochs = 1 if chosen.quick else chosen.epochs
    task, net = subset(datasets.mnist(), *sizes), network(0)
    hl.fit(
        net,
        task,
        LOSS,
        epochs=epochs,
        batch_size=25,
        lr=1.5e-3,
        lr_decay=0.85,
        clip_norm=1.0,
        checkpoint_dir=chosen.out / "train",
        resume=True,
    )
    print(f"simulated: {hl.evaluate(net, task.test).accuracy:.2%} of {len(task.test)} test samples")
    with hl.open("loihi", dt=chosen.dt) as chip:
        chip.load(hl.compile(net, chip, weight_scale="max"))
        print(f"as is on {chip.device_id}: {measure(chip, task.test).accuracy:.2%}")
        some = task.test.inputs[: min(100, len(task.test))]
        print(hl.compare(net(some), chip.run(some), net=net).to_text())
        tuning = subset(task, 2 * sizes[0] // 10, sizes[1] // 2, sizes[2])
        hl.finetune(
            net,
            chip,
            tuning,
            LOSS,
            epochs=2,
            batch_size=50,
            lr=5e-4,
            weight_scale="max",
            validation_repeats=1,
            checkpoint_dir=chosen.out / "tune",
            resume=True,
        )
        print(f"fine-tuned on {chip.device_id}: {measure(chip, task.test).accuracy:.2%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
