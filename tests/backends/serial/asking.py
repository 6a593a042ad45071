"""A board that is asked request by request, with no session between: what it answers to what a host of ours never sends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from hwloop.device.registry import find
from hwloop.mapping import compile_network, stored
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes
from hwloop_loihi.compiler import compile_loihi
from hwloop_serial import event_lists, fixed_image, framing
from hwloop_serial.board.board import Board, Room
from hwloop_serial.board.codes import CodesModel
from hwloop_serial.board.fixed import FixedModel
from hwloop_serial.board.run import at_once
from hwloop_serial.board.spikes import of_spikes
from hwloop_serial.framing import Decoder, Frame
from hwloop_serial.messages import (
    MAGIC,
    NAMES,
    NO_DIGEST,
    NUMBERS,
    Code,
    Failure,
    Region,
    Run,
    Status,
    pack_request,
    unpack_reply,
)
from hwloop_serial.schema import SCHEMA_ID

ROOM = Room(program=65536, input=4096, output=4096, max_body=512, window=2)
BOOT, SESSION = 5, 9


def network() -> Network:
    g = torch.Generator().manual_seed(1)
    return Network([Dense(5, 6).init_normal_(2.0, 1.0, g), LIF(6, 10e-3, 5e-3)])


SPIKES = Spikes.from_events([([0.001, 0.002], [0, 1]), ([0.004], [3])], 5, 0.03)


class Asking:
    """``board`` and the number of the last request."""

    def __init__(self, model: Any, room: Room = ROOM, spawn: Any = at_once) -> None:
        self.board = Board(model, BOOT, room, spawn)
        self.sequence = 0
        self.hello()

    def raw(
        self, kind: int, body: bytes, session: int = SESSION, boot: int = BOOT, sequence: int | None = None
    ) -> Frame:
        """The reply to a request."""
        self.sequence += sequence is None
        frame = Frame(kind, session, self.sequence if sequence is None else sequence, boot, body)
        (reply,) = Decoder(framing.REPLIES).feed(self.board.answer(frame))
        return reply

    def ask(self, name: str, fields: tuple[Any, ...] = (), data: bytes = b"", **header: Any) -> tuple[Any, bytes]:
        """Fields and data of the reply; of an error, too."""
        reply = self.raw(NUMBERS[name], pack_request(name, fields, data), **header)
        said = "ERROR" if reply.type == framing.ERROR else NAMES[reply.type & 0x7F]
        return unpack_reply(said, reply.body)

    def error(self, name: str, fields: tuple[Any, ...] = (), data: bytes = b"", **header: Any) -> Code:
        """Code of the error that the board answers with."""
        found = self.ask(name, fields, data, **header)[0]
        assert isinstance(found, Failure), found
        return Code(found.code)

    def hello(self) -> Any:
        return self.ask("HELLO", (MAGIC, SCHEMA_ID), boot=0)[0]

    def put(self, region: Region, data: bytes) -> bytes:
        """Write and seal ``data``; the digest that the board computed."""
        transfer = self.ask("BEGIN", (region, 0, len(data)))[0].transfer
        for place in range(0, len(data), 400):
            self.ask("WRITE", (region, transfer, place), data[place : place + 400])
        found = self.ask("SEAL", (region, transfer, len(data)))[0]
        assert not isinstance(found, Failure), found
        return bytes(found.digest)

    def status(self) -> Status:
        found: Status = self.ask("STATUS")[0]
        return found

    def text(self, tag: int) -> str:
        """What stands in RESULT."""
        length = self.ask("READ", (Region.RESULT, tag, 0, 500))[0].other
        return self.ask("READ", (Region.RESULT, tag, 0, length))[1].decode()


class CodesBoard(Asking):
    """An emulated chip with everything that a board of codes may have; ``image``, ``given``: a program and inputs for it."""

    def __init__(self, **options: Any) -> None:
        self.target: Any = find("emulator:3", preset="worst", session=1)
        self.image = stored.dump(compile_network(network(), self.target.capabilities))
        self.given = event_lists.pack(of_spikes(SPIKES), event_lists.FLOAT32)
        super().__init__(CodesModel(self.target), **options)
        self.program = self.put(Region.PROGRAM, self.image)
        self.input = self.put(Region.INPUT, self.given)

    def run(self, **changes: Any) -> Run:
        """A run that is right but for ``changes``."""
        settings = self.board.model.settings()
        asked = Run(1, self.program, self.input, settings, 2, 1, 0, SPIKES.t_stop, event_lists.FLOAT32, 0)
        return asked._replace(**changes)


class FixedBoard(Asking):
    """The emulator of ``loihi`` behind a board."""

    def __init__(self, **limits: Any) -> None:
        model = FixedModel(find("loihi"))  # type: ignore[arg-type]
        model.limits = model.limits.model_copy(update=limits)
        self.image = fixed_image.write(compile_loihi(network(), 1e-4).graph)
        counts, ticks, units = np.array([2, 1]), np.array([10, 20, 40]), np.array([0, 1, 3])
        self.given = event_lists.pack(event_lists.Events(counts, ticks, units), event_lists.TICKS)
        super().__init__(model)

    def ready(self) -> FixedBoard:
        self.program, self.input = self.put(Region.PROGRAM, self.image), self.put(Region.INPUT, self.given)
        return self

    def run(self, **changes: Any) -> Run:
        return Run(1, self.program, self.input, NO_DIGEST, 2, 1, 300, 0.0, event_lists.TICKS, 0)._replace(**changes)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


#: Runs nothing until it is told to.
class Waiting:
    def __init__(self) -> None:
        self.work: Callable[[], None] = lambda: None

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        self.work = work
        return work
