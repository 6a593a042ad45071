"""The model that is fitted: spike times of every neuron under every stimulus, and their derivatives.

From spikes alone a neuron is known up to the unit and the zero of its membrane: v_th, v_leak, v_reset and weights
may all be scaled, and the potentials shifted, without any spike moving. The membrane is therefore measured in swings,

    u = (membrane - v_reset) / (v_th - v_reset),    leak = (v_leak - v_reset) / (v_th - v_reset),

and a neuron's coordinates are ``ln tau_mem, ln tau_syn, leak, t_ref, latency`` and, for each synapse column that was
driven, ``ln w`` with ``w = weight / (v_th - v_reset)``. With the simulator's derivatives with respect to threshold c and
reset r relative to the leak, ``dT/dleak = -dT/dc - dT/dr`` and, since scaling w, c and r together moves no spike,
``dT/dln w = -(c dT/dc + r dT/dr)``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwloop.simulate import cpu
from hwloop.simulate.contract import Events, Floor, Layer

from .kernels import tabulate, tabulate_rows
from .stimuli import Stimuli

Array: TypeAlias = NDArray[Any]

#: Coordinates shared by all synapses of a neuron; weights come after them.
SHARED = ("tau_mem", "tau_syn", "leak", "t_ref", "latency")
TAU_MEM, TAU_SYN, LEAK, T_REF, LATENCY = range(5)
#: Column of a spike's derivatives that belongs to its own synapse's ``ln w``.
OWN = len(SHARED)
#: Spikes of a neuron and sample that are looked at, seen and in the model: one more, since it may have one too many.
KEEP = 4
MODEL_KEEP = KEEP + 1
#: Derivatives of the model are exact; only spikes that graze the threshold to this share of the swing have none.
FLOOR = Floor(1e-9, True)


@dataclass(frozen=True, eq=False)
class Neurons:
    """Parameters of ``n`` neurons in swing units.

    Attributes
    ----------
    tau_mem, tau_syn, t_ref, latency : ``[n]`` (model s)
    leak : ``[n]`` (swing)
    weight : ``[n, columns]`` (swing a pulse); 0: a synapse without effect.
    """

    tau_mem: Array
    tau_syn: Array
    leak: Array
    t_ref: Array
    latency: Array
    weight: Array

    def __len__(self) -> int:
        return len(self.tau_mem)

    def __getitem__(self, index: Any) -> Neurons:
        """Neurons ``index``."""
        return Neurons(*(getattr(self, name)[index] for name in (*SHARED, "weight")))

    def put(self, index: Any, other: Neurons) -> Neurons:
        """The same with neurons ``index`` replaced by ``other``."""
        changed = {}
        for name in (*SHARED, "weight"):
            changed[name] = getattr(self, name).copy()
            changed[name][index] = getattr(other, name)
        return Neurons(**changed)

    def moved(self, step: Array) -> Neurons:
        """Neurons a ``step [n, 5 + columns]`` in their coordinates away; t_ref stays >= 0."""
        return Neurons(
            self.tau_mem * np.exp(step[:, TAU_MEM]),
            self.tau_syn * np.exp(step[:, TAU_SYN]),
            self.leak + step[:, LEAK],
            np.maximum(self.t_ref + step[:, T_REF], 0.0),
            self.latency + step[:, LATENCY],
            self.weight * np.exp(step[:, OWN:]),
        )

    def with_weight(self, weight: Array) -> Neurons:
        """The same with other weights ``[n, columns]``."""
        return replace(self, weight=weight)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Spikes ``times [samples, n, MODEL_KEEP]`` (s, NaN: none), ``counts [samples, n]`` and, where asked for, derivatives.

    ``rows [samples, n, MODEL_KEEP, 6]``: with respect to :data:`SHARED` and the own ``ln w``; ``threshold``: to the threshold
    (s per swing), which is how noise of the threshold shows in the times.
    """

    times: Array
    counts: Array
    rows: Array
    threshold: Array


def as_layer(neurons: Neurons, threshold: float = 1.0) -> Layer:
    """The simulator's layer of ``neurons``; ``threshold`` (swing) moves all thresholds together."""
    c, r = threshold - neurons.leak, -neurons.leak
    return Layer(
        np.ascontiguousarray(neurons.weight.T), np.ascontiguousarray(neurons.tau_mem),
        np.ascontiguousarray(neurons.tau_syn), np.ascontiguousarray(neurons.t_ref), c[None], r,
        np.where(c <= 0, r, 0.0),
    )  # fmt: skip


def predict(
    neurons: Neurons, stimuli: Stimuli, *, keep: int = MODEL_KEEP, threshold: float = 1.0, derivatives: bool = True
) -> Prediction:
    """Spikes of ``neurons`` under ``stimuli``, each neuron by itself, as a read-out stamps them (latency added)."""
    return predict_events(neurons, stimuli.events, stimuli.t_stop, keep, threshold, derivatives)


def predict_events(
    neurons: Neurons, events: Events, t_stop: float, keep: int, threshold: float, derivatives: bool
) -> Prediction:
    """:func:`predict` for input events of the kernels' own type."""
    layer = as_layer(neurons, threshold)
    trace = cpu.forward(layer, events, t_stop)
    samples, n = len(events.counts), len(neurons)
    spikes = trace.spikes
    times, counts = np.full((samples, n, keep), np.nan), np.zeros((samples, n), np.int64)
    tabulate(spikes.times, spikes.units, spikes.counts, times, counts)
    times += neurons.latency[:, None]
    if not derivatives:
        return Prediction(times, counts, np.empty(0), np.empty(0))
    raw = cpu.jacobian(layer, events, t_stop, trace, FLOOR)
    table, seen = np.zeros((samples, n, keep, 5)), np.zeros((samples, n), np.int64)
    tabulate_rows(raw, spikes.units, spikes.counts, seen, table)
    c, r = layer.threshold[0][:, None], layer.reset[:, None]
    by_c, by_r = table[..., 2], table[..., 3]
    rows = np.empty((samples, n, keep, OWN + 1))
    rows[..., TAU_MEM] = table[..., 0] * neurons.tau_mem[:, None]
    rows[..., TAU_SYN] = table[..., 1] * neurons.tau_syn[:, None]
    rows[..., LEAK] = -by_c - by_r
    rows[..., T_REF] = table[..., 4]
    rows[..., LATENCY] = 1.0
    rows[..., OWN] = -(c * by_c + r * by_r)
    rows[np.isnan(times)] = 0.0
    return Prediction(times, counts, rows, by_c)
