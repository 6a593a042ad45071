"""Many chips of one wafer as one batch: the same program and stimuli on all, for studies of yield."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from hwloop.device.registry import checked_repeats, earlier, repeat
from hwloop.errors import InputError, TargetError
from hwloop.mapping import Program
from hwloop.mapping.partition import PartitionedProgram
from hwloop.record import Recording
from hwloop.spikes import Spikes

from ..chip import Chip
from ..device import FIRMWARE, EmulatorTarget, _chip_number
from ..preset import Preset
from .chip import Batch, QuickChip

#: Chips that a population may have, and how many are prepared and run together.
MOST_CHIPS, CHUNK = 1_000_000, 32
#: Bytes that the synapses of those may take while they are drawn: fewer chips run together where networks are large.
SYNAPSE_BYTES = 2**28


class Population:
    """Chips ``numbers``; what each returns is, bit for bit, what it returns when opened, loaded and run alone.

    The network is compiled once; neurons and synapses of :data:`CHUNK` chips are drawn and realised beside each other; and
    each chip then runs in a few compiled passes, on as many threads as torch is set to. Memory does not grow with the
    population: it holds the synapses of one chunk (:data:`SYNAPSE_BYTES`) and the recordings of one chip, or, on several
    threads, of one chunk.

    Programs of graphs run chip by chip.

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
        self.numbers = [_chip_number(str(number)) for number in numbers]
        self._target = EmulatorTarget(str(numbers[0]), preset=preset, **options)  # type: ignore[arg-type]
        self.preset, self.session = self._target.preset, session
        self.capabilities = self._target.capabilities

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def target(self) -> EmulatorTarget:
        """One of the chips, to compile for: all have the same limits."""
        return self._target

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
        if isinstance(program, PartitionedProgram):
            raise TargetError(
                f"{len(self)} chips cannot run a program in {len(program.pieces)} pieces; open the chips one by one, or "
                "compile a smaller network without partition"
            )
        # an opened device checks what every device checks, once for all
        with self.target.open() as device:
            device.load(program)
            device._check_inputs(spikes, program)
        repeats = checked_repeats(repeats)
        return self._recordings(program, repeat(spikes, repeats), repeats)

    def _recordings(self, program: Program, inputs: Spikes, repeats: int) -> Iterator[Recording]:
        model = inputs.detach().to("cpu", getattr(torch, program.layers[0].dtype))
        identity, digest = f"{self.preset.name}/{self.preset.digest[:8]}", program.digest
        latency = self.capabilities.model_latency

        def run(numbers: Sequence[int]) -> Iterator[Recording]:
            start = time.perf_counter()
            batch = None if program.is_graph else Batch(self.preset, numbers, self.session, program, model)
            shared = (time.perf_counter() - start) / len(numbers)
            for index, number in enumerate(numbers):
                start = time.perf_counter()
                if batch is None:
                    chip = Chip(self.preset, number, self.session)
                    chip.write(program)
                else:
                    chip = QuickChip(batch, index)
                measured = chip.run(program, model, repeats)
                yield Recording(
                    populations=earlier(measured.populations, latency),
                    inputs=inputs,
                    latency=latency,
                    ran_on="emulator",
                    device_id=f"emulator:{number}/{identity}",
                    firmware=FIRMWARE,
                    program_digest=digest,
                    lost_events=measured.lost_events,
                    late_events=measured.late_events,
                    wall_time=shared + time.perf_counter() - start,
                )

        threads, size = torch.get_num_threads(), self._chunk(program)
        if threads == 1:
            for chunk in _parts(self.numbers, size):
                yield from run(chunk)
            return
        with ThreadPoolExecutor(threads, thread_name_prefix="hwloop-chip") as pool:
            for chunk in _parts(self.numbers, size):
                parts = _parts(chunk, -(-len(chunk) // threads))
                for recordings in pool.map(lambda part: list(run(part)), parts):
                    yield from recordings

    def _chunk(self, program: Program) -> int:
        """Chips whose synapses fit into :data:`SYNAPSE_BYTES`, at least one and at most :data:`CHUNK`."""
        bits = self.preset.limits.weight_bits
        # three float64 a bit of a synapse's converter are alive at once, and some eight a synapse
        arrays = 8 + 3 * (0 if bits is None else bits.value - 1)
        synapses = sum(layer.codes.size for layer in program.layers)
        return max(1, min(CHUNK, SYNAPSE_BYTES // (8 * arrays * synapses)))


def _parts(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    return [numbers[begin : begin + size] for begin in range(0, len(numbers), size)]
