"""A board whose work is to be counted, sessions with it in memory, and lines that break."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

from hwloop_serial import calls
from hwloop_serial.board.board import Board, Room
from hwloop_serial.board.model import Answer, Refusal
from hwloop_serial.board.run import at_once
from hwloop_serial.board.server import Server, new_boot
from hwloop_serial.faults import FaultRates, Faults
from hwloop_serial.information import FixedLimits, from_plain, write
from hwloop_serial.messages import Code, Kind, Run
from hwloop_serial.session import Session
from hwloop_serial.simulated import SimulatedClock, SimulatedPort

INFO = write(from_plain({
    "format": "hwloop-device", "version": 1, "kind": "fixed", "device_id": "counting", "firmware": "1", "ran_on": "emulator",
    "limits": dict(FixedLimits(
        neurons=10, inputs=10, synapses=100, max_delay=63, max_ticks=1000, recurrent=True, bias=True, starts=True, state_bytes=0,
    )),
}))  # fmt: skip


class CountingModel:
    """Answers a run with a digest of program and input, and counts what it is made to do."""

    kind = Kind.FIXED
    features = 0
    info = INFO

    def __init__(self) -> None:
        self.image: bytes | None = None
        #: Numbers of the calls that took effect, and (program, input) of the runs.
        self.called: list[int] = []
        self.ran: list[tuple[bytes, bytes]] = []

    def reset(self) -> None:
        self.image = None

    def close(self) -> None:
        self.image = None

    def settings(self) -> bytes:
        return bytes(32)

    def load(self, image: bytes) -> None:
        if not image:
            raise Refusal(Code.BAD_IMAGE)
        self.image = image

    def run(self, asked: Run, data: bytes, room: int) -> Callable[[], Answer]:
        image = self.image
        if image is None or hashlib.sha256(image).digest() != asked.program:
            raise AssertionError("a run with another program than the one that was asked for")

        def work() -> Answer:
            self.ran.append((image, data))
            return Answer(answer_to(image, data))

        return work

    def call(self, function: int, arguments: bytes, data: bytes | None) -> bytes:
        self.called.append(int(calls.CELLS.unpack(arguments)[0]))
        return arguments


def answer_to(image: bytes, data: bytes) -> bytes:
    """What a run of ``data`` on ``image`` answers: 320 bytes that nothing else answers."""
    return hashlib.sha256(image + data).digest() * 10


class SimulatedBoard:
    """A board in memory, its line, and a clock: everything that can happen to a session, exactly."""

    def __init__(self, seed: int, rates: FaultRates | None = None) -> None:
        self.seed, self.rates = seed, rates or FaultRates()
        self.clock = SimulatedClock()
        self.model = CountingModel()
        self.boots = 0
        self.ports: list[SimulatedPort] = []
        self.refusing = False
        self.restart()

    def restart(self) -> None:
        """The board loses its power, and starts anew; its line stays."""
        self.boots += 1
        self.model = CountingModel()
        self.board = Board(self.model, 1000 + self.boots, Room(4096, 4096, 4096, 128, 3), at_once)
        for port in self.ports:
            port.board, port._decoder = self.board, self.board.decoder()
        self.ports = [port for port in self.ports if not port.cut]

    def cut(self) -> None:
        """The line breaks."""
        for port in self.ports:
            port.cut = True

    def connect(self) -> SimulatedPort:
        if self.refusing:
            raise OSError("the port is not there")
        number = len(self.ports)
        sent, received = (Faults(self.rates, [self.seed, self.boots, number, way]) for way in (0, 1))
        self.ports.append(SimulatedPort(self.board, self.clock, sent, received))
        return self.ports[-1]

    def session(self, **options: Any) -> Session:
        return Session(self.connect, "simulated", self.clock, random.Random(self.seed), **options)


class Restarting:
    """A server in a thread that can be stopped without a word and started anew at the same place."""

    def __init__(self, model: Callable[[], Any], line: Callable[[], Any], room: Room | None = None) -> None:
        self._model, self._line, self._room = model, line, room
        self.restarts = -1
        self._start(line())

    def _start(self, line: Any) -> None:
        import threading

        self.server = Server(self._model(), line, self._room)
        self.server.board.boot = new_boot()
        self.url = self.server.line.url
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        self.restarts += 1

    def restart(self) -> None:
        """What it held is gone."""
        self.stop()
        self._start(self._line())

    def stop(self) -> None:
        self.server.stop()
        self._thread.join()
