"""Independent calls side by side: processes of one thread each, on all cores.

Processes are started afresh, not forked: a fork would copy locks and thread pools in whatever state they are. What a
call returns depends on its arguments alone, so that it is the same in one process or in many.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, Generic, ParamSpec, TypeVar

from .errors import HwloopError, InputError
from .progress import Tell, announce_compilation, lines_to, say_lines

P = ParamSpec("P")
R = TypeVar("R")

#: Threads of every numerical library in a worker.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
#: How often lines of progress are fetched, and a worker looks whether its parent still lives (s).
POLL = 0.1
#: Calls that are begun ahead, for each process: enough that none waits.
AHEAD = 2


def how_many(jobs: int, most: int | None = None) -> int:
    """Processes for ``jobs`` (-1: one a core that this process may use), at most ``most``.

    Raises :class:`InputError` for 0 or less than -1.
    """
    from joblib import cpu_count

    from .arguments import whole  # imports torch, which not every command needs

    try:
        found = whole("jobs", jobs, -1)
    except InputError:
        found = 0
    if found == 0:
        raise InputError(f"jobs = {jobs!r}; allowed: -1 (one a core), or a whole number >= 1")
    found = int(cpu_count()) if found == -1 else found
    return found if most is None else max(1, min(found, most))


class Workers:
    """Runs calls in ``jobs`` processes, or in this one where there is no pool. Made by :func:`workers`."""

    def __init__(self, pool: Any | None, jobs: int, tell: Tell) -> None:
        self._pool, self._jobs, self._tell = pool, jobs, tell

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Begin ``function(*args, **kwargs)`` as soon as a process is free; in this process: at once."""
        if self._pool is not None:
            return Call(self._pool.submit(function, *args, **kwargs))
        future: Future[R] = Future()
        with lines_to(self._tell):
            future.set_result(function(*args, **kwargs))
        return Call(future)

    def each(self, function: Callable[..., R], arguments: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """``function(*one)`` for every one of ``arguments``, in the order in which they are finished.

        Few are begun ahead: what one returns is handed on before all are done.
        """
        if self._pool is None:
            for one in arguments:
                yield self.submit(function, *one).result()
            return
        left = iter(arguments)
        running: dict[Future[R], Call[R]] = {}
        while True:
            for one in islice(left, AHEAD * self._jobs - len(running)):
                call = self.submit(function, *one)
                running[call.future] = call
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future).result()


class Call(Generic[R]):
    """A call under way."""

    def __init__(self, future: Future[R]) -> None:
        self.future = future

    def result(self) -> R:
        """What it returned; raises what it raised, or :class:`HwloopError` where its process died."""
        try:
            return self.future.result()
        except BrokenProcessPool as error:
            raise HwloopError(
                f"a worker process ended before its work did ({str(error).split('.')[0]}); was memory short? "
                "Run fewer side by side: --jobs 1, or jobs=1 in Python"
            ) from error


@contextmanager
def workers(jobs: int, tell: Tell = lambda line: None) -> Iterator[Workers]:
    """``jobs`` processes for the calls inside; whatever ends the block, they end with it.

    ``tell`` is given the lines of progress of all calls, in a thread of its own.
    """
    if jobs == 1:
        yield Workers(None, 1, tell)
        return
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.backend import get_context

    context = get_context("loky")
    lines, done = context.SimpleQueue(), threading.Event()
    pool = ProcessPoolExecutor(jobs, context=context, initializer=_begin, initargs=(lines, os.getpid()), env=ONE_THREAD)
    listener = threading.Thread(target=_listen, args=(lines, done, tell), daemon=True)
    listener.start()
    finished_well = False
    try:
        yield Workers(pool, jobs, tell)
        finished_well = True
    finally:
        # after an error or Ctrl-C nobody waits for what the others are at
        pool.shutdown(wait=True, kill_workers=not finished_well)
        done.set()
        listener.join()


def _listen(lines: Any, done: threading.Event, tell: Tell) -> None:
    while True:
        last = done.is_set()
        while not lines.empty():
            tell(lines.get())
        if last:
            return
        done.wait(POLL)


def _begin(lines: Any, parent: int) -> None:
    """Make a fresh process a worker: one thread, deaf to Ctrl-C (its parent ends it), gone with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    import torch

    torch.set_num_threads(1)
    say_lines(lines.put)
    announce_compilation()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)
