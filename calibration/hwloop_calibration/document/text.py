"""A calibration as text, and as rows of the tables of its report."""

from __future__ import annotations

from collections import Counter

import numpy as np

from .calibration import ESTIMATED, Calibration

#: Parameters in times, and the unit that they are printed in.
_TIMES = ("tau_mem", "tau_syn", "t_ref", "latency")
#: Reasons and neurons of one reason that are printed.
MOST_REASONS, MOST_NEURONS = 8, 8


def parameter_rows(calibration: Calibration) -> list[tuple[str, str, str, str, str, str]]:
    """``(parameter, target, median, median error, spread before, spread after)`` as printed."""
    rows = []
    for name in ESTIMATED:
        value, error = calibration.value(name), calibration.error(name)
        known = np.isfinite(value) & np.asarray(calibration.estimates[name].identified)
        if not known.any():
            rows.append((name, _target(calibration, name), "not identified", "-", "-", "-"))
            continue
        finite = error[known][np.isfinite(error[known])]
        spread = calibration.spread.get(name)
        before, after = ("-", "-") if spread is None else (_percent(spread.before), _percent(spread.after))
        middle = float(np.median(finite)) if finite.size else float("nan")
        rows.append(
            (
                name,
                _target(calibration, name),
                _shown(name, float(np.median(value[known]))),
                _shown(name, middle),
                before,
                after,
            )
        )
    return rows


#: Columns of :func:`parameter_rows`.
COLUMNS = ("parameter", "target", "median", "standard error", "spread before", "spread after")


def _target(calibration: Calibration, name: str) -> str:
    if name in calibration.targets:
        return _shown(name, float(np.median(calibration.asked(name))))
    return "1" if name == "gain" else "-"


def _shown(name: str, value: float) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value * 1e3:.4g} ms" if name in _TIMES else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def verdict_line(calibration: Calibration) -> str:
    """How many neurons passed, are marginal, failed, are masked."""
    counts = {kind: calibration.verdict.count(kind) for kind in ("pass", "marginal", "fail", "masked")}
    total = len(calibration.verdict)
    parts = [f"{count} {kind}" for kind, count in counts.items() if count]
    usable = 100 * (total - counts["masked"]) / total
    return f"{total} neurons: {', '.join(parts)}; usable: {usable:.1f} %"


def dates_lines(calibration: Calibration) -> list[str]:
    """How many neurons were measured last when, oldest first, where that differs; and whether converters were."""
    counts = sorted(Counter(calibration.dates).items())
    lines = [] if len(counts) == 1 else ["measured last: " + ", ".join(f"{n} neurons {date}" for date, n in counts)]
    return lines + (["the bow of every synapse's converter was measured"] if calibration.bends else [])


def reason_rows(calibration: Calibration) -> list[tuple[str, int, str]]:
    """``(reason, how many, which)``, most frequent first."""
    found: dict[str, list[str]] = {}
    for neuron, reason in calibration.reasons.items():
        found.setdefault(reason.split(":")[0], []).append(neuron)
    ordered = sorted(found.items(), key=lambda pair: -len(pair[1]))
    return [(reason, len(names), _some(names)) for reason, names in ordered]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:MOST_NEURONS])
    return shown if len(names) <= MOST_NEURONS else f"{shown}, and {len(names) - MOST_NEURONS} more"


def held_out_line(calibration: Calibration) -> str:
    """The errors on held-out stimuli."""
    found = calibration.held_out
    if found is None:
        return "held-out stimuli: not measured of these neurons together"
    if not found.spikes:
        return "held-out stimuli: no spikes to compare"
    return (
        f"held-out stimuli: the twin misses spike times by {found.twin * 1e3:.3g} ms RMS, the nominal model by "
        f"{found.nominal * 1e3:.3g} ms; the device repeats itself to {found.jitter * 1e3:.3g} ms "
        f"(twin / device = {found.twin / max(found.jitter, 1e-300):.2f}; {found.spikes} spikes of {found.samples} samples)"
    )


def gauge_line(calibration: Calibration) -> str:
    """What potentials mean."""
    if calibration.gauge == "membranes":
        return "Potentials and gain are absolute: membranes were read."
    return (
        "From spikes alone: v_th and v_reset are held at what was asked; v_leak and gain are in units of each neuron's own "
        "v_th - v_reset, which is all that spikes depend on."
    )


def to_text(calibration: Calibration, width: int = 100) -> str:
    """The calibration as text for a terminal."""
    rows = [COLUMNS, *parameter_rows(calibration)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
    table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    effort = calibration.effort
    lines = [
        f"Calibration {calibration.id} of {calibration.device_id} ({calibration.ran_on}), {calibration.date}",
        verdict_line(calibration),
        *dates_lines(calibration),
        *[f"  masked: {reason} ({which})" for reason, _, which in reason_rows(calibration)[:MOST_REASONS]],
        "",
        *table,
        "",
        gauge_line(calibration),
        held_out_line(calibration),
        f"noise of one run: threshold {100 * calibration.noise.threshold:.2f} % of the swing, spike {calibration.noise.jitter * 1e3:.3g} ms",
        f"cost: {effort.seconds:.0f} s of computing, {effort.device_seconds:.2f} s of device time, {effort.samples} samples, "
        f"{effort.cells_written} synapse and {effort.trim_cells_written} trim cells written",
    ]
    return "\n".join(line if len(line) <= 4 * width else line[: 4 * width] for line in lines) + "\n"
