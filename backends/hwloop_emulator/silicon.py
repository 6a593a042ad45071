"""What is fixed in one chip's silicon: every neuron's and synapse's own deviations, drawn from its number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np

from .preset import Preset
from .streams import Array, Stream

#: Smallest factor that a normal relative spread can leave; no tau or gain turns negative.
SMALLEST_FACTOR = 0.05

#: Bytes of the blocks of synapses that a chip keeps ready, beside the rows that they are made of.
KEPT_BYTES = 1 << 24


class Deviations(ABC):
    """Deviations by physical neuron and synapse, of one chip or of several: ``lead`` is ``()``, or ``(chips,)``.

    All arrays begin with the axes of ``lead``, and all that is computed from them works for any.
    """

    lead: tuple[int, ...] = ()

    def __init__(self, preset: Preset) -> None:
        self.preset = preset

    @cached_property
    def n_neurons(self) -> int:
        """Neurons on the chip."""
        return int(self.preset.limits.n_neurons.value)

    def factor(self, name: str, neurons: Array) -> Array | None:
        """Factors ``[*lead, n]`` of relative effect ``name`` on physical ``neurons``; None where the effect is off."""
        scale = self.preset.scale(name)
        if scale == 0:
            return None
        z = self._normal(name, neurons)
        if self.preset.effects[name].distribution == "lognormal":
            return np.exp(scale * z)
        return np.maximum(1 + scale * z, SMALLEST_FACTOR)

    def offset(self, name: str, neurons: Array) -> Array | None:
        """Offsets ``[*lead, n]`` (swing) of absolute effect ``name``; None where the effect is off."""
        scale = self.preset.scale(name)
        return None if scale == 0 else scale * self._normal(name, neurons)

    def chosen(self, name: str, neurons: Array) -> Array:
        """Bool ``[*lead, n]``: neurons that defect ``name`` has struck."""
        probability = self.preset.scale(name)
        if probability == 0:
            return np.zeros((*self.lead, len(neurons)), dtype=bool)
        return self._uniform(name, neurons) < probability

    def phase(self, neurons: Array) -> Array:
        """Phase in [0, 1) ``[*lead, n]`` at which a stuck neuron starts each sample."""
        return self._uniform("stuck_phase", neurons)

    @abstractmethod
    def synapses(self, name: str, neurons: Array, n_in: int, uniform: bool = False, depth: int = 1) -> Array:
        """Standard draws ``[*lead, n, n_in, depth]`` of effect ``name`` for the first ``n_in`` synapses of ``neurons``.

        Each neuron has its own stream, so a synapse's draw depends neither on the size of the program nor on the
        chip's limits.
        """

    @abstractmethod
    def drawn(self, name: str, part: str, draw: Callable[[Stream], Array]) -> Array:
        """What ``draw`` makes of the stream of ``part`` of effect ``name``, kept: drawn when first asked for."""

    @abstractmethod
    def normal_at(self, name: str, shape: tuple[int, ...], *position: int) -> Array:
        """Standard normal draws ``[*lead, *shape]`` of the stream of effect ``name`` at ``position``."""

    @abstractmethod
    def _normal(self, name: str, neurons: Array) -> Array:
        """Standard normal draws ``[*lead, n]`` of effect ``name``, one a physical neuron."""

    @abstractmethod
    def _uniform(self, name: str, neurons: Array) -> Array:
        """As :meth:`_normal`, uniform in [0, 1)."""


class Silicon(Deviations):
    """Deviations of chip ``number`` of the wafer ``preset``."""

    def __init__(self, preset: Preset, number: int) -> None:
        super().__init__(preset)
        self.number = number
        self._rows: dict[tuple[str, int], Array] = {}
        self._blocks: dict[tuple[str, int, bool, int, tuple[int, ...]], Array] = {}

    def synapses(self, name: str, neurons: Array, n_in: int, uniform: bool = False, depth: int = 1) -> Array:
        """See :meth:`Deviations.synapses`; a block that is asked for again and again, as in a loop, is kept, read-only."""
        key = name, n_in, uniform, depth, tuple(neurons.tolist())
        if key not in self._blocks:
            found = self._joined(name, neurons, n_in, uniform, depth)
            found.flags.writeable = False
            if found.nbytes > KEPT_BYTES:
                return found
            if sum(block.nbytes for block in self._blocks.values()) + found.nbytes > KEPT_BYTES:
                self._blocks.clear()
            self._blocks[key] = found
        return self._blocks[key]

    def _joined(self, name: str, neurons: Array, n_in: int, uniform: bool, depth: int) -> Array:
        """The synapses' rows, each drawn once, one below the other."""
        result = np.empty((len(neurons), n_in, depth))
        for i, neuron in enumerate(neurons.tolist()):
            row = self._rows.get((name, neuron))
            if row is None or len(row) < n_in:
                rng = Stream(self.preset.family, self.number, self.preset.stream(name), neuron)
                row = rng.random((n_in, depth)) if uniform else rng.normal((n_in, depth))
                self._rows[name, neuron] = row
            result[i] = row[:n_in]
        return result

    def drawn(self, name: str, part: str, draw: Callable[[Stream], Array]) -> Array:
        """See :meth:`Deviations.drawn`."""
        key = (f"{name} {part}", -1)
        row = self._rows.get(key)
        if row is None:
            row = draw(Stream(self.preset.family, self.number, f"{self.preset.stream(name)} {part}"))
            self._rows[key] = row
        return row

    def normal_at(self, name: str, shape: tuple[int, ...], *position: int) -> Array:
        """See :meth:`Deviations.normal_at`."""
        return Stream(self.preset.family, self.number, self.preset.stream(name), *position).normal(shape)

    def _normal(self, name: str, neurons: Array) -> Array:
        return self._cached(name, uniform=False)[neurons]

    def _uniform(self, name: str, neurons: Array) -> Array:
        return self._cached(name, uniform=True)[neurons]

    def _cached(self, name: str, uniform: bool) -> Array:
        row = self._rows.get((name, -1))
        if row is None:
            rng = Stream(self.preset.family, self.number, self.preset.stream(name))
            row = rng.random(self.n_neurons) if uniform else rng.normal(self.n_neurons)
            self._rows[name, -1] = row
        return row
