"""The chip opened: a fixed-point board that says how many cycles a run took."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hwloop.device.base import Measured
from hwloop.errors import LinkError
from hwloop.mapping import Program
from hwloop.spikes import Spikes
from hwloop_serial import calls
from hwloop_serial.calls import Counters
from hwloop_serial.device import FixedDevice
from hwloop_serial.messages import Function
from hwloop_serial.owner import Held
from hwloop_serial.remote import Outcome, Remote

if TYPE_CHECKING:
    from .target import RtlTarget


class RtlDevice(FixedDevice):
    """A simulated chip; :attr:`counted` says what the runs of the last batch took."""

    target: RtlTarget

    def __init__(self, target: RtlTarget, owner: Held, remote: Remote) -> None:
        super().__init__(target, owner, remote)
        #: Of each part of the last batch that ran.
        self.counted: list[Counters] = []

    def _run_batch(self, data: bytes, batch: int, n_ticks: int, code: int) -> Outcome:
        # both within one try: a chip that starts anew in between has run nothing
        outcome = super()._run_batch(data, batch, n_ticks, code)
        try:
            self.counted.append(calls.unpack_counters(self.remote.call(Function.COUNTERS)))
        except calls.CallError as error:
            raise LinkError(f"{self.device_id}: COUNTERS of {error}; the firmware of the board is at fault") from None
        return outcome

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        self.counted = []
        measured = super()._execute(program, spikes, repeats)
        cycles, synapses = (sum(getattr(one, name) for one in self.counted) for name in ("cycles", "synapses"))
        # a fixed-point board runs a batch once and repeats what it brought
        return replace(measured, cycles=cycles * repeats, synaptic_events=synapses * repeats or None)
