"""Rows of the result: ratios with their spread, held against the goals; as cells of a table and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .exactness import Exactness
from .growth import Point
from .peers import REFERENCE, VARIANT, Description
from .peers.base import COMPARABLE
from .workloads import Workload

FORMAT, VERSION = "hwloop-bench", 2

#: The general path may cost this many times the fast path.
GENERAL_PATH_LIMIT = 3.0


@dataclass(frozen=True)
class Row:
    """One peer on one workload.

    ``ratios``: in each round, hwloop's samples/s divided by this peer's. ``reason``: why there are none.
    ``caveat``: why they should not be compared.
    """

    workload: str
    peer: str
    description: Description | None = None
    rates: Sequence[float] = ()
    samples_per_second: float | None = None
    ratios: Sequence[float] = ()
    goal: float | None = None
    reason: str | None = None
    caveat: str = ""
    quartiles: tuple[float, float, float] | None = field(init=False)
    reached: bool | None = field(init=False)

    def __post_init__(self) -> None:
        quartiles = _quartiles(self.ratios) if self.ratios else None
        object.__setattr__(self, "quartiles", quartiles)
        reached = None
        if quartiles is not None and self.goal is not None:
            reached = quartiles[1] <= self.goal if self.peer == VARIANT else quartiles[1] >= self.goal
        object.__setattr__(self, "reached", reached)


def measured(
    workload: Workload, peer: str, description: Description, rates: Sequence[float], seconds: Sequence[float],
    reference: Sequence[float] | None,
) -> Row:  # fmt: skip
    """The row of a peer that ran: CPU ``seconds`` per call, and ``reference`` seconds per sample of hwloop."""
    per_sample = [s / description.batch for s in seconds]
    ratios = [] if reference is None else [own / ref for own, ref in zip(per_sample, reference, strict=True)]
    speed = 1 / statistics.median(per_sample)
    off = [r for r in rates if abs(r - workload.rate) > COMPARABLE * workload.rate]
    caveat = f"NOT COMPARABLE: wanted {workload.rate:g} spikes/neuron" if off else ""
    return Row(workload.name, peer, description, rates, speed, ratios, goal_of(workload, peer), caveat=caveat)


def goal_of(workload: Workload, peer: str) -> float | None:
    """The bound for this peer: smallest ratio wanted, or largest for hwloop's own general path."""
    return GENERAL_PATH_LIMIT if peer == VARIANT else workload.goals.get(peer)


def to_json(
    rows: Sequence[Row], exactness: Sequence[Exactness], scaling: Sequence[Point], machine: dict[str, Any]
) -> dict[str, Any]:
    """All rows with every ratio, and what they were measured on."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "machine": machine,
        "rows": [asdict(row) for row in rows],
        "exactness": [asdict(row) for row in exactness],
        "scaling": [asdict(point) for point in scaling],
    }


COLUMNS = ("peer", "steps", "dtype", "gradient", "spikes/neuron", "samples/s", "ratio (quartiles)", "goal", "reached")
NUMBERS = COLUMNS[5:]
EXACTNESS_COLUMNS = ("peer", "dtype", "steps", "gradient", "lost", "invented", "gradient error", "remark")


def title(workload: Workload, events: float) -> str:
    """What a workload is, in a line."""
    shape = "-".join(map(str, workload.layers))
    cap = "one spike a neuron" if workload.max_spikes == 1 else "any number of spikes"
    kind = {"plain": "", "conv": ", the first layer a convolution", "recurrent": ", the hidden layer with a loop",
            "delays": ", a delay at every input of a layer"}[workload.kind]  # fmt: skip
    return (
        f"{workload.name}: {shape}{kind}, batch {workload.batch}, {events:.0f} input events, "
        f"{workload.rate:g} spikes/neuron wanted ({cap})"
    )


def cells(row: Row) -> list[str]:
    """A row as it is printed."""
    goal = "-" if row.goal is None else f"{'<=' if row.peer == VARIANT else '>='} {row.goal:g}"
    if row.description is None:
        return [row.peer, *["-"] * 6, goal, "not run"]
    d = row.description
    ratio = "1 (reference)" if row.peer == REFERENCE else "-"
    if row.quartiles and row.peer != REFERENCE:
        low, middle, high = row.quartiles
        ratio = f"{middle:.3g} ({low:.3g} - {high:.3g})"
    rates = " ".join(f"{r:.2f}" for r in row.rates) or "-"
    reached = "-" if row.reached is None else "yes" if row.reached else "NO"
    speed = "-" if row.samples_per_second is None else f"{row.samples_per_second:,.0f}"
    steps = "none" if d.steps is None else str(d.steps)
    name = row.peer if row.peer in (REFERENCE, VARIANT) else f"{row.peer} {d.version}"
    return [name, steps, d.dtype, d.gradient, rates, speed, ratio, goal, reached]


def remark(row: Row) -> str:
    """What has to be known beside the figures."""
    if row.description is None:
        return f"not run: {row.reason}"
    return "; ".join(filter(None, (row.description.note, row.caveat)))


def exactness_cells(row: Exactness) -> list[str]:
    """A row of exactness as it is printed."""
    if row.census is None:
        return [row.peer, *["-"] * 6, row.remark]
    steps = "none" if row.steps is None else str(row.steps)
    error = "-" if row.gradient_error is None else f"{row.gradient_error:.1e}"
    of = f" of {row.census}"
    return [row.peer, row.dtype, steps, row.gradient, f"{row.lost}{of}", f"{row.invented}{of}", error, row.remark]


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
