"""What the comparison asks of a package of the field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import nir
import numpy as np

#: ``[steps, *shape]`` spike counts, or membranes, of one sample.
Raster: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
#: Runs a package's network from its initial state: input spikes to the counts (membranes) of its output.
Run: TypeAlias = Callable[[Raster], Raster]

#: Length (s) of a step, which is snnTorch's and fixed there: steps become finer as time constants become longer.
DT = 1e-4
#: Time constants and window, in steps of the coarsest run; run ``f`` times as fine they are ``f`` times as many.
TAU_MEM, TAU_SYN, WINDOW = 20, 10, 200
#: How many times as fine.
FINENESS = (1, 2, 4)


@dataclass(frozen=True)
class Written:
    """A network of the package as its own exporter wrote it, and as it runs there."""

    graph: nir.NIRGraph
    run: Run


@dataclass(frozen=True)
class Theirs:
    """A kind of network of the package, by how fine its steps are.

    Attributes
    ----------
    make : ``f`` to the network with time constants of ``f`` times as many steps
    options : what a refusal names, for :meth:`hwloop.Network.from_nir`
    maps : whether the input is a map of units, else a row
    spiking : whether the output spikes, else its membranes are compared
    fault : what the package drops on export, where the file cannot tell; the cell is then about what is left
    """

    make: Callable[[int], Written]
    options: Mapping[str, Any] = field(default_factory=dict)
    maps: bool = False
    spiking: bool = True
    fault: str = ""


class Package(Protocol):
    """A package of the field."""

    name: str
    theirs: Mapping[str, Theirs | str]
    """By the kind of layer; a text says why there is none."""

    def load(self, graph: nir.NIRGraph, steps: int) -> Run:
        """The package's own import of ``graph``, for steps of :data:`DT`; raises what it raises."""


class NoSuchLayer(Exception):
    """The package has no such layer, or its importer does not read it."""
