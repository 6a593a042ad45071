"""Rasters of one sample, a panel for each population, and below them membranes of single neurons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import whole
from ..errors import InputError
from . import plotting as p
from .drawn import Drawing
from .raster_rows import height_of, label_rows, ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..network.membrane_traces import MembraneTraces
    from ..record import Record
    from ..spikes import Spikes

#: Height of a panel of membranes (inch).
MEMBRANE_HEIGHT = 1.7
#: Colours of the neurons of a panel of membranes, in turn.
COLOURS = (p.BLUE, p.ORANGE, p.GREEN, p.PURPLE, p.SKY, p.RED)


def draw_spikes(spikes: Spikes, sample: int, title: str) -> Drawing:
    """The spikes of one sample: a row a unit."""
    return _draw([(title, spikes, p.SIMULATED)], sample, spikes.t_stop, ())


def draw_record(record: Record, sample: int, membranes: Sequence[MembraneTraces]) -> Drawing:
    """Inputs and populations of a record in one sample, measured ones in another colour, and membranes below."""
    colour, where = p.SIMULATED, ""
    if (ran_on := getattr(record, "ran_on", None)) is not None:
        colour, where = p.MEASURED, f", {ran_on}"
    names = record.names or tuple(map(str, range(len(record.populations))))
    rows = [] if record.inputs is None else [("input", record.inputs, p.SOFT)]
    rows += [
        (f"population {name}{where}", train, colour) for name, train in zip(names, record.populations, strict=True)
    ]
    for traces in membranes:
        if traces.sample != sample:
            raise InputError(
                f"membranes of sample {traces.sample} beside spikes of sample {sample}; allowed: of the same"
            )
    ends = [train.t_stop for _, train, _ in rows] or [traces.t_stop for traces in membranes]
    return _draw(rows, sample, max(ends), membranes)


def draw_membranes(traces: MembraneTraces) -> Drawing:
    """The membranes alone."""
    return _draw([], traces.sample, traces.t_stop, (traces,))


def checked_sample(sample: Any, batch: int) -> int:
    """``sample`` as a number of the batch; :class:`InputError` otherwise."""
    return whole("sample", sample, 0, batch - 1)


def _draw(
    rows: Sequence[tuple[str, Spikes, str]], sample: int, t_stop: float, membranes: Sequence[MembraneTraces]
) -> Drawing:
    heights = [height_of(train.n_units) for _, train, _ in rows]
    heights += [MEMBRANE_HEIGHT] * len(membranes)
    factor, unit = _unit(t_stop)
    with p.style():
        figure, grid = p.grid(len(heights), 1, sum(heights) + 0.6, sharex=True, gridspec_kw={"height_ratios": heights})
        panels = [row[0] for row in grid]
        for axes, (name, train, colour) in zip(panels, rows, strict=False):
            _raster(axes, train, sample, factor, colour)
            label_rows(axes, name, train.n_units)
        for axes, traces in zip(panels[len(rows) :], membranes, strict=True):
            _curves(axes, traces, factor)
        panels[-1].set_xlim(-0.01 * t_stop / factor, 1.02 * t_stop / factor)
        panels[-1].set_xlabel(f"time in sample {sample} ({unit})")
    return Drawing(figure)


def _unit(t_stop: float) -> tuple[float, str]:
    return (1.0, "s") if t_stop >= 1 else (1e-3, "ms") if t_stop >= 1e-3 else (1e-6, "µs")


def _raster(axes: Axes, train: Spikes, sample: int, factor: float, colour: str) -> None:
    ((times, units),) = train.detach()[sample].to_events()
    ticks(axes, times / factor, units, train.n_units, "full", colour)


def _curves(axes: Axes, traces: MembraneTraces, factor: float) -> None:
    for k, neuron in enumerate(traces.neurons):
        colour = COLOURS[k % len(COLOURS)]
        times, values = traces.curve(k)
        axes.plot(times.numpy() / factor, values.numpy(), color=colour, linewidth=1.1, label=f"neuron {neuron}")
        if traces.v_th is not None:
            level = float(traces.v_th[k])
            axes.axhline(level, color=colour, linewidth=0.6, linestyle=":")
            found = traces.spikes[k].numpy()
            axes.plot(
                found / factor, np.full(len(found), level), color=colour, linestyle="none", marker="|", markersize=9
            )
    axes.set_title(f"membranes of {traces.population}")
    axes.set_ylabel("membrane")
    axes.grid(axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
