"""The section of a report on what an answer costs: a few lines, and all of it where it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..cost.prices import joules
from .report import Cell, Folded, Report, Table
from .source import Source

if TYPE_CHECKING:
    from ..cost import Cost

#: Heading of the section.
HEADING = "What an answer costs"
#: Line that opens how it was counted.
_FOLDED = "Counts by population, memory, latency, prices and their sources"
_COLUMNS = (
    "network", "ran on", "effective events", "connected events", "dense events", "membrane updates", "spikes", "first decision (ms)",
    "energy (J)",
)  # fmt: skip


class Costed(NamedTuple):
    """What the answers of one network cost, and where it ran."""

    cost: Cost
    source: Source


def add_costs(report: Report, costs: Mapping[str, Costed]) -> Report:
    """Append the section on ``costs``, by the name of what ran; one of them in sentences, several as a table too."""
    several = len(costs) > 1
    depth = [
        Table(f"{name}: {caption[0].lower()}{caption[1:]}" if several else caption, columns, rows, costed.source)
        for name, costed in costs.items()
        for caption, columns, rows in costed.cost.tables(clock=False)
    ]
    text = "\n\n".join(dict.fromkeys(_lines(costs)))
    return report.add_section(HEADING, text, [_overview(costs)] if several else [], folded=Folded(_FOLDED, _HOW, depth))


_HOW = (
    "Effective synaptic events are spikes that arrive along a weight that is not zero, connected ones along every synapse that there is, "
    "dense ones those of a clocked machine that computes every synapse at every step (NeuroBench, Yik et al., 2025). A membrane update is "
    "a neuron at a time at which something arrives, on clocked targets each neuron at each step."
)


def _lines(costs: Mapping[str, Costed]) -> list[str]:
    lines = [
        f"A sample takes {_count(c, c.operations.effective)} effective synaptic events (of {_count(c, c.operations.connected)} "
        f"connected), {_count(c, c.operations.updates)} membrane updates and {_count(c, c.operations.spikes)} spikes, counted on the "
        f"recorded spikes of {c.samples} test samples ({name}; {c.ran_on})."
        for name, (c, _) in costs.items()
        if len(costs) == 1
    ]
    if not lines:
        lines = ["By sample, counted on the recorded spikes of each network; nothing is estimated from rates."]
    return [*lines, *(energy_line(c) for c, _ in costs.values())]


def energy_line(cost: Cost) -> str:
    """Energy as a range with its sources, or why there is none."""
    if cost.energy_range is None:
        return no_price(cost.target)
    sources = "; ".join(sorted({e.price.source for e in cost.energies}))
    return f"Energy ({cost.target}): {_range(cost)} J by sample, an order of magnitude at best; prices: {sources}."


def no_price(target: str) -> str:
    """Why there are no joules."""
    return (
        f"Counts only for {target}: no published energy of a single event that could be verified is known for it, and one of another chip "
        "would say nothing."
    )


def _overview(costs: Mapping[str, Costed]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, (c, _) in costs.items():
        done = c.operations
        counts = (c.per_sample(x) for x in (done.effective, done.connected, done.dense, done.updates, done.spikes))
        first = None if c.latency.model is None else 1e3 * c.latency.model
        rows.append((name, c.ran_on, *counts, first, "counts only" if c.energy_range is None else _range(c)))
    samples = " or ".join(str(n) for n in sorted({c.samples for c, _ in costs.values()}))
    caption = f"Operations by sample, over {samples} test samples."
    return Table(caption, _COLUMNS, rows, [source for _, source in costs.values()])


def _range(cost: Cost) -> str:
    low, high = cost.energy_range or (0.0, 0.0)
    return joules(low / cost.samples, high / cost.samples)


def _count(cost: Cost, total: int) -> str:
    return f"{total / cost.samples:,.0f}" if total >= 10 * cost.samples else f"{total / cost.samples:.3g}"
