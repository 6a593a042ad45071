"""Small networks and chips, and what watches a loop: for the tests of ``finetune`` option by option."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

import hwloop as hl
from hwloop import losses
from hwloop.datasets import Task
from hwloop.mapping import Program
from hwloop.network import LIF, Dense, Network

LOSS = losses.FirstSpike(1e-3)
SAMPLES, VALIDATION = 40, 20


def network(gain: float = 1.0, seed: int = 0) -> Network:
    generator = torch.Generator().manual_seed(seed)
    return Network(
        [
            Dense(5, 6).init_normal_(1.5 * gain, 1.0 * gain, generator),
            LIF(6, 10e-3, 5e-3),
            Dense(6, 3).init_normal_(1.0 * gain, 0.5 * gain, generator),
            LIF(3, 10e-3, 5e-3),
        ]
    ).double()


def chip(preset: str = "ideal", number: int = 3) -> Any:
    return hl.open(f"emulator:{number}", preset=preset, session=5)


def tuned(net: Network, device: Any, task: Task, loss: losses.Loss = LOSS, **options: Any) -> Any:
    plain = {
        "epochs": 1, "batch_size": 15, "lr": 0.05, "progress": False, "weight_scale": "max", "validation_repeats": 1,
        "optimizer": torch.optim.SGD,
    }  # fmt: skip
    return hl.finetune(net, device, task, loss, **{**plain, **options})


def weights_of(net: Network) -> list[torch.Tensor]:
    return [dense.weight.detach().clone() for dense, _ in net.blocks]


class Watch:
    """What the device ran and held, epoch by epoch; as ``on_epoch``."""

    def __init__(self, device: Any, net: Network) -> None:
        self.device, self.net = device, net
        self.epochs: list[Any] = []
        self.held: list[list[np.ndarray]] = []
        self.shadow: list[list[torch.Tensor]] = []
        self.digests: list[str] = []
        self.runs: list[Any] = []
        self.writes: list[int] = []
        run, load = device.run, device.load

        def watched_run(spikes: Any, **options: Any) -> Any:
            self.runs.append(run(spikes, **options))
            self.runs[-1].late_events = len(self.runs)  # as if the link had been slow
            return self.runs[-1]

        def watched_load(program: Program) -> None:
            load(program)
            self.writes.append(device.writes.last)

        device.run, device.load = watched_run, watched_load

    def __call__(self, epoch: Any) -> None:
        self.epochs.append(epoch)
        self.held.append([weight.copy() for weight in self.device.program.weights()])
        self.shadow.append(weights_of(self.net))
        self.digests.append(self.device.program.digest)


def retraced(
    task: Task, epochs: int, averaging: float = 0.0, **options: Any
) -> tuple[list[list[torch.Tensor]], list[float]]:
    """Averaged weights and losses of each epoch by the text of ``finetune``, for an ideal chip."""
    settings = {"lr": 0.05, "lr_decay": 0.9, "batch_size": 15, "clip_norm": 1.0, "seed": 0, **options}
    net = network()
    average, kept, found = weights_of(net), [], []
    for number in range(1, epochs + 1):
        total = 0.0
        for inputs, labels in task.train.batches(
            settings["batch_size"], np.random.default_rng([settings["seed"], number])
        ):
            net.zero_grad(set_to_none=True)
            value = LOSS(net, net(inputs, floor=0.1), labels)
            value.backward()  # type: ignore[no-untyped-call]
            total += float(value.detach()) * len(labels) / SAMPLES
            gradients = [dense.weight.grad for dense, _ in net.blocks]
            norm = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
            rate = (
                settings["lr"] * settings["lr_decay"] ** (number - 1) * min(1.0, settings["clip_norm"] / (norm + 1e-6))
            )
            with torch.no_grad():
                for (dense, _), gradient, mean in zip(net.blocks, gradients, average, strict=True):
                    dense.weight -= rate * gradient  # type: ignore[operator]
                    mean.mul_(averaging).add_(dense.weight, alpha=1 - averaging)
        kept.append([mean.clone() for mean in average])
        found.append(total)
    return kept, found
