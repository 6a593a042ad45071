"""Train a 5-120-3 network on Yin-Yang with exact gradients, and print how good it is on the test set.

    python examples/train_yin_yang.py --out yin_yang.nir

``--quick`` takes 400 samples and 2 epochs, enough to see that it runs, not to learn the task.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nir
import torch

import hwloop as hl
from hwloop import datasets
from hwloop.losses import FirstSpike, SilentHinge
from hwloop.training import evaluate

TAU_MEM, TAU_SYN = 10e-3, 5e-3  # s


def network(seed: int) -> hl.Network:
    generator = torch.Generator().manual_seed(seed)
    hidden, output = hl.Dense(5, 120, generator=generator), hl.Dense(120, 3, generator=generator)
    # mean and deviation of the first weights, in thresholds: most hidden neurons fire, in each sample some
    hidden.init_normal_(0.8, 1.2, generator)
    output.init_normal_(0.2, 0.3, generator)
    return hl.Network([hidden, hl.LIF(120, TAU_MEM, TAU_SYN), output, hl.LIF(3, TAU_MEM, TAU_SYN)])


def train(seed: int = 0, quick: bool = False) -> tuple[hl.Network, datasets.Task]:
    task = datasets.yin_yang(seed=seed, sizes=(400, 200, 200) if quick else (5000, 1000, 1000))
    net = network(seed)
    # the first output spike decides; label neurons that stay silent are pulled towards threshold
    loss = FirstSpike(temperature=0.2 * TAU_SYN) + 30 * SilentHinge(only_label=True)
    hl.fit(net, task, loss, epochs=2 if quick else 20, batch_size=25, lr=4e-3, lr_decay=0.95, seed=seed)
    return net, task


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the trained network to this NIR file")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)

    net, task = train(options.seed, options.quick)
    result = evaluate(net, task.test)
    print(
        f"test accuracy {result.accuracy:.1%} on {result.samples} samples (simulated), {result.silent} without answer"
    )
    if options.out is not None:
        nir.write(options.out, net.to_nir())
        print(f"network written to {options.out}")
    return result.accuracy


if __name__ == "__main__":
    main()
