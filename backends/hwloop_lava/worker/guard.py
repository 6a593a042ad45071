"""What makes the worker mortal: names for its shared memory, death with its parent, and a thread that watches.

Lava on its own waits for ever when one of its processes raises or dies, and leaves shared memory behind when it is
killed. Here an exception or a death in any process of the graph is reported at once; forked processes die with the
worker; the worker dies with its host; and everything in shared memory bears a name that the host knows and removes.
"""

from __future__ import annotations

import ctypes
import multiprocessing.connection
import multiprocessing.process
import multiprocessing.shared_memory
import os
import secrets
import select
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

#: Where Linux shows shared memory.
SHARED_MEMORY = Path("/dev/shm")
#: prctl(2): send this signal when the parent dies.
PR_SET_PDEATHSIG = 1
#: Time between two looks (s): what a fault costs at most before it is reported.
INTERVAL = 0.05
#: Longest report of an exception (bytes), written in one piece.
MAX_REPORT = select.PIPE_BUF


def name_shared_memory(token: str) -> None:
    """Let segments and semaphores of this process and its children be called ``token-...``.

    The names are private to the standard library, and the same in 3.10 to 3.13; the self-test of the environment fails
    where they are not.
    """
    module: Any = multiprocessing.shared_memory
    module._make_filename = lambda: f"/{token}-{secrets.token_hex(4)}"
    process: Any = multiprocessing.process.current_process()
    process._config["semprefix"] = f"/{token}"


def remove_shared_memory(token: str, folder: Path = SHARED_MEMORY) -> int:
    """Remove what is left under ``token``; returns how much that was."""
    found = [*folder.glob(f"{token}-*"), *folder.glob(f"sem.{token}-*")]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def remove_folder(token: str) -> None:
    """Remove this worker's temporary folder: the host's part, unless it is gone."""
    folder = os.environ.get("TMPDIR", "")
    if os.path.basename(folder).startswith(f"{token}-"):
        shutil.rmtree(folder, ignore_errors=True)


def die_with_parent() -> None:
    """Let every process that is forked from here on die as soon as its parent does."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    forking = [0]

    def before() -> None:
        forking[0] = os.getpid()

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != forking[0]:  # died between the fork and the line above
            os._exit(1)

    os.register_at_fork(before=before, after_in_child=in_child)


class Guard:
    """A thread that reports exceptions and deaths of Lava's processes, and ends the worker when the host is gone.

    Parameters
    ----------
    token : name of the shared memory
    host : descriptor whose other end the host holds open
    report : called once with what went wrong
    """

    def __init__(self, token: str, host: int, report: Callable[[str], None]) -> None:
        self._token, self._host, self._report = token, host, report
        self._faults, self._faults_of_children = os.pipe()
        self._actors: list[Any] = []
        self._busy = threading.Event()
        threading.Thread(target=self._watch, name="guard", daemon=True).start()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Inside, a host that disappears ends the worker."""
        self._busy.set()
        try:
            yield
        finally:
            self._busy.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside, the death of a process of the graph is a fault; outside, they end because they are told to."""
        self._actors = []
        try:
            yield
        finally:
            self._actors = []

    def supervise(self, process: Any) -> None:
        """Know every instance of ``process``, a class of Lava's, from its start, and what it raises before Lava does."""
        run, start, faults = process.run, process.start, self._faults_of_children

        def reporting_run(actor: Any) -> None:
            target = actor._target

            def reporting(*args: Any, **options: Any) -> Any:
                try:
                    return target(*args, **options)
                except BaseException:
                    os.write(faults, traceback.format_exc().encode()[-MAX_REPORT:])
                    raise

            actor._target = reporting
            run(actor)

        def registered_start(actor: Any) -> None:
            start(actor)
            self._actors.append(actor)

        process.run, process.start = reporting_run, registered_start

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._host, select.POLLHUP)
        poll.register(self._faults, select.POLLIN)
        while True:
            events = dict(poll.poll(1000 * INTERVAL))
            if self._faults in events:
                self._report(os.read(self._faults, MAX_REPORT).decode(errors="replace"))
                return
            if events.get(self._host, 0) & (select.POLLHUP | select.POLLERR):
                if not self._busy.wait(INTERVAL):
                    return  # the main thread sees the same and leaves
                self._die()
            if dead := self._dead():
                self._report(
                    f"{dead} of the graph died; too little memory, or a full {SHARED_MEMORY}, are the usual causes"
                )
                return

    def _dead(self) -> str:
        watched = self._actors
        with suppress(ValueError, OSError):  # closed meanwhile: the run has ended
            sentinels = [actor.sentinel for actor in list(watched)]
            ended = multiprocessing.connection.wait(sentinels, timeout=0) if sentinels else []
            if ended and self._actors is watched:
                return f"{len(ended)} of {len(sentinels)} processes"
        return ""

    def _die(self) -> None:
        """The host is gone: nobody else will clean up."""
        remove_shared_memory(self._token)
        remove_folder(self._token)
        # not SIGKILL: the tracker of shared memory ignores SIGTERM, and removes what is made at this very moment
        os.killpg(0, signal.SIGTERM)
