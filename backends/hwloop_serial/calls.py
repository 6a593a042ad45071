"""Arguments and results of CALL: section 10 of PROTOCOL.md as packed structures, of host and board alike."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from hwloop.device.base import WriteStatistics

from .event_lists import Array
from .messages import NO_DIGEST

TRIM_READ = struct.Struct("<B")
TRIM_WRITE = struct.Struct("<BBI")
CELLS = struct.Struct("<I")
POSITION = struct.Struct("<QQdd")
SEEK = struct.Struct("<QQ")
NUMBER = struct.Struct("<d")
MEMBRANE = struct.Struct("<IIIIdB")
WRITES = struct.Struct("<IQQII")
COUNTERS = struct.Struct("<QQIIII")
#: Codes and neurons of trim cells; membranes and their times.
CODES, NEURONS, VALUES = np.dtype("<i4"), np.dtype("<u4"), np.dtype("<f8")

#: Arguments and results that stand in the frame itself (bytes): larger ones go in chunks, of which a poor line loses a few only.
MOST_INLINE = 512


class CallError(ValueError):
    """Bytes that are no arguments or results of a call."""


class Position(NamedTuple):
    """Where noise, clock (device s) and temperature (K above reference) stand."""

    session: int
    batch: int
    clock: float
    temperature: float


class Counters(NamedTuple):
    """What the last run took, and what was lost on the line since the start: fields as in PROTOCOL.md."""

    cycles: int
    synapses: int
    lost_bytes: int
    broken_bytes: int
    dropped_frames: int
    clock_hz: int


class MembraneRequest(NamedTuple):
    """What membranes to read: logical ``neurons`` of ``population`` at ``times`` (model s)."""

    population: int
    batch: int
    t_stop: float
    format: int
    neurons: Array
    times: Array


class TrimWrite(NamedTuple):
    """Codes for cells of one parameter, by its place in the sorted names."""

    parameter: int
    refresh: bool
    codes: Array
    neurons: Array


def settings_digest(codes: Iterable[Array]) -> bytes:
    """Digest of all trim cells, parameters sorted by name; zeros where there are none."""
    parts = [np.ascontiguousarray(one, CODES).tobytes() for one in codes]
    return hashlib.sha256(b"".join(parts)).digest() if parts else NO_DIGEST


def fixed(form: struct.Struct, data: bytes) -> tuple[int, ...]:
    """The fields of ``form``, which is all of ``data``."""
    if len(data) != form.size:
        raise CallError(f"{len(data)} bytes; expected {form.size}")
    return form.unpack(data)


def position(data: bytes) -> Position:
    """Read a POSITION; raises :class:`CallError`, also for a clock or a temperature that is no number."""
    session, batch, clock, temperature = fixed(POSITION, data)
    if not (math.isfinite(clock) and math.isfinite(temperature)):
        raise CallError(f"clock {clock} s, temperature {temperature} K; expected finite ones")
    return Position(session, batch, float(clock), float(temperature))


def cells(most: int, data: bytes) -> int:
    """Read the result of TRIM_WRITE: cells written, of ``most`` that were sent; raises :class:`CallError`."""
    (written,) = fixed(CELLS, data)
    if written > most:
        raise CallError(f"{written} cells; {most} were sent")
    return written


def codes(n: int, low: int, high: int, data: bytes) -> Array:
    """Read the result of TRIM_READ: ``n`` codes (int64) within ``low..high``; raises :class:`CallError`."""
    found = column(CODES, n, data).astype(np.int64)
    bad = (found < low) | (found > high)
    if bad.any():
        raise CallError(f"code {found[bad][0]}; expected {low}..{high}")
    return found


def column(kind: np.dtype[Any], n: int, data: bytes) -> Array:
    """Read ``n`` finite numbers of type ``kind``; raises :class:`CallError`."""
    if len(data) != n * kind.itemsize:
        raise CallError(f"{len(data)} bytes; expected {n * kind.itemsize}")
    found = np.frombuffer(data, kind)
    if not np.isfinite(found).all():
        raise CallError("inf or NaN; expected finite numbers")
    return found


def pack_trim(asked: TrimWrite) -> bytes:
    """Arguments of TRIM_WRITE."""
    head = TRIM_WRITE.pack(asked.parameter, asked.refresh, len(asked.codes))
    return head + asked.codes.astype(CODES).tobytes() + asked.neurons.astype(NEURONS).tobytes()


def unpack_trim(data: bytes) -> TrimWrite:
    """Read the arguments of TRIM_WRITE; raises :class:`CallError`."""
    if len(data) < TRIM_WRITE.size:
        raise CallError(f"{len(data)} bytes; at least {TRIM_WRITE.size}")
    parameter, refresh, k = TRIM_WRITE.unpack_from(data)
    if len(data) != TRIM_WRITE.size + k * (CODES.itemsize + NEURONS.itemsize) or refresh > 1:
        raise CallError(f"{len(data)} bytes for {k} cells, refresh {refresh}")
    codes = np.frombuffer(data, CODES, k, TRIM_WRITE.size).astype(np.int64)
    neurons = np.frombuffer(data, NEURONS, k, TRIM_WRITE.size + k * CODES.itemsize).astype(np.int64)
    return TrimWrite(parameter, bool(refresh), codes, neurons)


def pack_membrane(asked: MembraneRequest) -> bytes:
    """Arguments of MEMBRANE."""
    head = MEMBRANE.pack(
        asked.population, len(asked.neurons), len(asked.times), asked.batch, asked.t_stop, asked.format
    )
    return head + asked.neurons.astype(NEURONS).tobytes() + asked.times.astype(VALUES).tobytes()


def unpack_membrane(data: bytes) -> MembraneRequest:
    """Read the arguments of MEMBRANE; raises :class:`CallError`."""
    if len(data) < MEMBRANE.size:
        raise CallError(f"{len(data)} bytes; at least {MEMBRANE.size}")
    population, k, s, batch, t_stop, code = MEMBRANE.unpack_from(data)
    if len(data) != MEMBRANE.size + k * NEURONS.itemsize + s * VALUES.itemsize:
        raise CallError(f"{len(data)} bytes for {k} neurons and {s} times")
    neurons = np.frombuffer(data, NEURONS, k, MEMBRANE.size).astype(np.int64)
    times = np.frombuffer(data, VALUES, s, MEMBRANE.size + k * NEURONS.itemsize).astype(np.float64)
    return MembraneRequest(population, batch, t_stop, code, neurons, times)


def unpack_counters(data: bytes) -> Counters:
    """Read the result of COUNTERS."""
    return Counters(*fixed(COUNTERS, data))


def pack_writes(found: WriteStatistics) -> bytes:
    """Result of WRITES."""
    return WRITES.pack(found.last, found.total, found.trims, found.loads, found.failed)


def unpack_writes(data: bytes) -> WriteStatistics:
    """Read the result of WRITES."""
    last, total, trims, loads, failed = fixed(WRITES, data)
    return WriteStatistics(last, total, loads, trims, failed)
