"""Figures of a calibration report, in the look of the other reports of hwloop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hwloop.compare.source import Figure, Source
from hwloop.drawing import plotting as p
from hwloop.drawing.plot_data import PlotData, Value, bins

from ..characterise.model import Array
from .calibration import Calibration, as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..drift.sentinel import Check

#: Bins of a distribution, and quantile of the values that it spans.
BINS, SPAN = 40, 0.002
#: Parameters whose distribution is drawn relative to its target.
_RELATIVE = ("tau_mem", "tau_syn", "t_ref", "gain")


def relative(calibration: Calibration, name: str, table: str = "estimates") -> Array:
    """Estimates ``[n]`` of the sound neurons over their targets (times, gain), or distance in swings (potentials), per cent."""
    estimate = getattr(calibration, table)[name]
    value = as_array(estimate.value)
    value = np.where(np.asarray(estimate.identified), value, np.nan)
    if name == "gain":
        return np.asarray(100 * (value - 1))
    asked = calibration.asked(name)
    if name.startswith("v_"):
        return np.asarray(100 * (value - asked) / (calibration.asked("v_th") - calibration.asked("v_reset")))
    return np.asarray(100 * (value / np.where(asked > 0, asked, np.nan) - 1))


def distributions(calibration: Calibration) -> Figure | None:
    """Distribution of each identified parameter before and after trimming; None where nothing was identified."""
    names = [n for n in (*_RELATIVE, "v_th", "v_leak", "v_reset") if np.isfinite(relative(calibration, n)).sum() > 1]
    if not names:
        return None
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    with p.style():
        figure, axes = p.grid(rows, columns, 2.1 * rows + 0.3)
        flat = [axis for line in axes for axis in line]
        data: list[tuple[Value, ...]] = []
        for axis, name in zip(flat, names, strict=False):
            data += _distribution(axis, calibration, name)
        for spare in flat[len(names) :]:
            spare.set_axis_off()
        flat[0].legend(loc="upper right", fontsize=8)
        caption = "Distance of every neuron from its target; narrow around 0 is good. Dashed: before trimming; filled: as the chip is now."
        head = ("parameter", "off by, from (%; potentials: % of the swing)", "to (same unit)", "neurons", "when")
        return Figure.of(figure, caption, source_of(calibration), "parameters", PlotData(head, data))


def _distribution(axis: Axes, calibration: Calibration, name: str) -> list[tuple[Value, ...]]:
    """Draw one panel; its bins, as rows."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    now = relative(calibration, name)
    sets = [now[np.isfinite(now)]]
    if calibration.before:
        first = relative(calibration, name, "before")
        sets.append(first[np.isfinite(first)])
    pooled = np.concatenate(sets)
    low, high = np.quantile(pooled, [SPAN, 1 - SPAN])
    edge = max(abs(low), abs(high), 1e-3)
    edges = np.linspace(-edge, edge, BINS + 1)
    counts, _, _ = axis.hist(np.clip(sets[0], -edge, edge), edges.tolist(), color=p.BLUE, alpha=0.75, label="now")
    data: list[tuple[Value, ...]] = [(*row, "now") for row in bins(name, np.asarray(counts), edges)]
    if len(sets) > 1 and len(sets[1]):
        counts, _, _ = axis.hist(
            np.clip(sets[1], -edge, edge),
            edges.tolist(),
            histtype="step",
            color=p.INK,
            linestyle="--",
            linewidth=1.2,
            label="before",
        )
        data += [(*row, "before") for row in bins(name, np.asarray(counts), edges)]
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.yaxis.set_minor_formatter(NullFormatter())
    spread = calibration.spread.get(name)
    words = (
        ""
        if spread is None
        else f": {100 * spread.before:.1f} % to {100 * spread.after:.2f} %"
        if calibration.before
        else f": {100 * spread.after:.1f} %"
    )
    axis.set_title(f"{name}{words}")
    axis.set_xlabel("off by (% of the swing)" if name.startswith("v_") else "off by (%)")
    axis.set_ylabel("neurons")
    return data


def error_bars(calibration: Calibration, truth: Mapping[str, Array]) -> Figure:
    """Estimates against the truth that an emulator knows: error in units of the standard error, by parameter.

    ``truth``: ``[n]`` of each parameter, in the order of ``calibration.neurons``.
    """
    names = list(truth)
    with p.style():
        figure, axes = p.grid(1, len(names), 2.6, sharey=True)
        data: list[tuple[Value, ...]] = []
        for axis, name in zip(axes[0], names, strict=True):
            z = (calibration.value(name) - truth[name]) / calibration.error(name)
            z = z[np.isfinite(z)]
            density, edges, _ = axis.hist(
                np.clip(z, -5, 5), np.linspace(-5, 5, 31).tolist(), color=p.BLUE, alpha=0.75, density=True
            )
            data += bins(name, np.asarray(density), edges)
            x = np.linspace(-5, 5, 101)
            axis.plot(x, np.exp(-x * x / 2) / math.sqrt(2 * math.pi), color=p.INK, linewidth=1)
            inside = 100 * float(np.mean(np.abs(z) < 1.96)) if z.size else float("nan")
            axis.set_title(f"{name}: {inside:.0f} % within")
            axis.set_xlabel("error / standard error")
        axes[0][0].set_ylabel("density")
        caption = "Errors against the emulator's truth in units of the stated standard error; the line is the normal law, 95 % should lie within 1.96."
        head = ("parameter", "error from (standard errors)", "to (standard errors)", "density (1 / standard error)")
        return Figure.of(figure, caption, source_of(calibration), "errors", PlotData(head, data))


def residuals(calibration: Calibration) -> Figure:
    """What the fit leaves of every neuron, in units of the device's noise."""
    left = as_array(calibration.residual)
    sound = np.array([v != "masked" for v in calibration.verdict])
    with p.style():
        figure, [[axis]] = p.grid(1, 1, 2.4)
        neurons = np.asarray(calibration.neurons)
        top = 2.5
        axis.plot(neurons[sound], np.minimum(left[sound], top), ".", color=p.BLUE, markersize=3, label="sound")
        axis.plot(
            neurons[~sound],
            np.minimum(np.nan_to_num(left[~sound]), top),
            "x",
            color=p.RED,
            markersize=6,
            label="masked",
        )
        axis.axhline(1.0, color=p.INK, linewidth=0.8)
        axis.set_ylim(0, top * 1.05)
        axis.set_xlabel("physical neuron")
        axis.set_ylabel("residual / noise")
        axis.legend(loc="upper right", ncols=2, fontsize=8)
        caption = f"Residuals of the fit; 1: the model explains all but the device's own noise. Values above {top} are drawn there."
        rows: list[tuple[Value, ...]] = [
            (int(n), float(x), "sound" if good else "masked") for n, x, good in zip(neurons, left, sound, strict=True)
        ]
        head = ("physical neuron", "residual (noise of the device)", "verdict")
        return Figure.of(figure, caption, source_of(calibration), "residuals", PlotData(head, rows))


def drift_chart(checks: Sequence[Check], limit: float, calibration: Calibration) -> Figure:
    """CUSUM of the neuron that is worst, and neurons over the limit, by device time."""
    when = np.array([check.device_time for check in checks])
    worst = np.array([float(check.level.max(initial=0.0)) for check in checks])
    over = [len(check.neurons) for check in checks]
    with p.style():
        figure, [[upper], [lower]] = p.grid(2, 1, 3.8, sharex=True)
        upper.plot(when, worst, "o-", color=p.BLUE, markersize=3, linewidth=1)
        upper.axhline(limit, color=p.RED, linewidth=1, linestyle="--")
        upper.set_ylabel("largest CUSUM (sigma)")
        lower.step(when, over, where="mid", color=p.INK)
        lower.set_ylabel("neurons over the limit")
        lower.set_xlabel("device time (s)")
        caption = "Sentinel checks; above the dashed line a neuron has drifted and is calibrated anew, which takes its CUSUM back to 0."
        rows: list[tuple[Value, ...]] = list(zip(when.tolist(), worst.tolist(), over, strict=True))
        head = ("device time (s)", "largest CUSUM (sigma)", "neurons over the limit")
        return Figure.of(figure, caption, source_of(calibration), "drift", PlotData(head, rows))


def source_of(calibration: Calibration) -> Source:
    """Where a calibration's data ran."""
    return Source(calibration.ran_on, calibration.device_id, calibration.program_digest)
