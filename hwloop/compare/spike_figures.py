"""Figures of spikes: the raster of one sample, and histograms of spike-time errors. Times go in as seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.plot_data import PlotData, Value, bins
from ..drawing.raster_rows import height_of, label_rows, ticks
from ..errors import InputError
from ..record import Record
from .flat_trains import Floats
from .matching import Matching, match
from .source import Figure, Source, Sources
from .time_format import format_time, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes


#: Bins of a histogram of errors.
BINS = 61
#: Share of errors on each side that the histogram's range may leave to its outermost bins.
TAIL = 0.005


@dataclass(frozen=True, eq=False)
class ErrorSet:
    """Spike-time errors of one layer: a name and ``[pairs]`` (s)."""

    label: str
    errors: Floats


def raster(
    simulated: Record, measured: Record, sample: int, window: float, *, matchings: Sequence[Matching] | None = None,
    title: str = "", caption: str = "",
) -> Figure:  # fmt: skip
    """Spikes of one sample, all layers: simulated on the upper half of each row, measured on the lower.

    ``window`` (s) is the matching's; ``matchings``, one a layer, spares matching again. Raises
    :class:`InputError` for a sample that does not exist.
    """
    from ..drawing import plotting as p

    batch = len(simulated.output)
    if not 0 <= sample < batch:
        raise InputError(f"sample = {sample}; allowed: 0..{batch - 1}")
    if matchings is None:
        pairs = zip(simulated.populations, measured.populations, strict=True)
        matchings = [match(a[sample], b[sample], window) for a, b in pairs]
        sample_index = 0
    else:
        sample_index = sample
    inputs = simulated.inputs if simulated.inputs is not None else measured.inputs
    sizes = ([inputs.n_units] if inputs is not None else []) + [
        population.n_units for population in simulated.populations
    ]
    heights = [height_of(n) for n in sizes]
    end = _end_of(simulated, measured, sample)
    factor, unit = time_unit(end)
    with p.style():
        figure, rows = p.grid(len(sizes), 1, sum(heights) + 1.0, sharex=True, gridspec_kw={"height_ratios": heights})
        panels = [row[0] for row in rows]
        data: list[tuple[Value, ...]] = []
        if inputs is not None:
            times, units = inputs[sample].to_events()[0]
            data += [("input", "input", int(u), float(t), None) for t, u in zip(times, units, strict=True)]
            ticks(panels[0], times / factor, units, inputs.n_units, "full", p.SOFT)
            label_rows(panels[0], "input", inputs.n_units)
        for k, matching in enumerate(matchings):
            axes = panels[len(sizes) - len(matchings) + k]
            _draw_layer(axes, matching, sample_index, factor)
            name = f"layer {k}" + (" (output)" if k == len(matchings) - 1 else "")
            label_rows(axes, name, matching.simulated.n_units)
            data += _spike_rows(name, matching, sample_index)
        panels[-1].set_xlim(-0.01 * end / factor, 1.02 * end / factor)
        panels[-1].set_xlabel(f"time in sample {sample} ({_micro(unit)})")
        _raster_legend(figure)
        text = caption or (
            f"Sample {sample}{title}: upper ticks are simulated, lower ticks measured; where the device is exact, the two "
            "form one line. Rings and crosses mark spikes without partner."
        )
        columns = ("panel", "train", "unit", "time (s)", "time of the same spike in the other train (s)")
        return Figure.of(
            figure,
            text,
            [Source.of(simulated), Source.of(measured)],
            f"spikes-of-sample-{sample}",
            PlotData(columns, data),
        )


def _spike_rows(panel: str, matching: Matching, sample: int) -> list[tuple[Value, ...]]:
    """Both trains of one sample, spike by spike, each with the time of its partner."""
    a, b = matching.simulated, matching.measured
    ours, theirs = a.of_sample(sample), b.of_sample(sample)
    partner = {int(mine): int(other) for mine, other in enumerate(matching.partner[ours], ours.start) if other >= 0}
    found: list[tuple[Value, ...]] = [
        (panel, "simulated", int(unit), float(a.times[k]), float(b.times[partner[k]]) if k in partner else None)
        for k, unit in enumerate(a.units_in(ours), ours.start)
    ]
    back = {other: mine for mine, other in partner.items()}
    found += [
        (panel, "measured", int(unit), float(b.times[k]), float(a.times[back[k]]) if k in back else None)
        for k, unit in enumerate(b.units_in(theirs), theirs.start)
    ]
    return found


def _end_of(simulated: Record, measured: Record, sample: int) -> float:
    """Where the last event of the sample lies (s), or ``t_stop`` where there is none."""
    batches = [
        *simulated.populations,
        *measured.populations,
        *(s for s in (simulated.inputs, measured.inputs) if s is not None),
    ]
    last = [float(b.times.detach()[sample, int(b.counts[sample]) - 1]) for b in batches if int(b.counts[sample])]
    return max(last, default=simulated.output.t_stop) or simulated.output.t_stop


def _draw_layer(axes: Axes, matching: Matching, sample: int, factor: float) -> None:
    from ..drawing import plotting as p

    a, b = matching.simulated, matching.measured
    ours, theirs = a.of_sample(sample), b.of_sample(sample)
    partner = matching.partner[ours]
    t_a, u_a = a.times[ours] / factor, a.units_in(ours)
    t_b, u_b = b.times[theirs] / factor, b.units_in(theirs)
    paired = partner >= 0
    gap = np.full(int(paired.sum()), np.nan)
    x = np.column_stack([t_a[paired], b.times[partner[paired]] / factor, gap]).ravel()
    axes.plot(x, np.repeat(u_a[paired], 3).astype(float), color=p.SOFT, linewidth=0.6)
    ticks(axes, t_a, u_a, a.n_units, "upper", p.SIMULATED)
    ticks(axes, t_b, u_b, b.n_units, "lower", p.MEASURED)
    alone = ~np.isin(np.arange(theirs.start, theirs.stop), partner)
    axes.plot(
        t_a[~paired],
        u_a[~paired],
        "o",
        markerfacecolor="none",
        markeredgecolor=p.SIMULATED,
        markersize=7,
        markeredgewidth=1,
    )
    axes.plot(t_b[alone], u_b[alone], "x", color=p.MEASURED, markersize=6, markeredgewidth=1.2)


def _raster_legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    from ..drawing import plotting as p

    handles = [
        Line2D(
            [], [], color=p.SIMULATED, marker="|", markersize=9, markeredgewidth=1.5, linewidth=0, label="simulated"
        ),
        Line2D([], [], color=p.MEASURED, marker="|", markersize=9, markeredgewidth=1.5, linewidth=0, label="measured"),
        Line2D([], [], color=p.SOFT, linewidth=0.8, label="same spike"),
        Line2D([], [], color=p.SIMULATED, marker="o", markerfacecolor="none", linewidth=0, label="missing on device"),
        Line2D([], [], color=p.MEASURED, marker="x", linewidth=0, label="extra on device"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5)


def error_histogram(
    sets: Sequence[ErrorSet], source: Sources,
    caption: str = "A narrow peak at zero is a faithful device; a shifted one is a constant delay, a broad one mismatch or noise.",
    *, pairs_alike: bool = False,
) -> Figure:  # fmt: skip
    """Histogram of measured minus simulated spike time, one panel a layer; far outliers are in the outermost bins.

    ``pairs_alike``: panels come two by two, before and after, and the two beside each other share their axes.
    """
    from ..drawing import plotting as p

    if not sets:
        raise InputError("error_histogram of no layers; give at least one")
    columns = min(2, len(sets))
    rows = math.ceil(len(sets) / columns)
    with p.style():
        figure, axes = p.grid(rows, columns, 2.7 * rows, width=p.WIDTH if columns == 2 else 0.7 * p.WIDTH)
        flat = [a for row in axes for a in row]
        reach = [_reach(errors) for errors in sets]
        if pairs_alike:
            reach = [max(reach[k - k % 2 : k - k % 2 + 2]) for k in range(len(sets))]
        data: list[tuple[Value, ...]] = []
        for panel, errors, width in zip(flat, sets, reach, strict=False):
            data += _histogram(panel, errors, width)
        if pairs_alike:
            for left, right in zip(flat[: len(sets) : 2], flat[1 : len(sets) : 2], strict=False):
                top = max(left.get_ylim()[1], right.get_ylim()[1])
                left.set_ylim(0, top)
                right.set_ylim(0, top)
        for spare in flat[len(sets) :]:
            spare.set_axis_off()
        columns_of_data = ("layer", "error from (s)", "error to (s)", "spike pairs")
        return Figure.of(figure, caption, source, "spike-time-errors", PlotData(columns_of_data, data))


def _reach(errors: ErrorSet) -> float:
    """Half the width (s) of the histogram: the errors but for their tails."""
    values = np.asarray(errors.errors, dtype=float)
    return float(np.max(np.abs(np.quantile(values, [TAIL, 1 - TAIL])))) if len(values) else 0.0


def _histogram(axes: Axes, errors: ErrorSet, reach: float) -> list[tuple[Value, ...]]:
    """Draw one panel; its bins, as rows."""
    from matplotlib.ticker import MaxNLocator

    from ..drawing import plotting as p

    values = np.asarray(errors.errors, dtype=float)
    factor, unit = time_unit(reach or 1e-6)  # all equal: an axis of a microsecond
    reach = 1.05 * reach / factor or 1.0
    inside = np.clip(values / factor, -reach, reach)
    beyond = int((np.abs(values / factor) > reach).sum())
    counts, edges, _ = axes.hist(inside, bins=BINS, range=(-reach, reach), color=p.MEASURED, alpha=0.75, linewidth=0)
    axes.axvline(0, color=p.INK, linewidth=0.9, label="exact")
    if len(values):
        bias = float(values.mean())
        axes.axvline(
            bias / factor, color=p.BLUE, linewidth=1.3, linestyle="--", label=f"mean {format_time(bias, micro='µs')}"
        )
        axes.legend(loc="upper right")
    note = f" ({beyond} beyond the axis)" if beyond else ""
    axes.set_title(f"{errors.label}: {len(values)} pairs{note}" if len(values) else f"{errors.label}: no pairs")
    axes.set_xlabel(f"measured - simulated spike time ({_micro(unit)}); right: device late")
    axes.set_ylabel("spike pairs")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.set_ylim(bottom=0, top=None if len(values) else 1)
    axes.set_xlim(-reach, reach)
    return bins(errors.label, np.asarray(counts), edges * factor)


def _micro(unit: str) -> str:
    return "µs" if unit == "us" else unit
