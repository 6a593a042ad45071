"""The specification of a convolution: the dense layer that it abbreviates, through :mod:`hwloop.simulate.reference.layer`."""

from __future__ import annotations

import numpy as np

from ..contract import Events, FloatArray, Floor, Layer, Sensitivities, Trace
from ..reference import layer as reference
from ..reference.neuron import RESET, Neuron, Sensitivity
from .engine import Convolution


def unrolled(layer: Convolution) -> Layer:
    """The dense layer with weights ``[n_in, n_out]``: every weight in each of its places."""
    geometry = layer.geometry
    weight = np.zeros((geometry.n_in, geometry.n_out), layer.weight.dtype)
    units, neurons, places = geometry.synapses
    weight[units, neurons] = layer.weight.ravel()[places]
    return layer.neurons.with_weight(weight)


def gathered(layer: Convolution, d_weight: FloatArray) -> FloatArray:
    """The gradient of the shared weights from that of the dense ones, ``[n_in, n_out]``."""
    units, neurons, places = layer.geometry.synapses
    total = np.bincount(places, d_weight[units, neurons].astype(np.float64), layer.weight.size)
    return total.reshape(layer.weight.shape).astype(layer.weight.dtype)


def forward(layer: Convolution, inputs: Events, t_stop: float, measured: Events | None = None) -> Trace:
    """As :func:`.engine.forward`."""
    return reference.forward(unrolled(layer), inputs, t_stop, measured)


def backward(
    layer: Convolution, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor, want_times: bool
) -> tuple[FloatArray, FloatArray | None]:
    """As :func:`.engine.backward`."""
    d_weight, d_times = reference.backward(unrolled(layer), inputs, t_stop, trace, grad, floor, want_times)
    return gathered(layer, d_weight), d_times


def sensitivities(
    layer: Convolution, inputs: Events, t_stop: float, trace: Trace, grad: FloatArray, floor: Floor
) -> tuple[Sensitivities, FloatArray]:
    """As :func:`.engine.sensitivities`."""
    dense, total = unrolled(layer), np.zeros((6, layer.geometry.n_out))
    end, spikes = float(dense.weight.dtype.type(t_stop)), trace.spikes
    for b, count in enumerate(spikes.counts):
        for unit in np.unique(spikes.units[b, :count]):
            places = np.flatnonzero(spikes.units[b, :count] == unit)
            n = int(np.searchsorted(inputs.times[b, : inputs.counts[b]], end))
            # the start is a weight that acts on the membrane alone, at time 0: a row of its own behind the events
            membrane = Sensitivity(_neuron(dense, b, unit), n + 1, floor)
            membrane.S[RESET], membrane.S[n] = 0.0, 1.0
            marks = [(float(inputs.times[b, e]), 1, e) for e in range(n)]
            marks += [(float(spikes.times[b, k]), 0, k) for k in places]
            for t, arrives, place in sorted(marks):
                membrane.advance(t)
                if arrives:
                    membrane.arrive(place, float(dense.weight[inputs.units[b, place], unit]))
                else:
                    membrane.fire()
            membrane.advance(end)
            row = grad[b, places].astype(np.float64) @ np.stack(membrane.rows)
            total[:, unit] += (*row[-5:], row[n])
    return Sensitivities(*total[:5]), total[5]


def _neuron(layer: Layer, b: int, unit: int) -> Neuron:
    threshold = layer.threshold[b if len(layer.threshold) > 1 else 0, unit]
    tau_mem, tau_syn, t_ref = float(layer.tau_mem[unit]), float(layer.tau_syn[unit]), float(layer.t_ref[unit])
    return Neuron(
        tau_mem, tau_syn, t_ref, float(threshold), float(layer.reset[unit]), float(layer.start[unit]), layer.subtract
    )
