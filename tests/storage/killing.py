"""Processes that are killed within a save: at every point of it, before and after each thing it does, or at any time."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hwloop import storage
from hwloop.session_log import records

#: Exit status of a child that was killed at a point.
KILLED = 9
#: What a save does, by where its name is looked up; each is a point before and one after, ``write`` also one within.
POINTS: tuple[tuple[Any, str], ...] = (
    (os, "fsync"), (os, "replace"), (os, "unlink"), (os, "mkdir"), (os, "ftruncate"), (os, "write"), (storage, "sync_folder"),
    (Path, "unlink"), (Path, "open"), (Path, "mkdir"), (records, "encode_record"),
)  # fmt: skip
#: More than any save has.
MOST = 200


def killed_at_points(job: Callable[[], object], prepare: Callable[[], object]) -> Iterator[str]:
    """Run ``job`` in a fork once for every point, killed there; the name of each, after ``prepare()`` and the kill."""
    for n in range(MOST):
        prepare()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _until(n, job, writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            name = pipe.read().decode()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            return
        assert status == KILLED, f"the job failed before point {n}: {status} {name}"
        yield name
    raise AssertionError(f"a save has more than {MOST} points")


def _until(n: int, job: Callable[[], object], report: int) -> None:
    seen = 0

    def point(name: str) -> None:
        nonlocal seen
        if seen == n:
            _real_write(report, name.encode())
            os._exit(KILLED)
        seen += 1

    def watched(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "open" and not set("wax+") & set(kwargs.get("mode", args[1] if len(args) > 1 else "r")):
                return real(*args, **kwargs)  # reads alone, every installed package's metadata among them
            point(f"before {name}")
            if name == "write" and len(args) > 1 and len(args[1]) > 1:
                _real_write(args[0], bytes(args[1])[: len(args[1]) // 2])
                point("within write")
                os.lseek(args[0], -(len(args[1]) // 2), os.SEEK_CUR)
            result = real(*args, **kwargs)
            point(f"after {name}")
            return result

        return call

    try:
        for owner, name in POINTS:
            setattr(owner, name, watched(getattr(owner, name), name))
        job()
        os._exit(0)
    except BaseException:
        import traceback

        _real_write(report, traceback.format_exc().encode())
    os._exit(1)


_real_write = os.write


def killed_at_random(job: Callable[[int], object], times: int, longest: float, seed: int) -> Iterator[int]:
    """Fork, let ``job(k)`` run for k = 1, 2, ... without end, kill -9 after up to ``longest`` s; ``times`` times over."""
    chance = random.Random(seed)
    for number in range(times):
        child = os.fork()
        if child == 0:
            try:
                k = number * 1_000
                while True:
                    k += 1
                    job(k)
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == -signal.SIGKILL, f"the job failed: {status}"
        yield number
