"""A comparison as plain values, the content of its JSON file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .divergence import Divergence

if TYPE_CHECKING:
    from .comparison import Comparison, PopulationComparison


def document(comparison: Comparison) -> dict[str, Any]:
    """Every figure of ``comparison``; times in s, ``None`` where undefined."""
    first = comparison.divergences.earliest
    return {
        "provenance": comparison.provenance,
        "n_samples": comparison.n_samples,
        "t_stop": comparison.simulated.output.t_stop,
        "identical": comparison.identical,
        "settings": {**asdict(comparison.settings), "van_rossum_normalisation": "textbook"},
        "populations": [_population(p) for p in comparison.populations],
        "decisions": _decisions(comparison),
        "first_divergence": {
            "summary": comparison.divergences.summary(),
            "earliest": None if first is None else _divergence(first),
            "diverging_samples": len(comparison.divergences.samples),
            "origins": [
                {"layer": layer, "neuron": neuron, "samples": n}
                for layer, neuron, n in comparison.divergences.origins()
            ],
            "samples": [_divergence(d) for d in comparison.divergences.samples],
        },
    }


def _population(population: PopulationComparison) -> dict[str, Any]:
    neurons = population.neurons
    return {
        **population.summary(),
        "per_neuron": {
            "bias": _numbers(neurons.bias), "rmse": _numbers(neurons.rmse), "jitter": _numbers(neurons.jitter),
            "matched": neurons.matched.tolist(), "missing": neurons.missing.tolist(), "extra": neurons.extra.tolist(),
            "van_rossum": _numbers(population.van_rossum), "victor_purpura": _numbers(population.victor_purpura),
            "isi_distance": _numbers(population.isi), "spike_distance": _numbers(population.spike),
        },
    }  # fmt: skip


def _decisions(comparison: Comparison) -> dict[str, Any]:
    decisions = comparison.decisions
    return {
        "rule": decisions.rule,
        "accuracy_simulated": decisions.accuracy_simulated,
        "accuracy_measured": decisions.accuracy_measured,
        "undecided_simulated": int((decisions.simulated < 0).sum()),
        "undecided_measured": int((decisions.measured < 0).sum()),
        "flipped": len(decisions.flipped),
        "broken": None if decisions.labels is None else len(decisions.broken),
        "repaired": None if decisions.labels is None else len(decisions.repaired),
        "flips": decisions.flips(),
    }


def _divergence(divergence: Divergence) -> dict[str, Any]:
    plain = asdict(divergence)
    plain["inputs"] = list(plain["inputs"])
    return {**plain, "shift": divergence.shift, "summary": divergence.summary()}


def _numbers(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    return [x if np.isfinite(x) else None for x in values.tolist()]
