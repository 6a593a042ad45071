"""A board served: one loop that reads requests, answers them, and lets runs compute beside it."""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import threading
import time

from hwloop.device.registry import Target
from hwloop_loihi.device import LoihiTarget

from .. import cobs
from .board import Board, Room
from .codes import CodesModel
from .fixed import FixedModel
from .lines import Line
from .model import Model

#: Replies that wait for a host that does not read (bytes); what comes beyond is dropped, and asked for again.
MOST_WAITING = 4 * 2**20
#: Bytes that are offered to the line at once.
MOST_AT_ONCE = 65536
#: Time between two looks at the silence of the host (s).
TICK = 0.1


def model_of(target: Target) -> Model:
    """``target`` behind the protocol: as fixed-point graphs where its programs are such, else as codes."""
    return FixedModel(target) if isinstance(target, LoihiTarget) else CodesModel(target)


def new_boot() -> int:
    """A number for this start of a board."""
    return secrets.randbelow(2**32 - 1) + 1


class Server:
    """Serves ``model`` on ``line`` until :meth:`stop`, which any thread or a signal handler may call."""

    def __init__(self, model: Model, line: Line, room: Room | None = None) -> None:
        self.line, self.board = line, Board(model, new_boot(), room)
        self._decoder = self.board.decoder()
        cobs.ready()
        self._waiting = bytearray()
        # no bare descriptors: once they are closed, their numbers are another's
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._stopped = False
        self._heard = time.monotonic()

    def stop(self) -> None:
        """Let :meth:`run` return; once it has, there is nothing left to do."""
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")  # first: who sees that it is stopped closes this
        self._stopped = True

    def run(self) -> None:
        """Serve; returns after :meth:`stop`, everything given back."""
        try:
            while not self._stopped:
                self._once()
        finally:
            self.line.close()
            self._woken.close()
            self._wake.close()
            self.board.runs.end()
            self.board.model.close()

    def _once(self) -> None:
        listened = self.line.descriptors()
        writing = listened[-1:] if self._waiting else []
        ready, writable, _ = select.select([*listened, self._woken.fileno()], writing, [], TICK)
        for descriptor in ready:
            if descriptor != self._woken.fileno() and descriptor in self.line.descriptors():
                self._take(self.line.ready(descriptor))
        if writable or self._waiting:
            self._send()
        self._watch_silence()

    def _take(self, data: bytes | None) -> None:
        if data is None:  # another host: what the one before began to say or did not hear is gone
            self._decoder = self.board.decoder()
            self._waiting.clear()
            return
        for frame in self._decoder.feed(data):
            self._heard = time.monotonic()
            reply = self.board.answer(frame)
            if len(self._waiting) + len(reply) <= MOST_WAITING:
                self._waiting += reply
            self._send()

    def _send(self) -> None:
        # a pseudo-terminal takes 4 kB at a time
        while self._waiting and (sent := self.line.write(bytes(self._waiting[:MOST_AT_ONCE]))):
            del self._waiting[:sent]

    def _watch_silence(self) -> None:
        limit = self.board.silence
        if limit and self.board.runs.at_work and time.monotonic() - self._heard > limit:
            self.board.runs.end()


class Serving:
    """A server in a thread of this process, as a context: ``with Serving(target, "tcp://127.0.0.1:0") as url``."""

    def __init__(self, target: Target, port: str, room: Room | None = None) -> None:
        from .lines import line

        self.server = Server(model_of(target), line(port), room)
        self._thread = threading.Thread(target=self.server.run, name="hwloop board", daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return self.server.line.url

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self._thread.join()
