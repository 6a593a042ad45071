"""Several chips of one wafer beside each other: the same draws as chip by chip, in few large calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hwloop.mapping import Program

from ..analog import Analog
from ..cells import cells_of
from ..compiled.streams import Streams
from ..loaded import Loaded, realise
from ..memory import SynapseMemory
from ..preset import Preset
from ..silicon import Deviations
from ..streams import Array, Stream
from ..trimming import TrimCells


class Wafer(Deviations):
    """Deviations of chips ``numbers``, ``[chips, ...]``."""

    def __init__(self, preset: Preset, numbers: Sequence[int]) -> None:
        super().__init__(preset)
        self.numbers = numbers
        self.lead = (len(numbers),)
        self._kept: dict[tuple[str, str], Array] = {}

    def streams(self, name: str, positions: Array | None = None) -> Streams:
        """Streams of effect ``name`` of every chip, each at all of ``positions [p, <= 3]``."""
        return Streams.of(self.preset.family, self.numbers, self.preset.stream(name), positions)

    def synapses(self, name: str, neurons: Array, n_in: int, uniform: bool = False, depth: int = 1) -> Array:
        """See :meth:`Deviations.synapses`."""
        streams, n = self.streams(name, neurons[:, None]), n_in * depth
        drawn = streams.all_random(n) if uniform else streams.all_normal(n)
        return drawn.reshape(*self.lead, len(neurons), n_in, depth)

    def drawn(self, name: str, part: str, draw: Callable[[Stream], Array]) -> Array:
        """See :meth:`Deviations.drawn`."""
        if (name, part) not in self._kept:
            label = f"{self.preset.stream(name)} {part}"
            chips = [draw(Stream(self.preset.family, number, label)) for number in self.numbers]
            self._kept[name, part] = np.stack(chips)
        return self._kept[name, part]

    def normal_at(self, name: str, shape: tuple[int, ...], *position: int) -> Array:
        """See :meth:`Deviations.normal_at`."""
        streams = self.streams(name, np.array([position], dtype=np.uint64))
        return streams.all_normal(int(np.prod(shape))).reshape(*self.lead, *shape)

    def _normal(self, name: str, neurons: Array) -> Array:
        return self.streams(name).at(neurons, uniform=False)

    def _uniform(self, name: str, neurons: Array) -> Array:
        return self.streams(name).at(neurons, uniform=True)


def load(preset: Preset, numbers: Sequence[int], session: int, program: Program) -> list[Loaded]:
    """Layers of ``program`` on chips ``numbers``, each fresh and written once: all arrays ``[chips, ...]``."""
    wafer = Wafer(preset, numbers)
    analog = Analog(wafer, TrimCells(wafer, session), 0.0)
    memory = SynapseMemory(wafer, analog, session)
    cells = memory.write([cells_of(layer) for layer in program.layers])
    analog.clock += cells * preset.scale("cell_write")
    return [realise(layer, wafer, analog, memory) for layer in program.layers]
