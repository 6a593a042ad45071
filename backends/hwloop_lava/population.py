"""Layers of both arithmetics in one shape, as the worker and the layout of a batch look at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop_fixed_point.graph import FixedLayer, FloatLayer, Synapses
from hwloop_fixed_point.registers import WEIGHT_BITS, Array


@dataclass(frozen=True, eq=False)
class Connection:
    """A Dense or DelayDense: ``weight [n_out, n_in]``, ``delay`` of the same shape or None, further values for Lava."""

    weight: Array
    delay: Array | None
    values: dict[str, Any]

    @property
    def largest_delay(self) -> int:
        """In ticks."""
        return 0 if self.delay is None else int(self.delay.max())

    @property
    def products(self) -> int:
        """Products that one tick costs: a delayed matrix is multiplied once for each delay."""
        return self.weight.size * (1 + self.largest_delay)


@dataclass(frozen=True, eq=False)
class Population:
    """A LIF, the connection that feeds it and, as the second one, that from itself."""

    n: int
    connections: tuple[Connection, ...]
    bias: dict[str, Array]
    values: dict[str, Any]

    @property
    def forward(self) -> Connection:
        """The connection from the layer before."""
        return self.connections[0]

    @property
    def forgets(self) -> bool:
        """Whether it stays silent once reset and without input, and can be reset."""
        still = self.values["refractory"] == 0 and self.values["vth"] >= 0
        return still and len(self.connections) == 1 and not self.bias


def population_of(layer: FixedLayer | FloatLayer) -> Population:
    """``layer`` in this shape."""
    return _fixed(layer) if isinstance(layer, FixedLayer) else _float(layer)


def _fixed(layer: FixedLayer) -> Population:
    both = [_synapses(part) for part in (layer.synapses, layer.recurrent) if part is not None]
    bias = {"bias": layer.bias_mant, "bias_exp": layer.bias_exp}
    given = {name: value for name, value in bias.items() if value is not None and np.any(layer.bias)}
    return Population(layer.n, tuple(both), given, {**_decays(layer), "refractory": 0})


def _synapses(part: Synapses) -> Connection:
    sign = None if part.sign_mode == "auto" else part.sign_mode
    return Connection(part.weight, part.delay, {"exponent": part.exponent, "sign": sign, "bits": part.weight_bits})


def _float(layer: FloatLayer) -> Population:
    # not looked at in floating point
    values = {"exponent": 0, "sign": "mixed", "bits": WEIGHT_BITS}
    both = [Connection(layer.weight, layer.delay, values)]
    if layer.recurrent is not None:
        both.append(Connection(layer.recurrent, None, values))
    bias = {} if layer.bias is None or not np.any(layer.bias) else {"bias": layer.bias}
    return Population(layer.n, tuple(both), bias, {**_decays(layer), "refractory": layer.refractory})


def _decays(layer: FixedLayer | FloatLayer) -> dict[str, Any]:
    return {"du": layer.du, "dv": layer.dv, "vth": layer.vth}
