"""Constraint checks: what a target cannot carry is refused with limit, value, layer and the cheapest fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import CompileError
from .capabilities import Capabilities, Range
from .quantise import Array
from .rounding import rounded_down, rounded_up


@dataclass(frozen=True)
class LayerValues:
    """One layer as arrays: ``weight [n_out, n_in]``, parameters ``[n_out]`` (model units, s)."""

    weight: Array
    parameters: dict[str, Array]
    reset: str
    max_spikes: int | None
    delay: Array | None


def dense_name(index: int) -> str:
    """Name of population ``index``'s Dense, counted as Network counts its layers."""
    return f"layer {2 * index} (Dense)"


def lif_name(index: int) -> str:
    """Name of population ``index``'s LIF, counted as Network counts its layers."""
    return f"layer {2 * index + 1} (LIF)"


def check_layer(index: int, layer: LayerValues, limits: Capabilities, layers: Sequence[LayerValues] = ()) -> None:
    """Raise :class:`CompileError` for the first thing in population ``index`` that ``limits`` do not allow.

    ``layers``: all of the network, of which a factor is looked for that brings all times within their ranges.
    """
    _check_weights(dense_name(index), layer.weight, limits)
    _check_features(index, layer, limits)
    for name in limits.uniform:
        _check_uniform(lif_name(index), name, layer.parameters[name])
    for name, allowed in limits.ranges.items():
        _check_range(lif_name(index), name, layer.parameters, allowed, limits, layers)


def _check_weights(where: str, weight: Array, limits: Capabilities) -> None:
    if weight.shape[1] > limits.fan_in:
        raise CompileError(
            limit=f"a fan-in of {limits.fan_in}",
            value=f"{weight.shape[1]} inputs a neuron",
            layer=where,
            fix=f"feed it from at most {limits.fan_in} units (smaller input or layer before)",
        )
    if not np.isfinite(weight).all():
        neuron, source = (int(i) for i in np.argwhere(~np.isfinite(weight))[0])
        raise CompileError(
            limit="finite weights",
            value=f"weight [{neuron}, {source}] = {weight[neuron, source]}",
            layer=where,
            fix="training diverged: go back to the last good checkpoint and lower the learning rate",
        )


def _check_features(index: int, layer: LayerValues, limits: Capabilities) -> None:
    where = lif_name(index)
    if layer.reset not in limits.reset_kinds:
        kinds = " or ".join(map(repr, limits.reset_kinds))
        raise CompileError(f"reset {kinds}", f"reset {layer.reset!r}", where, f"build the layer with reset={kinds}")
    if layer.delay is not None:
        _check_delay(dense_name(index), layer.delay, limits)
    if layer.max_spikes is not None and not limits.spike_cap:
        raise CompileError(
            limit="no cap on a neuron's spikes",
            value=f"max_spikes = {layer.max_spikes}",
            layer=where,
            fix="build the layer with max_spikes=None",
        )


def _check_delay(where: str, delay: Array, limits: Capabilities) -> None:
    longest = float(delay.max())
    if not limits.delays:
        raise CompileError(
            limit="no delays",
            value=f"axonal delays up to {longest:g} s",
            layer=where,
            fix="build Dense without delay, or choose a target that has delays, e.g. 'loihi'",
        )
    if limits.max_delay is None:
        return
    allowed = limits.max_delay * limits.speedup
    # a float32 delay that is meant to be the limit itself must not fail by its rounding
    if longest > allowed * (1 + 1e-6):
        raise CompileError(
            limit=f"delays up to {allowed:g} s in the model ({limits.max_delay:g} s on the device)",
            value=f"a delay of {longest:g} s (input unit {int(delay.argmax())})",
            layer=where,
            fix=f"shorten delays to {rounded_down(allowed, 6):g} s",
        )


def _check_uniform(where: str, name: str, values: Array) -> None:
    if bool((values == values[0]).all()):
        return
    other = int(np.argmax(values != values[0]))
    raise CompileError(
        limit=f"one {name} for all neurons of a layer",
        value=f"{name} = {values[0]:g} of neuron 0 and {values[other]:g} of neuron {other} ({values.min():g}..{values.max():g})",
        layer=where,
        fix=f"build the layer with one {name}, such as the mean {values.mean():g}, and fine-tune on the target",
    )


def _check_range(
    where: str,
    name: str,
    parameters: dict[str, Array],
    allowed: Range,
    limits: Capabilities,
    layers: Sequence[LayerValues],
) -> None:
    speedup = limits.speedup
    values = parameters[name].astype(np.float64)
    if allowed.unit == "device_s":
        scaled, low, high, unit = values / speedup, allowed.low * speedup, allowed.high * speedup, "s"
    else:
        v_reset = parameters["v_reset"].astype(np.float64)
        swing = parameters["v_th"].astype(np.float64) - v_reset
        scaled, low, high, unit = (values - v_reset) / swing, allowed.low, allowed.high, "of v_th - v_reset"
    # a float32 model value that is meant to be the limit itself must not fail by its rounding
    slack = 1e-6 * max(abs(allowed.low), abs(allowed.high))
    bad = (scaled < allowed.low - slack) | (scaled > allowed.high + slack)
    if not bad.any():
        return
    neuron = int(np.argmax(bad))
    shown = values[neuron] if unit == "s" else scaled[neuron]
    nearest = low if shown < low else high
    raise CompileError(
        limit=f"{name} of {low:g}..{high:g} {unit} in the model ({allowed})",
        value=f"{name} = {shown:g} {unit} ({int(bad.sum())} neurons, first: neuron {neuron})",
        layer=where,
        fix=f"move {name} to {nearest:g} {unit}{_factor_in_words(layers, limits) if unit == 's' else ''}",
    )


def _factor_in_words(layers: Sequence[LayerValues], limits: Capabilities) -> str:
    """Advice on a factor of all times that brings them within their ranges; empty where there is none."""
    least, most = 0.0, np.inf
    for layer in layers:
        for name, allowed in limits.ranges.items():
            values = layer.parameters[name].astype(np.float64)
            if allowed.unit == "device_s" and values.max() > 0:
                most = min(most, allowed.high * limits.speedup / float(values.max()))
            if allowed.unit == "device_s" and allowed.low > 0:
                least = max(least, allowed.low * limits.speedup / float(values.min()))
        if layer.delay is not None and limits.max_delay is not None and layer.delay.max() > 0:
            most = min(most, limits.max_delay * limits.speedup / float(layer.delay.max()))
    # float32 times that are meant to be a limit itself must not add a digit; the check allows twice as much
    least, most = least * (1 - 5e-7), most * (1 + 5e-7)
    factor = rounded_up(least, 3) if least > 1 else rounded_down(most, 3) if most < 1 else 1.0
    if not least <= factor <= most or factor == 1.0:
        return ""
    return f", or multiply all times of the model, and of its inputs, by {factor:g}"
