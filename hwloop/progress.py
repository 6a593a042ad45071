"""Progress of long work: a bar on a terminal; elsewhere silence, or lines where somebody asked for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

#: Told one line of progress.
Tell = Callable[[str], None]

#: Longest silence (s) within an epoch before a line says how far it has come.
LONGEST_SILENCE = 15.0

_lines: ContextVar[Tell | None] = ContextVar("hwloop_progress_lines", default=None)


@contextmanager
def lines_to(tell: Tell | None) -> Iterator[None]:
    """Where no bar is shown, ``tell`` is given a line for every epoch inside: what it brought and what is left."""
    token = _lines.set(tell)
    try:
        yield
    finally:
        _lines.reset(token)


def say_lines(tell: Tell) -> None:
    """As :func:`lines_to`, for the rest of this process."""
    _lines.set(tell)


def say(line: str) -> None:
    """Give a line to whoever listens; see :func:`lines_to`."""
    if (tell := _lines.get()) is not None:
        tell(line)


class _Compilation:
    """Time (s) that this process has spent compiling kernels; what is left to train does not take it again."""

    def __init__(self) -> None:
        self.seconds, self._depth, self._begun = 0.0, 0, 0.0

    def begin(self) -> None:
        """A kernel, or one inside another."""
        if not self._depth:
            self._begun = time.monotonic()
            if not self.seconds:
                say("compiling kernels, which later starts find ready: about 15 s")
        self._depth += 1

    def end(self) -> None:
        """It is compiled."""
        self._depth -= 1
        if not self._depth:
            self.seconds += time.monotonic() - self._begun


_compilation = _Compilation()


def compiling() -> float:
    """Seconds spent so far on compiling kernels, from :func:`announce_compilation` on."""
    return _compilation.seconds


@cache
def announce_compilation() -> None:
    """Let the first kernel that Numba compiles be announced, once a process: it takes seconds, and nothing else would say so."""
    from numba.core import event

    class Kernels(event.Listener):  # type: ignore[misc]
        def on_start(self, found: Any) -> None:
            _compilation.begin()

        def on_end(self, found: Any) -> None:
            _compilation.end()

    event.register("numba:compile", Kernels())


def duration(seconds: float) -> str:
    """A length of time, as a person says it: ``8 s``, ``3 min``, ``2.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


class _Bars:
    """Bars that are shown now: what writes lines waits for them."""

    def __init__(self) -> None:
        self.shown = 0

    @contextmanager
    def counted(self, shown: bool) -> Iterator[None]:
        self.shown += shown
        try:
            yield
        finally:
            self.shown -= shown


_bars = _Bars()


def bar_is_shown() -> bool:
    """Whether a bar tells how far it is."""
    return _bars.shown > 0


class EpochProgress:
    """Progress of a run of epochs: a bar on a terminal; in a pipe silence, or lines inside :func:`lines_to`.

    Parameters
    ----------
    epochs, samples : epochs of the run, samples of an epoch
    finished : epochs that were done before
    progress : True: a bar; False: nothing; None: a bar where standard error is a terminal
    clock : seconds, for the expected end
    compiled : seconds of these that went into compiling kernels, and will not again
    """

    def __init__(
        self,
        epochs: int,
        samples: int,
        finished: int = 0,
        progress: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        compiled: Callable[[], float] = compiling,
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        shown = console.is_terminal if progress is None else progress
        self._tell = None if shown or progress is False else _lines.get()
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not shown,
        )
        self._epochs, self._samples, self._first = epochs, samples, finished
        self._number, self._seen = finished + 1, 0
        self._clock, self._compiled = clock, compiled
        self._said, self._start = clock(), clock() - compiled()
        self._task = self._progress.add_task(
            "", total=epochs * samples, completed=finished * samples, epoch=f"{finished + 1}/{epochs}", figures=""
        )

    @contextmanager
    def shown(self) -> Iterator[EpochProgress]:
        """Show the bar while inside."""
        with self._progress, _bars.counted(not self._progress.disable):
            yield self

    def advance(self, samples: int) -> None:
        """Count trained samples."""
        self._progress.advance(self._task, samples)
        self._seen += samples
        if self._tell is not None and self._clock() - self._said > LONGEST_SILENCE:
            self._say(f"{100 * min(1.0, self._seen / self._samples):.0f} % of it trained")

    def epoch_done(self, number: int, figures: str) -> None:
        """Show the figures of epoch ``number``, and that the next one has begun."""
        following = min(number + 1, self._epochs)
        self._progress.update(self._task, epoch=f"{following}/{self._epochs}", figures=figures)
        self._number, self._seen = number, self._samples
        self._say(figures)
        self._number, self._seen = number + 1, 0

    def _say(self, what: str) -> None:
        if self._tell is None:
            return
        self._said = now = self._clock()
        done = self._number - 1 - self._first + min(1.0, self._seen / self._samples)
        spent = now - self._compiled() - self._start
        left = (self._epochs - self._first - done) * spent / max(done, 1e-9)
        end = f"about {duration(left)} left" if self._number < self._epochs or done % 1 else "done"
        self._tell(f"epoch {self._number} of {self._epochs}: {what}; {end}")
