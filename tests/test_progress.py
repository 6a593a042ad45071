from __future__ import annotations

import subprocess
import sys

import pytest

from hwloop.progress import LONGEST_SILENCE, EpochProgress, duration, lines_to


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_epoch_is_a_line_with_what_is_left() -> None:
    said: list[str] = []
    clock = Clock()
    with lines_to(said.append):
        bar = EpochProgress(4, 10, 1, None, clock)
    for number in (2, 3, 4):
        clock.now += 30
        bar.advance(10)
        bar.epoch_done(number, "loss 1")
    assert [line for line in said if "loss" in line] == [
        "epoch 2 of 4: loss 1; about 60 s left",
        "epoch 3 of 4: loss 1; about 30 s left",
        "epoch 4 of 4: loss 1; done",
    ]


def test_a_long_epoch_says_how_far_it_is() -> None:
    said: list[str] = []
    clock = Clock()
    with lines_to(said.append):
        bar = EpochProgress(2, 100, 0, None, clock)
    for _ in range(100):
        clock.now += 1
        bar.advance(1)
    assert len(said) == int(100 // (LONGEST_SILENCE + 1))
    assert said[0] == "epoch 1 of 2: 16 % of it trained; about 3 min left"


def test_the_time_that_kernels_were_compiled_in_is_not_expected_again() -> None:
    said: list[str] = []
    clock, compiled = Clock(), Clock()
    with lines_to(said.append):
        bar = EpochProgress(3, 10, 0, None, clock, compiled)
    clock.now, compiled.now = clock.now + 130, compiled.now + 100
    bar.advance(10)
    bar.epoch_done(1, "loss 1")
    assert said[-1] == "epoch 1 of 3: loss 1; about 60 s left"


def test_nothing_is_said_where_nobody_asked_or_progress_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    EpochProgress(1, 1).epoch_done(1, "x")
    with lines_to(said.append):
        EpochProgress(1, 1, progress=False).epoch_done(1, "x")
    assert said == []
    assert capsys.readouterr() == ("", "")


def test_durations_are_said_as_a_person_does() -> None:
    assert [duration(s) for s in (0.4, 99, 600, 9000)] == ["0 s", "99 s", "10 min", "2.5 h"]


def test_the_first_kernel_that_is_compiled_is_announced_once() -> None:
    code = """
from numba import njit
from hwloop.progress import announce_compilation, compiling, lines_to
import time
begun = time.monotonic()
announce_compilation()
with lines_to(print):
    njit(lambda x: x + 1)(1)
    once = compiling()
    njit(lambda x: x + 2)(1)
print("counted", 0 < once < compiling() <= time.monotonic() - begun)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("compiling kernels") == 1
    assert "counted True" in done.stdout
