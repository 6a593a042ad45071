"""The cost of an answer: counts, memory, latency and energy of a record, printed, as a table and as plain values."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ..class_scores import Decision, reading
from ..device.abilities import Stepped
from ..errors import InputError
from ..mapping import Capabilities, Program
from ..network import Network
from ..record import RanOn, Record, Recording
from .fan_out import Target, targets_of_network, targets_of_program
from .operations import Operations, count
from .prices import Energy, caveat, energy, joules, prices_of

FORMAT, VERSION = "hwloop-cost", 1

#: Decisions that are taken at the first spike; others look at the whole window.
_EARLY = ("first", "mean")


@dataclass(frozen=True)
class Memory:
    """Bytes of weights, and of what neurons keep, ``states`` values in all."""

    weights: int
    states: int
    state_values: int


@dataclass(frozen=True)
class Latency:
    """Time to the decision, mean and worst of the samples that have one, in model and in device seconds; ``silent``: others.

    None where no sample has one, and in device seconds where there is no device.
    ``seconds`` is the wall time of the run by sample, transfer and emulation included; None in simulation.
    """

    model: float | None
    model_worst: float | None
    device: float | None
    device_worst: float | None
    silent: int
    seconds: float | None


@dataclass(frozen=True)
class Cost:
    """What the samples of a record cost; counts are of all of them.

    Attributes
    ----------
    target : name of the limits, or "simulation"
    ran_on, samples, steps : where the record is from, its samples, and its steps, None in continuous time
    memory, latency : in bytes, and in seconds
    populations, operations : counts by population, and their sum
    input_spikes : events that were sent in
    energies : by each price that is of the target; empty where none is published
    """

    target: str
    ran_on: RanOn
    samples: int
    steps: int | None
    populations: tuple[Operations, ...]
    operations: Operations
    input_spikes: int
    memory: Memory
    latency: Latency
    energies: tuple[Energy, ...]

    def per_sample(self, total: float | None) -> float | None:
        """``total`` by sample."""
        return None if total is None else total / self.samples

    @property
    def energy_range(self) -> tuple[float, float] | None:
        """Lowest and highest energy (J) of all samples over all prices; None where no price is published."""
        if not self.energies:
            return None
        return min(e.low for e in self.energies), max(e.high for e in self.energies)

    def tables(self, *, clock: bool = True) -> list[tuple[str, tuple[str, ...], list[tuple[str | float | None, ...]]]]:
        """``(caption, columns, rows)``: operations by sample, and what they take; without ``clock`` nothing that differs by run."""
        columns = ("population", "effective", "connected", "dense", "membrane updates", "spikes")
        rows: list[tuple[str | float | None, ...]] = [
            (part.name, *(self.per_sample(value) for value in _values(part)))
            for part in (*self.populations, self.operations)
        ]
        caption = "Operations by sample, counted on the recorded spikes: synaptic events, membrane updates and spikes."
        facts: list[tuple[str | float | None, ...]] = [
            ("input spikes", f"{self.input_spikes / self.samples:.4g} by sample"),
            ("memory of weights", f"{self.memory.weights} bytes"),
            ("memory of state", f"{self.memory.states} bytes, {self.memory.state_values} values"),
            *self._latency_rows(clock),
            *self._energy_rows(),
        ]
        return [(caption, columns, rows), ("Memory, latency and energy.", ("what", "value"), facts)]

    def _latency_rows(self, clock: bool) -> list[tuple[str, str]]:
        found = self.latency
        pairs = (("model", found.model, found.model_worst), ("device", found.device, found.device_worst))
        rows = [
            (f"first decision, {clock}", f"{mean:.4g} s in the mean, {worst:.4g} s at worst")
            for clock, mean, worst in pairs
            if mean is not None and worst is not None
        ]
        if clock and found.seconds is not None:
            rows.append(("wall time of the run", f"{found.seconds:.4g} s by sample"))
        return [*rows, ("samples without decision", f"{found.silent} of {self.samples}")]

    def _energy_rows(self) -> list[tuple[str, str]]:
        if not self.energies:
            return [("energy", f"no cited price for {self.target}: counts alone")]
        rows = [
            (f"energy, {e.price.name} ({e.price.process})", f"{_joules(e, self.samples)} by sample: {e.price.note}")
            for e in self.energies
        ]
        low, high = (bound / self.samples for bound in self.energy_range or (0.0, 0.0))
        whole = ("energy, over these prices", f"{joules(low, high)} J by sample")
        return [whole, *rows, *sorted({("source", e.price.source) for e in self.energies}), ("beware", caveat())]

    def to_dict(self) -> dict[str, Any]:
        """As plain values; counts and energies of all samples."""
        return {
            "target": self.target, "ran_on": self.ran_on, "samples": self.samples, "steps": self.steps,
            "input_spikes": self.input_spikes, "operations": asdict(self.operations),
            "populations": [asdict(part) for part in self.populations], "memory": asdict(self.memory),
            "latency": asdict(self.latency),
            "energies": [
                {"price": e.price.name, "process": e.price.process, "source": e.price.source, "low_J": e.low, "high_J": e.high}
                for e in self.energies
            ],
            "energy_range_J": self.energy_range, "caveat": caveat() if self.energies else None,
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"{self.target} ({self.ran_on}), {self.samples} samples"]
        for caption, columns, rows in self.tables():
            lines += [caption, "  " + "  ".join(columns)]
            lines += ["  " + "  ".join(_cell(value) for value in row) for row in rows]
        return "\n".join(lines)


def cost_of(record: Record, of: Network | Program, *, decision: Decision = "first") -> Cost:
    """What the answers in ``record`` cost.

    Parameters
    ----------
    record : simulated, or measured; with its inputs
    of : what ran: the network, or for a recording the program that the device held
    decision : how the output is read; "first" and "mean" are decided at the first spike, others at the end of the window

    Raises
    ------
    InputError
        The record has no inputs, or is of another network or program.
    """
    targets = targets_of_program(of) if isinstance(of, Program) else targets_of_network(of)
    inputs = record.inputs
    sizes = [population.n_units for population in record.populations]
    expected = [target.neurons for target in targets[: len(sizes)]]
    if inputs is None or sizes != expected or (isinstance(record, Recording) and not _ran(record, of)):
        ran = "no inputs" if inputs is None else f"populations of {sizes} neurons"
        raise InputError(
            f"a record of {ran} for what has populations of {expected}; give net(spikes) with the network, or device.run(spikes) with "
            "the program that was loaded"
        )
    limits = of.capabilities if isinstance(of, Program) else None
    steps = of.n_ticks(inputs.t_stop) if isinstance(of, Program) and isinstance(of, Stepped) else None
    parts = count(record, inputs, targets, steps)
    total = Operations.total(parts)
    return Cost(
        target="simulation" if limits is None else limits.name,
        ran_on=record.ran_on if isinstance(record, Recording) else "simulator",
        samples=len(inputs), steps=steps, populations=parts, operations=total, input_spikes=int(inputs.counts.sum()),
        memory=_memory(of, targets), latency=_latency(record, limits, decision, inputs.t_stop),
        energies=tuple(energy(total, price) for price in prices_of(None if limits is None else limits.name)),
    )  # fmt: skip


def _ran(recording: Recording, of: Network | Program) -> bool:
    return not isinstance(of, Program) or recording.program_digest == of.digest


def _memory(of: Network | Program, targets: tuple[Target, ...]) -> Memory:
    values = sum(target.neurons * target.states for target in targets)
    if isinstance(of, Program):
        item = np.dtype(of.layers[0].dtype).itemsize
        bits = of.capabilities.weight_bits or 8 * item
        return Memory(math.ceil(sum(target.synapses for target in targets) * bits / 8), values * item, values)
    parameters = [p for link in of.structure.links for layer in link.composition.maps for p in layer.parameters()]
    kept = {id(p): p.numel() * p.element_size() for p in parameters}
    item = parameters[0].element_size() if parameters else torch.get_default_dtype().itemsize
    return Memory(sum(kept.values()), values * item, values)


def _latency(record: Record, limits: Capabilities | None, decision: Decision, t_stop: float) -> Latency:
    samples = len(record.populations[0]) if record.populations else 0
    times = np.full(samples, t_stop)
    if reading(decision).kind in _EARLY and record.output_name not in record.readouts:
        times = record.output.first_times().detach().min(1).values.cpu().double().numpy()
    decided = times[np.isfinite(times)]
    mean, worst = (float(decided.mean()), float(decided.max())) if len(decided) else (None, None)
    scale = None if limits is None else limits.time_scale
    return Latency(
        model=mean, model_worst=worst, device=None if scale is None or mean is None else mean * scale,
        device_worst=None if scale is None or worst is None else worst * scale, silent=samples - len(decided),
        seconds=record.wall_time / samples if isinstance(record, Recording) else None,
    )  # fmt: skip


def _values(part: Operations) -> tuple[int | None, ...]:
    return part.effective, part.connected, part.dense, part.updates, part.spikes


def _joules(found: Energy, samples: int) -> str:
    return f"{joules(found.low / samples, found.high / samples)} J"


def _cell(value: str | float | None) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
