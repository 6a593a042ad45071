"""What a program becomes on silicon: weights and neuron parameters as this chip, or several chips, realise them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from hwloop.mapping import LayerProgram
from hwloop.neurons import PARAMETERS

from .analog import Analog
from .cells import columns_of
from .memory import SynapseMemory
from .preset import Preset
from .silicon import Deviations
from .streams import Array

#: Least distance of threshold and reset, of the asked swing: comparators of real chips cannot cross either.
LEAST_SWING = 0.05


@dataclass(frozen=True)
class Loaded:
    """One layer as the silicon realises it: weights ``[n_out, n_in]``, parameters ``[n_out]`` (device s).

    ``start [n_out]``: membranes at time 0, None where they start at the leak potential, or at the reset potential where the
    leak is not below threshold.

    On several chips weights, parameters and the three defects have an axis of chips before those. A parameter that no
    chip moves may do without.
    """

    neurons: Array
    weight: Tensor
    parameters: dict[str, Tensor]
    swing: Tensor
    delay: Tensor | None
    dead: Array
    stuck: Array
    hot: Array
    start: Tensor | None = None


def to_device(preset: Preset) -> float:
    """Device seconds of a model second."""
    return 1.0 / float(preset.limits.speedup.value)


def realise(layer: LayerProgram, silicon: Deviations, analog: Analog, memory: SynapseMemory) -> Loaded:
    """``layer`` with the parameters of the physical neurons and synapses that it was placed on."""
    neurons = layer.neurons
    dead, stuck = silicon.chosen("dead", neurons), silicon.chosen("stuck", neurons)
    parameters, swing = true_parameters(layer, silicon.preset, analog)
    silent = dead | stuck
    if silent.any():
        # without input and leak a membrane rests at its reset potential and never crosses
        parameters["v_leak"] = np.where(silent, parameters["v_reset"], parameters["v_leak"])
    start = _start(layer, silicon.preset, analog, parameters)
    if start is not None:
        start = np.where(silent, parameters["v_reset"], start)
    dtype = np.dtype(layer.dtype)
    tensors = {name: torch.from_numpy(value.astype(dtype)) for name, value in parameters.items()}
    return Loaded(
        neurons=neurons,
        weight=_weight(layer, memory, silent),
        parameters=tensors,
        swing=torch.from_numpy(swing.astype(dtype)),
        delay=None if layer.delay is None else torch.from_numpy(layer.delay * to_device(silicon.preset)),
        dead=dead,
        stuck=stuck,
        hot=silicon.chosen("hot", neurons) & ~silent,
        start=None if start is None else torch.from_numpy(start.astype(dtype)),
    )


def reweighted(before: Loaded, layer: LayerProgram, memory: SynapseMemory) -> Loaded:
    """What :func:`realise` makes of ``layer``, whose neurons are those of ``before``: only its synapses may differ."""
    return replace(before, weight=_weight(layer, memory, before.dead | before.stuck))


def same_neurons(layer: LayerProgram, other: LayerProgram) -> bool:
    """Whether all but the synapses of two layers are the same arrays, as in programs that a loop makes of one another."""
    return (
        (layer.kind, layer.dtype) == (other.kind, other.dtype)
        and layer.neurons is other.neurons
        and layer.parameters is other.parameters
        and (layer.delay is other.delay and layer.bias is other.bias and layer.v_init is other.v_init)
    )


def _weight(layer: LayerProgram, memory: SynapseMemory, silent: Array) -> Tensor:
    """Effective weights ``[*lead, n_out, n_in]``; 0 into ``silent`` neurons.

    The engine stores weights pre-major, ``[n_in, n_out]``: no copy at each run if that is how they lie here.
    """
    weight = columns_of(memory.weight(layer.neurons, layer.fan_in, layer.scale), layer.synapses)
    if layer.gain is not None:
        weight = weight * layer.gain[:, None]
    if silent.any():
        weight = np.where(silent[..., None], 0.0, weight)
    return torch.from_numpy(np.ascontiguousarray(np.swapaxes(weight, -1, -2), dtype=layer.dtype)).transpose(-1, -2)


def _start(layer: LayerProgram, preset: Preset, analog: Analog, true: dict[str, Array]) -> Array | None:
    """Membranes ``[n_out]`` at time 0 where they are not where the leak draws them: set by the same converter as the leak.

    Where the model's start at ``v_leak``, those of the chip start without the bias.
    """
    if not preset.limits.initial_membrane.value or (layer.bias is None and layer.v_init is None):
        return None
    asked = layer.parameters
    rests = asked["v_leak"] < asked["v_th"]
    start = asked["v_leak"] if layer.v_init is None else layer.v_init
    offset = analog.offset("v_leak", layer.neurons)
    if offset is not None:
        start = start + (asked["v_th"].astype(np.float64) - asked["v_reset"].astype(np.float64)) * offset
    return start if layer.v_init is not None else np.where(rests, start, true["v_reset"])


def true_parameters(layer: LayerProgram, preset: Preset, analog: Analog) -> tuple[dict[str, Array], Array]:
    """The neurons' true parameters (device s), and the asked swing that threshold noise is measured in."""
    asked, seconds = layer.parameters, to_device(preset)
    swing = asked["v_th"].astype(np.float64) - asked["v_reset"].astype(np.float64)
    if layer.bias is not None and layer.kind != "IF":  # which has no leak: a bias is a ramp of its membrane
        asked = {**asked, "v_leak": asked["v_leak"] + layer.bias}
    values: dict[str, Array] = {}
    for name in PARAMETERS:
        if name.startswith("v_"):
            offset = analog.offset(name, layer.neurons)
            values[name] = asked[name] if offset is None else asked[name] + swing * offset
        else:
            factor = analog.factor(name, layer.neurons)
            in_device = asked[name] if seconds == 1.0 else asked[name] * seconds
            values[name] = in_device if factor is None else in_device * factor
    least = float(preset.limits.refractory_min.value)
    if least > 0:
        factor = analog.factor("t_ref", layer.neurons)
        values["t_ref"] = np.maximum(values["t_ref"], least if factor is None else least * factor)
    if any(analog.offset(name, layer.neurons) is not None for name in ("v_th", "v_reset")):
        values["v_th"] = np.maximum(values["v_th"], values["v_reset"] + LEAST_SWING * swing)
    return values, swing
