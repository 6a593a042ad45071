"""torch's threads are taken away for a while and given back; forked processes start threads of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hwloop.simulate import threads
from hwloop.simulate.threads import kernel_threads, one_thread, spread

#: Nothing here takes more than seconds, but on a busy machine (s).
DEADLINE = 180.0

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _two_threads(_one_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)  # also where there is one
    torch.set_num_threads(2)


def in_thread(call: Callable[[], object]) -> object:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_torch_has_one_thread_inside_and_the_number_from_before_outside() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        assert kernel_threads() == 2
    assert torch.get_num_threads() == 2


def test_an_error_gives_the_threads_back() -> None:
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 2


def test_an_interruption_while_entering_gives_the_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threads._in_new_thread
    calls: list[int] = []

    def interrupted(call: Callable[[], int | None]) -> int:
        calls.append(0)
        if len(calls) == 2:  # torch has one thread here, and new threads would get it, too
            raise KeyboardInterrupt
        return told(call)

    monkeypatch.setattr(threads, "_in_new_thread", interrupted)
    with pytest.raises(KeyboardInterrupt), one_thread():
        raise AssertionError("it was entered")
    assert torch.get_num_threads() == 2
    assert in_thread(torch.get_num_threads) == 2
    assert kernel_threads() == 2


def test_nested_it_ends_with_the_outermost() -> None:
    with one_thread():
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
        assert kernel_threads() == 2
    assert torch.get_num_threads() == 2


def test_threads_that_begin_meanwhile_get_what_they_would_have_got() -> None:
    with one_thread():
        assert in_thread(torch.get_num_threads) == 2
    assert in_thread(torch.get_num_threads) == 2


def test_several_threads_enter_and_leave_in_any_order() -> None:
    inside, leave = threading.Barrier(3), [threading.Event(), threading.Event()]
    found: list[int] = []

    def work(number: int) -> None:
        with one_thread():
            inside.wait(DEADLINE)
            leave[number].wait(DEADLINE)
            found.append(torch.get_num_threads())
        found.append(torch.get_num_threads())

    running = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in running:
        thread.start()
    inside.wait(DEADLINE)
    assert torch.get_num_threads() == 2, "the thread that did not enter"
    for number in (1, 0):
        leave[number].set()
        running[number].join(DEADLINE)
    assert found == [1, 2, 1, 2]
    assert in_thread(torch.get_num_threads) == 2


def test_a_number_that_the_loop_sets_itself_stays() -> None:
    with one_thread():
        torch.set_num_threads(3)
    assert torch.get_num_threads() == 3


def test_one_thread_of_the_user_stays_one_for_kernels_too() -> None:
    torch.set_num_threads(1)
    with one_thread():
        assert kernel_threads() == 1
    assert torch.get_num_threads() == 1


def test_kernels_use_no_more_threads_than_cores() -> None:
    torch.set_num_threads(64)
    assert kernel_threads() == 2


def test_cores_are_those_that_the_process_may_use() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from hwloop.simulate.threads import cores; print(cores())"
    assert run_python(code).strip() == "1"


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS"])
def test_threads_of_the_environment_bound_those_of_kernels(variable: str) -> None:
    code = "from hwloop.simulate.threads import kernel_threads; print(kernel_threads())"
    assert run_python(code, **{variable: "1"}).strip() == "1"


def test_every_sample_is_worked_on_once() -> None:
    seen = np.zeros(7, int)

    def work(lo: int, hi: int) -> None:
        seen[lo:hi] += 1

    spread(work, 7, 100, 1)
    assert seen.tolist() == [1] * 7


def test_a_range_whose_thread_does_not_come_is_run_by_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    pool = threads._pool()
    busy = [pool.submit(release.wait, DEADLINE) for _ in range(pool._max_workers)]
    ran: list[tuple[int, int, str]] = []
    spread(lambda lo, hi: ran.append((lo, hi, threading.current_thread().name)), 4, 100, 1)
    release.set()
    assert [future.result() for future in busy] == [True] * len(busy)
    assert [part[:2] for part in ran] == [(0, 2), (2, 4)]
    assert {part[2] for part in ran} == {threading.current_thread().name}


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_any_range_arrives(failing: int) -> None:
    def work(lo: int, hi: int) -> None:
        if lo == 2 * failing:
            raise KeyError(lo)

    with pytest.raises(KeyError):
        spread(work, 4, 100, 1)


FORK = """
import os, sys, threading
import torch
import hwloop as hl
from hwloop.simulate import cpu, threads

torch.set_num_threads(2)
threads.cores = lambda: 2
cpu.PARALLEL_WORK = 1
generator = torch.Generator().manual_seed(0)
net = hl.Network([hl.Dense(5, 40, generator=generator), hl.LIF(40, 10e-3, 5e-3)])
spikes = hl.Spikes.from_first_times(torch.rand(64, 5, generator=generator) * 10e-3, 30e-3)


def gradient():
    net.zero_grad()
    record = net(spikes)
    torch.where(record.output.valid, record.output.times, 0.0).sum().backward()
    return net.blocks[0][0].weight.grad.clone()


def large():  # spread over torch's threads
    return torch.rand(1 << 22).exp().sum().item() > 0


expected = gradient()
assert any(t.name.startswith("hwloop") for t in threading.enumerate()), "no thread was started"
assert large()
{fork}
"""

BARE = """
child = os.fork()
if child == 0:
    torch.set_num_threads({threads})
    same = torch.allclose(gradient(), expected, rtol=1e-5) and ({threads} > 1 or large())
    os._exit(0 if same else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

LATER = """
child = os.fork()
if child == 0:
    same = torch.allclose(gradient(), expected, rtol=1e-5) and large()
    os._exit(0 if same else 3)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert torch.equal(gradient(), expected) and torch.get_num_threads() == 2
print(status)
"""

INSIDE = """
with threads.one_thread():
    child = os.fork()
    if child == 0:
        same = torch.allclose(gradient(), expected, rtol=1e-5) and large()
        os._exit(0 if same else 3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

LEFT = """
with threads.one_thread():
    child = os.fork()
if child == 0:  # torch's threads are its parent's
    same = torch.get_num_threads() == 1 and torch.allclose(gradient(), expected, rtol=1e-5) and large()
    os._exit(0 if same else 3)
assert torch.get_num_threads() == 2
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

LOADER = """
class Simulated(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return net(spikes).output.counts.sum()


context = torch.multiprocessing.get_context("fork")
found = list(torch.utils.data.DataLoader(Simulated(), num_workers=2, multiprocessing_context=context))
print(int(sum(found) != 4 * net(spikes).output.counts.sum()))
"""


def run_python(code: str, **environment: str) -> str:
    paths = os.pathsep.join([str(ROOT), *(str(ROOT / part) for part in ("backends", "calibration"))])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], capture_output=True, text=True, timeout=DEADLINE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([paths, os.environ.get("PYTHONPATH", "")]), **environment}, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize(
    "fork",
    [BARE.format(threads=2), BARE.format(threads=1), LATER, INSIDE, LEFT, LOADER],
    ids=[
        "with two threads",
        "with one thread",
        "with the parent's threads",
        "inside one_thread",
        "and leaves it",
        "DataLoader",
    ],
)
def test_a_forked_child_simulates_as_its_parent_did(fork: str) -> None:
    assert run_python(FORK.format(fork=fork)).strip() == "0"
