"""The trim cells of a chip: codes in, shifts of the neurons' parameters out, as this chip's converters realise them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hwloop.device.trim import TrimRange, known_parameter

from .silicon import Deviations
from .streams import Array, Stream

#: Largest bow of a converter, of full scale, and least slope: beyond them it would not be monotone.
LARGEST_BOW, LEAST_SLOPE = 0.2, 0.5


class TrimCells:
    """One cell a parameter and physical neuron; at default codes no parameter moves."""

    def __init__(self, silicon: Deviations, session: int) -> None:
        self._silicon = silicon
        self._session = session
        self.ranges: dict[str, TrimRange] = silicon.preset.trim_ranges()
        self._codes: dict[str, Array] = {}
        self._moved: dict[str, Array] = {}
        self.writes = 0

    def codes(self, parameter: str, device_id: str) -> Array:
        """Codes (int64) of all cells of ``parameter``, a copy."""
        allowed = known_parameter(self.ranges, parameter, device_id)
        held = self._codes.get(parameter)
        return np.full(self._silicon.n_neurons, allowed.default) if held is None else held.copy()

    def changed(self, parameter: str, codes: Array, neurons: Array, device_id: str) -> Array:
        """Bool ``[k]``: cells whose code is not what they hold."""
        return np.asarray(self.codes(parameter, device_id)[neurons] != codes)

    def write(self, parameter: str, codes: Array, neurons: Array) -> None:
        """Write cells in ascending order of ``neurons``: each lands with its own error and moves its neighbours.

        All of it or, where it is interrupted, nothing: what runs would otherwise not be what :meth:`codes` says.
        """
        n = self._silicon.n_neurons
        before, shifted = self._codes.get(parameter), self._moved.get(parameter)
        held = np.full(n, self.ranges[parameter].default) if before is None else before.copy()
        moved = np.zeros(n) if shifted is None else shifted.copy()
        steps = (codes - held[neurons]).astype(np.float64)
        held[neurons] = codes
        self._move(moved, steps, neurons)
        self.writes, self._moved[parameter], self._codes[parameter] = self.writes + 1, moved, held

    def _move(self, moved: Array, steps: Array, neurons: Array) -> None:
        """Errors of the written cells and crosstalk to their neighbours (LSB)."""
        preset = self._silicon.preset
        moved[neurons] = 0.0  # what neighbours did to a cell before is overwritten with it
        if (sigma := preset.scale("trim_write")) > 0:
            moved[neurons] += sigma * self._silicon.normal_at("trim_write", (len(neurons),), self._session, self.writes)
        if (share := preset.scale("trim_crosstalk")) > 0:
            written = np.zeros(len(moved), dtype=bool)
            written[neurons] = True
            below, above = neurons > 0, neurons < len(moved) - 1
            # in ascending order a cell's upper neighbour, if it is written too, comes after it and wipes the shift
            np.add.at(moved, neurons[below] - 1, share * steps[below])
            above &= ~written[np.minimum(neurons + 1, len(moved) - 1)]
            np.add.at(moved, neurons[above] + 1, share * steps[above])

    def seek(self, session: int) -> None:
        """Let every cell off its default land anew, as if it had been written once, parameter by parameter, in ``session``."""
        fresh = TrimCells(self._silicon, session)
        for name, allowed in self.ranges.items():
            held = self._codes.get(name)
            if held is not None and len(off := np.flatnonzero(held != allowed.default)):
                fresh.write(name, held[off], off)
        self._session, self.writes, self._moved, self._codes = session, fresh.writes, fresh._moved, fresh._codes

    def shift(self, parameter: str, neurons: Array) -> Array | None:
        """True shift ``[n]`` (log of the value, or swing) of ``parameter``; None while no cell was ever written."""
        held = self._codes.get(parameter)
        if held is None:
            return None
        allowed = self.ranges[parameter]
        lsb = self._converted(parameter, held, neurons) + self._moved[parameter][neurons]
        return np.asarray(allowed.step * lsb)

    def _converted(self, parameter: str, codes: Array, neurons: Array) -> Array:
        """Codes through each cell's converter (LSB from the default): slope, bow, uneven steps; monotone."""
        preset, allowed = self._silicon.preset, self.ranges[parameter]
        x = (codes[neurons] - allowed.default).astype(np.float64)
        span = max(allowed.codes_max - allowed.default, allowed.default - allowed.codes_min)
        slope: Array | float = 1.0
        if (scale := preset.scale("trim_slope")) > 0:
            slope = np.maximum(1.0 + scale * self._drawn("trim_slope", parameter)[neurons], LEAST_SLOPE)
        value = slope * x
        if (scale := preset.scale("trim_bow")) > 0:
            bow = np.clip(scale * self._drawn("trim_bow", parameter)[neurons], -LARGEST_BOW, LARGEST_BOW)
            value += bow * x * x / span
        if (scale := preset.scale("trim_step")) > 0:
            rows = self._steps(parameter)
            value += scale * (
                rows[neurons, codes[neurons] - allowed.codes_min] - rows[neurons, allowed.default - allowed.codes_min]
            )
        return value

    def _drawn(self, effect: str, parameter: str) -> Array:
        n = self._silicon.n_neurons
        return self._silicon.drawn(effect, parameter, lambda rng: rng.normal(n))

    def _steps(self, parameter: str) -> Array:
        allowed = self.ranges[parameter]
        shape = (self._silicon.n_neurons, allowed.codes_max - allowed.codes_min + 1)
        draw: Callable[[Stream], Array] = lambda rng: rng.random(shape) - 0.5  # noqa: E731
        return self._silicon.drawn("trim_step", parameter, draw)
