from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.bundle import Bundle

INPUTS = [([0.001, 0.002, 0.003], [0, 1, 2]), ([0.001, 0.004, 0.005], [0, 3, 4]), ([], [])]


def chain() -> hl.Network:
    torch.manual_seed(0)
    return hl.Network([hl.Dense(5, 8), hl.LIF(8, 10e-3, 5e-3), hl.Dense(8, 3), hl.LIF(3, 10e-3, 5e-3)])


def loop() -> hl.Network:
    torch.manual_seed(0)
    nodes = {"in": hl.Input(5), "a": hl.LIF(6, 10e-3, 5e-3), "out": hl.LIF(3, 10e-3, 5e-3)}
    maps = [("in", "a", hl.Dense(5, 6)), ("a", "a", hl.Dense(6, 6, delay=1e-3)), ("a", "out", hl.Dense(6, 3))]
    maps[1][2].init_normal_(-0.2, 0.1)  # a loop that calms down
    return hl.Network.graph(nodes, [hl.Projection(*one) for one in maps])


def inputs(repeats: int = 4) -> hl.Spikes:
    return hl.Spikes.from_events(INPUTS * repeats, 5, 0.03)


@dataclass(frozen=True)
class Made:
    """A bundle that was written, and what it was made of."""

    path: Path
    net: hl.Network
    program: Any
    recording: Any
    bundle: Bundle


def make(path: Path, target: str, net: hl.Network, **options: Any) -> Made:
    with hl.open(target, **options) as device:
        program = hl.compile(net, device)
        bundle = hl.save_bundle(path, net, program, device, inputs(), source="a test")
    return Made(path, net, program, bundle.golden.populations, bundle)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle of a chain on a noisy chip."""
    return make(tmp_path_factory.mktemp("bundle") / "chain.hwb", "emulator:7", chain(), session=4)
