"""Boards opened: what is common, and those of fixed-point graphs; those of codes are in :mod:`.codes_device`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from hwloop.device.base import DeviceBase, Measured, repeat
from hwloop.errors import CompileError, LinkError, TargetError
from hwloop.mapping import Program
from hwloop.spikes import Spikes
from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.ticks import TickSpikes, decode_late, encode
from hwloop_loihi.device import checked_ticks, held_codes
from hwloop_loihi.program import LoihiProgram
from hwloop_loihi.wrap import check_wraps

from . import event_lists, fixed_image, fixed_reader
from .event_lists import Array, EventError, Events
from .messages import NO_DIGEST, Feature, Region
from .owner import Held
from .remote import Outcome, Overflow, Remote
from .session import Rebooted

if TYPE_CHECKING:
    from .target import SerialTarget

T = TypeVar("T")

#: Restarts of a board within one call before it is given up.
MOST_RESTARTS = 10
#: Bytes of the number of a sample's events.
COUNT_BYTES = event_lists.COUNT.itemsize


class SerialDevice(DeviceBase):
    """An opened board. A line that breaks is opened again; a board that starts anew is given back what it held.

    Either way a call that returns has the result that it would have had, or it raises :class:`~hwloop.errors.LinkError`.
    """

    def __init__(self, target: SerialTarget, owner: Held, remote: Remote) -> None:
        info = remote.info
        super().__init__(target, info.device_id, info.firmware, info.ran_on)
        self.remote = remote
        self._owner = owner
        self._opener = os.getpid()
        self._image: bytes | None = None

    def close(self) -> None:
        """Give port and board back; closing twice is allowed."""
        super().close()
        if os.getpid() == self._opener:
            self.remote.close()
            self._owner.release()

    def _check_open(self) -> None:
        super()._check_open()
        if self._opener != os.getpid():
            raise TargetError(
                f"{self.device_id} was opened in process {self._opener}, of which this is a fork: two cannot speak on one line; "
                "open it here after closing it there"
            )

    # -- restarts of the board ----------------------------------------------------------------

    def _surviving(self, operation: Callable[[], T]) -> T:
        """``operation()``, repeated from where the device was before it each time the board starts anew meanwhile.

        Interrupted between a request and its reply, the line is left with a reply to come: the session drops those that it
        does not wait for.
        """
        cause: Rebooted | None = None
        for _ in range(MOST_RESTARTS):
            try:
                if cause is not None:
                    self.remote.again()
                    self._restore()
                    cause = None
                return operation()
            except Rebooted as error:
                cause = error
        raise LinkError(f"{self.device_id} started anew {MOST_RESTARTS} times within one call; check its power supply")

    def _restore(self) -> None:
        """Give a board that started anew what it held before the operation that found it so."""
        if self._image is not None:
            self.remote.upload(Region.PROGRAM, self._image)

    def _upload(self, image: bytes) -> None:
        self._surviving(lambda: self.remote.upload(Region.PROGRAM, image))
        self._image = image

    def _forget(self) -> None:
        """The next write writes everything."""
        self._image = None
        self.remote.forget(Region.PROGRAM)

    def _checked(
        self, outcome: Outcome, samples: int, sizes: list[int], last: float, code: int, table: int = 0
    ) -> Events:
        """The events of a run; :class:`LinkError` where they are not those of ``sizes`` neurons within ``0..last``."""
        try:
            events = event_lists.unpack(outcome.output, samples, code, table)
            for population in event_lists.populations(events, sizes):
                event_lists.check(population, max(sizes), last)
        except EventError as error:
            raise LinkError(
                f"{self.device_id} answered with events that cannot be: {error}; its firmware is at fault: report it to its author"
            ) from None
        return events


class FixedDevice(SerialDevice):
    """A board of fixed-point graphs: deterministic, and the same bit for bit as ``loihi``."""

    target: SerialTarget

    def _check_program(self, program: Program) -> None:
        graph = _program_of(program, self.device_id).graph
        try:
            self.target.check_graph(graph, fixed_image.write(graph))
        except CompileError as error:
            raise TargetError(f"{self.device_id}: {error}") from error

    def _write(self, program: Program) -> int:
        self._upload(fixed_image.write(_program_of(program, self.device_id).graph))
        held = None if self.program is None else self.program.layers
        if held is None or [layer.codes.shape for layer in held] != [layer.codes.shape for layer in program.layers]:
            return sum(layer.codes.size for layer in program.layers)
        pairs = zip(held, program.layers, strict=True)
        return sum(int(np.count_nonzero(old.codes != new.codes)) for old, new in pairs)

    def read_codes(self) -> tuple[Array, ...]:
        """Codes in the image that the board's memory holds; see :class:`hwloop.device.abilities.CodeReader`.

        Raises :class:`~hwloop.errors.LinkError` where that is no image.
        """
        self._check_open()
        self._loaded()
        length = 0 if self._image is None else len(self._image)
        image = self._surviving(lambda: self.remote.read_back(Region.PROGRAM, length))
        try:
            return held_codes(fixed_reader.read(image))
        except fixed_reader.ImageError as error:
            self._forget()
            raise LinkError(f"{self.device_id} holds no program image: {error}; load again") from None

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        fixed = _program_of(program, self.device_id)
        graph = fixed.graph
        n_ticks = checked_ticks(spikes.t_stop, graph)
        inputs, merged = encode(spikes, graph.dt)
        layers, wraps = self.run_graph(graph, inputs, n_ticks)
        check_wraps(wraps, fixed, spikes)
        dtype = getattr(torch, program.layers[0].dtype)
        populations = tuple(
            repeat(decode_late(ticks, late, graph.dt, spikes.t_stop, dtype).to(spikes.times.device), repeats)
            for ticks, late in zip(layers, graph.late, strict=True)
        )
        return Measured(populations, lost_events=merged * repeats)

    def run_graph(
        self, graph: FixedGraph, inputs: TickSpikes, n_ticks: int
    ) -> tuple[tuple[TickSpikes, ...], tuple[Array, ...]]:
        """Spikes of every layer of the graph that was loaded, and how often a ``u`` wrapped, ``[batch]`` a layer.

        A batch that is too large for the board's memories runs in parts.
        """
        limits = self.remote.info.limits
        if limits is not None and n_ticks > limits.max_ticks:
            raise TargetError(
                f"{self.device_id}: a window of {n_ticks} ticks; allowed: {limits.max_ticks}. Use a shorter window, or a larger dt"
            )
        code = event_lists.format_of(event_lists.TICKS, max(graph.n_in, sum(graph.sizes)))
        sizes = list(graph.sizes)
        parts: list[tuple[Events, Array]] = []
        start, most = 0, len(inputs)
        while start < len(inputs):
            stop = min(self._fitting(inputs, start, code), start + most)
            try:
                parts.append(self._part(inputs, start, stop, n_ticks, sizes, code))
            except Overflow as error:
                most = min(error.samples, stop - start - 1) or (stop - start) // 2
                if most == 0:
                    raise
                continue
            start = stop
        wraps = np.concatenate([table for _, table in parts])
        return _layers([events for events, _ in parts], sizes), tuple(wraps.T)

    def _fitting(self, inputs: TickSpikes, start: int, code: int) -> int:
        """End of the samples from ``start`` that fit the input memory together."""
        used = np.cumsum(COUNT_BYTES + inputs.counts[start:] * event_lists.event_type(code).itemsize)
        n = int(np.searchsorted(used, self.remote.hello.input_bytes, "right"))
        if n == 0:
            raise TargetError(
                f"{self.device_id}: sample {start} takes {int(used[0])} bytes of input; there are "
                f"{self.remote.hello.input_bytes}: send fewer events a sample"
            )
        return start + n

    def _part(
        self, inputs: TickSpikes, start: int, stop: int, n_ticks: int, sizes: list[int], code: int
    ) -> tuple[Events, Array]:
        valid, batch = inputs.valid[start:stop], stop - start
        given = Events(inputs.counts[start:stop], inputs.ticks[start:stop][valid], inputs.units[start:stop][valid])
        # what lies beyond the window does nothing
        data = event_lists.pack(event_lists.before(given, n_ticks), code)
        outcome = self._surviving(lambda: self._run_batch(data, batch, n_ticks, code))
        width = COUNT_BYTES * batch * len(sizes) if outcome.wraps else 0
        events = self._checked(outcome, batch, sizes, n_ticks - 1, code, width)
        table = np.zeros((batch, len(sizes)), np.int64)
        if outcome.wraps:
            table = np.frombuffer(outcome.output, event_lists.COUNT, batch * len(sizes), COUNT_BYTES * batch)
            table = table.reshape(batch, len(sizes)).astype(np.int64)
        return events, table

    def _run_batch(self, data: bytes, batch: int, n_ticks: int, code: int) -> Outcome:
        return self.remote.run(data, NO_DIGEST, batch=batch, repeats=1, n_ticks=n_ticks, t_stop=0.0, code=code)


def _layers(parts: list[Events], sizes: list[int]) -> tuple[TickSpikes, ...]:
    """Spikes of each population, the parts of the batch one after the other."""
    whole = Events(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("counts", "times", "units")))
    found = []
    for population, n in zip(event_lists.populations(whole, sizes), sizes, strict=True):
        sample, ticks, units = population.samples, population.times.astype(np.int64), population.units
        if not _in_order(sample, ticks, units):  # within a tick a board may say its neurons in any order
            order = np.lexsort((units, ticks, sample))
            ticks, units = ticks[order], units[order]
        found.append(TickSpikes.packed(sample, ticks, units, len(whole.counts), n))
    return tuple(found)


def _in_order(sample: Array, ticks: Array, units: Array) -> bool:
    """Whether events of samples one after the other ascend by tick, then unit."""
    later = np.diff(ticks)
    return bool(((np.diff(sample) > 0) | (later > 0) | ((later == 0) & (np.diff(units) > 0))).all())


def _program_of(program: Program, device: str) -> LoihiProgram:
    if not isinstance(program, LoihiProgram):
        raise TargetError(
            f"{device} runs programs compiled for it or for loihi; got {type(program).__name__}: compile the network for it"
        )
    return program


def opened(target: SerialTarget, owner: Held, remote: Remote) -> SerialDevice:
    """The board behind ``remote``, as new."""
    from .codes_device import CodesDevice, NoisyDevice

    try:
        remote.reset(forget=True)
        if target.fixed:
            return FixedDevice(target, owner, remote)
        kind = NoisyDevice if remote.hello.features & Feature.NOISE else CodesDevice
        return kind(target, owner, remote)
    except BaseException:
        remote.close()
        raise
