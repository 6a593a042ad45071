"""What differs first between two batches of spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .spikes import Spikes


@dataclass(frozen=True)
class Difference:
    """The first difference: population, sample, neuron, and times (s) expected and found; None: no such spike."""

    population: int
    name: str
    sample: int
    neuron: int
    expected: float | None
    found: float | None

    def __str__(self) -> str:
        def at(time: float | None) -> str:
            return "no spike" if time is None else f"a spike at {time!r} s"

        return (
            f"layer {self.population} ({self.name}), sample {self.sample}, neuron {self.neuron}: expected {at(self.expected)}, "
            f"found {at(self.found)}"
        )


def first_difference(
    expected: Spikes, found: Spikes, population: int, name: str, tolerance: float = 0.0
) -> Difference | None:
    """The earliest difference of the first sample in which two batches differ by more than ``tolerance`` (s)."""
    pairs = zip(expected.to_events(), found.to_events(), strict=True)
    for sample, ((times, units), (other_times, other_units)) in enumerate(pairs):
        if np.array_equal(times, other_times) and np.array_equal(units, other_units):
            continue
        differing = []
        for neuron in np.union1d(units, other_units).tolist():
            wanted, got = times[units == neuron].tolist(), other_times[other_units == neuron].tolist()
            for k in range(max(len(wanted), len(got))):
                one, two = wanted[k] if k < len(wanted) else None, got[k] if k < len(got) else None
                if one is None or two is None or abs(one - two) > tolerance:
                    earliest = min(time for time in (one, two) if time is not None)
                    differing.append((earliest, Difference(population, name, sample, neuron, one, two)))
                    break
        if differing:
            return min(differing, key=lambda pair: pair[0])[1]
    return None
