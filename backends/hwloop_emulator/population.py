"""Many chips of one wafer as one batch: the same program and stimuli on all, for studies of yield."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from hwloop.errors import InputError, TargetError
from hwloop.mapping import Program
from hwloop.record import Recording
from hwloop.spikes import Spikes
from hwloop.target import repeat

from .chip import Chip
from .device import FIRMWARE, EmulatorTarget
from .preset import Preset

#: Chips that one batch may hold, and how many are at work at once: their recordings lie in memory together.
MOST_CHIPS, CHUNK = 1_000_000, 32


class Population:
    """Chips ``numbers``; what each returns is, bit for bit, what it returns when opened, loaded and run alone.

    What costs time in opening chips one by one is shared or drawn in bulk: the preset is read once, the network compiled
    once, all synapse rows of a chip drawn in one call. Chips run on as many threads as torch is set to.

    Parameters
    ----------
    numbers : chip numbers, each once
    preset, spread, mismatch, trial_noise : as for :class:`~hwloop_emulator.device.EmulatorTarget`
    session : seed of session and trial noise, of all chips

    Raises
    ------
    InputError, TargetError
        No chips, too many, one named twice, or a number or option that the target refuses.
    """

    def __init__(
        self,
        numbers: Sequence[int],
        *,
        preset: str | Path | Preset = "bss2",
        spread: float | None = None,
        mismatch: bool = True,
        trial_noise: bool = True,
        session: int = 0,
    ) -> None:
        if not 1 <= len(numbers) <= MOST_CHIPS or len(set(numbers)) != len(numbers):
            raise InputError(
                f"{len(numbers)} chips, {len(set(numbers))} of them different; allowed: 1..{MOST_CHIPS}, each once"
            )
        options = {"spread": spread, "mismatch": mismatch, "trial_noise": trial_noise, "session": session}
        loaded = EmulatorTarget(str(numbers[0]), preset=preset, **options).preset  # type: ignore[arg-type]
        self._targets = [EmulatorTarget(str(number), preset=loaded, session=session) for number in numbers]
        self.preset, self.session = loaded, session
        self.capabilities = self._targets[0].capabilities

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def target(self) -> EmulatorTarget:
        """One of the chips, to compile for: all have the same limits."""
        return self._targets[0]

    def run(self, program: Program, spikes: Spikes, *, repeats: int = 1) -> Iterator[Recording]:
        """Load ``program`` and run ``spikes`` (model s) on every chip; one recording a chip, in order.

        Raises
        ------
        TargetError
            The program is for another target, or the spikes do not fit it.
        """
        if program.capabilities != self.capabilities:
            raise TargetError(
                f"{len(self)} chips of {self.capabilities.name} cannot load a program for {program.target}; compile it "
                "for population.target"
            )
        # an opened device checks what every device checks, once for all
        with self.target.open() as device:
            device.load(program)
            device._check_inputs(spikes, program)
        if not isinstance(repeats, int) or repeats < 1:
            raise InputError(f"repeats = {repeats!r}; allowed: a whole number >= 1")
        return self._recordings(program, repeat(spikes, repeats), repeats)

    def _recordings(self, program: Program, inputs: Spikes, repeats: int) -> Iterator[Recording]:
        model = inputs.detach().to("cpu", getattr(torch, program.layers[0].dtype))
        digest, name = self.preset.digest[:8], self.preset.name

        def one(target: EmulatorTarget) -> Recording:
            start = time.perf_counter()
            chip = Chip(self.preset, target.number, self.session)
            for layer in program.layers:
                chip.silicon.prepare(np.asarray(layer.neurons), layer.n_in)
            chip.write(program)
            measured = chip.run(program, model, repeats)
            return Recording(
                populations=measured.populations,
                inputs=inputs,
                ran_on="emulator",
                device_id=f"{target.name}/{name}/{digest}",
                firmware=FIRMWARE,
                program_digest=program.digest,
                lost_events=measured.lost_events,
                late_events=measured.late_events,
                wall_time=time.perf_counter() - start,
            )

        threads = torch.get_num_threads()
        if threads == 1:
            yield from map(one, self._targets)
            return
        with ThreadPoolExecutor(threads, thread_name_prefix="hwloop-chip") as pool:
            for begin in range(0, len(self._targets), CHUNK):
                yield from pool.map(one, self._targets[begin : begin + CHUNK])
