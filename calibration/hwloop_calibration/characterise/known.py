"""What a calibration knows of its neurons, in the units of the fits."""

from __future__ import annotations

import numpy as np

from ..document.calibration import Calibration
from ..twin import Deviations
from .bench import Bench
from .model import Array, Neurons


def neurons_of(calibration: Calibration, bench: Bench) -> Neurons:
    """The bench's neurons in swing units, weights of its columns; masked ones as the data sheet has them."""
    nominal = bench.nominal()
    rows = np.searchsorted(calibration.neurons, bench.targets.neurons)

    def value(name: str) -> Array:
        return calibration.value(name)[rows]

    def known(values: Array, otherwise: Array) -> Array:
        return np.where(np.isfinite(values), values, otherwise)

    swing = value("v_th") - value("v_reset")
    leak = (value("v_leak") - value("v_reset")) / swing
    own = known(bench.targets.swing / swing, np.ones(len(nominal)))
    factors = Deviations.of(calibration).synapses(rows, bench.columns) * own[:, None]
    return Neurons(
        known(value("tau_mem"), nominal.tau_mem), known(value("tau_syn"), nominal.tau_syn), known(leak, nominal.leak),
        known(value("t_ref"), nominal.t_ref), known(value("latency"), nominal.latency), bench.asked_weight * factors,
    )  # fmt: skip


__all__ = ["neurons_of"]
