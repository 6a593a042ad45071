"""The tables and sentences that text and HTML share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from .divergence import INPUT_LAYER, Divergence
from .time_format import format_share, format_time

if TYPE_CHECKING:
    from .comparison import Comparison, PopulationComparison

#: A table: heading, names of the columns, rows.
Rows: TypeAlias = "tuple[str, tuple[str, ...], list[tuple[str, ...]]]"

#: Neurons listed as the worst of a layer, and places where divergences arise.
LISTED = 5


def headline(comparison: Comparison, micro: str = "us") -> list[str]:
    """What happened, in a few sentences."""
    if comparison.identical:
        return [f"All events of {comparison.n_samples} samples are equal to the last digit."]
    decisions = comparison.decisions
    lines = [f"{format_share(len(decisions.flipped), comparison.n_samples)} decisions changed on the device."]
    if decisions.accuracy_simulated is not None and decisions.accuracy_measured is not None:
        lines.append(
            f"Accuracy {100 * decisions.accuracy_simulated:.1f} % in simulation, "
            f"{100 * decisions.accuracy_measured:.1f} % on the device: {len(decisions.broken)} samples broken, "
            f"{len(decisions.repaired)} repaired."
        )
    divergences = comparison.divergences
    lines.append(
        f"{format_share(len(divergences.samples), comparison.n_samples)} samples diverge by more than "
        f"{format_time(divergences.tolerance, micro=micro)}."
    )
    return lines


def error_table(comparison: Comparison, micro: str = "us") -> Rows:
    """Spike-time errors, one row a layer."""
    names = ("layer", "neurons", "simulated", "measured", "missing", "extra", "bias", "RMSE", "jitter", "fixed pattern")
    rows: list[tuple[str, ...]] = []
    for p in comparison.populations:
        row = p.summary()
        times = (format_time(x, micro=micro) for x in (p.bias, p.rmse, p.jitter, p.bias_spread))
        counts = (
            str(row[name]) for name in ("layer", "neurons", "simulated_spikes", "measured_spikes", "missing", "extra")
        )
        rows.append((*counts, *times))
    return "Spike times", names, rows


def distance_table(comparison: Comparison) -> Rows:
    """Distances of spike trains, one row a layer."""
    names = ("layer", "van Rossum", "Victor-Purpura", "ISI", "SPIKE")
    rows: list[tuple[str, ...]] = []
    for p in comparison.populations:
        means = (p.van_rossum.mean(), p.victor_purpura.mean(), p.isi.mean(), p.spike.mean())
        rows.append((str(p.layer), *(f"{x:.3g}" for x in means)))
    return "Distances, mean of all neurons and samples", names, rows


def worst_table(population: PopulationComparison, micro: str = "us") -> Rows:
    """The neurons with most missing and extra spikes, then the largest RMSE; none that is exact."""
    neurons = population.neurons
    rmse = np.where(neurons.matched > 0, neurons.rmse, 0.0)
    unpaired = neurons.missing + neurons.extra
    order = np.lexsort((-rmse, -unpaired))[: min(LISTED, int(((unpaired > 0) | (rmse > 0)).sum()))]
    rows: list[tuple[str, ...]] = []
    for k in order.tolist():
        counts = (str(x[k]) for x in (neurons.matched, neurons.missing, neurons.extra))
        times = (format_time(float(x[k]), micro=micro) for x in (neurons.bias, neurons.rmse, neurons.jitter))
        rows.append((str(k), *counts, *times))
    names = ("neuron", "matched", "missing", "extra", "bias", "RMSE", "jitter")
    return f"Layer {population.layer}: neurons that differ most", names, rows


def flip_table(comparison: Comparison) -> Rows:
    """Changed decisions, counted by from and to."""
    decisions = comparison.decisions
    table = decisions.table("simulated", "measured")
    np.fill_diagonal(table, 0)
    name = [*(str(k) for k in range(decisions.n_classes)), "none"]
    order = [divmod(int(k), len(name)) for k in np.argsort(-table, axis=None, kind="stable")[: 2 * LISTED]]
    rows: list[tuple[str, ...]] = [(name[a], name[b], str(table[a, b])) for a, b in order if table[a, b]]
    return "Changed decisions, most frequent first", ("simulated", "measured", "samples"), rows


def input_table(divergence: Divergence, micro: str = "us") -> Rows:
    """Input events of the diverging neuron, strongest first."""
    names = ("from neuron", "time", "delay", "weight", "contribution")
    rows: list[tuple[str, ...]] = [
        (str(e.neuron), format_time(e.time, 4, micro), format_time(e.delay, micro=micro), f"{e.weight:+.4g}", f"{e.contribution:+.4g}")
        for e in divergence.inputs
    ]  # fmt: skip
    return f"Its input events, {len(rows)} strongest of {divergence.n_inputs}", names, rows


def origin_table(comparison: Comparison) -> Rows:
    """Where first divergences arise."""
    rows: list[tuple[str, ...]] = [
        ("input" if layer == INPUT_LAYER else str(layer), str(neuron), format_share(n, comparison.n_samples))
        for layer, neuron, n in comparison.divergences.origins()[:LISTED]
    ]
    return "Where first divergences arise", ("layer", "neuron", "samples"), rows


def definitions(comparison: Comparison, micro: str = "us") -> str:
    """How the figures are defined, with the settings used."""
    s = comparison.settings
    shift = f"1 for each {format_time(1 / s.q, micro=micro)}" if s.q else "nothing"
    return (
        "Layers and neurons count from 0, in the order of the network. Error = measured minus simulated time: positive "
        f"means the device is late. Spikes are paired in order, at most {format_time(s.window, micro=micro)} apart; the rest "
        "is missing (simulated only) or extra (measured only). Bias is the mean error, jitter the spread around the "
        "bias of each neuron, fixed pattern the spread of the biases across neurons. van Rossum: tau = "
        f"{format_time(s.tau, micro=micro)}, textbook normalisation (one spike against none is 0.707). Victor-Purpura: a "
        f"missing or extra spike costs 1, a shift {shift}. "
        "ISI and SPIKE distance: 0 (equal) to 1."
    )
