"""Which cells hold the synapses of a layer: those that exist, in a row of each neuron, and none for those that do not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwloop.mapping import LayerProgram

from .streams import Array


class Cells(NamedTuple):
    """Codes ``[n, cells]`` of the cells of each neuron; ``used [n, cells]`` bool where one holds a synapse, None: all."""

    neurons: Array
    codes: Array
    used: Array | None


def cells_of(layer: LayerProgram) -> Cells:
    """The cells of ``layer``: a neuron's synapses in the order of their columns, in its first cells."""
    if layer.synapses is None or bool(layer.synapses.all()):
        return Cells(layer.neurons, layer.codes, None)
    rows, columns, rank = _places(layer.synapses)
    codes = np.zeros((layer.n_out, layer.fan_in), layer.codes.dtype)
    used = np.zeros(codes.shape, bool)
    codes[rows, rank], used[rows, rank] = layer.codes[rows, columns], True
    return Cells(layer.neurons, codes, used)


def columns_of(values: Array, synapses: Array | None) -> Array:
    """``[*lead, n, n_in]`` from ``values [*lead, n, cells]``, 0 where there is no synapse."""
    if synapses is None or bool(synapses.all()):
        return values
    rows, columns, rank = _places(synapses)
    result = np.zeros((*values.shape[:-1], synapses.shape[1]), values.dtype)
    result[..., rows, columns] = values[..., rows, rank]
    return result


def _places(synapses: Array) -> tuple[Array, Array, Array]:
    """Row, column and number within its row of each synapse, row by row."""
    rows, columns = np.nonzero(synapses)
    first = np.searchsorted(rows, np.arange(len(synapses)))
    return rows, columns, np.arange(len(rows)) - first[rows]
