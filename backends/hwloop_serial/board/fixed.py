"""Fixed-point arithmetic behind the protocol of a board: any image of kind "fixed", tick by tick as ``loihi`` has it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwloop.device.registry import Target, describe
from hwloop.errors import InputError
from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.runs import Emulator
from hwloop_fixed_point.ticks import TickSpikes
from hwloop_loihi.device import FIRMWARE, MAX_TICKS, LoihiTarget

from .. import event_lists, fixed_layout, fixed_reader, information
from ..event_lists import Events
from ..fixed_limits import needs
from ..information import FixedLimits
from ..messages import Code, Kind, Run
from .model import Answer, Refusal
from .spikes import given, in_a_row, packed

#: Limits of the served emulator: what its images and its memory can hold.
LIMITS = FixedLimits(
    neurons=2**20, inputs=2**20, synapses=2**26, max_delay=63, max_ticks=MAX_TICKS, recurrent=True, bias=True, starts=True,
    state_bytes=2**30,
)  # fmt: skip


class FixedModel:
    """The emulator of ``loihi``, which is deterministic: it has no noise, no clock, no trim cells."""

    kind = Kind.FIXED
    features = 0

    def __init__(self, target: LoihiTarget, limits: FixedLimits = LIMITS) -> None:
        self.target, self.limits = target, limits
        self._emulator: Emulator | None = None

    @property
    def info(self) -> bytes:
        target: Target = self.target
        return information.write(information.from_plain({
            "format": "hwloop-device", "version": 1, "kind": "fixed", "device_id": self.target.device_id, "firmware": FIRMWARE,
            "ran_on": "emulator", "limits": dict(self.limits), "dt": self.target.dt, "describe": tuple(describe(target)),
        }))  # fmt: skip

    def reset(self) -> None:
        self._emulator = None

    def close(self) -> None:
        self._emulator = None

    def settings(self) -> bytes:
        return bytes(32)

    def load(self, image: bytes) -> None:
        self._emulator = None
        try:
            graph = fixed_reader.read(image)
        except fixed_reader.ImageError as error:
            raise Refusal(Code.BAD_IMAGE, error.offset, text=str(error)) from None
        self._check(graph)
        self._emulator = Emulator(graph)

    def _check(self, graph: FixedGraph) -> None:
        used, limits = needs(graph), self.limits
        if used.state_bytes > limits.state_bytes:
            raise Refusal(Code.TOO_LARGE, used.state_bytes, limits.state_bytes)
        header = fixed_layout.ImageHeader._fields
        for name, offset in (("inputs", 12), ("neurons", 16), ("synapses", 20)):
            if name in header and getattr(used, name) > getattr(limits, name):
                raise Refusal(Code.BAD_IMAGE, offset)

    def run(self, asked: Run, data: bytes, room: int) -> Callable[[], Answer]:
        emulator = self._emulator
        if emulator is None:
            raise Refusal(Code.NO_PROGRAM)
        graph = emulator.graph
        wide = sum(graph.sizes) > event_lists.NARROW
        if asked.format not in (event_lists.TICKS, event_lists.TICKS | event_lists.WIDE_UNITS) or wide > (
            asked.format >> 2
        ):
            raise Refusal(Code.UNKNOWN, asked.format)
        if asked.repeats != 1 or asked.batch == 0:
            raise Refusal(Code.UNKNOWN, asked.repeats)
        if not 1 <= asked.n_ticks <= self.limits.max_ticks:
            raise Refusal(Code.OUT_OF_RANGE, asked.n_ticks, self.limits.max_ticks)
        events = given(asked, data, graph.n_in, 2**31 - 1, strictly=True)
        inputs = TickSpikes.packed(events.samples, events.times, events.units, asked.batch, graph.n_in)

        def work() -> Answer:
            try:
                ran = emulator.run(inputs, asked.n_ticks)
            except InputError:  # no room for what a layer answers
                raise Refusal(Code.OVERFLOW, 0) from None
            found = in_a_row([_events(layer) for layer in ran.layers], graph.sizes)
            wraps = np.stack(ran.wraps, axis=1)
            table = wraps.astype("<u4").tobytes() if wraps.any() else b""
            return Answer(packed(found, asked.format, room, table), wraps=bool(table))

        return work

    def call(self, function: int, arguments: bytes, data: bytes | None) -> bytes:
        raise Refusal(Code.UNKNOWN, function)


def _events(layer: TickSpikes) -> Events:
    valid = layer.valid
    return Events(layer.counts.astype(np.int64), layer.ticks[valid], layer.units[valid])
