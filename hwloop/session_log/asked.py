"""What a device is asked besides loads and runs: trim cells, calibrations, its clock and temperature, membranes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..array_file import Array, ArrayReader, load_arrays
from ..device.base import WriteStatistics
from ..device.trim import TrimLaw, TrimRange
from ..spikes import Spikes
from ..storage import malformed
from ..stored_spikes import TrainText, pack_spikes, same_spikes, unpack_spikes
from ..strict_documents import Count, Name, StrictDocument, Text
from .entries import body_arrays, encode_entry

#: Most parameters that have trim cells, and trim code either way.
MOST_TRIMMED, MOST_CODE = 32, 2**15
#: What is asked.
Question = Literal["write_trim", "apply", "read_membrane", "advance", "temperature"]
#: Arrays of what a question says, of what was found, and of codes that cells hold afterwards.
_GIVEN, _FOUND, _CODES = "given.", "found", "codes."

_Code = Annotated[int, Field(ge=-MOST_CODE, le=MOST_CODE)]


class NowText(StrictDocument):
    """Where a device stands: its clock (device s), temperature (K above reference; None: it does not tell), cells written."""

    device_time: Annotated[float, Field(ge=0)]
    temperature: float | None
    last: Count
    total: Count
    loads: Count
    trims: Count
    failed: Count

    @classmethod
    def of(cls, device: Any) -> NowText:
        """Where ``device`` stands."""
        kelvin, writes = getattr(device, "temperature", None), device.writes
        return cls(
            device_time=float(getattr(device, "device_time", 0.0)), temperature=None if kelvin is None else float(kelvin),
            last=writes.last, total=writes.total, loads=writes.loads, trims=writes.trims, failed=writes.failed,
        )  # fmt: skip

    @property
    def writes(self) -> WriteStatistics:
        """Cells written."""
        return WriteStatistics(self.last, self.total, self.loads, self.trims, self.failed)


class RangeText(StrictDocument):
    """Range of one parameter's trim cells."""

    codes_min: _Code
    codes_max: _Code
    default: _Code
    law: TrimLaw
    step: Annotated[float, Field(gt=0)]


class OpenedText(StrictDocument):
    """Where a device stands before run number ``run``, as a session begins or goes on, beside the codes of its trim cells."""

    run: Count
    ranges: Annotated[dict[Name, RangeText], Field(max_length=MOST_TRIMMED)]
    membrane_channels: Count
    now: NowText

    @property
    def trim_ranges(self) -> dict[str, TrimRange]:
        """As a device has them."""
        return {name: TrimRange(**dict(one)) for name, one in self.ranges.items()}


class AskedText(StrictDocument):
    """A question before run number ``run``: what it says, why it failed, and where the device stood then."""

    run: Count
    at: Annotated[float, Field(ge=0)]
    name: Question
    said: Annotated[dict[Name, bool | int | float | Name], Field(max_length=8)]
    inputs: TrainText | None
    error: Text | None
    now: NowText


@dataclass(frozen=True)
class Asked:
    """A question: numbers and words, arrays, and inputs (model s)."""

    name: Question
    said: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    inputs: Spikes | None = None

    @classmethod
    def trim(cls, parameter: str, codes: Array, neurons: Array | None = None, *, refresh: bool = False) -> Asked:
        """To write trim cells; arguments as of :meth:`hwloop.device.trim.Trimmable.write_trim`."""
        arrays = {"codes": _plain(codes)} | ({} if neurons is None else {"neurons": _plain(neurons)})
        return cls("write_trim", {"parameter": str(parameter), "refresh": bool(refresh)}, arrays)

    @classmethod
    def calibration(cls, calibration: Any, **policy: Any) -> Asked:
        """To apply a calibration; how old or foreign it may be does not matter once it was applied."""
        return cls("apply", {"calibration": str(calibration.id)})

    @classmethod
    def membranes(cls, spikes: Spikes, population: int, neurons: Array, times: Array) -> Asked:
        """To read membranes; arguments as of :meth:`hwloop.device.trim.MembraneReader.read_membrane`."""
        arrays = {"neurons": _plain(neurons), "times": _plain(times)}
        return cls("read_membrane", {"population": int(population)}, arrays, spikes)

    @classmethod
    def clock(cls, seconds: float) -> Asked:
        """To let ``seconds`` (device s) pass."""
        return cls("advance", {"seconds": float(seconds)})

    @classmethod
    def heat(cls, kelvin: float) -> Asked:
        """To be ``kelvin`` above the reference temperature."""
        return cls("temperature", {"kelvin": float(kelvin)})

    def difference(self, other: Asked) -> str | None:
        """What differs first from ``other``, which was recorded; None: nothing."""
        if self.name != other.name:
            return f"{self.name}, recorded was {other.name}"
        for key in self.said.keys() | other.said.keys():
            ours, theirs = self.said.get(key), other.said.get(key)
            if ours != theirs:
                return f"{self.name} with {key} = {ours!r}, recorded was {theirs!r}"
        for key in self.arrays.keys() | other.arrays.keys():
            one, two = self.arrays.get(key), other.arrays.get(key)
            if one is None or two is None or not np.array_equal(one, two):
                return f"{self.name} with other {key}"
        if self.inputs is not None and (other.inputs is None or not same_spikes(self.inputs.detach(), other.inputs)):
            return f"{self.name} of other inputs"
        return None


def _plain(values: Any) -> Array:
    """``values`` as whole numbers of 64 bits, or as real ones."""
    found = np.asarray(values)
    return found.astype(np.int64 if found.dtype.kind in "iu" else np.float64)


#: How each question is put that is a method of a device.
METHODS: dict[str, Callable[..., Asked]] = {
    "write_trim": Asked.trim, "apply": Asked.calibration, "read_membrane": Asked.membranes, "advance": Asked.clock,
}  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """What became of a question: the codes that cells hold since, of the parameters where they changed, and what was found."""

    codes: Mapping[str, Array]
    found: Array | None = None


def asked_entry(asked: Asked, reply: Reply, run: int, at: float, error: str | None, now: NowText) -> bytes:
    """A question and its reply as the body of a record."""
    arrays = {f"{_GIVEN}{name}": array for name, array in asked.arrays.items()}
    arrays |= {f"{_CODES}{name}": array for name, array in reply.codes.items()}
    if reply.found is not None:
        arrays[_FOUND] = reply.found
    inputs = None if asked.inputs is None else pack_spikes(asked.inputs, "inputs", arrays)
    text = AskedText(run=run, at=at, name=asked.name, said=dict(asked.said), inputs=inputs, error=error, now=now)
    return encode_entry(text, arrays)


def read_asked(text: AskedText, body: bytes, where: str) -> tuple[Asked, Reply]:
    """The question and its reply; :class:`~hwloop.errors.DataError` where the arrays are not theirs."""
    arrays = load_arrays(body_arrays(body, where), where)
    reader = ArrayReader(arrays, where)
    inputs = None if text.inputs is None else unpack_spikes(text.inputs, "inputs", reader, where)
    given = {name.removeprefix(_GIVEN): reader.take(name) for name in arrays if name.startswith(_GIVEN)}
    codes = {name.removeprefix(_CODES): reader.take(name, ("int64",), (None,)) for name in arrays if name.startswith(_CODES)}  # fmt: skip
    found = reader.take(_FOUND, ("float64",)) if _FOUND in reader else None
    reader.finish()
    if (found is None) != (text.name != "read_membrane" or text.error is not None):
        raise malformed(where, "what was found", "missing or too much", "membranes where they were read")
    return Asked(text.name, text.said, given, inputs), Reply(codes, found)


def opened_entry(text: OpenedText, codes: Mapping[str, Array]) -> bytes:
    """What a session begins with as the body of a record."""
    return encode_entry(text, {f"{_CODES}{name}": array for name, array in codes.items()})


def read_opened(text: OpenedText, body: bytes, where: str) -> dict[str, Array]:
    """The codes that cells hold at the beginning, of every parameter that has some."""
    reader = ArrayReader(load_arrays(body_arrays(body, where), where), where)
    codes = {name: reader.take(f"{_CODES}{name}", ("int64",), (None,)) for name in text.ranges}
    reader.finish()
    return codes
