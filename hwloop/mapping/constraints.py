"""Constraint checks: what a target cannot carry is refused with limit, value, layer and the cheapest fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import CompileError
from .capabilities import Capabilities, Range
from .quantise import Array
from .rounding import rounded_down, rounded_up
from .run_order import looped


@dataclass(frozen=True)
class Block:
    """Columns of a layer's weights: units ``start .. start + size`` of population ``source``, of the inputs where it is -1."""

    source: int
    start: int
    size: int


@dataclass(frozen=True)
class LayerValues:
    """One population as arrays, with all that drives it as one matrix.

    Attributes
    ----------
    weight : ``[n_out, n_in]``, a block of columns for each projection
    parameters : ``[n_out]`` each (model units, s)
    delay : ``[n_in]`` (axonal) or ``[n_out, n_in]`` (of each synapse) (s), or None
    blocks : what the columns are; empty in a chain: all units of the population before, of the inputs in the first
    synapses : ``[n_out, n_in]`` bool, where a synapse is; None: everywhere
    bias : ``[n_out]``, constant current (membrane units), or None; ``filtered``: it passes the synapse
    v_init : ``[n_out]``, membrane at time 0, or None: ``v_leak``
    kind : class of the population
    name : of the population in a graph; empty in a chain
    index : of the population
    """

    weight: Array
    parameters: dict[str, Array]
    reset: str
    max_spikes: int | None
    delay: Array | None
    blocks: tuple[Block, ...] = ()
    synapses: Array | None = None
    bias: Array | None = None
    filtered: bool = False
    v_init: Array | None = None
    kind: str = "LIF"
    name: str = ""
    index: int = 0

    @property
    def weights_at(self) -> str:
        """How errors call what leads into it."""
        return f"projections into {self.name!r}" if self.name else dense_name(self.index)

    @property
    def neurons_at(self) -> str:
        """How errors call it."""
        return f"population {self.name!r} ({self.kind})" if self.name else lif_name(self.index)

    @property
    def fan_in(self) -> int:
        """Synapses of the neuron that has most."""
        return int(self.weight.shape[1] if self.synapses is None else self.synapses.sum(1).max(initial=0))


def dense_name(index: int) -> str:
    """Name of population ``index``'s Dense, counted as a chain counts its layers."""
    return f"layer {2 * index} (Dense)"


def lif_name(index: int) -> str:
    """Name of population ``index``'s LIF, counted as a chain counts its layers."""
    return f"layer {2 * index + 1} (LIF)"


def check_layer(
    index: int,
    layer: LayerValues,
    limits: Capabilities,
    layers: Sequence[LayerValues] = (),
    known: dict[str, Array] | None = None,
) -> None:
    """Raise :class:`CompileError` for the first thing in population ``index`` that ``limits`` do not allow.

    ``layers``: all of the network, of which a factor is looked for that brings all times within their ranges. ``known``:
    parameters that were checked before; a layer that holds this very dictionary, and no bias, is not checked for them again.
    """
    _check_weights(layer, limits)
    _check_features(layer, limits)
    _check_graph(index, layer, limits, layers)
    if layer.parameters is known and layer.bias is None:
        return
    for name in limits.uniform:
        _check_uniform(layer.neurons_at, name, layer.parameters[name])
    for name, allowed in limits.ranges.items():
        _check_range(
            layer.neurons_at, name, with_bias(layer) if name == "v_leak" else layer.parameters, allowed, limits, layers
        )


def with_bias(layer: LayerValues) -> dict[str, Array]:
    """The parameters, with the bias as part of the leak potential: what a target without bias currents is set to."""
    if layer.bias is None:
        return layer.parameters
    return {**layer.parameters, "v_leak": layer.parameters["v_leak"] + layer.bias}


def _check_graph(index: int, layer: LayerValues, limits: Capabilities, layers: Sequence[LayerValues]) -> None:
    """What only a graph has."""
    if layer.kind not in limits.populations:
        known = ", ".join(limits.populations)
        raise CompileError(
            f"populations of {known}",
            layer.kind,
            layer.neurons_at,
            f"build it of {known}, or choose a target that has {layer.kind}",
        )
    if (
        layer.blocks
        and [block.source for block in layer.blocks] != [index - 1]
        and not (limits.graphs or limits.recurrent)
    ):
        raise CompileError(
            limit="chains, in which every population drives the next",
            value=f"{len(layer.blocks)} projections, from {', '.join(_source(block) for block in layer.blocks)}",
            layer=layer.weights_at,
            fix="build the network as a chain, or choose a target that carries graphs, e.g. 'emulator'",
        )
    if layer.blocks and not limits.recurrent and _in_a_loop(index, layer, layers):
        raise CompileError(
            limit="no recurrent edges",
            value="a projection from a population of the same loop",
            layer=layer.weights_at,
            fix="build the network without loops, or choose a target that has them, e.g. 'loihi'",
        )
    if layer.delay is not None and layer.delay.ndim == 2 and limits.delays and not limits.synaptic_delays:
        raise CompileError(
            limit="axonal delays alone, one of each source",
            value="delays of each synapse, or of each neuron",
            layer=layer.weights_at,
            fix="give Dense a delay of shape (n_in,)",
        )
    for value, has, what in (
        (layer.bias, limits.bias, "bias"),
        (layer.v_init, limits.initial_membrane, "v_init"),
    ):
        if value is not None and not has:
            raise CompileError(
                f"no {what}",
                f"{what} of up to {np.abs(value).max():g}",
                layer.neurons_at,
                f"build the layers without {what}",
            )


def _in_a_loop(index: int, layer: LayerValues, layers: Sequence[LayerValues]) -> bool:
    return any(block.source == index for block in layer.blocks) or index in looped(layers)


def _source(block: Block) -> str:
    return "the input" if block.source < 0 else f"population {block.source}"


def _check_weights(layer: LayerValues, limits: Capabilities) -> None:
    weight, where = layer.weight, layer.weights_at
    if layer.fan_in > limits.fan_in:
        raise CompileError(
            limit=f"a fan-in of {limits.fan_in}",
            value=f"{layer.fan_in} inputs a neuron",
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


def _check_features(layer: LayerValues, limits: Capabilities) -> None:
    where = layer.neurons_at
    if layer.reset not in limits.reset_kinds:
        kinds = " or ".join(map(repr, limits.reset_kinds))
        raise CompileError(f"reset {kinds}", f"reset {layer.reset!r}", where, f"build the layer with reset={kinds}")
    if layer.delay is not None:
        _check_delay(layer.weights_at, layer.delay, limits)
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
            value=f"a delay of {longest:g} s (input unit {int(np.unravel_index(delay.argmax(), delay.shape)[-1])})",
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
