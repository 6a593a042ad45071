"""A board: answers frames as PROTOCOL.md says, whatever carries them and whatever computes."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hwloop.errors import HwloopError

from .. import calls, framing
from ..framing import Frame
from ..messages import (
    FORGET,
    KEEP,
    MAGIC,
    NAMES,
    NO_DIGEST,
    SILENCE,
    BodyError,
    Code,
    Hello,
    Region,
    Run,
    Status,
    pack_reply,
    unpack_request,
)
from ..schema import MESSAGES, SCHEMA_ID
from .memory import Memory
from .model import Model, Refusal
from .run import MOST_TEXT, Runs, Spawn, in_thread

#: Requests that take effect once at most, and those that may come before the reply to the one before.
COMMANDS = frozenset({"BEGIN", "RUN", "RESET", "CALL", "CONFIGURE"})


@dataclass(frozen=True)
class Room:
    """Memories of a board (bytes), its largest body, and how many WRITE and READ may be under way."""

    program: int = 64 * 2**20
    input: int = 16 * 2**20
    output: int = 64 * 2**20
    max_body: int = framing.MOST_BODY
    window: int = 8


class Board:
    """One start of a board, until its power goes.

    Parameters
    ----------
    model : what computes
    boot : number of this start, not 0
    room : its memories
    spawn : how a run is begun
    """

    def __init__(self, model: Model, boot: int, room: Room | None = None, spawn: Spawn = in_thread) -> None:
        self.model, self.boot, self.room = model, boot, room or Room()
        self.session = 0
        self.runs = Runs(spawn)
        transfers = itertools.count(1)
        self.memories = {
            Region.PROGRAM: Memory(self.room.program, transfers),
            Region.INPUT: Memory(self.room.input, transfers),
            Region.ARGUMENT: Memory(self.room.input, transfers),
        }
        self._info = model.info
        self._result: tuple[int, bytes] = (0, b"")
        self._last = 0
        self._kept = b""
        #: Silence of the host (s) after which a run is ended; 0: never.
        self.silence = 0.0
        self._answers: dict[str, Callable[[Frame, Any, bytes], bytes]] = {
            "STATUS": self._status, "BEGIN": self._begin, "WRITE": self._write, "SEAL": self._seal, "RUN": self._run,
            "READ": self._read, "RESET": self._reset, "CALL": self._call, "CONFIGURE": self._configure,
        }  # fmt: skip

    def decoder(self) -> framing.Decoder:
        """What finds requests in a stream of bytes."""
        return framing.Decoder(framing.REQUESTS, self.room.max_body)

    def answer(self, frame: Frame) -> bytes:
        """The reply to a request, as bytes for the line."""
        name = NAMES[frame.type]
        try:
            if name == "HELLO":
                return self._hello(frame)
            self._check(frame)
            if name not in COMMANDS:
                return self._reply(frame, name)
            if frame.sequence <= self._last:
                if frame.sequence == self._last:
                    return self._kept
                raise Refusal(Code.OLD, self._last)
            self._last, self._kept = frame.sequence, b""
            self._kept = self._reply(frame, name)
            return self._kept
        except Refusal as refusal:
            return self._refused(frame, refusal)

    def _check(self, frame: Frame) -> None:
        if frame.boot != self.boot:
            raise Refusal(Code.WRONG_BOOT, self.boot)
        if frame.session != self.session or self.session == 0:
            raise Refusal(Code.WRONG_SESSION, self.session)

    def _reply(self, frame: Frame, name: str) -> bytes:
        try:
            fields, data = unpack_request(name, frame.body)
            return self._framed(frame, framing.REPLY | frame.type, self._answers[name](frame, fields, data))
        except BodyError:
            return self._refused(frame, Refusal(Code.MALFORMED))
        except Refusal as refusal:
            return self._failed(frame, refusal)
        except HwloopError as error:  # of the target: its answer
            return self._failed(frame, Refusal(Code.FAILED, text=str(error)))

    def _failed(self, frame: Frame, refusal: Refusal) -> bytes:
        if refusal.code == Code.FAILED:
            self._result = (frame.sequence, refusal.text.encode()[:MOST_TEXT])
        return self._refused(frame, refusal)

    def _refused(self, frame: Frame, refusal: Refusal) -> bytes:
        body = pack_reply("ERROR", (frame.type, refusal.code, refusal.detail & 0xFFFFFFFF, refusal.other & 0xFFFFFFFF))
        return self._framed(frame, framing.ERROR, body)

    def _framed(self, frame: Frame, kind: int, body: bytes) -> bytes:
        return framing.encode(Frame(kind, frame.session, frame.sequence, self.boot, body))

    # -- sessions and state -------------------------------------------------------------------

    def _hello(self, frame: Frame) -> bytes:
        try:
            fields, _ = unpack_request("HELLO", frame.body)
        except BodyError:
            raise Refusal(Code.MALFORMED) from None
        if fields.magic != MAGIC or frame.session == 0:
            raise Refusal(Code.MALFORMED)
        if frame.session != self.session and fields.schema == SCHEMA_ID:
            self.runs.end()
            self.session, self._last, self._kept, self.silence = frame.session, 0, b"", 0.0
        room = self.room
        said = Hello(
            MAGIC, SCHEMA_ID, self.model.kind, room.window, room.max_body, room.program, room.input, room.output,
            self.model.features, len(self._info), zlib.crc32(self._info),
        )  # fmt: skip
        return self._framed(frame, framing.REPLY | framing.HELLO, pack_reply("HELLO", said))

    def _status(self, frame: Frame, fields: Any, data: bytes) -> bytes:
        runs, program = self.runs, self.memories[Region.PROGRAM].digest
        # the state is read first: what a run that ends meanwhile leaves is then all there, or not looked at
        state = runs.state
        return pack_reply("STATUS", Status(
            state, runs.flags, runs.error, runs.run_id, runs.samples_done, len(runs.output), runs.crc, runs.lost,
            runs.late, program or NO_DIGEST, self._settings(),
        ))  # fmt: skip

    def _settings(self) -> bytes:
        return self.model.settings()

    def _reset(self, frame: Frame, fields: Any, data: bytes) -> bytes:
        if fields.what > FORGET:
            raise Refusal(Code.UNKNOWN, fields.what)
        self.runs.end()
        if fields.what == FORGET:
            self.runs.wait()
            self.runs.forget()
            for memory in self.memories.values():
                memory.forget()
            self._result = (0, b"")
            self.model.reset()
        return pack_reply("RESET", fields)

    def _configure(self, frame: Frame, fields: Any, data: bytes) -> bytes:
        if fields.key != SILENCE:
            raise Refusal(Code.UNKNOWN, fields.key)
        self.silence = fields.value / 1000
        return pack_reply("CONFIGURE", fields)

    # -- memory -------------------------------------------------------------------------------

    def _idle(self) -> None:
        if self.runs.at_work:
            raise Refusal(Code.BUSY, self.runs.run_id)

    def _memory(self, region: int) -> Memory:
        memory = self.memories.get(region)  # type: ignore[call-overload]  # an unknown number finds nothing
        if memory is None:
            raise Refusal(Code.UNKNOWN, region)
        self._idle()
        return memory  # type: ignore[no-any-return]  # of what the line before leaves untyped

    def _begin(self, frame: Frame, fields: Any, data: bytes) -> bytes:
        return pack_reply("BEGIN", (self._memory(fields.region).begin(fields.length, keep=bool(fields.flags & KEEP)),))

    def _write(self, frame: Frame, fields: Any, data: bytes) -> bytes:
        self._memory(fields.region).write(fields.transfer, fields.offset, data)
        return pack_reply("WRITE", (fields.offset,))

    def _seal(self, frame: Frame, fields: Any, data: bytes) -> bytes:
        memory = self._memory(fields.region)
        memory.check_sealable(fields.transfer, fields.length)
        if memory.digest is None:
            if fields.region == Region.PROGRAM:
                self.model.load(memory.data)
            memory.seal()
        return pack_reply("SEAL", (memory.digest,))

    def _read(self, frame: Frame, fields: Any, data: bytes) -> bytes:
        tag, memory = self._readable(fields.region)
        if fields.tag != tag:
            raise Refusal(Code.WRONG_TAG, tag)
        if fields.length > self.room.max_body - MESSAGES["READ"].reply.packed.size:
            raise Refusal(Code.OUT_OF_RANGE, fields.offset, len(memory))
        if fields.offset + fields.length > len(memory):
            raise Refusal(Code.OUT_OF_RANGE, fields.offset, len(memory))
        found = memory[fields.offset : fields.offset + fields.length]
        return pack_reply("READ", (fields.region, fields.tag, fields.offset), found)

    def _readable(self, region: int) -> tuple[int, bytes]:
        """``(tag, bytes)`` of a region that can be read."""
        match region:
            case Region.INFO:
                return 0, self._info
            case Region.PROGRAM:
                return 0, self.memories[Region.PROGRAM].data
            case Region.OUTPUT:
                return self.runs.run_id, self.runs.output
            case Region.RESULT:
                failed = self.runs.text and self.runs.run_id and self._result[0] == 0
                return (self.runs.run_id, self.runs.text) if failed else self._result
        raise Refusal(Code.UNKNOWN, region)

    # -- runs and calls -----------------------------------------------------------------------

    def _run(self, frame: Frame, fields: Run, data: bytes) -> bytes:
        self._idle()
        given = (
            (Region.PROGRAM, fields.program, Code.NO_PROGRAM, Code.WRONG_PROGRAM),
            (Region.INPUT, fields.input, Code.NO_INPUT, Code.WRONG_INPUT),
        )
        for region, asked, none, wrong in given:
            held = self.memories[region].digest
            if held is None:
                raise Refusal(none)
            if held != asked:
                raise Refusal(wrong, _first(held))
        if fields.settings != (held := self._settings()):
            raise Refusal(Code.WRONG_SETTINGS, _first(held))
        if fields.run_id == 0 or fields.flags:
            raise Refusal(Code.UNKNOWN, fields.flags)
        work = self.model.run(fields, self.memories[Region.INPUT].data, self.room.output)
        self._result = (0, b"")
        self.runs.begin(fields.run_id, fields.batch * fields.repeats, work)
        return pack_reply("RUN", (fields.run_id,))

    def _call(self, frame: Frame, fields: Any, data: bytes) -> bytes:
        self._idle()
        argument, given = self.memories[Region.ARGUMENT], data
        if argument.digest is not None and data == argument.digest:
            given = argument.data
        entered = self.memories[Region.INPUT]
        found = self.model.call(fields.function, given, None if entered.digest is None else entered.data)
        if len(found) <= most_inline(self.room.max_body):
            return pack_reply("CALL", (fields.function, 0, 0), found)
        self._result = (frame.sequence, found)
        return pack_reply("CALL", (fields.function, len(found), zlib.crc32(found)))


def most_inline(max_body: int) -> int:
    """Bytes of a result that stand in the reply itself."""
    return min(calls.MOST_INLINE, max_body - MESSAGES["CALL"].reply.packed.size)


def _first(digest: bytes) -> int:
    """The first four bytes as a number."""
    return int.from_bytes(digest[:4], "little")
