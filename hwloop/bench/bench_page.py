"""The benchmark as a page: speed, exactness and growth, as tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..compare.report import Figure, Report, Source, Table
from ..drawing import plotting
from ..drawing.plot_data import PlotData, Value
from .exactness import CENSUS, NEAR, Exactness
from .growth import AXES, BASE, NAMES, Point
from .peers import REFERENCE
from .results import COLUMNS, EXACTNESS_COLUMNS, Row, cells, exactness_cells, remark

_HERE = Source("simulator")
_COLOURS = (
    plotting.BLUE,
    plotting.RED,
    plotting.GREEN,
    plotting.ORANGE,
    plotting.PURPLE,
    plotting.SKY,
    plotting.INK,
    plotting.SOFT,
)
_MARKERS = "osD^vPX*"

SPEED = (
    "Forward and backward to all weights, samples a second of one core and thread, process CPU time, interleaved. A ratio is "
    "hwloop's samples/s divided by the peer's in the same round: above 1 hwloop is ahead; the median and the quartiles over the rounds. "
    "Clock-driven peers compute surrogate gradients in so many steps, and their cost grows with them."
)
EXACT = (
    f"Census: a layer of {CENSUS} neurons whose membranes come within {NEAR:g} of the threshold, decided at 70 digits; lost are spikes "
    "that a peer does not have, invented those that are none. Gradient error: largest deviation from the gradient at 40 digits and "
    "more, relative to the largest of the layer. Peers that are not installed say so."
)


def page(
    workloads: Sequence[tuple[str, Sequence[Row]]],
    exactness: Sequence[Exactness],
    scaling: Sequence[Point],
    facts: dict[str, Any],
) -> Report:
    """The report of ``workloads``, each its title and its rows."""
    report = Report("Speed and exactness beside other simulators", "One core, one thread, process CPU time.", facts)
    if workloads:
        tables = [
            Table(f"{title}. {_remarks(rows)}".strip(), COLUMNS, [cells(row) for row in rows], _HERE)
            for title, rows in workloads
        ]
        rows = [row for _, found in workloads for row in found]
        report.add_section("Speed", SPEED, tables, [ratios(rows)])
    if exactness:
        table = Table(
            "Spikes near the threshold, and gradients.",
            EXACTNESS_COLUMNS,
            [exactness_cells(e) for e in exactness],
            _HERE,
        )
        report.add_section("Exactness", EXACT, [table])
    if scaling:
        shape = "-".join(map(str, BASE.layers))
        text = (
            f"CPU seconds a sample of {shape}, batch {BASE.batch}, {BASE.events} input events, {BASE.rate:g} spike a neuron, of which "
            "one thing varies."
        )
        report.add_section("Growth", text, [_points(scaling)], [growth(scaling)])
    return report


def _remarks(rows: Sequence[Row]) -> str:
    found = [f"{row.peer}: {text}" for row in rows if (text := remark(row))]
    return "; ".join(found) + "." if found else ""


def ratios(rows: Sequence[Row]) -> Figure:
    """How many times as fast hwloop is, by workload and peer."""
    names = list(dict.fromkeys(row.workload for row in rows))
    peers = [p for p in dict.fromkeys(row.peer for row in rows) if p != REFERENCE]
    with plotting.style():
        figure, ((axes,),) = plotting.grid(1, 1, 3.4)
        for k, peer in enumerate(peers):
            found = {row.workload: row.quartiles for row in rows if row.peer == peer and row.quartiles is not None}
            places = [names.index(name) + (k - len(peers) / 2 + 0.5) * 0.8 / len(peers) for name in found]
            middle = [q[1] for q in found.values()]
            spread = [[q[1] - q[0] for q in found.values()], [q[2] - q[1] for q in found.values()]]
            axes.errorbar(
                places,
                middle,
                spread,
                fmt=_MARKERS[k % len(_MARKERS)],
                color=_COLOURS[k % len(_COLOURS)],
                label=peer,
                markersize=5,
            )
        axes.axhline(1.0, color=plotting.INK, linewidth=0.8)
        _logarithmic(axes.yaxis)
        axes.set_xticks(range(len(names)), names)
        axes.set_ylabel("hwloop's samples/s over the peer's")
        axes.grid(axis="y")
        axes.legend(ncols=5, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1))
        data: list[tuple[Value, ...]] = [
            (row.workload, row.peer, *(float(q) for q in row.quartiles))
            for row in rows
            if row.peer != REFERENCE and row.quartiles is not None
        ]
        head = ("workload", "peer", "lower quartile (samples/s over the peer's)", "median", "upper quartile")
        caption = "Ratio by workload and peer, median and quartiles; above the line hwloop is ahead."
        return Figure.of(figure, caption, _HERE, "speed", PlotData(head, data))


def growth(points: Sequence[Point]) -> Figure:
    """CPU time of a sample against each axis."""
    peers = list(dict.fromkeys(point.peer for point in points))
    axes_shown = [axis for axis in AXES if any(point.axis == axis for point in points)]
    with plotting.style():
        figure, (row,) = plotting.grid(1, len(axes_shown), 2.9)
        for panel, axis in zip(row, axes_shown, strict=True):
            for k, peer in enumerate(peers):
                found = [
                    (p.value, p.seconds) for p in points if p.axis == axis and p.peer == peer and p.seconds is not None
                ]
                if found:
                    x, y = zip(*found, strict=True)
                    panel.plot(
                        x,
                        y,
                        marker=_MARKERS[k % len(_MARKERS)],
                        color=_COLOURS[k % len(_COLOURS)],
                        label=peer,
                        markersize=4,
                    )
            _logarithmic(panel.xaxis)
            _logarithmic(panel.yaxis)
            panel.set_xlabel(NAMES[axis])
            panel.grid()
        row[0].set_ylabel("CPU time a sample (s)")
        figure.legend(*row[0].get_legend_handles_labels(), ncols=6, fontsize=8, loc="outside lower center")
        data: list[tuple[Value, ...]] = [
            (NAMES[point.axis], point.value, point.peer, point.seconds) for point in points if point.seconds is not None
        ]
        head = ("what grows", "to", "peer", "CPU time a sample (s)")
        caption = "CPU time of a sample, forward and backward, as one thing grows."
        return Figure.of(figure, caption, _HERE, "growth", PlotData(head, data))


def _logarithmic(axis: Any) -> None:
    """A logarithmic axis with plain numbers at its decades: the report's style sets text as it is, and so powers of ten as code."""
    from matplotlib.ticker import NullFormatter

    axis._set_axes_scale("log")
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _points(points: Sequence[Point]) -> Table:
    rows = [
        (NAMES[p.axis], f"{p.value:g}", p.peer, "-" if p.seconds is None else f"{p.seconds * 1e6:.4g}",
         " ".join(f"{rate:.2f}" for rate in p.rates) or "-", p.reason)
        for p in points
    ]  # fmt: skip
    return Table("All points.", ("varies", "value", "peer", "µs/sample", "spikes/neuron", "remark"), rows, _HERE)
