"""Boards served for a test: a small network, its inputs, and boards that have limits or lose their power."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes
from hwloop_serial.board.board import Room
from hwloop_serial.board.fixed import LIMITS, FixedModel
from hwloop_serial.board.lines import line
from hwloop_serial.board.server import Serving, model_of
from tests.reliability.support import Restarting


def network(hidden: int = 20, n_in: int = 5) -> Network:
    g = torch.Generator().manual_seed(1)
    return Network([
        Dense(n_in, hidden).init_normal_(1.2, 1.2, g), LIF(hidden, 10e-3, 5e-3), Dense(hidden, 3).init_normal_(0.4, 0.4, g),
        LIF(3, 10e-3, 5e-3),
    ])  # fmt: skip


def spikes(batch: int = 20, t_stop: float = 0.06) -> Spikes:
    rng = np.random.default_rng(2)
    return Spikes.from_first_times(
        torch.tensor(np.sort(rng.random((batch, 5)) * min(0.02, 0.9 * t_stop), 1), dtype=torch.float32), t_stop
    )


@contextmanager
def serving(name: str = "emulator:3", room: Room | None = None, **options: Any) -> Iterator[str]:
    with Serving(find(name, **options), "tcp://127.0.0.1:0", room) as url:
        yield f"serial:{url}"


@contextmanager
def small(**limits: int | bool) -> Iterator[str]:
    """A fixed-point board of ``limits``."""
    served = Serving(find("loihi"), "tcp://127.0.0.1:0")
    model = FixedModel(find("loihi"), LIMITS.model_copy(update=limits))  # type: ignore[arg-type]
    served.server.board.model, served.server.board._info = model, model.info
    with served as url:
        yield f"serial:{url}"


@contextmanager
def restarting(name: str = "emulator:3", later: float = 0.0, **options: Any) -> Iterator[Restarting]:
    """A board that can lose its power; its clock, at ``later`` (s) after a restart, is 0 where it is opened anew."""
    target, port, starts = find(name, **options), [0], [0]

    def listen() -> Any:
        made = line(f"tcp://127.0.0.1:{port[0]}")
        port[0] = int(made.url.rpartition(":")[2])
        return made

    def model() -> Any:
        made: Any = model_of(target)
        if starts[0]:
            made.device.advance(later)
        starts[0] += 1
        return made

    served = Restarting(model, listen)
    try:
        yield served
    finally:
        served.stop()


def loaded(url: str, net: Network | None = None, **options: Any) -> Any:
    device: Any = hl.open(url, **options)
    device.load(hl.compile(net or network(), device))
    return device
