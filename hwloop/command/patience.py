"""What a command says while it works: stages, epochs, chips; and that it is still at work where none of them ends for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..progress import announce_compilation, bar_is_shown, duration, lines_to
from . import terminal

#: Longest silence (s): what a person waits before wondering whether it hangs.
LONGEST_SILENCE = 15.0
#: How often it is looked at (s).
POLL = 0.5


class Patience:
    """Says what is still under way after every :data:`LONGEST_SILENCE` without a word."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._line, self._begun, self._said = "", clock(), clock()

    def told(self, line: str) -> None:
        """A line of progress has been said."""
        self._line, self._begun = line, self._clock()
        self._said = self._begun

    def look(self) -> None:
        """Say that work goes on, where nothing has been said for long."""
        now = self._clock()
        if now - self._said < LONGEST_SILENCE:
            return
        self._said = now
        at = f" (last: {self._line})" if self._line else ""
        self._say(f"still at work after {duration(now - self._begun)}{at}")


@contextmanager
def reporting() -> Iterator[None]:
    """Lines of progress on standard error inside, and none but short silences."""
    patience, done = Patience(terminal.progress_line), threading.Event()

    def tell(line: str) -> None:
        terminal.progress_line(line)
        patience.told(line)

    def watch() -> None:
        while not done.wait(POLL):
            if bar_is_shown():
                patience.told("")
            patience.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    terminal.on_status(tell)
    announce_compilation()
    try:
        with lines_to(tell):
            yield
    finally:
        done.set()
        watcher.join()
        terminal.on_status(terminal.progress_line)
