"""Events of a batch as they stand in INPUT and OUTPUT: counts of the samples, then ``(time, unit)`` of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

#: Types of times by bits 0 and 1 of a format; bit 2: units take four bytes.
TIMES: tuple[np.dtype[Any], ...] = (np.dtype("<u4"), np.dtype("<f4"), np.dtype("<f8"))
TICKS, FLOAT32, FLOAT64, WIDE_UNITS = 0, 1, 2, 4
#: Units that two bytes number.
NARROW = 65536
COUNT = np.dtype("<u4")


class EventError(ValueError):
    """Events that are none: the number of the sample, and what is wrong with it."""

    def __init__(self, sample: int, text: str) -> None:
        super().__init__(f"sample {sample}: {text}")
        self.sample = sample


@dataclass(frozen=True, eq=False)
class Events:
    """Events sample by sample: ``counts [batch]`` int64, ``times, units [events]`` of all of them in a row."""

    counts: Array
    times: Array
    units: Array

    @property
    def samples(self) -> Array:
        """Sample of each event."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def format_of(times: int, n_units: int) -> int:
    """The format of times of type ``times`` and of ``n_units`` units."""
    return times | (WIDE_UNITS if n_units > NARROW else 0)


def known_format(code: int) -> bool:
    """Whether a format's bits mean anything."""
    return 0 <= code < 8 and (code & 3) < len(TIMES)


def event_type(code: int) -> np.dtype[Any]:
    """Type of one event."""
    return np.dtype([("time", TIMES[code & 3]), ("unit", "<u4" if code & WIDE_UNITS else "<u2")])


def pack(events: Events, code: int, between: bytes = b"") -> bytes:
    """``events`` as bytes, with ``between`` after the counts."""
    rows = np.empty(len(events.times), event_type(code))
    rows["time"], rows["unit"] = events.times, events.units
    return b"".join((events.counts.astype(COUNT).tobytes(), between, rows.tobytes()))


def unpack(data: bytes, samples: int, code: int, between: int = 0) -> Events:
    """The events of ``samples`` samples, behind counts and ``between`` bytes.

    Raises :class:`EventError` with sample ``samples`` where bytes are left over, with the first that has too few else.
    """
    start, kind = COUNT.itemsize * samples + between, event_type(code)
    if len(data) < start:
        raise EventError(0, f"{len(data)} bytes, too few for {samples} counts")
    counts = np.frombuffer(data, COUNT, samples).astype(np.int64)
    ends, room = np.cumsum(counts), len(data) - start
    short = np.flatnonzero(ends * kind.itemsize > room)
    if short.size:
        raise EventError(int(short[0]), f"{int(ends[short[0]])} events up to it in {room} bytes")
    if int(ends[-1]) * kind.itemsize != room:
        raise EventError(samples, f"{room} bytes of events; the counts say {int(ends[-1]) * kind.itemsize}")
    rows = np.frombuffer(data, kind, offset=start)
    return Events(counts, rows["time"].copy(), rows["unit"].astype(np.int64))


def check(events: Events, n_units: int, last: float, *, strictly: bool = False) -> None:
    """Raise :class:`EventError` for a unit beyond ``n_units``, a time outside ``0..last``, or times that go back.

    ``strictly``: events of a sample ascend by time, then unit, none twice.
    """
    sample = events.samples
    bad = events.units >= n_units
    _raise_first(sample, bad, "unit", events.units, f"0..{n_units - 1}")
    bad = ~((events.times >= 0) & (events.times <= last))
    _raise_first(sample, bad, "time", events.times, f"0..{last:g}")
    if len(sample) < 2:
        return
    times = events.times.astype(np.float64)
    step, same = np.diff(times), sample[1:] == sample[:-1]
    back = (step < 0) | ((step == 0) & (np.diff(events.units) <= 0) if strictly else False)
    _raise_first(sample[1:], same & back, "time", events.times[1:], "in order" + (", none twice" if strictly else ""))


def _raise_first(sample: Array, bad: Array, what: str, values: Array, allowed: str) -> None:
    if bad.any():
        place = int(np.argmax(bad))
        raise EventError(int(sample[place]), f"{what} {values[place]}; allowed: {allowed}")


def before(events: Events, last: int) -> Events:
    """Those at ticks below ``last``."""
    kept = events.times < last
    counts = np.bincount(events.samples[kept], minlength=len(events.counts))
    return Events(counts, events.times[kept], events.units[kept])


def populations(events: Events, sizes: list[int]) -> list[Events]:
    """The events of each population, by its own units; :class:`EventError` for a unit beyond the last."""
    ends = np.cumsum(sizes)
    _raise_first(events.samples, events.units >= ends[-1], "unit", events.units, f"0..{ends[-1] - 1}")
    owner, sample, found = np.searchsorted(ends, events.units, "right"), events.samples, []
    for index, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        mine = owner == index
        counts = np.bincount(sample[mine], minlength=len(events.counts))
        found.append(Events(counts, events.times[mine], events.units[mine] - (end - size)))
    return found
