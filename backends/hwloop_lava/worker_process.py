"""The worker as the host sees it: started, asked, and ended, each within a deadline.

The worker leads a session and process group of its own. It is ended by SIGTERM to the group, a wait, then SIGKILL, and
afterwards nothing of it is left: no process, no shared memory, no temporary folder. That holds for an error, a
deadline, Ctrl-C and the end of the host alike; the next request starts a new worker.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from hwloop.errors import TargetError

from .worker import protocol
from .worker.guard import remove_shared_memory
from .worker.protocol import Message, ProtocolError

WORKER = Path(__file__).with_name("worker")

#: What a worker does first; its deadline is not that of the option.
TO_BE_READY = "to be ready"
#: Longest time from start to ready (s): importing Lava takes .3 s, and ten times that on a busy machine.
START_DEADLINE = 60.0
#: Longest silence of a worker that has been asked something (s); it speaks every few ticks.
SILENCE_DEADLINE = 60.0
#: Time that the group has between SIGTERM and SIGKILL, and after it to disappear (s).
GRACE = 2.0
#: Time between two looks at a worker that says nothing (s).
POLL = 0.1
#: Largest part of the worker's log in a message (bytes).
MAX_LOG = 2000
#: Longest folder for temporary files (characters): the names of Lava's sockets in it must fit into 108.
MAX_TEMPORARY = 60


class Worker:
    """One worker process, ready for requests.

    Parameters
    ----------
    python : interpreter of the private environment
    deadline : longest silence (s)
    command : what to start instead of the worker, for tests

    Raises
    ------
    TargetError
        It does not start, or is not ready in time; with what it wrote.
    """

    def __init__(
        self, python: Path, *, deadline: float = SILENCE_DEADLINE, start: float = START_DEADLINE,
        command: tuple[str, ...] | None = None,
    ) -> None:  # fmt: skip
        self._deadline = deadline
        self.token = f"hwlava-{os.getpid()}-{secrets.token_hex(4)}"
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._folder = _temporary_folder(self.token)
        self._log = self._folder / "log"
        theirs, self._requests = os.pipe()
        self._answers, theirs_too = os.pipe()
        for descriptor in (self._requests, self._answers):
            os.set_blocking(descriptor, False)
        arguments = (self.token, str(theirs), str(theirs_too))
        begun = command or (str(python), "-I", "-B", str(WORKER))
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [*begun, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    pass_fds=(theirs, theirs_too), cwd=self._folder, env=_environment(self._folder),
                )  # fmt: skip
        except BaseException as error:  # Ctrl-C too: nothing is left behind
            for descriptor in (self._requests, self._answers):
                os.close(descriptor)
            shutil.rmtree(self._folder, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise TargetError(
                f"the Lava worker does not start: {begun[0]}: {error.strerror or error}; "
                "build its environment anew: hwloop lava setup --force"
            ) from error
        finally:
            os.close(theirs)
            os.close(theirs_too)
        # also when nobody stops it: at the end of the host, or when the object is gone
        self._end = weakref.finalize(
            self, _end, os.getpid(), self._process, self.token, self._folder, (self._requests, self._answers)
        )
        try:
            hello = self._receive(time.monotonic() + start, TO_BE_READY, start)
            if hello.kind != "hello":
                raise self._failure(hello)
            self.versions: dict[str, Any] = hello.fields
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Process, session and process group of the worker."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether this process can ask it: a fork of the one that started it has to start a worker of its own."""
        return self._owner == os.getpid() and self._end.alive and self._process.poll() is None

    def stop(self) -> None:
        """End the worker and everything it started; twice is allowed."""
        self._end()

    def ask(self, message: Message) -> Message:
        """Its answer to ``message``. Signs of life in between only move the deadline.

        Raises
        ------
        TargetError
            The request failed, or the worker died, was silent for too long, or answered with something else. It is
            ended then, as it is when anything else interrupts the wait, such as Ctrl-C.
        """
        if os.getpid() != self._owner:  # before the lock: another thread may have held it at the fork
            raise TargetError(
                f"the Lava worker {self.pid} belongs to process {self._owner}, of which this one is a fork; open the target here"
            )
        with self._lock:
            try:
                self._send(protocol.encode(message), time.monotonic() + self._deadline)
                while True:
                    answer = self._receive(time.monotonic() + self._deadline, "to go on", self._deadline)
                    if answer.kind == "failed":
                        raise self._failure(answer)
                    if answer.kind != "alive":
                        return answer
            except BaseException:
                self.stop()
                raise

    def _send(self, data: bytes, until: float) -> None:
        left = memoryview(data)
        while left:
            self._wait(self._requests, select.POLLOUT, until, "to take a request", self._deadline)
            try:
                left = left[os.write(self._requests, left) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._died() from None

    def _receive(self, until: float, what: str, deadline: float) -> Message:
        def read(n: int) -> bytes:
            parts, left = [], n
            while left:
                self._wait(self._answers, select.POLLIN, until, what, deadline)
                part = os.read(self._answers, min(left, 2**20))
                if not part:
                    raise self._died()
                parts.append(part)
                left -= len(part)
            return b"".join(parts)

        try:
            return protocol.receive(read)
        except ProtocolError as error:
            raise TargetError(
                f"the Lava worker sent {error}. It has been ended, and the next run starts a new one; where that "
                f"happens again, build its environment anew: hwloop lava setup --force{self._said()}"
            ) from None

    def _wait(self, descriptor: int, event: int, until: float, what: str, deadline: float) -> None:
        """Return once ``descriptor`` is ready; raise at the deadline, or when the worker is dead and has said all."""
        poll = select.poll()
        poll.register(descriptor, event)
        while True:
            dead = self._process.poll() is not None
            if poll.poll(1000 * max(0.0, min(POLL, until - time.monotonic()))):
                return
            if dead:
                raise self._died()
            if time.monotonic() >= until:
                todo = f"give it longer: open the target with deadline={2 * deadline:g}"
                if what == TO_BE_READY:
                    todo = "where that happens again, build its environment anew: hwloop lava setup --force"
                raise TargetError(
                    f"the Lava worker took more than {deadline:g} s {what}. It has been ended, and the next run starts a "
                    f"new one; {todo}{self._said()}"
                )

    def _died(self) -> TargetError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(POLL)
        status = self._process.poll()
        how = (
            "closed its pipe"
            if status is None
            else f"died of {_signal(-status)}"
            if status < 0
            else f"ended ({status})"
        )
        return TargetError(
            f"the Lava worker {how} in the middle of its work; the next run starts a new one. Memory, or a signal "
            f"from outside, are the usual causes{self._said()}"
        )

    def _failure(self, answer: Message) -> TargetError:
        reason = str(answer.fields.get("reason", f"answer of kind {answer.kind!r}"))
        return TargetError(
            f"the Lava worker failed: {_last_line(reason)}; the next run starts a new one. In full:\n{reason}"
        )

    def _said(self) -> str:
        """End of what it wrote to its standard outputs."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - MAX_LOG))
                text = log.read(MAX_LOG).decode(errors="replace").strip()
        except OSError:
            return ""
        return f"; its log ends:\n{text}" if text else ""


def _end(owner: int, process: subprocess.Popen[bytes], token: str, folder: Path, descriptors: tuple[int, int]) -> None:
    """End the group of ``process`` and remove what it leaves; a fork of the host that ends leaves it alone."""
    if os.getpid() != owner:
        return
    for descriptor in descriptors:
        os.close(descriptor)
    end_group(process)
    remove_shared_memory(token)
    shutil.rmtree(folder, ignore_errors=True)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End all processes of the group that ``process`` leads: SIGTERM, up to :data:`GRACE`, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        if _gone(process):
            return


def _gone(process: subprocess.Popen[bytes]) -> bool:
    """Whether no process of the group is left within :data:`GRACE`."""
    until = time.monotonic() + GRACE
    while members(process.pid):
        if time.monotonic() >= until:
            return False
        time.sleep(0.01)
    process.wait()
    return True


def members(group: int) -> list[int]:
    """Processes of a group that run; one that has ended and only waits to be reaped does not."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # pid (name, which may hold anything) state ppid pgrp ...
                state, _, in_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(in_group) == group and state not in "ZX":
                    found.append(int(entry.name))
    return found


def _temporary_folder(token: str) -> Path:
    base = tempfile.gettempdir()
    try:
        return Path(tempfile.mkdtemp(prefix=f"{token}-", dir=base if len(base) <= MAX_TEMPORARY else "/tmp"))
    except OSError as error:
        raise TargetError(
            f"no temporary folder for the Lava worker in {base}: {error.strerror or error}; free space there, or set "
            "TMPDIR to a folder that is writable"
        ) from error


def _environment(folder: Path) -> dict[str, str]:
    """Environment of the worker: its own temporary folder, and one thread a process, for Lava starts many."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "TMPDIR": str(folder)}


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "no reason given"
