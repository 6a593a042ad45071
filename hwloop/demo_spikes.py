"""Sections of the report of the demonstration on the spikes of its first chip: one sample, neuron by neuron, decisions."""

from __future__ import annotations

import numpy as np

from .compare import Comparison
from .compare.report import Figure, MapPanel, Matrix, Report, Source, confusion, neuron_map, raster
from .compare.time_format import format_time, time_unit
from .datasets import YIN_YANG_CLASSES
from .demo import ChipResult, DemoResult

_MICRO = "µs"
_SIMULATOR = Source("simulator")


def one_sample(report: Report, demo: DemoResult) -> None:
    """One sample that the loop mended, spike by spike."""
    chip = demo.chips[0]
    sample = _telling_sample(chip)
    label = YIN_YANG_CLASSES[int(demo.task.test.labels[sample])]
    figures: list[Figure] = []
    for state, comparison in (("as is", chip.before), ("fine-tuned", chip.after)):
        matchings = [p.matching for p in comparison.populations]
        caption = (
            f"{chip.name} {state}. Upper ticks are the software network, lower ticks the chip; a grey line joins what was "
            f"matched as one spike. The software decides {_decision(comparison.decisions.simulated[sample])}, "
            f"the chip {_decision(comparison.decisions.measured[sample])}."
        )
        figures.append(
            raster(
                comparison.simulated,
                comparison.measured,
                sample,
                comparison.settings.window,
                matchings=matchings,
                caption=caption,
            )
        )
    text = (
        f"Test sample {sample}, of class {label}. The first output neuron to spike decides: 0 is yin, 1 yang, 2 dot.\n\n"
        "Layer 0 is the hidden layer, layer 1 the output. The first divergence is the earliest spike that differs, so "
        "it is no consequence of another one:\n\n"
        f"First divergence of this sample, {chip.name} as is: {_divergence(chip.before, sample)}.\n\n"
        f"First divergence of this sample, {chip.name} fine-tuned: {_divergence(chip.after, sample)}.\n\n"
        f"Earliest of all test samples, {chip.name} as is: {chip.before.divergences.summary(_MICRO)}."
    )
    report.add_section("One sample, spike by spike", text, figures=figures)


def _divergence(comparison: Comparison, sample: int) -> str:
    found = [d for d in comparison.divergences.samples if d.sample == sample]
    tolerance = format_time(comparison.divergences.tolerance, micro=_MICRO)
    return found[0].summary(_MICRO) if found else f"none, all its spikes agree to {tolerance}"


def _telling_sample(chip: ChipResult) -> int:
    """The first sample that the chip got wrong as is and right after, the software being right; else the first."""
    broken = set(chip.before.decisions.broken.tolist())
    mended = [k for k in sorted(broken) if k not in set(chip.after.decisions.broken.tolist())]
    return mended[0] if mended else 0


def _decision(decided: int) -> str:
    return "nothing (no output spike)" if decided < 0 else YIN_YANG_CLASSES[decided]


def neurons(report: Report, demo: DemoResult) -> None:
    """How late every hidden neuron is, and what it misses."""
    chip = demo.chips[0]
    panels = []
    for state, comparison in (("as is", chip.before), ("fine-tuned", chip.after)):
        found = comparison.populations[0].neurons
        panels.append((state, found.bias, found.missing / comparison.n_samples))
    largest = max(float(np.nanmax(np.abs(bias), initial=0.0)) for _, bias, _ in panels)
    factor, unit = time_unit(largest or 1e-6)
    unit = _MICRO if unit == "us" else unit
    maps = [MapPanel(f"bias, {state} ({unit})", bias / factor, diverging=True) for state, bias, _ in panels]
    maps += [MapPanel(f"missing, {state} (per sample)", missing) for state, _, missing in panels]
    figure = neuron_map(
        maps, [_SIMULATOR, Source.of(chip.before.measured), Source.of(chip.after.measured)],
        f"The hidden neurons of {chip.name}, row by row. Bias: how late a neuron is on average (negative: early). Every chip has "
        "a pattern of its own. Hatched: no spike found its partner, since the neuron is silent in the software network, or dead on the "
        "chip.",
    )  # fmt: skip
    report.add_section("Neuron by neuron", figures=[figure])


def decisions(report: Report, demo: DemoResult) -> None:
    """What was decided as what."""
    chip = demo.chips[0]
    names = [*YIN_YANG_CLASSES, "none"]
    before, after = chip.before.decisions, chip.after.decisions
    matrices = [
        Matrix("Software", before.table("labels", "simulated")[:-1], "label", "decision", names),
        Matrix("As is", before.table("labels", "measured")[:-1], "label", "decision", names),
        Matrix("Fine-tuned", after.table("labels", "measured")[:-1], "label", "decision", names),
    ]
    sources = [_SIMULATOR, Source.of(chip.before.measured), Source.of(chip.after.measured)]
    caption = (
        f"Decisions on the test set, one run: software, {chip.name} as is, and fine-tuned. Counts off the diagonal are "
        "errors; a full column is a class that the chip prefers."
    )
    report.add_section("Decisions", figures=[confusion(matrices, sources, caption)])
