"""Figures of tables of numbers: maps of the neurons of a layer, and confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.plot_data import PlotData, Value
from ..errors import InputError
from .flat_trains import Floats, Ints
from .source import Figure, Sources

if TYPE_CHECKING:
    from matplotlib.axes import Axes


#: Up to so many neurons, the maps of a layer stand in one row.
MAX_SMALL = 24

#: Above so many cells a map is drawn as one picture instead of cells with borders.
MAX_CELLS = 1500
#: Up to so many classes a confusion matrix prints its counts.
MAX_PRINTED = 12


@dataclass(frozen=True, eq=False)
class MapPanel:
    """One map: a name with unit and ``[n_units]`` values, NaN where undefined.

    ``diverging``: values of both signs, 0 in the middle of the colours.
    """

    label: str
    values: Floats
    diverging: bool = False


@dataclass(frozen=True, eq=False)
class Matrix:
    """One confusion matrix: a title, counts ``[rows, columns]``, the names of its axes, and of columns and rows in common.

    It may lack the last rows, such as that of undecided samples where rows are labels.
    """

    title: str
    counts: Ints
    row_name: str
    column_name: str
    names: Sequence[str]


def neuron_map(
    panels: Sequence[MapPanel], source: Sources,
    caption: str = "Each cell is a neuron, in logical order row by row; stripes or blocks hint at a cause in the hardware, single cells at defects.",
) -> Figure:  # fmt: skip
    """Values of all neurons of a layer on a grid, one panel a quantity; undefined cells are hatched."""
    from ..drawing import plotting as p

    if not panels or any(len(panel.values) != len(panels[0].values) or len(panel.values) == 0 for panel in panels):
        raise InputError(
            f"neuron_map of panels with {[len(panel.values) for panel in panels]} neurons; give one or more panels of one layer"
        )
    n = len(panels[0].values)
    columns = n if n <= 8 else 2 ** round(math.log2(math.sqrt(2 * n)))
    rows = math.ceil(n / columns)
    across = min(len(panels), 4 if n <= MAX_SMALL else 2)
    down = math.ceil(len(panels) / across)
    width = p.WIDTH * max(across, 2) / (4 if n <= MAX_SMALL else 2)
    height = down * (1.25 + min(3.0, max(0.4, 0.8 * width / across * rows / columns)))
    with p.style():
        figure, axes = p.grid(down, across, height, width=min(p.WIDTH, width if across > 1 else 0.6 * width))
        flat = [axis for line in axes for axis in line]
        for axis, panel in zip(flat, panels, strict=False):
            _map(axis, panel, rows, columns)
        for spare in flat[len(panels) :]:
            spare.set_axis_off()
        columns_of_data = ("neuron", *(panel.label for panel in panels))
        table = zip(*(np.asarray(panel.values, dtype=float).tolist() for panel in panels), strict=True)
        data: list[tuple[Value, ...]] = [(k, *cells) for k, cells in enumerate(table)]
        return Figure.of(figure, caption, source, "neurons", PlotData(columns_of_data, data))


def _map(axes: Axes, panel: MapPanel, rows: int, columns: int) -> None:
    from matplotlib.ticker import MaxNLocator

    values = np.asarray(panel.values, dtype=float)
    cells = np.full(rows * columns, np.nan)
    cells[: len(values)] = values
    image = np.ma.masked_invalid(cells.reshape(rows, columns))  # type: ignore[no-untyped-call,unused-ignore]
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    largest = largest or 1.0
    low = -largest if panel.diverging else 0.0
    borders: dict[str, Any] = (
        {"edgecolors": "white", "linewidth": 0.6} if cells.size <= MAX_CELLS else {"rasterized": True}
    )
    for k in np.flatnonzero(~np.isfinite(values)).tolist():
        y, x = divmod(k, columns)
        axes.fill(
            [x, x + 1, x + 1, x],
            [y, y, y + 1, y + 1],
            facecolor="#f2f4f6",
            edgecolor="#b4bcc5",
            hatch="////",
            linewidth=0,
        )
    mesh = axes.pcolormesh(image, cmap="PuOr_r" if panel.diverging else "Blues", vmin=low, vmax=largest, **borders)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal")
    steps = range(0, rows, max(1, math.ceil(rows / 6)))
    axes.set_yticks([r + 0.5 for r in steps], [str(r * columns) for r in steps])
    marks = range(0, columns, max(1, math.ceil(columns / 8)))
    axes.set_xticks([c + 0.5 for c in marks], [f"+{c}" if rows > 1 else str(c) for c in marks])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(panel.label)
    axes.set_xlabel("neuron" if rows == 1 else "neuron in row")
    if rows > 1:
        axes.set_ylabel("first neuron of row")
    else:
        axes.set_yticks([])
    bar = axes.figure.colorbar(mesh, ax=axes, location="bottom", shrink=0.85, aspect=30, pad=0.03)
    bar.ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
    bar.outline.set_visible(False)


def confusion(
    matrices: Sequence[Matrix], source: Sources,
    caption: str = "Counts off the diagonal are errors; a full column is a class that the device prefers.",
) -> Figure:  # fmt: skip
    """Confusion matrices side by side, one scale of colours."""
    from ..drawing import plotting as p

    if not matrices:
        raise InputError("confusion of no matrices; give at least one")
    size = max(2.6, min(4.2, 0.34 * len(matrices[0].names) + 1.2))
    top = max(1, *(int(m.counts.max()) for m in matrices))
    with p.style():
        figure, [axes] = p.grid(1, len(matrices), size + 0.5, width=min(p.WIDTH, (size + 0.9) * len(matrices)))
        for axis, matrix in zip(axes, matrices, strict=True):
            _matrix(axis, matrix, top)
        data: list[tuple[Value, ...]] = [
            (m.title, m.row_name, m.names[y], m.column_name, m.names[x], int(m.counts[y, x]))
            for m in matrices
            for y, x in np.ndindex(*m.counts.shape)
        ]
        columns = ("matrix", "row shows", "row", "column shows", "column", "samples")
        return Figure.of(figure, caption, source, "decisions", PlotData(columns, data))


def _matrix(axes: Axes, matrix: Matrix, top: int) -> None:
    rows, n = matrix.counts.shape
    axes.imshow(matrix.counts, cmap="Blues", vmin=0, vmax=top, interpolation="nearest")
    step = max(1, math.ceil(n / MAX_PRINTED))
    places = range(0, n, step)
    axes.set_xticks(places, [matrix.names[k] for k in places])
    axes.set_yticks(places[: math.ceil(rows / step)], [matrix.names[k] for k in places if k < rows])
    axes.tick_params(length=0)
    axes.set_xlabel(matrix.column_name)
    axes.set_ylabel(matrix.row_name)
    axes.set_title(matrix.title)
    if n <= MAX_PRINTED + 1:
        for y, x in np.ndindex(rows, n):
            count = int(matrix.counts[y, x])
            if count:
                axes.text(
                    x,
                    y,
                    str(count),
                    ha="center",
                    va="center",
                    color="white" if count > 0.55 * top else "#1b1f24",
                    fontsize=8,
                )
