"""A digital chip that keeps every claim, with something of everything that claims ask about: the good one of :mod:`.faulty_chips`.

6-bit weights, axonal delays, refractory times, a clock of 100 us, a constant latency, a link of so many events a sample, a
deadline, weights that can be read back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from hwloop.device.abilities import Promises
from hwloop.device.registry import DeviceBase, Measured, repeat
from hwloop.errors import TargetError
from hwloop.mapping import Capabilities, LayerProgram, Program, Range, ScaleRule, compile_network
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes

Array = np.ndarray[Any, Any]
TICK, LATENCY = 1e-4, 3e-4
#: Events of a population that the link carries in a sample; how long an answer takes (s).
LINK, TAKES = 40, 1e-3


class SoundDevice(DeviceBase):
    """The opened chip; a faulty one overrides one method."""

    target: SoundTarget

    def __init__(self, target: SoundTarget) -> None:
        super().__init__(target, target.name, "sound 1", "emulator")
        self.codes: list[Array] = []

    def read_codes(self) -> tuple[Array, ...]:
        self._check_open()
        self._loaded()
        return tuple(codes.copy() for codes in self.codes)

    def _write(self, program: Program) -> int:
        held = self.codes if self.program is not None else []
        new = [self._taken(layer.codes.copy()) for layer in program.layers]
        pairs = [(a, b) for a, b in zip(held, new, strict=False) if a.shape == b.shape]
        self.codes = new
        if len(pairs) < len(new):
            return sum(codes.size for codes in new)
        return sum(int(np.count_nonzero(a != b)) for a, b in pairs)

    def _taken(self, codes: Array) -> Array:
        """What the cells hold of what is written."""
        return codes

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        self._wait()
        current, recorded = self._received(repeat(spikes, repeats)), []
        lost = 0
        for layer, codes in zip(program.layers, self.codes, strict=True):
            current = self._fired(layer, codes, current)
            kept, dropped = self._carried(current)
            lost += dropped
            recorded.append(self._stamped(kept))
        return Measured(self._read(tuple(recorded)), lost_events=lost)

    def _wait(self) -> None:
        if self.target.deadline < TAKES:
            raise TargetError(f"no answer within {self.target.deadline:g} s; give it longer: with_deadline(SECONDS)")

    def _received(self, spikes: Spikes) -> Spikes:
        return spikes

    def _neurons(self, layer: LayerProgram) -> dict[str, Array]:
        return layer.parameters

    def _delay(self, layer: LayerProgram) -> Array | None:
        return layer.delay

    def _fired(self, layer: LayerProgram, codes: Array, spikes: Spikes) -> Spikes:
        delay = self._delay(layer)
        dense = Dense(layer.n_in, layer.n_out, delay=None if delay is None else torch.from_numpy(delay))
        lif = LIF(layer.n_out, **{name: torch.from_numpy(value) for name, value in self._neurons(layer).items()})
        net = Network([dense, lif]).to(getattr(torch, layer.dtype))
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy((codes * layer.lsb()).astype(layer.dtype)))
            return net(spikes.to(getattr(torch, layer.dtype))).output.detach()

    def _carried(self, spikes: Spikes) -> tuple[Spikes, int]:
        """What the link carries of a sample's events, and how many it lost."""
        counts = torch.clamp(spikes.counts, max=LINK)
        width = int(counts.max())
        valid = torch.arange(width) < counts[:, None]
        times = torch.where(valid, spikes.times[:, :width], math.inf)
        units = torch.where(valid, spikes.units[:, :width], 0)
        return Spikes.trusted(times, units, counts, spikes.n_units, spikes.t_stop), int((spikes.counts - counts).sum())

    def _stamped(self, spikes: Spikes) -> Spikes:
        """Stamps of the clock, which are rounded down, late by the latency."""
        times = torch.floor(spikes.times / TICK) * TICK + LATENCY
        return Spikes.trusted(times, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop)

    def _read(self, populations: tuple[Spikes, ...]) -> tuple[Spikes, ...]:
        return populations


class SoundTarget:
    """The chip."""

    device: type[SoundDevice] = SoundDevice

    def __init__(self, *, deadline: float = 10.0) -> None:
        self.name, self.deadline = "sound", deadline
        # a stamp that is rounded down is half a tick early in the mean, and off from that by as much
        self.promises = Promises(deterministic=True, time_error=TICK / 2)
        self.capabilities = Capabilities(
            name="sound", n_neurons=64, fan_in=16, weight_bits=6, delays=True, max_delay=40e-3, max_events=50, time_step=TICK,
            latency=LATENCY - TICK / 2, ranges={"tau_syn": Range(1e-3, 50e-3, "device_s"), "tau_mem": Range(1e-3, 0.1, "device_s")},
        )  # fmt: skip

    def with_deadline(self, deadline: float) -> SoundTarget:
        return type(self)(deadline=deadline)

    def compile(
        self, net: Network, *, weight_scale: ScaleRule | Sequence[ScaleRule] = "max", mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:  # fmt: skip
        return compile_network(net, self.capabilities, weight_scale=weight_scale, mask=mask, like=like)

    def open(self) -> SoundDevice:
        return self.device(self)
