"""What a calibration will cost, before it begins: samples on the device, counted, and computing, estimated."""

from __future__ import annotations

from dataclasses import dataclass

from hwloop.device.registry import Device
from hwloop.device.trim import Trimmable
from hwloop.mapping import Program
from hwloop.progress import duration

from ..calibrate import TRIM_ROUNDS
from ..extent import Wanted
from .bench import targets_of
from .measure import COLUMNS, FIRST_PATTERNS, MORE_PATTERNS, SYNAPSE_REPEATS
from .synapses import BURSTS

#: Computing (s) of a calibration whatever its size, and of a neuron's answer to one sample. Measured for 13 to 123 neurons
#: of emulated chips, on one core; within a factor of two elsewhere.
SECONDS, SECONDS_A_NEURON_AND_SAMPLE = 1.0, 2.5e-5


@dataclass(frozen=True)
class Expected:
    """Neurons of ``available`` and synapse columns that are measured, samples that the device runs, seconds of computing."""

    neurons: int
    available: int
    columns: int
    samples: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.neurons} of {self.available} neurons, {self.columns} synapse columns: {self.samples} samples on the device, "
            f"about {duration(self.seconds)} of computing"
        )


def expected(
    device: Device, program: Program, *, neurons: Wanted, trim: bool, repeats: int, synapses: bool = True
) -> Expected:
    """What :func:`~..calibrate.calibrate` with these arguments will take, if every round of trimming is needed.

    Samples are those of :attr:`~..document.calibration.Effort.samples`.
    """
    size = len(targets_of(program, device, neurons).neurons)
    limits = device.capabilities
    columns = min(max(COLUMNS, max(layer.fan_in for layer in program.layers)), limits.fan_in)
    driven = min(COLUMNS, columns)
    rounds = 1 + (TRIM_ROUNDS if trim and isinstance(device, Trimmable) and device.trim_ranges else 0)
    samples = rounds * repeats * ((FIRST_PATTERNS + MORE_PATTERNS) * driven + 1)
    if synapses:
        samples += (columns - driven) * len(BURSTS) * max(4, min(repeats, SYNAPSE_REPEATS))
    seconds = SECONDS + SECONDS_A_NEURON_AND_SAMPLE * size * samples
    return Expected(size, limits.n_neurons, columns if synapses else driven, samples, seconds)
