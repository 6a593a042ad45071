"""A target that takes codes, such as the emulated chip, behind the protocol of a board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from hwloop.device.base import DeviceBase
from hwloop.device.registry import Target, describe, in_words
from hwloop.device.trim import MembraneReader, Trimmable
from hwloop.errors import DataError, HwloopError, TargetError
from hwloop.mapping import Program, stored

from .. import calls, emulated, event_lists, information
from ..calls import CallError, Position
from ..event_lists import Array
from ..messages import Code, Feature, Function, Kind, Run
from .model import Answer, Refusal
from .spikes import as_spikes, given, in_a_row, of_spikes, packed

#: Most characters of a text in INFO.
MOST_TEXT = 256


class CodesModel:
    """A target with programs of codes, opened; opened anew by :meth:`reset`."""

    kind = Kind.CODES

    def __init__(self, target: Target) -> None:
        self.target = target
        self.device = self._opened()
        self.program: Program | None = None
        self._digest: bytes | None = None

    def _opened(self) -> DeviceBase:
        device = self.target.open()
        if not isinstance(device, DeviceBase):
            raise TargetError(
                f"{self.target.name} opens a {type(device).__name__}; allowed behind a board: devices made from DeviceBase"
            )
        return device

    def reset(self) -> None:
        self.device.close()
        self.device, self.program, self._digest = self._opened(), None, None

    def close(self) -> None:
        self.device.close()

    # -- what it is ---------------------------------------------------------------------------

    @property
    def _trims(self) -> list[str]:
        """Names of the trimmed parameters, sorted."""
        return sorted(self.device.trim_ranges) if isinstance(self.device, Trimmable) else []

    @property
    def features(self) -> int:
        device, found = self.device, 0
        has = {
            Feature.TRIM: bool(self._trims),
            Feature.NOISE: all(hasattr(device, name) for name in ("seek", "session", "batch")),
            Feature.CLOCK: all(hasattr(device, name) for name in ("advance", "device_time")),
            Feature.TEMPERATURE: hasattr(device, "temperature"),
            Feature.MEMBRANES: isinstance(device, MembraneReader) and device.membrane_channels > 0,
            Feature.LANDING: bool(getattr(device, "lands_anew", False)),
        }
        for feature, there in has.items():
            found |= feature if there else 0
        return found

    @property
    def info(self) -> bytes:
        device = self.device
        # in the device's order: who writes them one after the other writes them as in process, and they land alike
        ranges = device.trim_ranges if isinstance(device, Trimmable) else {}
        trims = {name: asdict(allowed) for name, allowed in ranges.items()}
        rows = tuple(tuple(text[:MOST_TEXT] for text in row) for row in describe(self.target))
        words = tuple(tuple(text[:MOST_TEXT] for text in part) for part in in_words(self.target))
        return information.write(information.from_plain({
            "format": "hwloop-device", "version": 1, "kind": "codes", "device_id": device.device_id,
            "firmware": device.firmware, "ran_on": device.ran_on, "capabilities": asdict(device.capabilities),
            "trim": trims, "membrane_channels": getattr(device, "membrane_channels", 0), "describe": rows,
            "in_words": words, "emulated": emulated.said_of(self.target),
        }))  # fmt: skip

    def settings(self) -> bytes:
        if self._digest is None:
            self._digest = calls.settings_digest(self.device.trim_codes(name) for name in self._trims)  # type: ignore[attr-defined]
        return self._digest

    # -- programs and runs --------------------------------------------------------------------

    def load(self, image: bytes) -> None:
        self.program = None
        try:
            program = stored.load(image, self.device.capabilities, "program")
        except DataError as error:
            raise Refusal(Code.FAILED, text=str(error)) from None
        self.device.load(program)
        self.program = program

    def run(self, asked: Run, data: bytes, room: int) -> Callable[[], Answer]:
        program = self._loaded()
        sizes = [layer.n_out for layer in program.layers]
        times = {"float32": event_lists.FLOAT32, "float64": event_lists.FLOAT64}[program.layers[0].dtype]
        if asked.format & 3 != times or asked.format > 7 or (sum(sizes) > event_lists.NARROW) > (asked.format >> 2):
            raise Refusal(Code.UNKNOWN, asked.format)
        if asked.repeats == 0 or asked.batch == 0:
            raise Refusal(Code.UNKNOWN, asked.repeats)
        events = given(asked, data, program.n_in, asked.t_stop, strictly=False)
        spikes, device = as_spikes(events, program.n_in, asked.t_stop), self.device

        def work() -> Answer:
            # not run(): the host subtracts the latency of the read-out itself, once
            measured = device._execute(program, spikes, asked.repeats)
            found = in_a_row([of_spikes(population) for population in measured.populations], sizes)
            return Answer(packed(found, asked.format, room), measured.lost_events, measured.late_events)

        return work

    def _loaded(self) -> Program:
        if self.program is None:
            raise Refusal(Code.NO_PROGRAM)
        return self.program

    # -- calls --------------------------------------------------------------------------------

    def call(self, function: int, arguments: bytes, data: bytes | None) -> bytes:
        try:
            return self._called(function, arguments, data)
        except CallError:
            raise Refusal(Code.MALFORMED) from None
        except HwloopError as error:
            raise Refusal(Code.FAILED, text=str(error)) from None

    def _called(self, function: int, arguments: bytes, data: bytes | None) -> bytes:
        device: Any = self.device
        features = self.features
        match function:
            case Function.TRIM_READ if features & Feature.TRIM:
                (place,) = calls.fixed(calls.TRIM_READ, arguments)
                codes: Array = device.trim_codes(self._named(place))
                return codes.astype(calls.CODES).tobytes()
            case Function.TRIM_WRITE if features & Feature.TRIM:
                asked = calls.unpack_trim(arguments)
                self._digest = None
                device.write_trim(self._named(asked.parameter), asked.codes, asked.neurons, refresh=asked.refresh)
                return calls.CELLS.pack(device.writes.last)
            case Function.POSITION:
                calls.fixed(calls.CELLS, arguments + bytes(calls.CELLS.size))
            case Function.SEEK if features & Feature.NOISE:
                self._digest = None
                device.seek(*calls.fixed(calls.SEEK, arguments))
            case Function.ADVANCE if features & Feature.CLOCK:
                device.advance(*calls.fixed(calls.NUMBER, arguments))
            case Function.TEMPERATURE if features & Feature.TEMPERATURE:
                (device.temperature,) = calls.fixed(calls.NUMBER, arguments)
            case Function.MEMBRANE if features & Feature.MEMBRANES:
                return self._membrane(calls.unpack_membrane(arguments), data)
            case Function.WRITES:
                return calls.pack_writes(device.writes)
            case _:
                raise Refusal(Code.UNKNOWN, function)
        return calls.POSITION.pack(*self._position())

    def _position(self) -> Position:
        device: Any = self.device
        return Position(
            getattr(device, "session", 0),
            getattr(device, "batch", 0),
            getattr(device, "device_time", 0.0),
            getattr(device, "temperature", 0.0),
        )

    def _named(self, place: int) -> str:
        names = self._trims
        if place >= len(names):
            raise Refusal(Code.UNKNOWN, place)
        return names[place]

    def _membrane(self, asked: calls.MembraneRequest, data: bytes | None) -> bytes:
        program, device = self._loaded(), self.device
        if data is None:
            raise Refusal(Code.NO_INPUT)
        run = Run(0, b"", b"", b"", asked.batch, 1, 0, asked.t_stop, asked.format, 0)
        events = given(run, data, program.n_in, asked.t_stop, strictly=False)
        dtype = getattr(torch, program.layers[0].dtype)
        spikes = as_spikes(events, program.n_in, asked.t_stop).to(dtype)
        found: Array = device.read_membrane(spikes, asked.population, asked.neurons, asked.times)  # type: ignore[attr-defined]
        return found.astype(calls.VALUES).tobytes()
