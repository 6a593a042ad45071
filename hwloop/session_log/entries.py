"""What the records of a log say: sessions, loads, runs with their events, and frames of a link."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from ..array_file import Array, ArrayReader, dump_arrays, load_arrays
from ..device.base import WriteStatistics
from ..device.target_document import TargetText
from ..record import RanOn, Recording
from ..spikes import Spikes
from ..storage import malformed
from ..stored_spikes import TrainText, pack_spikes, unpack_spikes
from ..strict_documents import Count, Name, Sha256, StrictDocument, parse_document

_Layers = Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=10_000)]


#: The device's own clock afterwards (device s); None: a log of before it was kept.
_Clock = Annotated[float, Field(ge=0)] | None


class Kind(IntEnum):
    """Kinds of records."""

    SESSION = 1
    LOAD = 2
    RUN = 3
    FRAME = 4
    OPENED = 5
    ASKED = 6


class SessionText(StrictDocument):
    """A device was opened; ``runs``: recorded before; ``at``: UTC, seconds since 1970."""

    format: Literal["hwloop-session"]
    version: Literal[1]
    target: TargetText
    at: Annotated[float, Field(ge=0)]
    runs: Count
    versions: Annotated[dict[Name, Name], Field(max_length=100)]


class LoadText(StrictDocument):
    """A program was loaded before run number ``run``: its digests, and what the device had written then."""

    run: Count
    kind: Name
    program: Sha256
    layers: _Layers
    at: Annotated[float, Field(ge=0)]
    last: Count
    total: Count
    loads: Count
    trims: Count
    failed: Count
    device_time: _Clock = None

    @property
    def writes(self) -> WriteStatistics:
        """What the device had written."""
        return WriteStatistics(self.last, self.total, self.loads, self.trims, self.failed)


class PositionText(StrictDocument):
    """Where the noise of an emulated device stood after a run."""

    session: Annotated[int, Field(ge=0, lt=2**63)]
    batch: Annotated[int, Field(ge=0, lt=2**63)]


class RunText(StrictDocument):
    """Run number ``run`` (from 0): what was sent and measured, beside the arrays of their events."""

    run: Count
    program: Sha256
    layers: _Layers
    repeats: Annotated[int, Field(ge=1, le=2**31 - 1)]
    inputs: TrainText
    names: Annotated[tuple[Name, ...], Field(max_length=10_000)]
    populations: Annotated[tuple[TrainText, ...], Field(min_length=1, max_length=10_000)]
    at: Annotated[float, Field(ge=0)]
    wall_time: Annotated[float, Field(ge=0)]
    ran_on: RanOn
    device_id: Name
    firmware: Name
    calibration_id: Name | None
    calibration_age: float | None
    lost_events: Count
    late_events: Count
    latency: float
    position: PositionText | None
    device_time: _Clock = None
    cycles: Count | None = None
    synaptic_events: Count | None = None


D = TypeVar("D", bound=StrictDocument)


@dataclass(frozen=True)
class Frame:
    """A frame of the link: ``sent`` by the host or received, ``at`` (s, the link's clock)."""

    sent: bool
    at: float
    data: bytes

    def encode(self) -> bytes:
        """As the body of a record."""
        return struct.pack("<Bd", self.sent, self.at) + self.data

    @classmethod
    def decode(cls, body: bytes, where: str) -> Frame:
        """The frame in ``body``."""
        sent, at = struct.unpack_from("<Bd", body) if len(body) >= 9 else (2, 0.0)
        if sent > 1 or not math.isfinite(at):
            raise malformed(where, "a frame", f"{len(body)} bytes", "a direction, a time and what was sent")
        return cls(bool(sent), at, body[9:])


def encode_entry(text: StrictDocument, arrays: dict[str, Array] | None = None) -> bytes:
    """A document and arrays as the body of a record."""
    said = text.model_dump_json().encode()
    return struct.pack("<I", len(said)) + said + (b"" if arrays is None else dump_arrays(arrays))


def decode_text(model: type[D], body: bytes, where: str) -> D:
    """The document in ``body``."""
    return parse_document(model, body[4 : 4 + _length(body, where)], where)


def run_entry(
    recording: Recording,
    inputs: Spikes,
    repeats: int,
    number: int,
    at: float,
    layers: tuple[str, ...],
    position: PositionText | None,
    device_time: float = 0.0,
) -> bytes:
    """``recording`` of ``inputs``, run ``repeats`` times, as the body of a record."""
    arrays: dict[str, Array] = {}
    text = RunText(
        run=number, program=recording.program_digest, layers=layers, repeats=repeats, at=at,
        inputs=pack_spikes(inputs, "inputs", arrays),
        populations=tuple(pack_spikes(train, f"populations.{k}", arrays) for k, train in enumerate(recording.populations)),
        names=recording.names, wall_time=recording.wall_time, ran_on=recording.ran_on, device_id=recording.device_id,
        firmware=recording.firmware, calibration_id=recording.calibration_id, calibration_age=recording.calibration_age,
        lost_events=recording.lost_events, late_events=recording.late_events, latency=recording.latency, position=position,
        device_time=device_time, cycles=recording.cycles, synaptic_events=recording.synaptic_events,
    )  # fmt: skip
    return encode_entry(text, arrays)


def run_events(text: RunText, body: bytes, where: str) -> tuple[Spikes, tuple[Spikes, ...]]:
    """``(inputs, populations)`` of a run."""
    arrays = ArrayReader(load_arrays(body_arrays(body, where), where), where)
    inputs = unpack_spikes(text.inputs, "inputs", arrays, where)
    populations = tuple(
        unpack_spikes(train, f"populations.{k}", arrays, where) for k, train in enumerate(text.populations)
    )
    arrays.finish()
    return inputs, populations


def body_arrays(body: bytes, where: str) -> bytes:
    """What follows the document in ``body``."""
    return body[4 + _length(body, where) :]


def _length(body: bytes, where: str) -> int:
    (length,) = struct.unpack("<I", body[:4]) if len(body) >= 4 else (len(body),)
    if 4 + length > len(body):
        raise malformed(where, "a record", f"a text of {length} bytes in {len(body)}", "a text that fits")
    return int(length)
