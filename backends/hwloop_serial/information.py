"""INFO: what a device says of itself, as a strict model; section 7 of PROTOCOL.md."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwloop.device.trim import TrimLaw, TrimRange
from hwloop.document_errors import explain
from hwloop.errors import DataError, LinkError
from hwloop.mapping import Capabilities, Range
from hwloop.mapping.capabilities import RangeUnit
from hwloop.neurons import ResetKind
from hwloop.storage import parse_json

#: Largest INFO (bytes), and how deep it nests.
MOST_BYTES, MOST_DEPTH = 65536, 8
#: Codes of trim cells, trimmed parameters, rows of a description.
MOST_CODE, MOST_TRIMMED, MOST_ROWS = 2**15, 32, 1000
#: What to do about a device that says what it may not.
ADVICE = "the firmware of the device is at fault: report it to its author"
#: Largest whole number of a limit.
MOST = 2**32 - 1


def _printable(text: str) -> str:
    """Text of a device is shown as it is: nothing in it may steer a terminal."""
    if any(unicodedata.category(letter).startswith("C") for letter in text):
        raise ValueError("characters that are not printable")
    return text


Text = Annotated[str, Field(max_length=128), AfterValidator(_printable)]
LongText = Annotated[str, Field(max_length=256), AfterValidator(_printable)]
Number = Annotated[int, Field(ge=0, le=MOST)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class FixedLimits(_Strict):
    """What a fixed-point device holds; ``state_bytes`` is its working memory."""

    neurons: Annotated[int, Field(ge=1, le=MOST)]
    inputs: Annotated[int, Field(ge=1, le=MOST)]
    synapses: Annotated[int, Field(ge=1, le=MOST)]
    max_delay: Annotated[int, Field(ge=0, le=63)]
    max_ticks: Annotated[int, Field(ge=1, le=MOST)]
    recurrent: bool
    bias: bool
    starts: bool
    state_bytes: Number


class _Range(_Strict):
    low: float
    high: float
    unit: RangeUnit


class CodesLimits(_Strict):
    """Every field of :class:`hwloop.mapping.Capabilities`."""

    name: Text
    n_neurons: Annotated[int, Field(ge=1, le=MOST)]
    fan_in: Annotated[int, Field(ge=1, le=MOST)]
    weight_bits: Annotated[int, Field(ge=2, le=32)] | None
    speedup: Annotated[float, Field(gt=0)]
    reset_kinds: tuple[ResetKind, ...]
    delays: bool
    recurrent: bool
    spike_cap: bool
    ranges: dict[Text, _Range]
    uniform: tuple[Text, ...]
    max_delay: Annotated[float, Field(ge=0)] | None
    refractory_min: Annotated[float, Field(ge=0)]
    max_events: Annotated[int, Field(ge=1, le=MOST)] | None
    time_step: Annotated[float, Field(ge=0)]
    latency: float
    populations: tuple[Text, ...]
    graphs: bool
    synaptic_delays: bool
    bias: bool
    initial_membrane: bool
    joined: Annotated[int, Field(ge=1, le=MOST)]

    def capabilities(self) -> Capabilities:
        """The same as the compiler takes it."""
        ranges = {name: Range(one.low, one.high, one.unit) for name, one in self.ranges.items()}
        return Capabilities(**{**dict(self), "ranges": ranges})


class _Trim(_Strict):
    codes_min: Annotated[int, Field(ge=-MOST_CODE, le=MOST_CODE)]
    codes_max: Annotated[int, Field(ge=-MOST_CODE, le=MOST_CODE)]
    default: Annotated[int, Field(ge=-MOST_CODE, le=MOST_CODE)]
    law: TrimLaw
    step: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _in_order(self) -> _Trim:
        if not self.codes_min <= self.default <= self.codes_max:
            raise ValueError("codes_min <= default <= codes_max does not hold")
        return self


class Emulated(_Strict):
    """Options with which ``emulator:number`` is the same device; see :class:`hwloop_emulator.device.EmulatorTarget`."""

    number: Annotated[int, Field(ge=0, le=MOST)]
    preset: Text
    spread: Annotated[float, Field(ge=0, le=1)] | None = None
    mismatch: bool = True
    trial_noise: bool = True


class Info(_Strict):
    """What a device is."""

    format: Literal["hwloop-device"]
    version: Literal[1]
    kind: Literal["fixed", "codes"]
    device_id: Text
    firmware: Text
    ran_on: Literal["hardware", "emulator", "rtl-simulation"]
    limits: FixedLimits | None = None
    capabilities: CodesLimits | None = None
    dt: Annotated[float, Field(gt=0)] | None = None
    trim: Annotated[dict[Text, _Trim], Field(max_length=MOST_TRIMMED)] = {}
    membrane_channels: Number = 0
    emulated: Emulated | None = None
    describe: Annotated[tuple[tuple[LongText, LongText, LongText], ...], Field(max_length=MOST_ROWS)] = ()
    in_words: tuple[
        Annotated[tuple[LongText, ...], Field(max_length=MOST_ROWS)],
        Annotated[tuple[LongText, ...], Field(max_length=MOST_ROWS)],
    ] = ((), ())

    @model_validator(mode="after")
    def _of_its_kind(self) -> Info:
        if (self.limits is None) != (self.kind == "codes") or (self.capabilities is None) != (self.kind == "fixed"):
            raise ValueError("kind 'fixed' has limits, kind 'codes' has capabilities, and neither has the other's")
        return self

    def trim_ranges(self) -> dict[str, TrimRange]:
        """Ranges of the trim cells."""
        return {name: TrimRange(**dict(one)) for name, one in self.trim.items()}


def read(data: bytes, where: str) -> Info:
    """The INFO in ``data``; :class:`~hwloop.errors.LinkError` naming ``where``, field, found and allowed where it is none."""
    if len(data) > MOST_BYTES:
        raise LinkError(f"{where}: INFO of {len(data)} bytes; allowed: {MOST_BYTES}; {ADVICE}")
    try:
        document = parse_json(data, f"{where}: INFO")
        if _depth(document) > MOST_DEPTH:
            raise LinkError(f"{where}: INFO nests deeper than {MOST_DEPTH}; {ADVICE}")
        return Info.model_validate_json(data)
    except DataError as error:
        raise LinkError(f"{error}; {ADVICE}") from None
    except ValidationError as error:
        raise LinkError(f"{explain(f'{where}: INFO', error, Info)}; {ADVICE}") from None


def write(info: Info) -> bytes:
    """``info`` as a device stores it."""
    return info.model_dump_json(exclude_none=False).encode()


def from_plain(document: Mapping[str, Any]) -> Info:
    """An INFO from Python values, tuples or lists."""
    return Info.model_validate(document)


def _depth(value: Any, most: int = MOST_DEPTH + 1) -> int:
    if most == 0 or not isinstance(value, (dict, list)):
        return 0
    parts = value.values() if isinstance(value, dict) else value
    return 1 + max((_depth(part, most - 1) for part in parts), default=0)
