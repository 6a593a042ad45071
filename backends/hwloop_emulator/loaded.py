"""What a program becomes on silicon: weights and neuron parameters as this chip, or several chips, realise them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwloop.mapping import LayerProgram
from hwloop.neurons import PARAMETERS

from .analog import Analog
from .memory import SynapseMemory
from .preset import Preset
from .silicon import Deviations
from .streams import Array

#: Least distance of threshold and reset, of the asked swing: comparators of real chips cannot cross either.
LEAST_SWING = 0.05


@dataclass(frozen=True)
class Loaded:
    """One layer as the silicon realises it: weights ``[n_out, n_in]``, parameters ``[n_out]`` (device s).

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


def to_device(preset: Preset) -> float:
    """Device seconds of a model second."""
    return 1.0 / float(preset.limits.speedup.value)


def realise(layer: LayerProgram, silicon: Deviations, analog: Analog, memory: SynapseMemory) -> Loaded:
    """``layer`` with the parameters of the physical neurons and synapses that it was placed on."""
    neurons = layer.neurons
    dead, stuck = silicon.chosen("dead", neurons), silicon.chosen("stuck", neurons)
    weight = memory.weight(neurons, layer.n_in, layer.scale)
    if layer.gain is not None:
        weight = weight * layer.gain[:, None]
    parameters, swing = true_parameters(layer, silicon.preset, analog)
    silent = dead | stuck
    if silent.any():
        # without input and leak a membrane rests at its reset potential and never crosses
        weight = np.where(silent[..., None], 0.0, weight)
        parameters["v_leak"] = np.where(silent, parameters["v_reset"], parameters["v_leak"])
    dtype = np.dtype(layer.dtype)
    # the engine stores weights pre-major, [n_in, n_out]: no copy at each run if that is how they lie here
    columns = torch.from_numpy(np.ascontiguousarray(np.swapaxes(weight, -1, -2), dtype=dtype))
    tensors = {name: torch.from_numpy(value.astype(dtype)) for name, value in parameters.items()}
    return Loaded(
        neurons=neurons,
        weight=columns.transpose(-1, -2),
        parameters=tensors,
        swing=torch.from_numpy(swing.astype(dtype)),
        delay=None if layer.delay is None else torch.from_numpy(layer.delay * to_device(silicon.preset)),
        dead=dead,
        stuck=stuck,
        hot=silicon.chosen("hot", neurons) & ~silent,
    )


def true_parameters(layer: LayerProgram, preset: Preset, analog: Analog) -> tuple[dict[str, Array], Array]:
    """The neurons' true parameters (device s), and the asked swing that threshold noise is measured in."""
    asked, seconds = layer.parameters, to_device(preset)
    swing = asked["v_th"].astype(np.float64) - asked["v_reset"].astype(np.float64)
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
