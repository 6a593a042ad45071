"""Fine-tuning over a line ends with the weights of fine-tuning in process, bit for bit, whatever befalls line, board and host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import datasets, losses
from hwloop.datasets import Task
from hwloop.device.registry import Device, find
from hwloop.network import LIF, Dense, Network
from hwloop.training.loop import finetune
from hwloop.training.loop_figures import LoopResult
from hwloop_serial.board.lines import line
from hwloop_serial.board.server import model_of
from tests.reliability.support import Restarting

LOSS = losses.FirstSpike(1e-3) + 30 * losses.SilentHinge(-1, 0.5, only_label=True)
HOW: dict[str, Any] = {
    "epochs": 2, "batch_size": 25, "lr": 4e-3, "progress": False, "weight_scale": "max", "validation_repeats": 1,
}  # fmt: skip
OPTIONS = {"preset": "bss2", "session": 5}


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(sizes=(100, 50, 50))


def network() -> Network:
    g = torch.Generator().manual_seed(0)
    return Network([
        Dense(5, 20).init_normal_(1.2, 1.2, g), LIF(20, 10e-3, 5e-3), Dense(20, 3).init_normal_(0.4, 0.4, g), LIF(3, 10e-3, 5e-3),
    ])  # fmt: skip


@contextmanager
def board() -> Iterator[Restarting]:
    """The emulated chip served; started anew it listens at the same place, in a noise session of its own."""
    target = find("emulator:3", preset="bss2")
    port: list[int] = [0]

    def listen() -> Any:
        made = line(f"tcp://127.0.0.1:{port[0]}")
        port[0] = int(made.url.rpartition(":")[2])
        return made

    served = Restarting(lambda: model_of(target), listen)
    try:
        yield served
    finally:
        served.stop()


def trimmed(device: Any) -> None:
    """Trim cells written by hand, in two writes, one over the other."""
    rng = np.random.default_rng(1)
    allowed = device.trim_ranges["tau_mem"]
    for cells in (40, 25):
        codes = rng.integers(allowed.codes_min, allowed.codes_max + 1, cells)
        device.write_trim("tau_mem", codes, np.arange(cells))


def tuned(device: Device, task: Task, *, trim: bool = True, **options: Any) -> tuple[list[torch.Tensor], LoopResult]:
    net = network()
    with device:
        if trim:
            trimmed(device)
        result = finetune(net, device, task, LOSS, **{**HOW, **options})
    return [dense.weight.detach().clone() for dense, _ in net.blocks], result


@pytest.fixture(scope="module")
def expected(task: Task) -> tuple[list[torch.Tensor], LoopResult]:
    return tuned(hl.open("emulator:3", **OPTIONS), task)


def check(found: tuple[list[torch.Tensor], LoopResult], expected: tuple[list[torch.Tensor], LoopResult]) -> None:
    for weight, other in zip(found[0], expected[0], strict=True):
        assert torch.equal(weight, other)
    assert found[1].program.digest == expected[1].program.digest
    assert [epoch.writes for epoch in found[1].history] == [epoch.writes for epoch in expected[1].history]
    assert found[1].device_id == expected[1].device_id


def test_over_a_line_that_works(task: Task, expected: tuple[list[torch.Tensor], LoopResult]) -> None:
    with board() as served:
        check(tuned(hl.open(f"serial:{served.url}", session=5), task), expected)


@pytest.mark.slow
def test_over_a_line_that_flips_bits(task: Task, expected: tuple[list[torch.Tensor], LoopResult]) -> None:
    with board() as served:
        device = hl.open(f"serial:faulty://{served.url}?flip=1e-3&seed=2", session=5)
        check(tuned(device, task), expected)
        assert device.remote.session.counts.sent > device.remote.session.counts.received  # type: ignore[attr-defined]


def test_while_the_board_starts_anew_again_and_again(
    task: Task, expected: tuple[list[torch.Tensor], LoopResult]
) -> None:
    with board() as served:
        device = hl.open(f"serial:{served.url}", session=5)
        over = threading.Event()

        def restart() -> None:
            restarted = 0
            while not over.wait(0.001):
                run = served.server.board.runs.run_id
                if run >= restarted + 3:  # every third run or so is lost, or its events are, or what comes after it
                    restarted = run
                    served.restart()

        thread = threading.Thread(target=restart)
        thread.start()
        try:
            check(tuned(device, task), expected)
        finally:
            over.set()
            thread.join()
        assert served.restarts > 0
        assert device.remote.session.counts.reboots > 0  # type: ignore[attr-defined]


def test_a_host_that_died_goes_on_where_it_was(task: Task, tmp_path: Path) -> None:
    """Without trim cells: a seek, in process too, lets them land anew."""

    class Died(BaseException):
        pass

    def die(epoch: Any) -> None:
        raise Died

    expected = tuned(hl.open("emulator:3", **OPTIONS), task, trim=False)
    with board() as served:
        device = hl.open(f"serial:{served.url}", session=5)
        with pytest.raises(Died):
            tuned(device, task, trim=False, checkpoint_dir=tmp_path, on_epoch=die)
        again = hl.open(f"serial:{served.url}", session=5)
        found = tuned(again, task, trim=False, checkpoint_dir=tmp_path, resume=True)
    for weight, other in zip(found[0], expected[0], strict=True):
        assert torch.equal(weight, other)
