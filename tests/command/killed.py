"""A process that is killed before the n-th thing it does to a file system: no handler runs, no file is closed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Exit status of a child that was killed; 0: it came to its end first.
KILLED = 9
#: Audit events of what changes a folder; opening counts where it writes.
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree", "shutil.copyfile")
#: More than any of the jobs does.
MOST = 400


def kills(job: Callable[[Path], object], fresh: Callable[[int], Path], every: int = 1) -> Iterator[Path]:
    """Run ``job`` on ``fresh(n)`` killed before its n-th change, n = 1, 1 + every, ...; each folder as it was left."""
    for n in range(1, MOST, every):
        folder = fresh(n)
        child = os.fork()
        if child == 0:
            _killed_at(n, lambda folder=folder: job(folder))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, KILLED), f"the job failed before its change {n}: status {status}"
        yield folder
        if status == 0:
            return
    raise AssertionError(f"the job makes more than {MOST} changes")


def _killed_at(n: int, job: Callable[[], object]) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or opened) and "__pycache__" not in str(arguments[0]):
            seen += 1
            if seen == n:
                os._exit(KILLED)

    try:
        sys.addaudithook(hook)
        job()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
    os._exit(1)


def fresh_copies(original: Path, folder: Path) -> Callable[[int], Path]:
    """Copies of ``original`` in ``folder``, one for every kill."""

    def fresh(n: int) -> Path:
        shutil.copytree(original, folder / str(n))
        return folder / str(n)

    return fresh
