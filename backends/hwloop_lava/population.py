"""Layers of both arithmetics in one shape, as the worker and the layout of a batch look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop_fixed_point.graph import Block, FixedGraph, FixedLayer, FloatGraph, FloatLayer, Synapses
from hwloop_fixed_point.registers import WEIGHT_BITS, Array

#: Share of weights that are not zero below which a connection is a Sparse.
SPARSE = 0.25


@dataclass(frozen=True, eq=False)
class Connection:
    """A Dense or DelayDense from population ``source`` (-1: the input), or a Sparse.

    ``weight [n_out, n_source]``, ``delay`` of the same shape or None, further values for Lava.
    """

    source: int
    weight: Array
    delay: Array | None
    values: dict[str, Any]

    @property
    def largest_delay(self) -> int:
        """In ticks."""
        return 0 if self.delay is None else int(self.delay.max())

    @property
    def sparse(self) -> bool:
        """Whether most weights are zero."""
        return bool(np.count_nonzero(self.weight) < SPARSE * self.weight.size)

    @property
    def products(self) -> int:
        """Products that one tick costs: a delayed matrix is multiplied once for each delay."""
        return int(np.count_nonzero(self.weight) if self.sparse else self.weight.size) * (1 + self.largest_delay)


@dataclass(frozen=True, eq=False)
class Population:
    """A LIF, the connections into it, and by name the arrays of its bias and of its state before tick 0."""

    n: int
    connections: tuple[Connection, ...]
    given: dict[str, Array]
    values: dict[str, Any]

    @property
    def forgets(self) -> bool:
        """Whether it stays silent once reset and without input, and can be reset."""
        return self.values["refractory"] == 0 and self.values["vth"] >= 0 and not self.given


def populations_of(graph: FixedGraph | FloatGraph) -> list[Population]:
    """The layers of ``graph`` in this shape."""
    sizes = (*graph.sizes, graph.n_in)  # the last is the input: -1
    layers: tuple[FixedLayer | FloatLayer, ...] = graph.layers
    return [_population(layer, k, graph.sources(k), sizes) for k, layer in enumerate(layers)]


def _population(
    layer: FixedLayer | FloatLayer, index: int, sources: tuple[Block, ...], sizes: tuple[int, ...]
) -> Population:
    connections, first = [], 0
    for block in sources:
        part = _columns(layer, first, block.size)
        connections.append(_widened(part, block, sizes[block.source]))
        first += block.size
    values: dict[str, Any] = {"du": layer.du, "dv": layer.dv, "vth": layer.vth, "refractory": 0}
    given: dict[str, Array | None] = {"start": layer.v_start, "current": layer.u_start}
    own = Block(index, 0, layer.n)
    if isinstance(layer, FixedLayer):
        if layer.recurrent is not None:
            connections.append(_widened(_synapses(layer.recurrent), own, layer.n))
        biased = bool(np.any(layer.bias))
        given |= {"bias": layer.bias_mant if biased else None, "bias_exp": layer.bias_exp if biased else None}
    else:
        if layer.recurrent is not None:
            connections.append(_widened((layer.recurrent, None, _FLOATING), own, layer.n))
        values["refractory"] = layer.refractory
        given["bias"] = None if layer.bias is None or not np.any(layer.bias) else layer.bias
    return Population(
        layer.n, tuple(connections), {name: value for name, value in given.items() if value is not None}, values
    )


#: Weights, delays, and what else Lava takes.
_Part = tuple[Array, "Array | None", dict[str, Any]]
#: Not looked at in floating point.
_FLOATING: dict[str, Any] = {"exponent": 0, "sign": "mixed", "bits": WEIGHT_BITS}


def _columns(layer: FixedLayer | FloatLayer, first: int, size: int) -> _Part:
    if isinstance(layer, FixedLayer):
        return _synapses(layer.synapses.columns(first, size))
    part = slice(first, first + size)
    return layer.weight[:, part], None if layer.delay is None else layer.delay[:, part], _FLOATING


def _synapses(part: Synapses) -> _Part:
    sign = None if part.sign_mode == "auto" else part.sign_mode
    return part.weight, part.delay, {"exponent": part.exponent, "sign": sign, "bits": part.weight_bits}


def _widened(part: _Part, block: Block, n: int) -> Connection:
    """The connection from all ``n`` units of the source, of which those outside of ``block`` have weights of 0."""
    weight, delay, values = part
    if delay is not None and not delay.any():
        delay = None  # Lava refuses a list of delays that is empty
    if block.size == n:
        return Connection(block.source, weight, delay, values)

    def wide(array: Array) -> Array:
        result: Array = np.zeros((len(array), n), array.dtype)
        result[:, block.start : block.start + block.size] = array
        return result

    return Connection(block.source, wide(weight), None if delay is None else wide(delay), values)
