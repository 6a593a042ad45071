"""A session with a board: requests that are answered or fail by a deadline, sent again as often as it takes.

A request keeps its sequence number however often it is sent, so that a command takes effect once. A line that breaks is
opened again and greeted with the same session number: a board that still has it goes on where it was. One that started
anew meanwhile has another boot number, which ends in :class:`Rebooted`: who holds the session has to upload again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hwloop.errors import LinkError

from . import framing
from .framing import Decoder, Frame
from .greeting import check_hello
from .messages import MAGIC, NUMBERS, BodyError, Code, Failure, Hello, Region, pack_request, unpack_reply
from .pace import ChunkSize, Pace
from .schema import SCHEMA_ID
from .traffic import Counts as Counts
from .traffic import Direction as Direction
from .traffic import Flight, expected, overhead
from .traffic import Watch as Watch
from .transport import Clock, Port, SystemClock

#: Longest time without an answer before a call gives up (s).
DEADLINE = 20.0
#: Share of the deadline after which a silent line is opened anew: half-open connections say nothing.
SILENCE = 0.2
#: Requests that may keep a board busy (hashing, making a program ready, computing), and how many deadlines they have.
SLOW, SLOW_DEADLINES = frozenset({"SEAL", "CALL", "RESET"}), 3.0
#: Pauses between tries to open a port (s).
FIRST_PAUSE, MOST_PAUSE = 0.02, 0.5
#: Least data of a chunk (bytes): below it frames are mostly header.
LEAST_CHUNK = 64
#: Largest session number.
MOST_SESSION = 2**32 - 1
#: Text of a failure that is read at most (bytes).
MOST_TEXT = 4096

#: Opens the line; raises OSError where it cannot be opened now, LinkError where it never can.
Connect: TypeAlias = Callable[[], Port]


class Rebooted(LinkError):
    """The board started anew: it holds nothing any more."""


class Refused(LinkError):
    """The board answered a request with an error."""

    def __init__(self, message: str, code: int, detail: int, other: int, sequence: int) -> None:
        super().__init__(message)
        self.code, self.detail, self.other, self.sequence = code, detail, other, sequence


@dataclass
class Session:
    """See the module.

    Parameters
    ----------
    connect : opens the line
    name : how messages call the port
    clock, draw : time and chance
    deadline : longest silence (s) before a call raises :class:`LinkError`
    byte_seconds : time of a byte on the line
    watch : sees every frame, or None
    """

    connect: Connect
    name: str
    clock: Clock = field(default_factory=SystemClock)
    draw: random.Random = field(default_factory=random.SystemRandom)
    deadline: float = DEADLINE
    byte_seconds: float = 0.0
    watch: Watch | None = None

    def __post_init__(self) -> None:
        self.session = self.draw.randint(1, MOST_SESSION)
        self.sequence = self.last_command = 0
        self.boot = 0
        self.counts = Counts()
        self.pace = Pace(self.byte_seconds)
        self.chunk = ChunkSize(LEAST_CHUNK, framing.LEAST_BODY)
        self.hello: Hello | None = None
        self._port: Port | None = None
        self._decoder = Decoder(framing.REPLIES)
        self._arrived: deque[Frame] = deque()
        self._sends = self._overdue_in_a_row = 0  # a line that has become slower than it was answers longer waits alone

    # -- opening and closing ------------------------------------------------------------------

    def open(self) -> Hello:
        """Open the line and greet the board; what it says of itself.

        Raises :class:`LinkError` where no board answers by the deadline, or one that speaks another schema.
        """
        try:
            self._port = self.connect()
        except OSError as error:
            raise LinkError(f"cannot open {self.name}: {error}; check the port, its cable and permissions") from None
        until = self.clock.now() + self.deadline
        try:
            self._greet(until)
        except OSError as error:
            self._reconnect(until, error)
        return self.limits()

    def close(self) -> None:
        """Give the line back."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _reconnect(self, until: float, cause: OSError | None) -> None:
        """Open the line, greet, and return; :class:`Rebooted` where another boot answers."""
        self.close()
        pause, last = FIRST_PAUSE, cause
        while True:
            try:
                self._port = self.connect()
                self._decoder = Decoder(framing.REPLIES)
                self._arrived.clear()
                return self._greet(min(until, self.clock.now() + SILENCE * self.deadline))
            except OSError as error:
                self.close()
                last = error
            if self.clock.now() + pause >= until:
                raise self._gone(last) from None
            self.clock.sleep(pause)
            pause = min(MOST_PAUSE, 2 * pause)

    def _greet(self, soon: float) -> None:
        sequence = self._next_sequence()
        body = pack_request("HELLO", (MAGIC, SCHEMA_ID))
        # a delimiter first: it ends whatever the board has got of a frame that broke off
        raw = framing.DELIMITER + framing.encode(Frame(NUMBERS["HELLO"], self.session, sequence, 0, body))
        reply = self._answered(raw, "HELLO", sequence, Frame(NUMBERS["HELLO"], self.session, sequence, 0, body), soon)
        if reply is None:
            raise OSError("no answer to a greeting")
        hello, _ = self._fields("HELLO", reply)
        check_hello(hello, reply.boot, self.name)
        before, self.boot = self.boot, reply.boot
        self._decoder = Decoder(framing.REPLIES, hello.max_body)
        self.chunk = ChunkSize(LEAST_CHUNK, hello.max_body - overhead())
        self.hello = hello
        if before and before != reply.boot:
            self.counts.reboots += 1
            raise Rebooted(f"{self.name}: the board started anew")
        if before:
            self.counts.reconnects += 1

    def _gone(self, cause: OSError | None) -> LinkError:
        return LinkError(
            f"{self.name}: no answer from the board within {self.deadline:g} s ({cause or 'silence'}); check that it is powered, "
            "connected and running, or give it longer: deadline=SECONDS"
        )

    # -- requests -----------------------------------------------------------------------------

    def request(self, name: str, fields: tuple[Any, ...] = (), data: bytes = b"") -> tuple[Any, bytes]:
        """``(fields, data)`` of the reply.

        Raises
        ------
        Refused
            The board answered with an error.
        Rebooted
            It started anew; whether the request took effect before is not known.
        LinkError
            No answer by the deadline, or another host took the board over.
        """
        sequence, body = self._next_sequence(), pack_request(name, fields, data)
        self.last_command = sequence
        self.counts.requests += 1
        patience = self.deadline * (SLOW_DEADLINES if name in SLOW else 1.0)
        silence = self.deadline * (1.0 if name in SLOW else SILENCE)
        until, broken = self.clock.now() + patience, None
        while True:
            frame = Frame(NUMBERS[name], self.session, sequence, self.boot, body)
            try:
                if self._port is None:
                    raise OSError("the line is closed")  # as if it had broken just now
                soon = min(until, self.clock.now() + silence)
                reply = self._answered(framing.encode(frame), name, sequence, frame, soon)
                if reply is not None:
                    return self._fields(name, reply)
                broken = OSError(f"silence for {silence:g} s")
            except OSError as error:
                broken = error
            if self.clock.now() >= until:
                raise self._gone(broken) from None
            self._reconnect(until, broken)

    def _answered(self, raw: bytes, name: str, sequence: int, frame: Frame, until: float) -> Frame | None:
        """The reply to a frame that is sent until it comes; None at ``until``."""
        tries = 0
        while (now := self.clock.now()) < until or tries == 0:
            self._send(raw, frame)
            begun, n_bytes = now, len(raw) + expected(name)
            wait = min(until, now + self.pace.wait(n_bytes, tries))
            while True:
                reply = self._received(wait)
                if reply is None:
                    break
                if reply.sequence == sequence and self._answers(reply, frame.type):
                    if tries == 0:
                        self.pace.took(self.clock.now() - begun, n_bytes)
                    return reply
            tries += 1
        return None

    def _answers(self, reply: Frame, asked: int) -> bool:
        own = reply.type == framing.REPLY | asked or (reply.type == framing.ERROR and reply.body[:1] == bytes((asked,)))
        return own and reply.session == self.session

    def _fields(self, name: str, reply: Frame) -> tuple[Any, bytes]:
        try:
            if reply.type == framing.ERROR:
                failure, _ = unpack_reply("ERROR", reply.body)
                raise self._refused(name, failure, reply)
            return unpack_reply(name, reply.body)
        except BodyError as error:
            raise LinkError(f"{self.name}: {error}; the firmware of the board is at fault") from None

    def _refused(self, name: str, failure: Failure, reply: Frame) -> LinkError:
        code = failure.code
        if code == Code.WRONG_BOOT:
            self._lost_boot()
            return Rebooted(f"{self.name}: the board started anew")
        if code == Code.WRONG_SESSION:
            return LinkError(
                f"{self.name}: another program greeted the board, which now answers session {failure.detail}; one program may use "
                "a board at a time: end the other one, and open the board again"
            )
        said = Code(code).name if code in Code._value2member_map_ else f"error {code}"
        return Refused(
            f"{self.name}: the board refused {name}: {said} (detail {failure.detail}, other {failure.other})",
            code, failure.detail, failure.other, reply.sequence,
        )  # fmt: skip

    def _lost_boot(self) -> None:
        """Greet the board that started anew, so that it can be used again."""
        try:
            self._reconnect(self.clock.now() + self.deadline, None)
        except Rebooted:
            return

    def failure_text(self, tag: int) -> str:
        """What stands in RESULT under ``tag``, as text for a message; empty where it cannot be read."""
        length = min(MOST_TEXT, self.limits().max_body - overhead())
        while length > 0:
            try:
                _, data = self.request("READ", (Region.RESULT, tag, 0, length))
                break
            except Refused as refused:
                if refused.code != Code.OUT_OF_RANGE or refused.other >= length:
                    return ""
                length = refused.other
        else:
            return ""
        return ascii(data.decode(errors="replace"))[1:-1]

    def limits(self) -> Hello:
        """What the board said of itself."""
        if self.hello is None:
            raise LinkError(f"{self.name} is not open; open it first")
        return self.hello

    # -- many chunks --------------------------------------------------------------------------

    def transfer(
        self, name: str, parts: Iterable[tuple[int, int]], ask: Callable[[int, int], tuple[tuple[Any, ...], bytes]],
        take: Callable[[int, int, Any, bytes], None],
    ) -> None:  # fmt: skip
        """WRITE or READ all ``parts``, ``(offset, length)``, in chunks, several under way at a time.

        ``ask(offset, length)``: fields and data of a request; ``take(offset, length, fields, data)``: its reply. Raises as
        :meth:`request`.
        """
        waiting, flying = deque(parts), dict[int, Flight]()
        heard = quiet = self.clock.now()  # since when nothing came forward, and nothing came on this connection
        silence = SILENCE * self.deadline
        while waiting or flying:
            try:
                if self._port is None:
                    raise OSError("the line is closed")  # as if it had broken just now
                self._launch(name, waiting, flying, ask)
                reply = self._received(min(flight.until for flight in flying.values()))
                if reply is None:
                    self._overdue(waiting, flying)
                elif reply.sequence in flying and self._answers(reply, NUMBERS[name]):
                    heard = quiet = self.clock.now()
                    self._landed(name, reply, waiting, flying, take)
                if self.clock.now() - quiet >= silence:
                    raise OSError(f"silence for {silence:g} s")  # a half-open line says nothing else
            except OSError as error:
                _ground(waiting, flying)
                if self.clock.now() >= heard + self.deadline:
                    raise self._gone(error) from None
                self._reconnect(heard + self.deadline, error)
                quiet = self.clock.now()

    def _launch(
        self, name: str, waiting: deque[tuple[int, int]], flying: dict[int, Flight],
        ask: Callable[[int, int], tuple[tuple[Any, ...], bytes]],
    ) -> None:  # fmt: skip
        while waiting and len(flying) < self.limits().window:
            offset, length = waiting.popleft()
            if length > self.chunk.size:
                waiting.appendleft((offset + self.chunk.size, length - self.chunk.size))
                length = self.chunk.size
            fields, data = ask(offset, length)
            sequence = self._next_sequence()
            self.counts.requests += 1
            frame = Frame(NUMBERS[name], self.session, sequence, self.boot, pack_request(name, fields, data))
            raw = framing.encode(frame)
            own, now = len(raw) + framing.wire_bytes(length if not data else 0), self.clock.now()
            ahead = own + sum(flight.own_bytes for flight in flying.values())
            flying[sequence] = Flight(
                offset, length, self._sends, now + self.pace.wait(ahead, self._overdue_in_a_row), now, own, ahead
            )
            self._send(raw, frame)

    def _landed(
        self, name: str, reply: Frame, waiting: deque[tuple[int, int]], flying: dict[int, Flight],
        take: Callable[[int, int, Any, bytes], None],
    ) -> None:  # fmt: skip
        flight = flying.pop(reply.sequence)
        self._overdue_in_a_row = 0
        fields, data = self._fields(name, reply)
        self.pace.took(self.clock.now() - flight.at, flight.ahead_bytes)
        take(flight.offset, flight.length, fields, data)
        self.chunk.arrived()
        # replies come in order of arrival: what was sent before and is not answered now was lost
        for sequence in [key for key, other in flying.items() if other.number < flight.number]:
            self._dropped(waiting, flying, sequence)

    def _overdue(self, waiting: deque[tuple[int, int]], flying: dict[int, Flight]) -> None:
        now = self.clock.now()
        self._overdue_in_a_row += 1
        for sequence in [key for key, flight in flying.items() if flight.until <= now]:
            self._dropped(waiting, flying, sequence)

    def _dropped(self, waiting: deque[tuple[int, int]], flying: dict[int, Flight], sequence: int) -> None:
        flight = flying.pop(sequence)
        self.chunk.lost(flight.length)
        waiting.appendleft((flight.offset, flight.length))

    # -- frames -------------------------------------------------------------------------------

    def _next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def _send(self, raw: bytes, frame: Frame) -> None:
        if self._port is None:
            raise OSError("the line is closed")
        self.counts.sent += 1
        self._sends += 1
        if self.watch is not None:
            self.watch(self.clock.now(), "sent", frame)
        self._port.write(raw)

    def _received(self, until: float) -> Frame | None:
        """The next frame, by ``until``."""
        while not self._arrived:
            left = until - self.clock.now()
            if left <= 0 or self._port is None:
                return None
            data = self._port.read(left)
            self._arrived.extend(self._decoder.feed(data))
        frame = self._arrived.popleft()
        self.counts.received += 1
        if self.watch is not None:
            self.watch(self.clock.now(), "received", frame)
        return frame


def _ground(waiting: deque[tuple[int, int]], flying: dict[int, Flight]) -> None:
    """What was under way is to be sent again."""
    waiting.extendleft((flight.offset, flight.length) for flight in flying.values())
    flying.clear()
