"""The report of the demonstration: what was done, what came out, where it ran, for a reader who did not write it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .compare import Comparison, PopulationComparison
from .compare.cost_section import Costed, add_costs
from .compare.report import (
    AccuracyRow,
    ErrorSet,
    Folded,
    Report,
    Source,
    Table,
    accuracy_bars,
    error_histogram,
    training_curves,
)
from .compare.source import called
from .compare.time_format import format_time
from .demo import DemoResult
from .demo_spikes import decisions, neurons, one_sample
from .demo_words import effects_table, emulated, words
from .results import COLUMNS, Result, programs_of, versions

if TYPE_CHECKING:
    from hwloop_calibration.document.effect import Effect

_MICRO = "µs"
_SIMULATOR = Source("simulator")


def demo_report(demo: DemoResult) -> Report:
    """The report of ``demo``; ``.write(path)`` saves it."""
    report = Report(
        f"Training in software, repairing on the chip: Yin-Yang on {demo.chips_in_words}",
        "A spiking network is trained with exact gradients, deployed to imperfect chips, and fine-tuned by the spike times "
        f"that they return. {'All chips here are emulated; no hardware was used.' if demo.emulated else ''}".rstrip(),
        _facts(demo),
        provenance=_provenance(demo),
    )
    report.add_section("In short", _in_short(demo))
    _accuracy(report, demo)
    _training(report, demo)
    _calibrating(report, demo)
    _spike_times(report, demo)
    _loop(report, demo)
    add_costs(report, _costs(demo))
    one_sample(report, demo)
    neurons(report, demo)
    decisions(report, demo)
    folded = Folded("Every limit and effect of the chips, with its source", tables=[effects_table(demo)])
    report.add_section("What is emulated, and what is not", emulated(demo), folded=folded)
    return report.add_section("Words and signs", words(demo))


def _facts(demo: DemoResult) -> dict[str, object]:
    return {
        "experiment": f"{demo.experiment.name}: {demo.experiment.description}",
        "data": f"{len(demo.task.train)} training, {len(demo.task.validation)} validation, {len(demo.task.test)} test samples, generated",
        "chips": ", ".join(called(chip.device_id) for chip in demo.chips),
        "seed": demo.experiment.seed,
        "took": f"{demo.seconds:.0f} s",
    }


def _provenance(demo: DemoResult) -> dict[str, object]:
    known = versions()
    return {
        "versions": ", ".join(f"{name} {known[name]}" for name in ("hwloop", "torch", "numpy", "numba", "python")),
        "firmware": ", ".join(dict.fromkeys(str(chip.before.provenance["firmware"]) for chip in demo.chips)),
        **programs_of(demo.results),
    }


def _in_short(demo: DemoResult) -> str:
    as_is, tuned = [c.as_is.accuracy for c in demo.chips], [c.tuned.accuracy for c in demo.chips]
    calibrated = [c.calibrated.accuracy for c in demo.chips]
    first = demo.chips[0]
    layers = "-".join(str(n) for n in (demo.net.n_in, *(lif.n for _, lif in demo.net.blocks)))
    before, after = (_hidden_errors(getattr(first, name)) for name in ("before", "after"))
    codes = "rounded to the chip's codes and written" if first.program.capabilities.weight_bits else "written"
    noise, where = _noise_only(demo, float(np.mean(as_is))), first.as_is.ran_on
    return (
        f"1. A {layers} network learned Yin-Yang in simulation, by exact gradients of its spike times. On the test set it "
        f"decides {_percent(demo.software.accuracy)} right (simulator).\n\n"
        f"2. Its weights were {codes} to {demo.chips_in_words}. As they are, the chips decide {_range(as_is)} right "
        f"({where}). {noise}With their neurons trimmed by a calibration, the chips decide {_range(calibrated)} right ({where}). "
        f"{lowered(demo)}{' Why stands under Calibrating.' if _lower(demo) else ''}\n\n"
        f"3. Simulated and measured spikes were compared: on {first.name}, {before}.\n\n"
        "4. Each chip was fine-tuned in the loop: every batch runs on the chip, the measured spikes take the place of the "
        "simulated ones in the same loss and the same gradient, and only weights whose code changed are written. "
        f"Afterwards the chips decide {_range(tuned)} right ({where}). On {first.name}, {after}: the loop repairs decisions, and is "
        "free to find spike times other than the simulated ones."
    )


def lowered(demo: DemoResult) -> str:
    """Chips that calibrating made worse, and whether that is sure, in a sentence."""
    lower = _lower(demo)
    if not lower:
        return "Calibrating lowered no chip's accuracy."
    told = "; ".join(
        f"on {called(e.device_id)} by {100 * (e.before - e.after):.1f} points, {'more than' if e.sure else 'within'} the sampling error"
        for e in lower
    )
    return f"Calibrating lowered the accuracy {told} ({lower[0].samples} test samples)."


def _lower(demo: DemoResult) -> list[Effect]:
    return [chip.effect for chip in demo.chips if chip.effect.lower]


def _noise_only(demo: DemoResult, as_is: float) -> str:
    """What a chip without mismatch would decide, as a sentence; empty where there is none."""
    if demo.noise_only is None:
        return ""
    noise = demo.noise_only.accuracy
    rest = ": the rest of the loss is mismatch" if as_is < noise < demo.software.accuracy else ""
    return f"On a chip with the same noise but without mismatch, the same network decides {_percent(noise)} right (emulator){rest}. "


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(shares: Sequence[float]) -> str:
    if len(shares) == 1:
        return _percent(shares[0])
    return f"{100 * min(shares):.1f} to {100 * max(shares):.1f} % (mean {100 * float(np.mean(shares)):.1f} %)"


def _hidden_errors(comparison: Comparison) -> str:
    hidden = comparison.populations[0]
    total = max(1, hidden.spikes[0])
    missing = 100 * int(hidden.neurons.missing.sum()) / total
    rmse = "no spike found its partner" if hidden.rmse is None else f"RMSE {_time(hidden.rmse)}"
    return f"hidden spikes are off by {rmse}, and {missing:.1f} % of the simulated ones are missing"


def _time(seconds: float | None) -> str:
    return format_time(seconds, micro=_MICRO)


# -- sections -------------------------------------------------------------------------------------


def _sources(results: Sequence[Result]) -> list[Source]:
    return [Source(result.ran_on, result.device_id) for result in results]


def _accuracy(report: Report, demo: DemoResult) -> None:
    results = demo.results
    caption = (
        "Accuracy on the test set, which training, choice of epoch and choice of weight scale never saw. Without answer: "
        "samples in which no output neuron spiked; they count as wrong."
    )
    place = COLUMNS.index("device")
    rows = [(*row[:place], called(str(row[place])), *row[place + 1 :]) for row in (result.row() for result in results)]
    table = Table(caption, COLUMNS, rows, [result.source for result in results])
    bars = [
        AccuracyRow("software", [demo.software.accuracy], demo.software.ran_on),
        *(
            [AccuracyRow("noise, no mismatch", [demo.noise_only.accuracy], demo.noise_only.ran_on)]
            if demo.noise_only is not None
            else []
        ),
        AccuracyRow("chips as is", [chip.as_is.accuracy for chip in demo.chips], demo.chips[0].as_is.ran_on),
        AccuracyRow(
            "chips calibrated", [chip.calibrated.accuracy for chip in demo.chips], demo.chips[0].calibrated.ran_on
        ),
        AccuracyRow("chips fine-tuned", [chip.tuned.accuracy for chip in demo.chips], demo.chips[0].tuned.ran_on),
    ]
    figure = accuracy_bars(
        bars, _sources(results), references={"guessing": 1 / demo.task.n_out, "software": demo.software.accuracy},
        caption="Test accuracy: each dot is one chip, the thick mark the mean. The second bar is the software network, as is, on a "
        "chip with the noise of the others and no differences between its neurons.",
    )  # fmt: skip
    report.add_section("Accuracy", tables=[table], figures=[figure])


def _training(report: Report, demo: DemoResult) -> None:
    best = demo.training.best_epoch
    figure = training_curves(
        demo.training.history, _SIMULATOR, best=best,
        caption=f"Training in software. The weights of epoch {best}, the best on validation data, were kept.",
    )  # fmt: skip
    report.add_section("Training in software", figures=[figure])


def _calibrating(report: Report, demo: DemoResult) -> None:
    from hwloop_calibration.document.effect import effect_table

    effects = [chip.effect for chip in demo.chips]
    text = "\n\n".join(" ".join(effect.sentences()) for effect in _lower(demo)) or lowered(demo)
    before = "Spikes of every neuron tell what its parameters are, and trim cells bring them to what was asked; weights stay as they are."
    table = effect_table(effects, [Source(chip.calibrated.ran_on, chip.device_id) for chip in demo.chips])
    rest = [effect for effect in effects if not effect.lower]
    folded = Folded("Chip by chip", "\n\n".join(" ".join(effect.sentences()) for effect in rest)) if rest else None
    report.add_section("Calibrating", f"{before}\n\n{text}", [table], folded=folded)


def _costs(demo: DemoResult) -> dict[str, Costed]:
    costs = {"software": Costed(demo.software_cost, _SIMULATOR)}
    for chip in demo.chips:
        costs |= {
            f"{chip.name} {state}": Costed(cost, Source(cost.ran_on, chip.device_id))
            for state, cost in chip.costs.items()
        }
    return costs


def _loop(report: Report, demo: DemoResult) -> None:
    curves: dict[str, list[float]] = {}
    for chip in demo.chips:
        curves[f"validation accuracy, {chip.name}"] = [epoch.validation.accuracy for epoch in chip.loop.history]
        curves[f"training loss, {chip.name}"] = [epoch.loss for epoch in chip.loop.history]
    sources = _sources([chip.tuned for chip in demo.chips])
    figure = training_curves(
        curves, sources,
        caption="Fine-tuning in the loop, measured on the chips, after each epoch. Where a chip began (as is) stands in the table above.",
    )  # fmt: skip
    report.add_section(
        "Fine-tuning in the loop",
        "The step is taken by weights kept as real numbers; the chip holds their codes. The gradient is that of the nominal "
        "model, replayed at the spikes that were measured: nothing about the chip's own parameters is known to it.",
        figures=[figure],
        folded=Folded(
            "Cells written, and health of the gradient",
            tables=[_loop_table(demo, sources), _health_table(demo, sources)],
        ),
    )


def _loop_table(demo: DemoResult, sources: list[Source]) -> Table:
    rows = []
    for chip in demo.chips:
        history = chip.loop.history
        batches = math.ceil(len(demo.task.train) / demo.experiment.finetune.batch_size) * len(history)
        every = batches * sum(layer.codes.size for layer in chip.loop.program.layers)
        writes = sum(epoch.writes for epoch in history)
        shares = (_percent(chip.loop.as_is.accuracy), _percent(chip.loop.best_validation.accuracy))
        place = (chip.name, chip.loop.ran_on)
        rows.append((*place, *shares, chip.loop.best_epoch, len(history), writes, every, f"{chip.seconds:.0f} s"))
    caption = (
        "Validation accuracy before and after, the epoch that was kept, and synapse cells written: only those whose code "
        "changed. The column beside it is what writing all of them at every batch would have taken."
    )
    columns = ("chip", "ran on", "as is", "best", "kept epoch", "epochs", "cells written", "if all were", "time")
    return Table(caption, columns, rows, sources)


def _health_table(demo: DemoResult, sources: list[Source]) -> Table:
    rows = []
    for chip in demo.chips:
        for name, epoch in (("first", chip.loop.history[0]), ("last", chip.loop.history[-1])):
            health = epoch.health
            shares = (_percent(health.below_floor), _percent(health.missing), _percent(health.extra))
            place = (chip.name, chip.loop.ran_on, name)
            rows.append((*place, health.spikes, *shares, epoch.silent, epoch.lost_events))
    floor = 100 * demo.experiment.finetune.floor
    caption = (
        f"Health of the gradient. Floored: spikes at which the model's membrane rises so slowly (below {floor:g} % of the swing "
        "within one tau_mem) that their derivative was limited. Missing and extra: spikes that the model, driven by the measured input, "
        "has and the chip lacks, or the reverse; shares of the measured spikes."
    )
    columns = (
        "chip", "ran on", "epoch", "spikes", "floored", "missing", "extra", "samples without answer", "lost events",
    )  # fmt: skip
    return Table(caption, columns, rows, sources)


def _spike_times(report: Report, demo: DemoResult) -> None:
    rows = []
    for chip in demo.chips:
        for state, comparison in (("as is", chip.before), ("calibrated", chip.trimmed), ("fine-tuned", chip.after)):
            rows += [(chip.name, state, *_error_cells(p, comparison)) for p in comparison.populations]
    columns = ("chip", "network", "layer", "simulated", "measured", "missing", "extra", "bias", "RMSE", "jitter")
    sources = [_SIMULATOR, *_sources([chip.as_is for chip in demo.chips])]
    caption = (
        "Measured against simulated spikes of the software network on the test set; one run. Missing and extra: spikes that "
        "found no partner, as a share of the simulated ones."
    )
    chip = demo.chips[0]
    sets = [
        ErrorSet(f"{_layer_name(k, len(comparison.populations))}, {state}", comparison.populations[k].matching.errors)
        for k in range(len(chip.before.populations))
        for state, comparison in (("as is", chip.before), ("fine-tuned", chip.after))
    ]
    figure = error_histogram(
        sets, [_SIMULATOR, Source.of(chip.before.measured), Source.of(chip.after.measured)],
        caption=f"Spike-time errors on {chip.name}, as is (left) and fine-tuned (right). Mismatch makes them broad; a shift "
        "of the mean is what all neurons have in common. Panels side by side share their axes.", pairs_alike=True,
    )  # fmt: skip
    report.add_section(
        "Spike times before and after",
        "Fine-tuning is asked for right decisions, not for the simulated spike times: hidden spikes need not come back to "
        "where the software network had them, output spikes have to come in the right order.",
        figures=[figure],
        folded=Folded("Layer by layer, on every chip", tables=[Table(caption, columns, rows, sources)]),
    )


def _layer_name(layer: int, layers: int) -> str:
    return "Output" if layer == layers - 1 else f"Hidden layer {layer}" if layers > 2 else "Hidden"


def _error_cells(p: PopulationComparison, comparison: Comparison) -> tuple[str | int, ...]:
    simulated, measured = p.spikes
    share = [_percent(int(n.sum()) / max(1, simulated)) for n in (p.neurons.missing, p.neurons.extra)]
    name = _layer_name(p.layer, len(comparison.populations)).lower()
    return (name, simulated, measured, *share, _time(p.bias), _time(p.rmse), _time(p.jitter))
