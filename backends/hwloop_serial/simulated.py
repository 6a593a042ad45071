"""A line in memory with a clock of its own: what a session does under faults, exactly and without waiting.

The board answers at once; time passes only where the host waits. Faults are those of :class:`~.faults.Faults`, one stream
each way.
"""

from __future__ import annotations

from collections import deque

from .board.board import Board
from .faults import Faults


class SimulatedClock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)


class SimulatedPort:
    """One connection to ``board``; raises OSError once it was cut.

    Parameters
    ----------
    board : what answers; None: nothing does
    clock : shared with the session
    sent, received : faults of the two directions, or None
    latency : time of a byte's way (s)
    """

    def __init__(
        self, board: Board | None, clock: SimulatedClock, sent: Faults | None = None, received: Faults | None = None,
        latency: float = 1e-4,
    ) -> None:  # fmt: skip
        self.board, self._clock, self._sent, self._received, self._latency = board, clock, sent, received, latency
        self._decoder = None if board is None else board.decoder()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self.cut = False

    def write(self, data: bytes) -> None:
        self._check()
        for part in [data] if self._sent is None else self._sent.pass_on(data):
            self._arrive(part)
        if self._sent is not None and self._sent.broken:
            self.cut = True

    def _arrive(self, data: bytes) -> None:
        if self.board is None or self._decoder is None:
            return
        for frame in self._decoder.feed(data):
            reply = self.board.answer(frame)
            for part in [reply] if self._received is None else self._received.pass_on(reply):
                self._waiting.append((self._clock.now() + 2 * self._latency, part))
            if self._received is not None and self._received.broken:
                self.cut = True

    def read(self, timeout: float) -> bytes:
        self._check()
        until = self._clock.now() + max(0.0, timeout)
        if not self._waiting or self._waiting[0][0] > until:
            self._clock.time = until
            return b""
        at, data = self._waiting.popleft()
        self._clock.time = max(self._clock.time, at)
        return data

    def _check(self) -> None:
        if self.cut:
            raise OSError("the line was cut")

    def close(self) -> None:
        self.cut = True
