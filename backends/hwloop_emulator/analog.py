"""The neurons' deviations as they are now: what the silicon has, what trim cells add, what drift does to both."""

from __future__ import annotations

from typing import Any

import numpy as np

from .drift import Drift
from .silicon import Deviations
from .streams import Array
from .trimming import TrimCells


class Analog:
    """Present factors and offsets by physical neuron, at ``clock`` (device s) and ``temperature`` (K above reference)."""

    def __init__(self, silicon: Deviations, trims: TrimCells, clock: float) -> None:
        self._silicon = silicon
        self._trims = trims
        self._drift = Drift(silicon)
        self.clock = clock
        self.temperature = 0.0

    @property
    def state(self) -> tuple[Any, ...]:
        """Equal states have equal deviations."""
        return (self._trims.writes, *self._drift.moment(self.clock, self.temperature))

    def factor(self, name: str, neurons: Array) -> Array | None:
        """Factors ``[*lead, n]`` on parameter ``name``; None where nothing moves it."""
        own, moved = self._silicon.factor(name, neurons), self._moved(name, neurons)
        if moved is None:
            return own
        return np.exp(moved) if own is None else own * np.exp(moved)

    def offset(self, name: str, neurons: Array) -> Array | None:
        """Offsets ``[*lead, n]`` (swing) of potential ``name``; None where nothing moves it."""
        own, moved = self._silicon.offset(name, neurons), self._moved(name, neurons)
        if moved is None:
            return own
        return moved if own is None else own + moved

    def _moved(self, name: str, neurons: Array) -> Array | None:
        """Sum of what trim cells and drift do."""
        trimmed = self._trims.shift(name, neurons)
        drifted = self._drift.shift(name, neurons, self.clock, self.temperature)
        if trimmed is None or drifted is None:
            return drifted if trimmed is None else trimmed
        return np.asarray(trimmed + drifted)
