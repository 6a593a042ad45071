"""The specification's spikes with its states: u and v of every neuron after every tick, and how often u wrapped, on which side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hwloop_fixed_point import reference
from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.registers import Array


@dataclass(frozen=True)
class States:
    """``spikes [ticks, neurons]``, ``u`` and ``v`` alike, of all populations in a row; ``wraps [layers, 2]`` above and below."""

    spikes: Array
    u: Array
    v: Array
    wraps: Array


def states(graph: FixedGraph, raster: Array) -> States:
    """Of the input spikes ``raster [ticks, n_in]``."""
    made: list[_Recorded] = []

    def population(*arguments: Any) -> _Recorded:
        made.append(_Recorded(*arguments))
        return made[-1]

    wrapped = reference._wrapped
    wraps: list[tuple[int, int]] = []

    def counted(u: Array) -> Array:
        result = wrapped(u)
        wraps.append((int((result < u).sum()), int((result > u).sum())))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_wrapped", counted)
        spikes = reference._run(graph, raster[None], population)
    u, v = (np.concatenate([getattr(one, name) for one in made], axis=1) for name in ("us", "vs"))
    by_layer = np.array(wraps).reshape(len(raster), len(made), 2).sum(0)
    return States(np.concatenate([layer[0] for layer in spikes], axis=1), u, v, by_layer)


class _Recorded(reference._FixedPopulation):
    """A population of the specification that keeps its states."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.us: list[Array] = []
        self.vs: list[Array] = []

    def step(self, n: int) -> Array:
        spikes = super().step(n)
        self.us.append(self.u[0].copy())
        self.vs.append(self.v[0].copy())
        return spikes
