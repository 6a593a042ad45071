"""Threads: torch's kept to one where its work is small, and the kernels' own, which are spread over a batch.

torch's threads wait for each other actively. Where others use the cores as well, each of its small operations then
waits for a thread that does not run, and the waiting itself takes the time of one more core. Threads of the kernels
sleep while there is nothing to do. So :func:`one_thread` takes torch's away for as long as a loop of small operations
runs, and :func:`kernel_threads` remembers how many the user gave.

Importing this module changes nothing. A forked child has none of its parent's threads: the kernels start theirs anew,
and torch, whose next parallel operation would wait for ever, is set to one thread by the first simulation there.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

import torch

_log = logging.getLogger(__name__)


class _Here(threading.local):
    """What holds in the current thread: torch's threads outside of :func:`one_thread`, None where it is not entered."""

    outside: int | None = None


class _Process:
    """What holds in the whole process, and not in a fork of it."""

    def __init__(self, forked: bool = False) -> None:
        self.forked = forked
        self.entering = threading.Lock()  # one at a time changes and restores what new threads get


_here = _Here()
_process = _Process()


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's operations of this thread on one thread; the kernels keep theirs.

    For a loop (entering takes some 0.2 ms), not for a single operation. It may be nested, and entered in several threads
    at once: what torch uses in others, and in those that begin meanwhile, stays as it is (but for one that first uses
    torch within the .2 ms of entering: torch can be told of one thread only by telling new ones, too, and that is taken
    back at once). At the end, also after an error, the number from before is back, unless the loop has set another itself.
    """
    if _here.outside is not None:
        yield
        return
    with _process.entering:  # also for the number itself: a thread is told it when it first asks
        before = torch.get_num_threads()
    if before == 1:
        yield
        return
    default, told, owner = before, False, os.getpid()
    _here.outside = before
    try:
        with _process.entering:
            default = _in_new_thread(torch.get_num_threads)
            torch.set_num_threads(1)
            _in_new_thread(lambda: torch.set_num_threads(default))
            told = True
        yield
    finally:
        _here.outside = None
        if torch.get_num_threads() == 1 and os.getpid() == owner:  # a forked child stays with one
            _give_back(before, None if told else default)


def _give_back(before: int, default: int | None) -> None:
    """Set torch to ``before`` threads here; new ones get ``default``, or what they get already where that is None."""
    with _process.entering:
        default = default or _in_new_thread(torch.get_num_threads)
        torch.set_num_threads(before)
        if default != before:
            _in_new_thread(lambda: torch.set_num_threads(default))


def _in_new_thread(call: Callable[[], int | None]) -> int:
    """``call()`` in a thread of its own: torch keeps a number for each thread and one that new threads begin with."""
    found: list[int | None] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0] or 1


def kernel_threads() -> int:
    """Threads that kernels may use: what the user gave torch, at most the cores that this process may use."""
    asked = torch.get_num_threads()
    if asked == 1 and _here.outside is not None:
        asked = _here.outside
    return asked if asked == 1 else min(asked, cores())


@cache
def cores() -> int:
    """Cores that this process may use: its affinity and the quota of its container count."""
    from joblib import cpu_count  # .3 s to import

    return int(cpu_count())


def spread(work: Callable[[int, int], None], batch: int, operations: int, least: int) -> None:
    """Run ``work(lo, hi)`` over ``batch`` samples in equal ranges: one a thread, each of ``least`` operations or more.

    The ranges depend on the number of threads alone. One that no thread has begun when the first is done is run here:
    on a busy machine a thread may be long in coming.
    """
    begin()
    n = min(batch, 1 + operations // least)
    n = min(n, kernel_threads()) if n > 1 else 1
    if n == 1:
        work(0, batch)
        return
    edges = [batch * k // n for k in range(n + 1)]
    futures = [_pool().submit(work, edges[k], edges[k + 1]) for k in range(1, n)]
    try:
        work(edges[0], edges[1])
        for k in range(n - 1, 0, -1):
            if futures[k - 1].cancel():
                work(edges[k], edges[k + 1])
    finally:
        results = [future.exception() for future in futures if not future.cancelled()]
    for error in results:
        if error is not None:
            raise error


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(1, cores() - 1), thread_name_prefix="hwloop")


def begin() -> None:
    """To be called before torch's or the kernels' work: in a forked child it takes torch's threads away, once."""
    if _process.forked:
        _process.forked = False
        if torch.get_num_threads() > 1:
            torch.set_num_threads(1)
            _log.info("forked process: torch has one thread here, for those of the parent do not exist")


def _after_fork_in_child() -> None:
    global _process
    _process = _Process(forked=True)
    _here.outside = None
    _pool.cache_clear()
    cores.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
