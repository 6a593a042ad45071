"""Several processes that train together: what they refuse, and what they then do as the message says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

import hwloop as hl
from hwloop.command.distributed_command import ranks_of, refuse_torchrun
from hwloop.ranks import JoinedRanks

from ..ranks.networks import fit, network, task
from ..ranks.test_processes import environment, free_port
from ..ranks.threads import together
from .support import refused

DATA = task(20)


def on_ranks(size: int, work: Any) -> Any:
    """What ``work(ranks)`` brings on the first of ``size`` ranks; its error is raised here."""
    first, *_ = together(size, work)
    if isinstance(first, Exception):
        raise first
    return first


def test_more_ranks_than_samples_become_fewer_or_get_larger_batches() -> None:
    def run(size: int, batch_size: int) -> None:
        on_ranks(size, lambda ranks: fit(network(), DATA, epochs=1, batch_size=batch_size, ranks=ranks))

    message = refused("begin_together", "allowed: at least one sample a rank in every full batch", lambda: run(3, 2))
    assert "batch_size >= 3" in message
    run(3, 3)
    run(2, 2)


def test_ranks_that_differ_are_given_the_same() -> None:
    def run(seeds: tuple[int, int]) -> None:
        def work(ranks: JoinedRanks) -> None:
            fit(network(), DATA, epochs=1, seed=seeds[ranks.rank], ranks=ranks)

        on_ranks(2, work)

    refused("agree", "give every rank the same network, data and options (seeds too)", lambda: run((0, 1)))
    run((1, 1))


def test_a_process_that_is_no_rank_is_one_with_what_torchrun_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> None:
        with hl.ranks.joined(20) as ranks:
            fit(network(), DATA, epochs=1, ranks=ranks)

    monkeypatch.delenv("RANK", raising=False)
    refused("_check_environment", "start it by torchrun", run)
    for name, value in environment(0, 1, free_port()).items():
        monkeypatch.setenv(name, value)
    run()
    assert not dist.is_initialized()


def test_a_command_that_torchrun_started_is_started_without_it_or_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    # `train --distributed` does not ask: tests/ranks/test_processes.py
    refused(
        "refuse_torchrun", "torchrun started `hwloop {}` {} times, and it {}; {}", lambda: refuse_torchrun("finetune")
    )
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    refuse_torchrun("finetune")


def test_a_deadline_goes_with_distributed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(distributed: bool, deadline: float | None) -> None:
        with ranks_of(distributed, deadline, tmp_path):
            pass

    refused("ranks_of", "without --distributed; leave it out, or add --distributed", lambda: run(False, 5.0))
    run(False, None)
    for name, value in environment(0, 1, free_port()).items():
        monkeypatch.setenv(name, value)
    run(True, 5.0)
