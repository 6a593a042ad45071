from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from hwloop.errors import CompileError, HwloopError, InputError
from hwloop.progress import say
from hwloop.workers import AHEAD, how_many, workers


def threads(number: int) -> tuple[int, int, int, int]:
    import numba
    import torch

    say(f"call {number}")
    return number, os.getpid(), torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS


def refuse(limit: str) -> None:
    raise CompileError(limit, "value", "layer", "fix")


def test_calls_run_in_fresh_processes_of_one_thread_and_are_heard() -> None:
    said: list[str] = []
    with workers(2, said.append) as side:
        calls = [side.submit(threads, number) for number in range(4)]
        found = [call.result() for call in calls]
    assert [number for number, _, _, _ in found] == [0, 1, 2, 3]
    assert {(torch_threads, numba_threads) for _, _, torch_threads, numba_threads in found} == {(1, 1)}
    assert os.getpid() not in {pid for _, pid, _, _ in found}
    assert sorted(said) == [f"call {number}" for number in range(4)]
    assert not any(psutil.pid_exists(pid) for _, pid, _, _ in found)


def test_each_hands_on_what_is_finished_and_begins_few_ahead() -> None:
    begun: list[int] = []

    def numbers() -> Iterator[tuple[int]]:
        for number in range(20):
            begun.append(number)
            yield (number,)

    with workers(2) as side:
        results = side.each(abs, numbers())
        first = next(results)
        assert len(begun) <= 2 * AHEAD
        assert sorted([first, *results]) == list(range(20))
    begun.clear()
    with workers(1) as side:
        results = side.each(abs, numbers())
        assert (next(results), begun) == (0, [0])


def test_one_job_runs_here_and_is_heard_too() -> None:
    said: list[str] = []
    with workers(1, said.append) as side:
        assert side.submit(threads, 7).result()[:2] == (7, os.getpid())
    assert said == ["call 7"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_a_call_is_raised_as_it_was(jobs: int) -> None:
    with (
        pytest.raises(CompileError, match="layer: found value; the target allows 512.*fix") as caught,
        workers(jobs) as side,
    ):
        side.submit(refuse, "512").result()
    assert caught.value.limit == "512"


def test_a_process_that_dies_is_an_error_and_its_remedy_works() -> None:
    with pytest.raises(HwloopError, match="ended before its work did.*--jobs 1"), workers(2) as side:
        side.submit(os._exit, 3).result()
    with workers(1) as side:
        assert side.submit(len, "ab").result() == 2


def test_an_error_here_does_not_wait_for_the_others() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    def fail() -> None:
        with workers(2) as side:
            side.submit(time.sleep, 600.0)
            raise InputError("mine")

    with pytest.raises(InputError, match="mine"):  # not 600 s later: the call was ended
        fail()
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert not [child for child in left if "popen_loky" in " ".join(child.cmdline())]


@pytest.mark.parametrize(("jobs", "most", "found"), [(3, None, 3), (5, 2, 2), (2, 0, 1)])
def test_the_number_of_processes_is_what_was_asked_for_up_to_the_work(jobs: int, most: int | None, found: int) -> None:
    assert how_many(jobs, most) == found
    assert how_many(-1) >= 1
    assert how_many(np.int64(jobs), most) == found


@pytest.mark.parametrize("jobs", [0, -2, 1.5, True])
def test_other_numbers_of_processes_are_refused(jobs: int) -> None:
    with pytest.raises(InputError, match="allowed: -1 .*or a whole number >= 1"):
        how_many(jobs)


#: Starts two endless calls, says their processes, and waits.
ENDLESS = """
import os, sys, time
from hwloop.progress import say
from hwloop.workers import workers
def endless():
    import os, time
    from hwloop.progress import say
    say(str(os.getpid()))
    time.sleep(600)
if __name__ == "__main__":
    with workers(2, lambda line: print(line, flush=True)) as side:
        for call in [side.submit(endless), side.submit(endless)]:
            call.result()
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_ends_the_parent_ends_its_workers(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "endless.py")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        children = [psutil.Process(int(process.stdout.readline())) for _ in range(2)]
        process.send_signal(how)
        process.wait(timeout=60)
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert (len(gone), alive) == (2, [])
