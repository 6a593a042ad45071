"""The neurons' deviations as they are now: what the silicon has, what trim cells add, what drift does to both."""

from __future__ import annotations

import numpy as np

from .silicon import Silicon
from .streams import Array
from .trimming import TrimCells


class Analog:
    """Present factors and offsets by physical neuron; ``version`` counts their changes."""

    def __init__(self, silicon: Silicon, trims: TrimCells) -> None:
        self._silicon = silicon
        self._trims = trims
        self.version = 0

    def factor(self, name: str, neurons: Array) -> Array | None:
        """Factors ``[n]`` on parameter ``name``; None where nothing moves it."""
        own, moved = self._silicon.factor(name, neurons), self._moved(name, neurons)
        if moved is None:
            return own
        return np.exp(moved) if own is None else own * np.exp(moved)

    def offset(self, name: str, neurons: Array) -> Array | None:
        """Offsets ``[n]`` (swing) of potential ``name``; None where nothing moves it."""
        own, moved = self._silicon.offset(name, neurons), self._moved(name, neurons)
        if moved is None:
            return own
        return moved if own is None else own + moved

    def _moved(self, name: str, neurons: Array) -> Array | None:
        return self._trims.shift(name, neurons)
