"""What every implementation of the event-driven layer takes and returns: arrays, nothing else.

An implementation is a module with four functions of these types: ``forward``, ``backward``, ``sensitivities``
and ``membrane_maximum``. ``reference`` is the specification, ``cpu`` the fast one; a GPU implementation is one
more module.

Inside a kernel the membrane ``u`` is measured from ``v_leak``, so that

    tau_mem u' = -u + i ,   tau_syn i' = -i ,   threshold c = v_th - v_leak ,   reset r = v_reset - v_leak.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

FloatArray: TypeAlias = np.ndarray[Any, np.dtype[Any]]
IntArray: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Events:
    """Input events or output spikes: ``times`` ``[batch, events]`` (s), sorted, padded with inf; ``units``; ``counts``."""

    times: FloatArray
    units: IntArray
    counts: IntArray


@dataclass(frozen=True)
class Layer:
    """One layer of neurons and the weights into it, all arrays of one float dtype.

    Attributes
    ----------
    weight : ``[n_in, n_out]``, C-contiguous (pre-major).
    tau_mem, tau_syn, t_ref, reset : ``[n_out]`` (s, s, s, membrane relative to ``v_leak``).
    threshold : ``[1 or batch, n_out]``, membrane relative to ``v_leak``; a row for each sample where it has several.
    start : ``[n_out]``, membrane at time 0 relative to ``v_leak``: 0, or ``reset`` where ``v_leak >= v_th``.
    subtract : bool
        Reset kind: lower the membrane by ``threshold - reset``; else set it to ``reset``.
    max_spikes : int
        Cap on the spikes of one neuron in one sample; 0 means none.
    memo : dict
        What an implementation derives from the neurons alone. Layers of equal neurons may share it (:meth:`sharing`);
        ``dataclasses.replace`` begins a new one.
    """

    weight: FloatArray
    tau_mem: FloatArray
    tau_syn: FloatArray
    t_ref: FloatArray
    threshold: FloatArray
    reset: FloatArray
    start: FloatArray
    subtract: bool = False
    max_spikes: int = 0
    memo: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def with_weight(self, weight: FloatArray) -> Layer:
        """The layer with ``weight`` in the place of its own: the same neurons, and their memo."""
        layer = object.__new__(Layer)  # a constructor of 11 fields takes as long as the spikes of a sample
        layer.__dict__.update(self.__dict__, weight=weight)
        return layer

    def sharing(self, memo: dict[str, Any]) -> Layer:
        """The layer, with the memo of a layer of equal neurons."""
        object.__setattr__(self, "memo", memo)
        return self


@dataclass(frozen=True)
class Trace:
    """Output of ``forward``: the spikes and what the backward pass needs of them, each ``[batch, spikes]``.

    Attributes
    ----------
    spikes : Events
    current : i(T_k); ``-inf`` where a measured spike falls into the model's refractory time (no derivative exists).
    release_time, release_current : (s) end of the refractory time (``inf``: not before ``t_stop`` or the next
        spike) and the current then; equal to time and current of the spike where ``t_ref = 0``.
    residual : ``u(T_k) - threshold``; zero up to rounding unless the spikes were measured.
    """

    spikes: Events
    current: FloatArray
    release_time: FloatArray
    release_current: FloatArray
    residual: FloatArray


@dataclass(frozen=True)
class Floor:
    """Floor of ``D_k = i(T_k) - threshold`` relative to ``threshold - reset``; ``clip`` or ``skip`` below it."""

    share: float
    skip: bool


@dataclass(frozen=True)
class Sensitivities:
    """Gradients with respect to ``tau_mem, tau_syn, threshold, reset, t_ref``, each ``[n_out]`` float64."""

    tau_mem: FloatArray
    tau_syn: FloatArray
    threshold: FloatArray
    reset: FloatArray
    t_ref: FloatArray


class Engine(Protocol):
    """The functions that an implementation provides."""

    def forward(self, layer: Layer, inputs: Events, t_stop: float, measured: Events | None = None) -> Trace:
        """Simulate; or, where ``measured`` is given, replay the layer with its resets at the measured spikes."""

    def backward(
        self,
        layer: Layer,
        inputs: Events,
        t_stop: float,
        trace: Trace,
        grad: FloatArray,
        floor: Floor,
        want_times: bool,
    ) -> tuple[FloatArray, FloatArray | None]:
        """``dL/dweight [n_in, n_out]`` and ``dL/dt_in [batch, events]`` from ``grad = dL/dT [batch, spikes]``."""

    def sensitivities(
        self, layer: Layer, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor
    ) -> Sensitivities:
        """``dL/d`` neuron parameters from ``grad = dL/dT [batch, spikes]``."""

    def membrane_maximum(
        self, layer: Layer, inputs: Events, t_stop: float, mask: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> tuple[FloatArray, FloatArray]:
        """Largest membrane (relative to ``v_leak``, no reset) and its time, ``[batch, n_out]``; 0 outside ``mask``."""
