"""Who is a rank, what else torchrun may start, and the command as one of several processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist

import hwloop as hl
from hwloop.errors import InputError, RankError
from hwloop.ranks import JoinedRanks
from hwloop.ranks import roll as roll_module
from hwloop.ranks.roll import Roll

from ..cli_runs import TINY, content, done, file_of, refused
from .networks import fit, network, task, values
from .test_processes import environment, free_port


@pytest.fixture
def one_rank(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment that torchrun gives to a process that it starts once."""
    for name, value in environment(0, 1, free_port()).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    yield
    assert not dist.is_initialized()  # what joined() began it ended


def test_without_torchrun_there_are_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match=r"RANK.* not set: .* start it by torchrun"), hl.ranks.joined():
        pass


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf"), "soon"])
def test_a_deadline_is_a_time(deadline: object) -> None:
    with pytest.raises(InputError, match=r"deadline = .*finite and > 0"), hl.ranks.joined(deadline):  # type: ignore[arg-type]
        pass


def test_ranks_that_do_not_come_are_missed_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(0, 2, free_port()).items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(RankError, match=r"did not find each other at 127\.0\.0\.1:\d+ within 1 s"),
        hl.ranks.joined(1.0),
    ):
        pass


def test_a_process_group_that_is_there_is_used_and_left(one_rank: None) -> None:
    dist.init_process_group("gloo")
    try:
        for _ in range(2):  # one run after the other
            with hl.ranks.joined() as ranks:
                assert (ranks.rank, ranks.size, ranks.first) == (0, 1, True)
                assert fit(network(), task(25), epochs=1, ranks=ranks).best_epoch == 1
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_an_error_leaves_the_block_as_it_is(one_rank: None) -> None:
    with pytest.raises(ZeroDivisionError), hl.ranks.joined():
        1 / 0  # noqa: B018


def test_a_rank_alone_has_the_weights_of_a_process_alone(one_rank: None) -> None:
    alone, joined = network(), network()
    fit(alone, task())
    with hl.ranks.joined() as ranks:
        fit(joined, task(), ranks=ranks)
    assert bool((values(alone) == values(joined)).all())


def test_a_rank_that_works_is_not_missing_and_one_that_ended_says_why() -> None:
    store = dist.HashStore()
    rolls = [Roll(store, rank, 3) for rank in range(3)]
    assert rolls[0].missing(3.0) == ""
    rolls[1].end("InputError: no such label")
    rolls[2].end("RankError: rank 1 has failed")  # because of the other, which is known
    found = rolls[0].missing(3.0)
    assert "rank 1" in found
    assert "has failed: InputError: no such label" in found
    assert "rank 2" not in found
    rolls[0].end("")


def test_nobody_is_waited_for_who_is_known_to_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dist.HashStore()
    rolls = [Roll(store, rank, 2) for rank in range(2)]
    assert "hwloop-roll" in {thread.name for thread in threading.enumerate()}  # found by its name where a process hangs
    rolls[1].end("InputError: no such label")
    slept: list[float] = []
    monkeypatch.setattr(roll_module.time, "sleep", slept.append)
    assert "no such label" in rolls[0].missing(0.5)
    assert len(slept) == 1
    rolls[0].end("")


def test_a_rank_that_stands_still_is_missing() -> None:
    store = dist.HashStore()
    rolls = [Roll(store, rank, 2) for rank in range(2)]
    rolls[1]._ended.set()  # it counts no more, and has left no note
    rolls[1]._thread.join()
    assert "rank 1" in (found := rolls[0].missing(1.0))
    assert "no longer answers" in found
    rolls[0].end("")


def test_a_rank_that_never_came_is_named() -> None:
    store = dist.HashStore()
    rolls = [Roll(store, rank, 3) for rank in (0, 2)]
    assert rolls[0].missing(1.0) == "rank 1 of 3 has not come"
    for roll in rolls:
        roll.end("")


def test_a_rank_that_has_left_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from .threads import together

    def work(ranks: JoinedRanks) -> None:
        for _ in range(2 if ranks.first else 1):
            ranks.wait()

    first, second = together(2, work)
    assert second is None
    assert isinstance(first, RankError)
    assert "rank 1" in str(first)
    assert "has left, its work done" in str(first)


# -- the command ----------------------------------------------------------------------------------


def test_train_as_the_only_rank_writes_the_run_of_train(
    one_rank: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = file_of(tmp_path, TINY)
    done("train", experiment, "--distributed", "--deadline", 20, "--out", tmp_path / "ranks")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    done("train", experiment, "--out", tmp_path / "alone")
    networks = [
        {name: data for name, data in content(tmp_path / run / "network").items() if name.endswith("safetensors")}
        for run in ("ranks", "alone")
    ]
    assert networks[0] == networks[1]


def test_distributed_needs_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    out = tmp_path / "out"
    refused(2, r"RANK.*start it by torchrun", "train", file_of(tmp_path, TINY), "--distributed", "--out", out)
    assert not out.exists()
    refused(2, r"--deadline 5 without --distributed", "train", file_of(tmp_path, TINY), "--deadline", 5, "--out", out)


@pytest.mark.parametrize(
    "command, remedy",
    [
        ("train", "add --distributed"),
        ("finetune", "drives one device; start it without torchrun"),
        ("demo", "runs in one process"),
    ],
)
def test_torchrun_starts_nothing_else_twice(
    command: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    arguments = [tmp_path] if command == "finetune" else []
    refused(
        2, rf"torchrun started `hwloop {command}` 2 times.*{remedy}", command, *arguments, "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()
