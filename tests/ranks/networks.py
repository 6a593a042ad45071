"""What the tests of ranks train: the smallest networks that several ranks can tell apart."""

from __future__ import annotations

from typing import Any

import torch

import hwloop as hl
from hwloop import datasets
from hwloop.datasets import Task
from hwloop.losses import DeadHinge, FirstSpike, SilentHinge

TAU = 5e-3
#: The dead hinge looks at the whole batch.
LOSS = FirstSpike(0.2 * TAU) + 5 * SilentHinge(only_label=True) + 3 * DeadHinge(margin=0.2)


def task(train: int = 52) -> Task:
    return datasets.yin_yang(seed=1, sizes=(train, 23, 10), dtype=torch.float64)


def network(seed: int = 0, hidden: int = 12) -> hl.Network:
    generator = torch.Generator().manual_seed(seed)
    return hl.Network(
        [
            hl.Dense(5, hidden, generator=generator),
            hl.LIF(hidden, 2 * TAU, TAU),
            hl.Dense(hidden, 3, generator=generator),
            hl.LIF(3, 2 * TAU, TAU),
        ]
    ).double()


def fit(net: hl.Network, data: Task, loss: Any = LOSS, **options: Any) -> Any:
    plain = {"epochs": 2, "batch_size": 25, "lr": 0.01, "progress": False}
    return hl.fit(net, data, loss, **{**plain, **options})


def values(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().reshape(-1) for value in net.state_dict().values()])
