"""Figures of accuracy and training. Accuracies go in as shares, and come out in per cent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.plot_data import PlotData, Value
from ..errors import InputError
from ..record import RanOn
from .source import Figure, Sources

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..training import Epoch


@dataclass(frozen=True)
class AccuracyRow:
    """One bar: what was run, the accuracies of its runs (share, 0..1) and where they ran."""

    label: str
    values: Sequence[float]
    ran_on: RanOn


def accuracy_bars(
    rows: Sequence[AccuracyRow], source: Sources, *, references: Mapping[str, float] | None = None,
    caption: str = "Each dot is one run, the thick mark their mean; dashed lines are the references to reach.",
    lower: float = 0.0,
) -> Figure:  # fmt: skip
    """Accuracy of several settings: a bar for the mean, a dot for each run, dashed reference lines.

    ``references`` maps names to shares (0..1). With ``lower`` above 0 the axis starts there and bars give way
    to markers, for a bar that does not start at 0 misleads.
    """
    from ..drawing import plotting as p

    _check_rows(rows, lower)
    with p.style():
        figure, [[axes]] = p.grid(1, 1, 1.35 + 0.42 * len(rows))
        for y, row in enumerate(rows):
            values = 100 * np.asarray(row.values, dtype=float)
            colour, mean = p.RAN_ON_COLOURS[row.ran_on], float(values.mean())
            if lower == 0:
                axes.barh(y, mean, height=0.55, color=colour, alpha=0.28, linewidth=0)
            axes.plot([mean, mean], [y - 0.3, y + 0.3], color=colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot(
                values,
                np.full(len(values), y),
                "o",
                color=colour,
                markersize=4,
                markeredgecolor="white",
                markeredgewidth=0.5,
            )
            note = f"{mean:.1f} %" if len(values) == 1 else f"{mean:.1f} %, worst {values.min():.1f} %"
            axes.annotate(
                note, (1.01, y), xycoords=("axes fraction", "data"), va="center", color=p.INK, annotation_clip=False
            )
        _reference_lines(axes, references or {})
        axes.set_yticks(range(len(rows)), [f"{row.label}" for row in rows], color=p.INK)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(100 * lower, 100)
        axes.set_xlabel("accuracy (%)")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        _legend_ran_on(axes, rows)
        columns = ("setting", "ran on", "shown as", "accuracy (%)")
        return Figure.of(figure, caption, source, "accuracy", PlotData(columns, _accuracy_data(rows, references or {})))


def _accuracy_data(rows: Sequence[AccuracyRow], references: Mapping[str, float]) -> list[tuple[Value, ...]]:
    data: list[tuple[Value, ...]] = []
    for row in rows:
        values = 100 * np.asarray(row.values, dtype=float)
        data += [(row.label, row.ran_on, "dot", value) for value in values.tolist()]
        data.append((row.label, row.ran_on, "mean", float(values.mean())))
    return data + [(name, None, "reference line", 100 * float(value)) for name, value in references.items()]


def _check_rows(rows: Sequence[AccuracyRow], lower: float) -> None:
    if not rows:
        raise InputError("accuracy_bars of no rows; give at least one")
    if not 0 <= lower < 1:
        raise InputError(f"lower = {lower}; allowed: 0 <= lower < 1 (a share, not per cent)")
    for row in rows:
        values = np.asarray(row.values, dtype=float)
        if values.size == 0 or not bool(np.all((values >= 0) & (values <= 1))):
            raise InputError(f"row {row.label!r}: values {list(row.values)}; allowed: one or more shares in 0..1")


def _reference_lines(axes: Axes, references: Mapping[str, float]) -> None:
    from ..drawing import plotting as p

    styles = ("--", ":", "-.", (0, (6, 1)))
    for k, (name, value) in enumerate(references.items()):
        axes.axvline(
            100 * value,
            color=p.INK,
            linewidth=1,
            linestyle=styles[k % len(styles)],
            label=f"{name} ({100 * value:.1f} %)",
        )


def _legend_ran_on(axes: Axes, rows: Sequence[AccuracyRow]) -> None:
    from matplotlib.lines import Line2D

    from ..drawing import plotting as p

    places = [place for place in p.RAN_ON_COLOURS if any(row.ran_on == place for row in rows)]
    handles: list[Any] = [
        Line2D(
            [],
            [],
            color=p.RAN_ON_COLOURS[place],
            marker="o",
            linewidth=5,
            markersize=4,
            alpha=0.7,
            label=f"ran on {place}",
        )
        for place in places
    ]
    handles += [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=min(3, len(handles)), borderaxespad=0.2
    )


def training_curves(
    history: Mapping[str, Sequence[float]] | Sequence[Epoch], source: Sources, *, x_label: str = "epoch", best: int | None = None,
    caption: str = "Curves should settle; a gap between training and validation is over-fitting.",
) -> Figure:  # fmt: skip
    """Curves by epoch, one panel for names with "loss", one for "accuracy" (in per cent), one for each other name.

    ``history`` is what :func:`hwloop.training.fit` returns, or maps names to one value an epoch (NaN leaves a gap);
    ``best`` marks the epoch that was kept, counted from 1.
    """
    from matplotlib.ticker import MaxNLocator

    from ..drawing import plotting as p

    history = history if isinstance(history, Mapping) else _curves(history)
    panels = _panels(history)
    with p.style():
        figure, [row] = p.grid(1, len(panels), 2.9)
        for axes, (title, names) in zip(row, panels.items(), strict=True):
            factor = 100.0 if title == "accuracy (%)" else 1.0
            for k, name in enumerate(names):
                values = factor * np.asarray(history[name], dtype=float)
                colour = (p.BLUE, p.RED, p.GREEN, p.PURPLE, p.ORANGE, p.SKY)[k % 6]
                marker = "o" if len(values) < 40 else ""
                axes.plot(range(1, len(values) + 1), values, color=colour, marker=marker, markersize=3, linewidth=1.4,
                          linestyle=("-", "--", "-.", ":")[k % 4], label=name.replace("_", " "))  # fmt: skip
            if best is not None:
                axes.axvline(best, color=p.SOFT, linewidth=1, linestyle=":", label=f"kept: {x_label} {best}")
            axes.set_xlabel(x_label)
            axes.set_xlim(0.5, 0.5 + max(len(history[name]) for name in names))
            axes.set_ylabel(title)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
            axes.grid()
            if len(names) > 1 or best is not None:
                axes.legend(loc="best")
        return Figure.of(figure, caption, source, "training", _curve_data(panels, history, x_label))


def _curve_data(panels: Mapping[str, Sequence[str]], history: Mapping[str, Sequence[float]], x_label: str) -> PlotData:
    names = [(name, title == "accuracy (%)") for title, found in panels.items() for name in found]
    columns = (x_label, *(name.replace("_", " ") + " (%)" * share for name, share in names))
    rows: list[tuple[Value, ...]] = []
    for k in range(max(len(history[name]) for name, _ in names)):
        cells = [
            float(history[name][k]) * (100.0 if share else 1.0) if k < len(history[name]) else None
            for name, share in names
        ]
        rows.append((k + 1, *cells))
    return PlotData(columns, rows)


def _curves(epochs: Sequence[Epoch]) -> dict[str, list[float]]:
    return {
        "training loss": [e.loss for e in epochs],
        "validation loss": [math.nan if e.validation.loss is None else e.validation.loss for e in epochs],
        "training accuracy": [e.accuracy for e in epochs],
        "validation accuracy": [e.validation.accuracy for e in epochs],
    }


def _panels(history: Mapping[str, Sequence[float]]) -> dict[str, list[str]]:
    panels: dict[str, list[str]] = {}
    for name, values in history.items():
        if len(values) == 0:
            continue
        title = "loss" if "loss" in name else "accuracy (%)" if "accuracy" in name else name.replace("_", " ")
        panels.setdefault(title, []).append(name)
    if not panels:
        raise InputError("training_curves of an empty history; give at least one value")
    return panels
