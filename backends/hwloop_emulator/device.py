"""``emulator:N`` as a target, and the device it opens."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hwloop.arguments import is_bool, whole
from hwloop.device.base import on_device
from hwloop.device.registry import DeviceBase, Measured, repeat
from hwloop.device.trim import TrimRange, check_codes, known_parameter
from hwloop.errors import CompileError, DataError, InputError, TargetError
from hwloop.mapping import Capabilities, Program, ScaleRule, compile_network
from hwloop.mapping.partition import PartitionedProgram, partition_network
from hwloop.network import Network
from hwloop.spikes import Spikes

from .chip import Chip
from .preset import Preset, shipped
from .sessions import next_session
from .streams import Array
from .words import effects_in_words

#: Version of the emulated chip's behaviour; recordings name it.
FIRMWARE = "hwloop_emulator 1"
#: Chip numbers and counters go into 64-bit words of the random streams.
LARGEST_NUMBER = 2**63 - 1
#: Device seconds, some 30 years: a larger step of the clock is a slip in the unit.
LONGEST_CLOCK = 1e9
#: Kelvin from the reference temperature; a chip beyond is out of its specification.
MOST_KELVIN = 200.0


class EmulatorTarget:
    """The emulated chip with number ``address``; the entry point of ``emulator:N``.

    Parameters
    ----------
    address : whole number >= 0, in decimal
    preset : name of a shipped preset, path of a preset file, or a Preset
    spread : spread over neurons of tau_mem, tau_syn and gain instead of the preset's (.2 is 20 %)
    mismatch : False: the same noise with no device differences and no defects (the noise ceiling)
    trial_noise : False: without what differs between two runs of one input
    session : seed of session noise and of all trial noise; by default sessions of a chip count up, from 0 in a process and
        from a number of its own in a forked one (:mod:`.sessions`)
    batch : index of the first run, to continue the noise of an earlier session
    clock : device time (device s) at opening, since the chip was what its number says: a later one has aged more
    fail_after : numbers of trim cells, counted from opening, after which a write breaks off, once each: for tests of
        what becomes of a calibration then

    Raises
    ------
    TargetError
        ``address`` is no chip number.
    InputError
        A preset or an option is refused, with the reason.
    """

    def __init__(
        self,
        address: str,
        *,
        preset: str | Path | Preset = "bss2",
        spread: float | None = None,
        mismatch: bool = True,
        trial_noise: bool = True,
        session: int | None = None,
        batch: int = 0,
        clock: float = 0.0,
        fail_after: Sequence[int] = (),
    ) -> None:
        self.number = _chip_number(address)
        self.name = f"emulator:{self.number}"
        self._session = None if session is None else _counter("session", session)
        self._batch = _counter("batch", batch)
        if is_bool(clock) or not isinstance(clock, (int, float, np.number)) or not 0 <= clock <= LONGEST_CLOCK:
            raise InputError(f"clock = {clock!r}; allowed: 0..{LONGEST_CLOCK:g} device s")
        self._clock = float(clock)
        for name, switch in (("mismatch", mismatch), ("trial_noise", trial_noise)):
            if not is_bool(switch):
                raise InputError(f"{name} = {switch!r}; allowed: true or false")
        if not isinstance(fail_after, list | tuple):
            raise InputError(f"fail_after = {fail_after!r}; allowed: a list of whole numbers, e.g. [100]")
        self._fail_after = tuple(_counter("fail_after", cells) for cells in fail_after)
        chosen = self._given = Preset.load(preset)
        self._shipped = isinstance(preset, str) and preset in shipped()
        if spread is not None:
            chosen = chosen.with_spread(spread)
        if not mismatch:
            chosen = chosen.without_mismatch()
        if not trial_noise:
            chosen = chosen.without_trial_noise()
        self.preset = chosen
        self.capabilities: Capabilities = chosen.capabilities()
        self.promises = chosen.promises

    @staticmethod
    def presets() -> tuple[str, ...]:
        """Names of the presets that come with the emulator."""
        return shipped()

    def documents(self) -> dict[str, str]:
        """The preset, where it is none that comes with the emulator."""
        return {} if self._shipped else {"preset": self._given.to_json()}

    @staticmethod
    def read_document(option: str, text: str) -> Preset:
        """The preset in ``text``; :class:`DataError` where it is none."""
        if option != "preset":
            raise DataError(f"option {option!r} is no document; allowed: preset")
        return Preset.from_json(text)

    def describe(self) -> list[tuple[str, str, str]]:
        """What the chip does to a network, one ``(name, value, source)`` a limit or effect."""
        return self.preset.differences()

    def in_words(self) -> tuple[list[str], list[str]]:
        """``(emulated, not emulated)``: what the chip does to a network and what it leaves out."""
        return effects_in_words(self.preset)

    @property
    def device_id(self) -> str:
        """Number, preset and the digest of its content: two variants of a preset are two chips."""
        return f"{self.name}/{self.preset.name}/{self.preset.digest[:8]}"

    def compile(
        self,
        net: Network,
        *,
        weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
        mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:
        """``net`` as a program; options and errors as for :func:`hwloop.mapping.compile_network`."""
        program = compile_network(net, self.capabilities, weight_scale=weight_scale, mask=mask, like=like)
        return _checked(program) if program.is_graph else program

    def partition(
        self, net: Network, *, weight_scale: ScaleRule | Sequence[ScaleRule] = "max", mask: Iterable[int] = ()
    ) -> Program:
        """``net`` as a program, in pieces where it is larger than the chip; see :mod:`hwloop.mapping.partition`."""
        program = partition_network(net, self.capabilities, weight_scale=weight_scale, mask=mask)
        return _checked(program) if program.is_graph else program

    def without_mismatch(self) -> EmulatorTarget:
        """The same noise with no device differences and no defects, as of ``mismatch=False``."""
        return EmulatorTarget(
            str(self.number),
            preset=self.preset.without_mismatch(),
            session=self._session,
            batch=self._batch,
            clock=self._clock,
            fail_after=self._fail_after,
        )

    def open(self) -> EmulatorDevice:
        """A new session with the chip. Sessions count up, unless the target was asked for a certain one."""
        session = next_session(self.device_id) if self._session is None else self._session
        return EmulatorDevice(self, session, self._batch, self._clock, self._fail_after)


class EmulatorDevice(DeviceBase):
    """An opened emulated chip. What it returns depends on chip, session, and the runs since it was opened.

    ``target``, ``session``, ``batch``, ``clock`` (device s) and ``fail_after`` are those of :class:`EmulatorTarget`, which opens it. A
    forked process would repeat the noise that its parent has: there it is to be opened anew, or :meth:`seek` be called.
    """

    def __init__(
        self, target: EmulatorTarget, session: int, batch: int, clock: float = 0.0, fail_after: tuple[int, ...] = ()
    ) -> None:
        super().__init__(target, target.device_id, FIRMWARE, "emulator")
        self._chip = Chip(target.preset, target.number, session, batch, clock)
        self._owner = os.getpid()
        self._fail_after = sorted(fail_after)
        self._trim_cells = 0
        #: Samples run since the device was opened, repeats included: what a calibration costs, counted.
        self.samples_run = 0

    @property
    def session(self) -> int:
        """Seed of session noise and of all trial noise."""
        return self._chip.session

    @property
    def batch(self) -> int:
        """Index that the noise of the next run is drawn with; counts up with each run."""
        return self._chip.batch

    def seek(self, session: int, batch: int) -> None:
        """Let the noise go on where that of ``session`` stood before its run number ``batch``, to resume a loop.

        Cells keep their codes and land anew, trim cells too, as if each had been written once in ``session``: what runs from
        then on depends on chip, codes, clock and position, and not on what was written or run before. The calibration
        stays, as it would had it been applied in that session. In a forked process the device is its own from then on.

        An interrupted one leaves a device that holds no program, as an interrupted load does.
        """
        asked = _counter("session", session), _counter("batch", batch)
        with self._writing():
            self._chip.seek(*asked)
            if self.program is not None:
                self._chip.write(on_device(self.program))
            self._owner = os.getpid()

    @property
    def lands_anew(self) -> bool:
        """Whether a weight cell lands elsewhere each time it is written: what it holds then follows from all loads before."""
        return self._chip.preset.scale("programming") > 0

    # -- trim cells and clock -----------------------------------------------------------------

    @property
    def trim_ranges(self) -> dict[str, TrimRange]:
        """Range and nominal law of each parameter that has trim cells; see :class:`hwloop.device.trim.Trimmable`."""
        return dict(self._chip.trims.ranges)

    @property
    def device_time(self) -> float:
        """The chip's clock (device s): writes settle, samples run, and :meth:`advance` lets time pass."""
        return self._chip.analog.clock

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` (device s, >= 0) pass: the chip ages, nobody waits."""
        if not 0 <= seconds <= LONGEST_CLOCK:
            raise InputError(f"advance({seconds!r}); allowed: 0..{LONGEST_CLOCK:g} device s")
        self._chip.analog.clock += float(seconds)

    @property
    def temperature(self) -> float:
        """Kelvin above the temperature at which the chip is what its number says."""
        return self._chip.analog.temperature

    @temperature.setter
    def temperature(self, kelvin: float) -> None:
        if not -MOST_KELVIN <= kelvin <= MOST_KELVIN:
            raise InputError(f"temperature = {kelvin!r} K above reference; allowed: -{MOST_KELVIN:g}..{MOST_KELVIN:g}")
        self._chip.analog.temperature = float(kelvin)

    # -- membranes ----------------------------------------------------------------------------

    @property
    def membrane_channels(self) -> int:
        """Neurons whose membranes can be sampled in one run; 0: this chip type has no converter."""
        return int(self._chip.preset.limits.membrane_channels.value)

    def read_membrane(self, spikes: Spikes, population: int, neurons: Array, times: Array) -> Array:
        """Membranes ``[batch, k, samples]`` (model units) of one run, through the chip's converter.

        Parameters
        ----------
        spikes : inputs (model s), as for :meth:`run`
        population : layer of the program, from 0
        neurons : ``[k]`` logical neurons of it, at most :attr:`membrane_channels`
        times : ``[samples]`` (model s), ascending, within the window

        Raises
        ------
        TargetError
            The device is closed, holds no program, has no converter or too few channels.
        InputError
            Population, neurons or times that do not exist.
        """
        self._check_open()
        program = self._loaded()
        if isinstance(program, PartitionedProgram):
            raise TargetError(
                f"{self.device_id} holds a program in {len(program.pieces)} pieces, whose membranes it has no channel for; "
                "load one of them, program.pieces[0].program and so on, or compare spikes"
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
        layer = program.layers[population]
        if layer.kind != "LIF" or layer.filtered or (layer.delay is not None and layer.delay.ndim == 2):
            raise TargetError(
                f"{self.device_id} samples membranes of LIF without delays of each synapse and filtered bias; population "
                f"{population} is {layer.kind}, with more than that: read another, or compare its spikes"
            )
        size = layer.n_out
        if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer) or ((chosen < 0) | (chosen >= size)).any():
            raise InputError(
                f"neurons {neurons!r} of population {population}; allowed: [k] whole numbers 0..{size - 1}"
            )
        if when.ndim != 1 or not bool(((when >= 0) & (when <= spikes.t_stop)).all()) or bool((np.diff(when) < 0).any()):
            raise InputError(
                f"times of shape {when.shape}; allowed: [samples], ascending, within 0..{spikes.t_stop:g} s"
            )
        dtype = getattr(torch, program.layers[0].dtype)
        return self._chip.read_membrane(
            program, spikes.detach().to("cpu", dtype), population, chosen.astype(np.int64), when
        )

    def trim_codes(self, parameter: str) -> Array:
        """Codes (int64) that the cells of ``parameter`` hold, one a physical neuron."""
        return self._chip.trims.codes(parameter, self.device_id)

    def write_trim(self, parameter: str, codes: Array, neurons: Array | None = None, *, refresh: bool = False) -> None:
        """Write trim cells; arguments and errors as for :meth:`hwloop.device.trim.Trimmable.write_trim`.

        Where any cell is written, the device has no calibration from then on: it is no longer what was calibrated.
        """
        self._check_open()
        allowed = known_parameter(self._chip.trims.ranges, parameter, self.device_id)
        values, chosen = check_codes(allowed, parameter, codes, neurons, self._chip.silicon.n_neurons)
        if not refresh:
            changed = self._chip.trims.changed(parameter, values, chosen, self.device_id)
            values, chosen = values[changed], chosen[changed]
        fails = self._breaks_off(len(chosen))
        done = len(chosen) if fails is None else fails
        if done:
            self.calibration = None
            self._chip.write_trim(parameter, values[:done], chosen[:done])
            self._trim_cells += done
        self.writes = replace(self.writes, last=done, total=self.writes.total + done, trims=self.writes.trims + done)
        if fails is not None:
            raise TargetError(
                f"{self.device_id}: writing {parameter} broke off after {done} of {len(chosen)} cells; read trim_codes "
                "and write again what is missing, or write the previous codes"
            )

    def _breaks_off(self, cells: int) -> int | None:
        """Cells that are written before the next planned failure; None where this write succeeds."""
        if not self._fail_after or self._trim_cells + cells <= self._fail_after[0]:
            return None
        return max(0, self._fail_after.pop(0) - self._trim_cells)

    def _check_open(self) -> None:
        super()._check_open()
        if self._owner != os.getpid():
            raise TargetError(
                f"{self.device_id} was opened in process {self._owner}, of which this is a fork: both would have the same noise; "
                "open it here, or choose its noise with seek(session, batch)"
            )

    # -- programs -----------------------------------------------------------------------------

    def _write(self, program: Program) -> int:
        return self._chip.write(program)

    def _forget(self) -> None:
        self._chip.memory.forget()

    def read_codes(self) -> tuple[Array, ...]:
        """What the chip's weight cells hold; see :class:`hwloop.device.abilities.CodeReader`."""
        self._check_open()
        return self._chip.held_codes(on_device(self._loaded()))

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        # the model's dtype decides, as it does in the simulator
        dtype = getattr(torch, program.layers[0].dtype)
        measured = self._chip.run(program, repeat(spikes.to("cpu", dtype), repeats), repeats)
        self.samples_run += repeats * len(spikes)
        if spikes.times.device.type == "cpu":
            return measured
        moved = tuple(population.to(spikes.times.device) for population in measured.populations)
        return Measured(moved, measured.lost_events, measured.late_events)


def _checked(program: Program) -> Program:
    """``program`` with a note where membranes start elsewhere; refuses what its chip cannot start with."""
    limits = program.capabilities
    biased = [layer for layer in program.layers if layer.bias is not None]
    if limits.initial_membrane or not biased:
        return program
    for layer in biased:
        if layer.filtered:
            raise CompileError(
                limit="biases as leak potentials, from the first moment on",
                value="a bias that passes the synapse (filtered_bias=True)",
                layer=f"population {layer.name!r} ({layer.kind})",
                fix="build the population with filtered_bias=False, or choose preset='ideal'",
            )
    names = ", ".join(repr(layer.name) for layer in biased)
    note = f"{names}: membranes start at v_leak + bias, where the chip's leak draws them, not at v_leak"
    return replace(program, notes=(*program.notes, note))


def _chip_number(address: str) -> int:
    if not (address.isascii() and address.isdigit()) or int(address) > LARGEST_NUMBER:
        raise TargetError(
            f"emulator:{address} is no chip; allowed: emulator:N, N a whole number >= 0 and <= {LARGEST_NUMBER}, e.g. emulator:7"
        )
    return int(address)


def _counter(name: str, value: int) -> int:
    return whole(name, value, 0, LARGEST_NUMBER)
