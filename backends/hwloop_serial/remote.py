"""A board as its host sees it: images in, batches through, calls answered; each whole and checked, or an error."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.errors import LinkError, TargetError

from . import calls, information
from .information import Info
from .messages import END_RUN, FORGET, KEEP, NO_DIGEST, WRAPS, Code, Hello, Region, Run, State, Status
from .schema import MESSAGES
from .session import Refused, Session

#: Bytes that are alike between two that differ, below which one WRITE of both is shorter than two.
GAP = 32
#: Pauses between two STATUS of a run (s): at first, at most, and as a share of the time that it has taken.
FIRST_POLL, MOST_POLL, POLL_SHARE = 1e-3, 0.2, 0.1
#: Share of the time that the last run of as many samples took, before which the next one is not asked whether it is done. Half:
#: a wait that was too long is forgotten by the next runs.
EXPECTED_SHARE = 0.5
#: Longest time that a run may take without a sample done (s).
RUN_DEADLINE = 3600.0
#: Uploads of one image before its digest is given up.
UPLOADS = 3


@dataclass(frozen=True)
class Outcome:
    """A run that was done: OUTPUT, and what STATUS said of it."""

    output: bytes
    status: Status

    @property
    def wraps(self) -> bool:
        """Whether a wrap table stands in the output."""
        return bool(self.status.flags & WRAPS)


class Overflow(TargetError):
    """What a run brought does not fit the board; ``samples`` of it did."""

    def __init__(self, message: str, samples: int) -> None:
        super().__init__(message)
        self.samples = samples


class Remote:
    """An opened board.

    Raises :class:`~hwloop.errors.LinkError` where the board is silent or not as agreed, :class:`~.session.Rebooted` where it
    started anew, from any method.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.hello: Hello = session.open()
        self._held: dict[int, bytes] = {}
        self._digests: dict[int, bytes] = {}
        self._run_id = 0
        self._lasted = (0, 0.0)  # samples of the last run, and seconds
        self.info = self._read_info()

    def close(self) -> None:
        """Give the line back."""
        self.session.close()

    def again(self) -> None:
        """After the board started anew: it holds nothing, and has to be the same board."""
        self._held.clear()
        self._digests.clear()
        self.hello = self.session.limits()
        found = self._read_info()
        if found != self.info:
            raise LinkError(
                f"{self.session.name}: the board that answers now is {found.device_id!r} ({found.firmware}), the one before was "
                f"{self.info.device_id!r} ({self.info.firmware}), or it has other limits; open it anew"
            )

    def _read_info(self) -> Info:
        hello, name = self.hello, self.session.name
        if hello.info_bytes > information.MOST_BYTES:
            raise LinkError(
                f"{name}: INFO of {hello.info_bytes} bytes; allowed: {information.MOST_BYTES}; {information.ADVICE}"
            )
        data = self._download(Region.INFO, 0, hello.info_bytes, hello.info_crc)
        return information.read(data, name)

    def reset(self, *, forget: bool) -> None:
        """End a run in progress, and where told so forget program, input and output."""
        self.session.request("RESET", (FORGET if forget else END_RUN,))
        if forget:
            self._held.clear()
            self._digests.clear()

    # -- memory -------------------------------------------------------------------------------

    def forget(self, region: Region) -> None:
        """What ``region`` holds is not known: the next upload writes all of it."""
        self._held.pop(region, None)
        self._digests.pop(region, None)

    def upload(self, region: Region, data: bytes) -> bytes:
        """Write what differs of ``data`` from what ``region`` holds, and seal it; its digest, which the board computed.

        Raises :class:`~hwloop.errors.TargetError` where it does not fit.
        """
        wanted, digest = hashlib.sha256(data).digest(), NO_DIGEST
        for _ in range(UPLOADS):
            held = self._held.pop(region, None)
            self._digests.pop(region, None)
            transfer = self._begin(region, len(data), keep=held is not None)
            self._write(region, transfer, data, held)
            digest = bytes(self.session.request("SEAL", (region, transfer, len(data)))[0].digest)
            if digest == wanted:
                self._held[region], self._digests[region] = data, digest
                return digest
        raise LinkError(
            f"{self.session.name}: the board holds {digest.hex()[:8]} after {UPLOADS} uploads of {wanted.hex()[:8]}; its memory or "
            "its firmware is at fault"
        )

    def _begin(self, region: Region, length: int, *, keep: bool) -> int:
        room = self.hello.program_bytes if region is Region.PROGRAM else self.hello.input_bytes
        if length > room:
            raise TargetError(
                f"{self.session.name}: {length} bytes for {region.name}, which has {room}; a smaller network or batch, or a larger "
                "board"
            )
        return int(self._patiently("BEGIN", (region, KEEP if keep else 0, length))[0].transfer)

    def _write(self, region: Region, transfer: int, data: bytes, held: bytes | None) -> None:
        view = memoryview(data)
        self.session.transfer(
            "WRITE",
            differences(data, held),
            lambda offset, length: ((region, transfer, offset), bytes(view[offset : offset + length])),
            lambda offset, length, fields, rest: None,
        )

    def _patiently(self, name: str, fields: tuple[Any, ...], data: bytes = b"") -> tuple[Any, bytes]:
        """The reply to a command, once nothing keeps the board busy: a run that was ended may take its time to end."""
        until = self.session.clock.now() + RUN_DEADLINE
        pause = FIRST_POLL
        while True:
            try:
                return self.session.request(name, fields, data)
            except Refused as refused:
                if refused.code != Code.BUSY or self.session.clock.now() >= until:
                    raise
                self.session.clock.sleep(pause)
                pause = min(MOST_POLL, 2 * pause)

    def read_back(self, region: Region, length: int) -> bytes:
        """The first ``length`` bytes that ``region`` holds now, whatever was written to it."""
        return self._read(region, 0, length)

    def _download(self, region: Region, tag: int, length: int, crc: int) -> bytes:
        result = self._read(region, tag, length)
        if zlib.crc32(result) != crc:
            raise LinkError(
                f"{self.session.name}: {region.name} arrived with CRC {zlib.crc32(result):08x}, the board says {crc:08x}; run again"
            )
        return result

    def _read(self, region: Region, tag: int, length: int) -> bytes:
        result = bytearray(length)

        def take(offset: int, size: int, fields: Any, data: bytes) -> None:
            if (fields.region, fields.tag, fields.offset, len(data)) != (region, tag, offset, size):
                raise LinkError(
                    f"{self.session.name}: asked for {size} bytes of {region.name} at {offset}, got {len(data)} at {fields.offset}; "
                    "the firmware of the board is at fault"
                )
            result[offset : offset + size] = data

        parts = [(0, length)] if length else []
        self.session.transfer("READ", parts, lambda offset, size: ((region, tag, offset, size), b""), take)
        return bytes(result)

    # -- runs ---------------------------------------------------------------------------------

    def status(self) -> Status:
        """What the board does."""
        found: Status = self.session.request("STATUS")[0]
        return found

    def run(
        self, data: bytes, settings: bytes, *, batch: int, repeats: int, n_ticks: int, t_stop: float, code: int
    ) -> Outcome:
        """Run the input ``data`` on the program that was uploaded, with trim cells of digest ``settings``.

        Raises :class:`Overflow` where the output does not fit, :class:`~hwloop.errors.TargetError` where the run fails.
        """
        entered = self.upload(Region.INPUT, data)
        program = self._digests.get(Region.PROGRAM, NO_DIGEST)
        self._run_id = self._run_id % (2**32 - 1) + 1
        asked = Run(self._run_id, program, entered, settings, batch, repeats, n_ticks, t_stop, code, 0)
        self._patiently("RUN", asked)
        status = self._done(asked)
        output = self._download(Region.OUTPUT, asked.run_id, status.output_bytes, status.output_crc)
        return Outcome(output, status)

    def _done(self, asked: Run) -> Status:
        """STATUS of a run that is over; the board is asked all along, and so seen to live."""
        clock, name = self.session.clock, self.session.name
        begun = moved = clock.now()
        samples, lasted = asked.batch * asked.repeats, self._lasted[1]
        expected = EXPECTED_SHARE * lasted if self._lasted[0] == samples else 0.0
        done = 0
        while True:
            status = self.status()
            if status.run_id != asked.run_id or status.program != asked.program or status.settings != asked.settings:
                raise LinkError(f"{name}: the board reports run {status.run_id}, not {asked.run_id}; open it anew")
            if status.state == State.DONE:
                self._lasted = samples, clock.now() - begun
                return status
            if status.state != State.RUNNING:
                raise self._failed(status)
            if status.samples_done != done:
                done, moved = status.samples_done, clock.now()
            if clock.now() - moved > RUN_DEADLINE:
                self.reset(forget=False)
                raise LinkError(
                    f"{name}: no sample done for {RUN_DEADLINE:g} s; the run was ended: send a smaller batch"
                )
            taken = clock.now() - begun
            clock.sleep(min(MOST_POLL, max(FIRST_POLL, POLL_SHARE * taken, expected - taken)))

    def _failed(self, status: Status) -> TargetError:
        name = self.session.name
        if status.run_error == Code.OVERFLOW:
            return Overflow(
                f"{name}: the output of the run does not fit the board's {self.hello.output_bytes} bytes; {status.samples_done} "
                "samples did: send fewer at once, or a network that fires less",
                status.samples_done,
            )
        if status.run_error == Code.FAILED:
            return TargetError(f"{name}: the run failed on the board: {self.session.failure_text(status.run_id)}")
        if status.run_error == Code.ABORTED:
            return LinkError(
                f"{name}: the run was ended on the board by a reset, another program or silence; run again"
            )
        return LinkError(f"{name}: the run failed with error {status.run_error}; the firmware of the board is at fault")

    # -- calls --------------------------------------------------------------------------------

    def call(self, function: int, arguments: bytes = b"") -> bytes:
        """The result of a CALL; :class:`~hwloop.errors.TargetError` with the board's text where it refuses."""
        given = arguments
        if len(arguments) > min(calls.MOST_INLINE, self.hello.max_body - MESSAGES["CALL"].request.packed.size):
            given = self.upload(Region.ARGUMENT, arguments)
        try:
            fields, data = self._patiently("CALL", (function,), given)
        except Refused as refused:
            if refused.code != Code.FAILED:
                raise
            raise TargetError(self.session.failure_text(refused.sequence) or str(refused)) from None
        if not fields.result_bytes:
            return data
        return self._download(Region.RESULT, self.session.last_command, fields.result_bytes, fields.result_crc)


def differences(data: bytes, held: bytes | None) -> Iterator[tuple[int, int]]:
    """``(offset, length)`` of all that has to be written for ``data`` where ``held`` is there; all of it for None."""
    if held is None:
        if data:
            yield 0, len(data)
        return
    common = min(len(data), len(held))
    new, old = np.frombuffer(data, np.uint8, common), np.frombuffer(held, np.uint8, common)
    changed = np.flatnonzero(new != old)
    if len(changed):
        breaks = np.flatnonzero(np.diff(changed) > GAP)
        starts = changed[np.concatenate(([0], breaks + 1))]
        ends = changed[np.concatenate((breaks, [len(changed) - 1]))] + 1
        yield from zip(starts.tolist(), (ends - starts).tolist(), strict=True)
    if len(data) > common:
        yield common, len(data) - common
