"""A convolutional network, 15C5-P2-40C5-P2-300-10 on MNIST, trained in continuous time and deployed on the emulated Loihi.

    python examples/longer/conv_loihi.py --out out/conv-loihi          # 10,000 training samples; half an hour, resumable
    python examples/longer/conv_loihi.py --out out/quick --quick

First weights, loss and learning rate are those of the public code of Bacho & Chu (arXiv 2212.09500), with times divided by 26:
current and membrane of 5 and 10 ms, pixels within 3.85 ms, 7.7 ms in all. It caps the spikes of a neuron at 1, 3 and 10, which
Loihi does not; here higher thresholds, chosen on validation data, keep them few. Prints the accuracy in simulation, as is on
``loihi`` and fine-tuned there, and how far measured spike times are from simulated ones, layer by layer. The emulated device
computes in fixed point, as Loihi does; nothing here is a chip's own figure.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import hwloop as hl
from hwloop import datasets
from hwloop.device.deploy import measure
from hwloop.losses import SilentHinge, SpikeCount

TAU_MEM, TAU_SYN = 10e-3, 5e-3
#: Latest pixel and end of the window (s); spikes wanted of the label and of the others, and what keeps the label's neuron alive: one
#: that has fallen silent has no spike that counts could move.
STIMULUS = datasets.Stimulus(0.0, 3.85e-3, 7.7e-3)
LOSS = SpikeCount(30, 3) + 2 * SilentHinge(only_label=True)
#: Volleys of its inputs for which the currents of each population leave room; the output gets the longest.
HEADROOM = [1, 1, 1, 4]
#: Population: shape and threshold.
POPULATIONS = {"maps1": ((15, 24, 24), 0.4), "maps2": ((40, 8, 8), 4.0), "hidden": (300, 2.5), "class": (10, 1.15)}


def network(seed: int) -> hl.Network:
    """15C5-P2-40C5-P2-300-10, every weight drawn evenly from -1..1."""
    generator = torch.Generator().manual_seed(seed)
    weights = [hl.Conv2d(1, 15, 5), hl.Conv2d(15, 40, 5), hl.Dense(640, 300), hl.Dense(300, 10)]
    with torch.no_grad():
        for layer in weights:
            layer.weight.uniform_(-1.0, 1.0, generator=generator)
    nodes: dict[str, torch.nn.Module] = {"image": hl.Input((1, 28, 28))}
    for name, (shape, threshold) in POPULATIONS.items():
        nodes[name] = hl.LIF(shape, TAU_MEM, TAU_SYN, v_th=threshold)
    return hl.Network.graph(
        nodes,
        [
            hl.Projection("image", "maps1", weights[0]),
            hl.Projection("maps1", "maps2", [hl.SumPool2d(2), weights[1]]),
            hl.Projection("maps2", "hidden", [hl.SumPool2d(2), hl.Flatten(), weights[2]]),
            hl.Projection("hidden", "class", weights[3]),
        ],
    )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("out/conv-loihi"))
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--dt", type=float, default=1e-4, help="tick of the fixed-point device (s)")
    options.add_argument("--quick", action="store_true", help="sixty samples and one epoch: to see that it runs")
    chosen = options.parse_args()
    sizes = (60, 20, 20) if chosen.quick else (10_000, 1_000, 2_000)
    epochs = 1 if chosen.quick else chosen.epochs
    task, net = datasets.subset(datasets.mnist(stimulus=STIMULUS), *sizes), network(0)
    hl.fit(
        net, task, LOSS, epochs=epochs, batch_size=20, lr=3e-3, lr_decay=0.75, checkpoint_dir=chosen.out / "train", resume=True,
        decision="count",
    )  # fmt: skip
    software = hl.evaluate(net, task.test, decision="count").accuracy
    print(f"simulated: {software:.2%} of {len(task.test)} test samples", flush=True)
    with hl.open("loihi", dt=chosen.dt, headroom=HEADROOM) as chip:
        chip.load(hl.compile(net, chip, weight_scale="max"))
        print(f"as is on {chip.device_id}: {measure(chip, task.test, decision='count').accuracy:.2%}", flush=True)
        some = task.test.inputs[: min(100, len(task.test))]
        print(hl.compare(net(some), chip.run(some), net=net).to_text(), flush=True)
        hl.finetune(
            net, chip, datasets.subset(task, sizes[0] // 5, sizes[1] // 2, sizes[2]), LOSS, epochs=2, batch_size=50, lr=3e-4,
            weight_scale="max", validation_repeats=1, checkpoint_dir=chosen.out / "tune", resume=True, decision="count",
        )  # fmt: skip
        print(f"fine-tuned on {chip.device_id}: {measure(chip, task.test, decision='count').accuracy:.2%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
