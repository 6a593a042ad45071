"""One run of a board at a time, beside the answers to its host."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from hwloop.errors import HwloopError

from ..messages import WRAPS, Code, State
from .model import Answer, Refusal

#: Told to run a function, now or beside the caller; returns what waits for its end.
Spawn = Callable[[Callable[[], None]], Callable[[], None]]
#: Longest text of a failure (bytes).
MOST_TEXT = 4000


def in_thread(work: Callable[[], None]) -> Callable[[], None]:
    """Run ``work`` in a thread of its own, which does not keep the process alive."""
    thread = threading.Thread(target=work, name="hwloop board run", daemon=True)
    thread.start()
    return thread.join


def at_once(work: Callable[[], None]) -> Callable[[], None]:
    """Run ``work`` before anything else: deterministic."""
    work()
    return lambda: None


@dataclass
class Runs:
    """The last run: its number, state, and what it brought."""

    spawn: Spawn
    run_id: int = 0
    state: State = State.NONE
    error: int = 0
    text: bytes = b""
    samples_done: int = 0
    output: bytes = b""
    crc: int = 0
    lost: int = 0
    late: int = 0
    flags: int = 0

    def __post_init__(self) -> None:
        self._wait: Callable[[], None] = lambda: None
        self._at_work = False
        self._number = 0
        self._lock = threading.Lock()

    @property
    def at_work(self) -> bool:
        """Whether a run is in progress, or one that was ended still holds the device."""
        return self._at_work

    def begin(self, run_id: int, samples: int, work: Callable[[], Answer]) -> None:
        """Run ``work``; the state tells when it is done."""
        self.forget()
        self.run_id, self.state = run_id, State.RUNNING
        self._at_work, number = True, self._number

        def run() -> None:
            try:
                found = self._outcome(work)
            finally:
                self._at_work = False  # before the state says so: the host's next request may come at once
            with self._lock:
                if number == self._number:
                    self._take(found, samples)

        self._wait = self.spawn(run)

    def _outcome(self, work: Callable[[], Answer]) -> Answer | Refusal:
        try:
            return work()
        except Refusal as refusal:
            return refusal
        except (HwloopError, ArithmeticError, LookupError, ValueError, TypeError, MemoryError, RuntimeError) as error:
            # whatever the target raises is its answer: the host is told
            return Refusal(Code.FAILED, text=f"{error}" or type(error).__name__)

    def _take(self, found: Answer | Refusal, samples: int) -> None:
        if isinstance(found, Refusal):
            self.error, self.text = found.code, found.text.encode()[:MOST_TEXT]
            self.samples_done = found.detail if found.code == Code.OVERFLOW else 0
            self.state = State.FAILED  # last: who sees it finds all the rest
            return
        self.output, self.lost, self.late = found.output, found.lost, found.late
        self.crc, self.samples_done = zlib.crc32(found.output), samples
        self.flags = WRAPS if found.wraps else 0
        self.state = State.DONE

    def end(self) -> None:
        """End a run in progress: what it brings is not looked at."""
        with self._lock:
            self._number += 1
            if self.state is State.RUNNING:
                self.state, self.error = State.FAILED, Code.ABORTED

    def wait(self) -> None:
        """Return once nothing runs."""
        self._wait()

    def forget(self) -> None:
        """No run yet."""
        self._number += 1
        self.run_id, self.state, self.error, self.text = 0, State.NONE, 0, b""
        self.samples_done, self.output, self.crc, self.lost, self.late, self.flags = 0, b"", 0, 0, 0, 0
