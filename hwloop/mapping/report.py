"""Resource report of a program: what is used, what is left, what rounding did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LayerUse:
    """Resources of one layer; ``population`` counts as in a record, ``name`` is its name in a graph.

    ``neurons``, ``synapses``, ``fan_in`` of the neuron with most, and ``fan_in_headroom``, what it could have besides; codes that
    ``saturated`` or were ``zeroed``; ``rounding_rms_lsb`` in LSB, ``weight_of_1_lsb`` in model units, and ``weight_bits_used`` (None: real
    weights).
    """

    population: int
    neurons: int
    fan_in: int
    fan_in_headroom: int
    synapses: int
    saturated: int
    zeroed: int
    rounding_rms_lsb: float
    weight_bits_used: int | None
    weight_of_1_lsb: float
    name: str = ""

    @property
    def called(self) -> str:
        """Name of the population; its number in a chain."""
        return self.name or str(self.population)


@dataclass(frozen=True)
class ResourceTable:
    """A table for a page: a caption, the names of the columns, and rows of values as they are shown."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]


@dataclass(frozen=True)
class ResourceReport:
    """Resources of a program; ``str()`` is a table, what was lost first; :meth:`to_dict` plain values."""

    target: str
    digest: str
    neurons_available: int
    fan_in_available: int
    weight_bits: int | None
    layers: tuple[LayerUse, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def neurons(self) -> int:
        """Neurons used by all layers."""
        return sum(layer.neurons for layer in self.layers)

    @property
    def synapses(self) -> int:
        """Synapses used by all layers."""
        return sum(layer.synapses for layer in self.layers)

    @property
    def saturated(self) -> int:
        """Weights beyond the code range, all layers."""
        return sum(layer.saturated for layer in self.layers)

    @property
    def zeroed(self) -> int:
        """Non-zero weights that became code 0, all layers."""
        return sum(layer.zeroed for layer in self.layers)

    @property
    def headline(self) -> str:
        """Neurons, synapses and weight bits in one line."""
        bits = "real-valued weights" if self.weight_bits is None else f"{self.weight_bits}-bit weights"
        return f"{self.neurons} of {self.neurons_available} neurons, {self.synapses} synapses, {bits}"

    def tables(self) -> tuple[ResourceTable, ...]:
        """All that :meth:`__str__` shows by layer, for a page; a target that has more to say adds a table of its own."""
        columns = (
            "layer", "neurons", "fan-in", "free", "synapses", "weight bits used", "weight of 1 LSB", "saturated", "became 0",
            "rounding RMS (LSB)",
        )  # fmt: skip
        rows = tuple(
            (
                use.name or use.population, use.neurons, use.fan_in, use.fan_in_headroom, use.synapses,
                "-" if use.weight_bits_used is None else use.weight_bits_used, f"{use.weight_of_1_lsb:.4g}", use.saturated,
                use.zeroed, f"{use.rounding_rms_lsb:.3f}",
            )
            for use in self.layers
        )  # fmt: skip
        caption = "Resources by layer, and what rounding to the target's codes did to the weights."
        return (ResourceTable(caption, columns, rows),)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, with the totals."""
        totals = {
            "neurons": self.neurons,
            "synapses": self.synapses,
            "saturated": self.saturated,
            "zeroed": self.zeroed,
        }
        return {**asdict(self), **totals}

    def __str__(self) -> str:
        width = max([10, *(len(use.called) for use in self.layers)])
        lines = [
            *(f"warning: {warning}" for warning in self.warnings),
            f"program {self.digest[:12]} for {self.target}: {self.headline}",
            f"{'population':>{width}} {'neurons':>8} {'fan-in':>7} {'free':>6} {'bits':>5} {'1 LSB':>10} "
            f"{'saturated':>10} {'zeroed':>7} {'rms LSB':>8}",
        ]
        for use in self.layers:
            used = "-" if use.weight_bits_used is None else str(use.weight_bits_used)
            lines.append(
                f"{use.called:>{width}} {use.neurons:>8} {use.fan_in:>7} {use.fan_in_headroom:>6} {used:>5} "
                f"{use.weight_of_1_lsb:>10.4g} {use.saturated:>10} {use.zeroed:>7} {use.rounding_rms_lsb:>8.3f}"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])
