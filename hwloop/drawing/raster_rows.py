"""Rows of a raster, one a unit: their ticks, their names, and how much room they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array: TypeAlias = NDArray[Any]


def height_of(n: int) -> float:
    """Height (inch) of a panel of ``n`` rows."""
    return min(3.6, 0.55 + 0.055 * n) if n > 4 else 0.35 + 0.16 * n


def ticks(axes: Axes, times: Array, units: Array, n: int, half: Literal["upper", "lower", "full"], colour: str) -> None:
    """A tick for each event, on the whole of its row or on half of it."""
    size = max(0.42, n / 75)  # rows of large layers are thinner than a readable tick
    low, high = {"upper": (-size, 0.0), "lower": (0.0, size), "full": (-size, size)}[half]  # neuron 0 is on top
    gap = np.full(len(times), np.nan)
    x = np.column_stack([times, times, gap]).ravel()
    y = np.column_stack([units + low, units + high, gap]).ravel()
    axes.plot(x, y, color=colour, linewidth=1.3, solid_capstyle="butt")


def label_rows(axes: Axes, name: str, n: int) -> None:
    """Which row is which unit of a population or input called ``name``."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(name)
    axes.set_ylabel("neuron" if name != "input" else "channel")
    margin = max(0.6, n / 60)
    axes.set_ylim(n - 1 + margin, -margin)
    ticks = MaxNLocator(integer=True, nbins=min(8, max(2, n))).tick_values(0, n - 1)
    axes.set_yticks([t for t in ticks if 0 <= t < n])
    axes.grid(axis="x")
