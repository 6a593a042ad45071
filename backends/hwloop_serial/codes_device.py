"""Boards that take codes: with trim cells, a clock, a temperature, membranes and seekable noise as far as they have them.

What such a board holds is more than its program. A board that started anew is brought to where it was: temperature, trim
cells as they landed at the last seek, position of the noise, programs and trim cells written since, and clock, in this order.
Of programs the last one does, unless cells land elsewhere each time they are written: then all since the last seek.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from hwloop.arguments import whole
from hwloop.device.base import Measured
from hwloop.device.trim import TrimRange, check_codes, known_parameter
from hwloop.errors import InputError, LinkError, OptionError, TargetError
from hwloop.mapping import Program, stored
from hwloop.mapping.partition import PartitionedProgram
from hwloop.spikes import Spikes

from . import calls, event_lists
from .board.spikes import as_spikes, of_spikes
from .calls import CallError, MembraneRequest, Position, TrimWrite
from .device import SerialDevice
from .event_lists import Array
from .history import History
from .messages import Feature, Function, Region
from .owner import Held
from .remote import Remote

if TYPE_CHECKING:
    from .target import SerialTarget

T = TypeVar("T")

#: Neighbouring numbers that are tried for a step of the clock that ends where it was.
CLOCK_STEPS = 8


class CodesDevice(SerialDevice):
    """An opened board of codes; what it does not have is refused by name, or empty."""

    def __init__(self, target: SerialTarget, owner: Held, remote: Remote) -> None:
        super().__init__(target, owner, remote)
        self._ranges: dict[str, TrimRange] = remote.info.trim_ranges()
        self._names = sorted(self._ranges)
        self._n_neurons = target.capabilities.n_neurons
        self._codes: dict[str, Array] = {}
        #: Trim cells off their default when the noise was last sought, in the order of the ranges, and what came since.
        self._landed: dict[str, Array] = {}
        self._history = History(every=self._has(Feature.LANDING))
        #: Samples run since the device was opened, repeats included.
        self.samples_run = 0
        if target.session is not None and self._has(Feature.NOISE):
            self._asked(Function.SEEK, calls.position, calls.SEEK.pack(target.session, 0))
        #: Where noise, clock and temperature stand now: what a restart goes back to.
        self._position = self._read_position()

    def _has(self, feature: Feature) -> bool:
        return bool(self.remote.hello.features & feature)

    def _need(self, feature: Feature, what: str) -> None:
        self._check_open()
        if not self._has(feature):
            raise OptionError(f"{self.device_id} has no {what}; leave it out, or use a board that has it")

    def _asked(self, function: Function, read: Callable[[bytes], T], arguments: bytes = b"") -> T:
        """What ``read`` makes of the result of a call; :class:`LinkError` where it is none."""
        data = self.remote.call(function, arguments)
        try:
            return read(data)
        except CallError as error:
            raise LinkError(
                f"{self.device_id} answered {function.name} with what it cannot be: {error}; its firmware is at fault: report it to its "
                "author"
            ) from None

    # -- where it stands ----------------------------------------------------------------------

    def _read_position(self) -> Position:
        if not any(map(self._has, (Feature.NOISE, Feature.CLOCK, Feature.TEMPERATURE))):
            return Position(0, 0, 0.0, 0.0)
        return self._asked(Function.POSITION, calls.position)

    def _changing(self, operation: Callable[[], T]) -> T:
        """``operation()``, after which it is known where the board stands: both or, after a restart in between, both again."""

        def whole() -> tuple[T, Position]:
            return operation(), self._read_position()

        try:
            found, self._position = self._surviving(whole)
        except LinkError:
            raise
        except TargetError:  # refused, or broken off half way
            self._position = self._surviving(self._read_position)
            raise
        return found

    def _restore(self) -> None:
        unknown = self._history.unknown
        if self._has(Feature.LANDING) and not self._has(Feature.NOISE) and any(self._history.steps()):
            unknown = "its noise cannot be sought"
        if unknown:
            raise LinkError(
                f"{self.device_id} started anew, and its weight cells land elsewhere each time they are written: it is not the device "
                f"that it was, since {unknown}. Begin the measurement again, or go on from a checkpoint"
            )
        was = self._position
        if self._has(Feature.TEMPERATURE) and was.temperature != 0.0:
            self._asked(Function.TEMPERATURE, calls.position, calls.NUMBER.pack(was.temperature))
        for name, codes in self._landed.items():
            self._call_trim(TrimWrite(self._names.index(name), False, codes, np.arange(len(codes))))
        if self._has(Feature.NOISE):
            self._asked(Function.SEEK, calls.position, calls.SEEK.pack(was.session, was.batch))
        for step in self._history.steps():
            if isinstance(step, TrimWrite):
                self._call_trim(step)
            else:
                self.remote.upload(Region.PROGRAM, step)
        self._restore_clock(was)

    def _forget(self) -> None:
        super()._forget()
        self._history.lost()

    def _restore_clock(self, was: Position) -> None:
        now = self._read_position()
        if self._has(Feature.CLOCK) and now.clock != was.clock:
            step = _step_to(now.clock, was.clock)
            if step is not None:
                now = self._asked(Function.ADVANCE, calls.position, calls.NUMBER.pack(step))
        if now != was:
            raise LinkError(
                f"{self.device_id} started anew and cannot be brought back to where it was: it stands at {tuple(now)}, not at "
                f"{tuple(was)} (noise session, run, clock (s), temperature (K)); begin the measurement again"
            )

    # -- programs and runs --------------------------------------------------------------------

    def _write(self, program: Program) -> int:
        image = stored.dump(program)

        def write() -> int:
            self.remote.upload(Region.PROGRAM, image)
            return self._asked(Function.WRITES, calls.unpack_writes).last

        try:
            cells = self._changing(write)
        except BaseException:  # what arrived of it is not known
            self._history.lost()
            raise
        self._history.loaded(image)
        return cells

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        dtype = getattr(torch, program.layers[0].dtype)
        sizes = [layer.n_out for layer in program.layers]
        times = event_lists.FLOAT64 if dtype == torch.float64 else event_lists.FLOAT32
        code = event_lists.format_of(times, max(program.n_in, sum(sizes)))
        data = event_lists.pack(of_spikes(spikes.to("cpu", dtype)), code)
        settings, batch = self._settings(), len(spikes)
        outcome = self._changing(
            lambda: self.remote.run(
                data, settings, batch=batch, repeats=repeats, n_ticks=0, t_stop=spikes.t_stop, code=code
            )
        )
        self.samples_run += batch * repeats
        # in the dtype of the times, t_stop may be rounded up
        last = float(torch.tensor(spikes.t_stop, dtype=dtype)) if dtype == torch.float32 else spikes.t_stop
        events = self._checked(outcome, batch * repeats, sizes, max(last, spikes.t_stop), code)
        populations = tuple(
            as_spikes(population, n, spikes.t_stop).to(spikes.times.device)
            for population, n in zip(event_lists.populations(events, sizes), sizes, strict=True)
        )
        return Measured(populations, outcome.status.lost, outcome.status.late)

    # -- trim cells ---------------------------------------------------------------------------

    @property
    def trim_ranges(self) -> dict[str, TrimRange]:
        """Range and nominal law of each parameter that has trim cells; see :class:`hwloop.device.trim.Trimmable`."""
        return dict(self._ranges)

    def trim_codes(self, parameter: str) -> Array:
        """Codes (int64) that the cells of ``parameter`` hold, one a physical neuron."""
        known_parameter(self._ranges, parameter, self.device_id)
        if parameter not in self._codes:
            place = calls.TRIM_READ.pack(self._names.index(parameter))
            allowed = self._ranges[parameter]
            read = partial(calls.codes, self._n_neurons, allowed.codes_min, allowed.codes_max)
            self._codes[parameter] = self._surviving(lambda: self._asked(Function.TRIM_READ, read, place))
        return self._codes[parameter].copy()

    def _settings(self) -> bytes:
        """Digest that the board has to have of its trim cells."""
        return calls.settings_digest([self.trim_codes(name) for name in self._names])

    def write_trim(self, parameter: str, codes: Array, neurons: Array | None = None, *, refresh: bool = False) -> None:
        """Write trim cells; arguments and errors as for :meth:`hwloop.device.trim.Trimmable.write_trim`."""
        self._check_open()
        allowed = known_parameter(self._ranges, parameter, self.device_id)
        values, chosen = check_codes(allowed, parameter, codes, neurons, self._n_neurons)
        held = self.trim_codes(parameter)
        if not refresh:
            changed = held[chosen] != values
            values, chosen = values[changed], chosen[changed]
        written = 0
        if len(chosen):
            self.calibration = None
            asked = TrimWrite(self._names.index(parameter), refresh, values, chosen)
            written = self._write_trim(parameter, asked)
        self._count_trims(written)

    def _write_trim(self, parameter: str, asked: TrimWrite) -> int:
        held = self._codes.pop(parameter)
        try:
            written = self._changing(lambda: self._call_trim(asked))
        except LinkError:
            raise
        except TargetError:
            done = self._surviving(lambda: self._asked(Function.WRITES, calls.unpack_writes)).last
            self._count_trims(done)
            if done:
                self._history.trimmed(TrimWrite(asked.parameter, True, asked.codes[:done], asked.neurons[:done]))
            raise
        held[asked.neurons] = asked.codes
        self._codes[parameter] = held
        self._history.trimmed(asked)
        return written

    def _call_trim(self, asked: TrimWrite) -> int:
        return self._asked(Function.TRIM_WRITE, partial(calls.cells, len(asked.codes)), calls.pack_trim(asked))

    def _count_trims(self, cells: int) -> None:
        before = self.writes
        self.writes = replace(before, last=cells, total=before.total + cells, trims=before.trims + cells)

    # -- clock, temperature, membranes --------------------------------------------------------

    @property
    def device_time(self) -> float:
        """The board's clock (device s); 0 where it has none."""
        return self._position.clock if self._has(Feature.CLOCK) and not self.closed else 0.0

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` (device s, >= 0) pass on an emulated chip: it ages, nobody waits."""
        self._need(Feature.CLOCK, "clock that can be advanced")
        if not 0 <= seconds < math.inf:
            raise InputError(f"advance({seconds!r}); allowed: finite and >= 0 device s")
        self._changing(lambda: self._asked(Function.ADVANCE, calls.position, calls.NUMBER.pack(seconds)))

    @property
    def temperature(self) -> float | None:
        """Kelvin above the temperature at which the chip is what its number says; None where it does not tell."""
        return self._position.temperature if self._has(Feature.TEMPERATURE) and not self.closed else None

    @temperature.setter
    def temperature(self, kelvin: float) -> None:
        self._need(Feature.TEMPERATURE, "temperature that can be set")
        if not math.isfinite(kelvin):
            raise InputError(f"temperature = {kelvin!r} K; allowed: finite")
        self._changing(lambda: self._asked(Function.TEMPERATURE, calls.position, calls.NUMBER.pack(kelvin)))

    @property
    def membrane_channels(self) -> int:
        """Neurons whose membranes can be sampled in one run; 0: none."""
        return self.remote.info.membrane_channels if self._has(Feature.MEMBRANES) else 0

    def read_membrane(self, spikes: Spikes, population: int, neurons: Array, times: Array) -> Array:
        """Membranes ``[batch, k, samples]`` (model units) of one run; arguments and errors as for ``emulator:N``."""
        self._check_open()
        program = self._loaded()
        if isinstance(program, PartitionedProgram):
            raise TargetError(
                f"{self.device_id} holds a program in pieces; load one of them, program.pieces[0].program and so on, or "
                "compare spikes"
            )
        self._check_inputs(spikes, program)
        chosen, when = np.asarray(neurons), np.asarray(times, dtype=np.float64)
        if len(chosen) > self.membrane_channels:
            raise TargetError(
                f"{self.device_id} samples {self.membrane_channels} membranes in a run, {len(chosen)} were asked for; "
                "read them in several runs, or use spikes alone"
            )
        if not 0 <= population < len(program.layers):
            raise InputError(f"population {population}; allowed: 0..{len(program.layers) - 1}")
        size = program.layers[population].n_out
        if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer) or ((chosen < 0) | (chosen >= size)).any():
            raise InputError(
                f"neurons {neurons!r} of population {population}; allowed: [k] whole numbers 0..{size - 1}"
            )
        if when.ndim != 1 or not bool(((when >= 0) & (when <= spikes.t_stop)).all()) or bool((np.diff(when) < 0).any()):
            raise InputError(
                f"times of shape {when.shape}; allowed: [samples], ascending, within 0..{spikes.t_stop:g} s"
            )
        found = self._membranes(program, spikes, population, chosen, when)
        return found.reshape(len(spikes), len(chosen), len(when)).copy()

    def _membranes(self, program: Program, spikes: Spikes, population: int, neurons: Array, times: Array) -> Array:
        dtype = getattr(torch, program.layers[0].dtype)
        code = event_lists.format_of(event_lists.FLOAT64, program.n_in)
        given = of_spikes(spikes.detach().to("cpu", dtype).to(torch.float64))
        data = event_lists.pack(given, code)
        asked = MembraneRequest(population, len(spikes), spikes.t_stop, code, neurons, times)

        values = partial(calls.column, calls.VALUES, len(spikes) * len(neurons) * len(times))

        def read() -> Array:
            self.remote.upload(Region.INPUT, data)
            return self._asked(Function.MEMBRANE, values, calls.pack_membrane(asked))

        return self._changing(read)


class NoisyDevice(CodesDevice):
    """A board whose noise has a position: what runs depends on it, and can be repeated."""

    @property
    def session(self) -> int:
        """Seed of session noise and of all trial noise."""
        return self._position.session

    @property
    def batch(self) -> int:
        """Index that the noise of the next run is drawn with; counts up with each run."""
        return self._position.batch

    def seek(self, session: int, batch: int) -> None:
        """Let the noise go on where that of ``session`` stood before its run number ``batch``; as of ``emulator:N``."""
        asked = whole("session", session, 0, 2**63 - 1), whole("batch", batch, 0, 2**63 - 1)
        self._check_open()
        held = {name: self.trim_codes(name) for name in self._ranges}
        with self._writing():
            self._changing(lambda: self._asked(Function.SEEK, calls.position, calls.SEEK.pack(*asked)))
        # what runs from here on depends on these codes, and on no write of before
        self._landed = {name: codes for name, codes in held.items() if (codes != self._ranges[name].default).any()}
        self._history.sought()


def _step_to(now: float, then: float) -> float | None:
    """What to add to ``now`` so that ``then`` comes out to the last bit; None where it lies behind."""
    step = then - now
    if step < 0:
        return None
    for _ in range(CLOCK_STEPS):
        if now + step == then:
            return step
        step = math.nextafter(step, math.inf if now + step < then else -math.inf)
    return step
