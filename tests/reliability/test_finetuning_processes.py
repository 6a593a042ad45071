"""Yin-Yang fine-tuned over a pseudo-terminal, host and board processes of their own: the same weights whatever is killed."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import hwloop as hl
from hwloop import datasets, losses
from hwloop.device.registry import Device
from hwloop.errors import LinkError
from hwloop.network import LIF, Dense, Network
from hwloop.training.loop import finetune
from tests.reliability.conftest import rounds_of

LOSS = losses.FirstSpike(1e-3) + 30 * losses.SilentHinge(-1, 0.5, only_label=True)
#: Epochs on push, and in the long run.
EPOCHS = (120, 12_000)
#: The board is killed so often, and the host so long after each of its starts (s); a start takes some seconds of that.
BOARD_EVERY, HOST_AFTER = 20.0, 30.0
#: Longest time an epoch may take, kills included (s): without them it is about half a second.
PATIENCE = 15.0
#: Longest time in which a board that was killed is there again (s).
OPENING = 60.0
ROOT = Path(__file__).parents[2]

HOST = """
import sys
import torch
from tests.reliability.test_finetuning_processes import opened, tuned
url, checkpoints, out, epochs = sys.argv[1:]
torch.save(tuned(opened(url), int(epochs), checkpoints), out)
"""


def opened(url: str) -> Device:
    """The board; tried again where it is not there at the moment, as who starts a host that died would do."""
    until = time.monotonic() + OPENING
    while True:
        try:
            return hl.open(f"serial:{url}", session=5, deadline=120.0)
        except LinkError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def tuned(device: Device, epochs: int, checkpoints: str | None = None) -> list[torch.Tensor]:
    """Final weights of 5-120-3 on 1000 samples; goes on from what is in ``checkpoints``."""
    g = torch.Generator().manual_seed(0)
    net = Network([
        Dense(5, 120).init_normal_(1.2, 1.2, g), LIF(120, 10e-3, 5e-3),
        Dense(120, 3).init_normal_(0.4, 0.4, g), LIF(3, 10e-3, 5e-3),
    ])  # fmt: skip
    resume = checkpoints is not None and any(Path(checkpoints).glob("*"))
    with device:
        finetune(
            net, device, datasets.yin_yang(sizes=(1000, 200, 200)), LOSS, epochs=epochs, batch_size=50, lr=4e-3, progress=False,
            weight_scale="max", validation_repeats=1, checkpoint_dir=checkpoints, resume=resume,
        )  # fmt: skip
    return [dense.weight.detach().clone() for dense, _ in net.blocks]


def started(*arguments: str) -> subprocess.Popen[str]:
    """A Python process of its own."""
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def killed(process: subprocess.Popen[str]) -> None:
    """kill -9."""
    process.kill()
    process.communicate()


def served(link: Path) -> subprocess.Popen[str]:
    """``hwloop serve`` on a pseudo-terminal that ``link`` leads to; returns once it is there."""
    process = started("-m", "hwloop", "serve", "--target", "emulator:3", "--port", f"pty:{link}")
    assert process.stdout is not None
    assert process.stdout.readline() == f"serial:{link}\n"
    return process


def over_the_line(
    folder: Path, epochs: int, query: str = "", *, kill_board: float = math.inf, kill_host: float = math.inf
) -> tuple[list[torch.Tensor], int, int]:
    """Final weights, and how often board and host were killed, each so many seconds after its start."""
    link, out = folder / "board", folder / "weights"
    url = f"faulty://{link}?{query}" if query else str(link)
    host_arguments = ("-c", HOST, url, str(folder / "run"), str(out), str(epochs))
    boards = hosts = 0
    give_up = time.monotonic() + PATIENCE * epochs
    board = served(link)
    host, board_from, host_from = started(*host_arguments), time.monotonic(), time.monotonic()
    try:
        while host.poll() is None:
            now = time.monotonic()
            assert now < give_up, f"not done after {boards} restarts of the board and {hosts} of the host"
            if now - board_from > kill_board:
                killed(board)
                boards, board, board_from = boards + 1, served(link), time.monotonic()
            if now - host_from > kill_host:
                killed(host)
                hosts, host, host_from = hosts + 1, started(*host_arguments), time.monotonic()
            time.sleep(0.05)
        assert host.returncode == 0
    finally:
        killed(host)
        killed(board)
    return torch.load(out), boards, hosts


@pytest.fixture(scope="module")
def epochs() -> int:
    return rounds_of(*EPOCHS)


@pytest.fixture(scope="module")
def expected(epochs: int) -> list[torch.Tensor]:
    return tuned(hl.open("emulator:3", session=5), epochs)


def check(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for weight, other in zip(found, expected, strict=True):
        assert torch.equal(weight, other)


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "flip=1e-3&seed=2"], ids=["no faults", "byte faults 1e-3"])
def test_over_a_pseudo_terminal(query: str, epochs: int, expected: list[torch.Tensor], tmp_path: Path) -> None:
    found, _, _ = over_the_line(tmp_path, epochs, query)
    check(found, expected)


@pytest.mark.slow
def test_while_the_board_is_killed_every_20_s(epochs: int, expected: list[torch.Tensor], tmp_path: Path) -> None:
    found, boards, _ = over_the_line(tmp_path, epochs, kill_board=BOARD_EVERY)
    assert boards > 0
    check(found, expected)


@pytest.mark.slow
def test_while_the_host_is_killed_and_goes_on(epochs: int, expected: list[torch.Tensor], tmp_path: Path) -> None:
    found, _, hosts = over_the_line(tmp_path, epochs, kill_host=HOST_AFTER)
    assert hosts > 0
    check(found, expected)


@pytest.mark.slow
def test_while_both_are_killed_on_a_line_that_flips_bits(
    epochs: int, expected: list[torch.Tensor], tmp_path: Path
) -> None:
    found, boards, hosts = over_the_line(
        tmp_path, epochs, "flip=1e-3&seed=3", kill_board=BOARD_EVERY, kill_host=HOST_AFTER
    )
    assert boards > 0
    assert hosts > 0
    check(found, expected)
