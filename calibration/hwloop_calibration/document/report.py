"""A calibration as one self-contained HTML file, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hwloop.compare.report import MapPanel, Report, Table, neuron_map
from hwloop.compare.source import called

from ..characterise.model import Array
from ..drift.sentinel import LIMIT
from .calibration import Calibration, as_array
from .effect import Effect, effect_table
from .figures import distributions, drift_chart, error_bars, relative, residuals, source_of
from .text import COLUMNS, dates_lines, gauge_line, held_out_line, parameter_rows, reason_rows, verdict_line

if TYPE_CHECKING:
    from ..drift.sentinel import Check

#: Parameters that the map of the chip shows.
MAPPED = ("tau_mem", "tau_syn", "gain", "v_leak")


def calibration_report(
    calibration: Calibration,
    *,
    truth: Mapping[str, Array] | None = None,
    checks: Sequence[Check] = (),
    limit: float = LIMIT,
    effect: Effect | None = None,
) -> Report:
    """The report of a calibration.

    Parameters
    ----------
    calibration : Calibration
    truth : ``[n]`` of each parameter in the order of ``calibration.neurons``; an emulator's tests have it
    checks, limit : sentinel checks since, and the limit of their CUSUM
    effect : what it did to the answers of a network
    """
    source = source_of(calibration)
    title = f"Calibration of {called(calibration.device_id)}"
    report = Report(title, verdict_line(calibration), _facts(calibration), provenance=_provenance(calibration))
    report.add_section(
        "In short",
        "\n\n".join(
            [
                *([] if effect is None else effect.sentences()),
                verdict_line(calibration) + ".",
                *(line + "." for line in dates_lines(calibration)),
                held_out_line(calibration) + ".",
                gauge_line(calibration),
            ]
        ),
        [] if effect is None else [effect_table([effect], [source])],
    )
    table = Table(
        "Medians over the sound neurons; spread: standard deviation over neurons.",
        COLUMNS,
        parameter_rows(calibration),
        source,
    )
    drawn = distributions(calibration)
    report.add_section("Parameters", tables=[table], figures=[] if drawn is None else [drawn])
    report.add_section("Neurons", tables=_neuron_tables(calibration), figures=[_map(calibration)])
    figures = [residuals(calibration)]
    if truth:
        figures.append(error_bars(calibration, truth))
    report.add_section("Residuals and errors", figures=figures)
    if checks:
        report.add_section("Drift", figures=[drift_chart(checks, limit, calibration)])
    return report


def _facts(calibration: Calibration) -> dict[str, Any]:
    effort = calibration.effort
    return {
        "device": called(calibration.device_id), "ran on": calibration.ran_on, "made": calibration.date,
        "temperature": None if calibration.temperature is None else f"{calibration.temperature:+g} K",
        "computing": f"{effort.seconds:.1f} s", "device time": f"{effort.device_seconds:.2f} s",
        "cells written": f"{effort.cells_written} synapses, {effort.trim_cells_written} trim cells",
        "noise of one run": f"threshold {100 * calibration.noise.threshold:.2f} %, spike {1e3 * calibration.noise.jitter:.3g} ms",
    }  # fmt: skip


def _provenance(calibration: Calibration) -> dict[str, Any]:
    return {
        "calibration": calibration.id, "device": calibration.device_id, "firmware": calibration.firmware,
        "limits of the device": calibration.revision, "hwloop": calibration.hwloop,
    }  # fmt: skip


def _neuron_tables(calibration: Calibration) -> list[Table]:
    rows = [(reason, count, which) for reason, count, which in reason_rows(calibration)]
    if not rows:
        return []
    caption = "Neurons that are not to be used, and why; compiling for the calibrated device avoids them."
    return [Table(caption, ("reason", "neurons", "which"), rows, source_of(calibration))]


def _map(calibration: Calibration) -> Any:
    size = max(calibration.neurons) + 1

    def placed(values: Array) -> Array:
        whole = np.full(size, np.nan)
        whole[np.asarray(calibration.neurons)] = values
        return whole

    panels = [
        MapPanel(f"{name} (% off its target)", placed(relative(calibration, name)), diverging=True)
        for name in MAPPED
        if np.isfinite(relative(calibration, name)).any()
    ]
    panels.append(MapPanel("residual / noise", placed(as_array(calibration.residual))))
    caption = "Each cell is a physical neuron, row by row; stripes or blocks hint at a cause in the hardware. Hatched: masked or not calibrated."
    return neuron_map(panels, source_of(calibration), caption)
