"""A ring of populations as the error spikes of SPIDE see it: which cells a spike of every unit adds to, and how much.

A *cell* collects what units receive: one cell a unit, or one for a pooling window, whose units all receive the same. Factors
(``Scale``) are part of the weights; where the units of a window have several, each unit has a cell of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...network import Dense
from ..steps.stages import Stage
from ..steps.synapse_lists import backward_synapses, synapses

Array = NDArray[Any]


class Ring(NamedTuple):
    """Units of all populations in one row, first population to last; cells likewise. The kernel takes it as it is.

    Attributes
    ----------
    populations : ``[G, 5]`` int64
        First unit, end of units, first cell, end of cells, and the cell from which on a unit of this population reaches cells in a
        row; -1 where ``targets`` lists them.
    place : ``[units]`` int32, the cell that a unit reads
    starts : ``[units + 1]`` int64
        Unit j has ``weights[starts[j]:starts[j + 1]]``, and the same part of ``targets``.
    targets : ``[synapses]`` int32
    weights : ``[synapses]`` in the dtype of the network, over R, and over the area of pooling windows
    """

    populations: Array
    place: Array
    starts: Array
    targets: Array
    weights: Array

    @classmethod
    def of(cls, stages: Sequence[Stage], feedback: Tensor | None, quantum: float) -> Ring:
        """The ring of hidden ``stages`` with ``feedback [n_1, n_G]`` from the last to the first, or without."""
        units = np.cumsum([0, *(stage.n_out for stage in stages)])
        places = [_cells(stage)[0].numpy() for stage in stages[1:]] + [np.arange(stages[-1].n_out)]
        cells = np.cumsum([0, *(place.max() + 1 for place in places)])
        links = [_feedback_link(feedback, stages[0].n_out, cells[-2], quantum)]
        links += [_link(stage, cells[k], quantum) for k, stage in enumerate(stages[1:])]
        edges = np.cumsum([0, *(len(link.weights) for link in links)])
        rows = [link.row for link in links]
        return cls(
            populations=np.stack([units[:-1], units[1:], cells[:-1], cells[1:], rows], axis=1).astype(np.int64),
            place=np.concatenate([p + c for p, c in zip(places, cells[:-1], strict=True)]).astype(np.int32),
            starts=np.concatenate([*(lk.starts[:-1] + e for lk, e in zip(links, edges[:-1], strict=True)), edges[-1:]]),
            targets=np.concatenate([link.targets for link in links]),
            weights=np.concatenate([link.weights for link in links]),
        )


@dataclass(frozen=True)
class _Link:
    """What the units of one population reach."""

    starts: Array
    targets: Array
    weights: Array
    row: int


def _feedback_link(feedback: Tensor | None, n: int, row: int, quantum: float) -> _Link:
    if feedback is None:
        return _Link(np.zeros(n + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), row)
    return _rows(feedback.detach() / quantum, row)


def _cells(stage: Stage) -> tuple[Tensor, Tensor | float | None]:
    """Cell ``[n_in]`` of every unit that drives ``stage``, and what of its weights a cell receives: one share, or one a cell.

    None in its place: every unit is a cell of its own, since the units of a window receive unlike shares.
    """
    place, share = stage.places
    gain = stage.gain
    if gain is None:
        return place, share
    of_cell = gain.new_empty(int(place.max()) + 1)
    of_cell[place] = gain
    if torch.equal(of_cell[place], gain):
        return place, of_cell * share
    return torch.arange(stage.n_in), None


def _link(stage: Stage, row: int, quantum: float) -> _Link:
    """From the units that ``stage`` drives back to the cells of the units that drive it; ``row``: their first one."""
    conv, share, after = stage.connection, _cells(stage)[1], stage.gain_after
    if share is None:
        listed = synapses(stage).transposed(stage.n_out)
        weights = (listed.weights(stage) / quantum).astype(conv.weight.detach().numpy().dtype)
        return _Link(listed.starts, (listed.targets + row).astype(np.int32), weights, -1)
    scale = share / quantum
    if isinstance(conv, Dense):
        weight = conv.weight.detach() * scale
        return _rows(weight if after is None else weight * after[:, None], row)
    starts, cells, parameters = backward_synapses(conv, stage.pooled_shape)
    if isinstance(scale, Tensor):
        weights = conv.weight.detach().reshape(-1).numpy()[parameters] * scale.numpy()[cells]
    else:
        weights = (conv.weight.detach() * scale).reshape(-1).numpy()[parameters]
    if after is not None:
        weights = weights * np.repeat(after.numpy(), np.diff(starts))
    return _Link(starts, cells + np.int32(row), weights, -1)


def _rows(weight: Tensor, row: int) -> _Link:
    """Every unit reaches all cells from ``row`` on: ``weight [units, cells]``."""
    n, width = weight.shape
    starts = width * np.arange(n + 1, dtype=np.int64)
    return _Link(starts, np.zeros(math.prod(weight.shape), np.int32), weight.contiguous().numpy().reshape(-1), row)
