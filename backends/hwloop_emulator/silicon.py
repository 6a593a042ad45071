"""What is fixed in one chip's silicon: every neuron's and synapse's own deviations, drawn from its number."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from . import bulk
from .preset import Preset
from .streams import Array, Stream

#: Smallest factor that a normal relative spread can leave; no tau or gain turns negative.
SMALLEST_FACTOR = 0.05
#: Effects with one draw a neuron.
_NORMAL = ("tau_mem", "tau_syn", "gain", "t_ref", "v_th", "v_leak", "v_reset")
_UNIFORM = ("dead", "stuck", "hot")


class Silicon:
    """Deviations of chip ``number`` of the wafer ``preset``, by physical neuron and synapse."""

    def __init__(self, preset: Preset, number: int) -> None:
        self.preset = preset
        self.number = number
        self._rows: dict[tuple[str, int], Array] = {}
        self._blocks: dict[tuple[str, int], tuple[Array, Array]] = {}

    @cached_property
    def n_neurons(self) -> int:
        """Neurons on the chip."""
        return int(self.preset.limits.n_neurons.value)

    def factor(self, name: str, neurons: Array) -> Array | None:
        """Factors ``[n]`` of relative effect ``name`` on physical ``neurons``; None where the effect is off."""
        scale = self.preset.scale(name)
        if scale == 0:
            return None
        z = self._normal(name)[neurons]
        if self.preset.effects[name].distribution == "lognormal":
            return np.exp(scale * z)
        return np.maximum(1 + scale * z, SMALLEST_FACTOR)

    def offset(self, name: str, neurons: Array) -> Array | None:
        """Offsets ``[n]`` (swing) of absolute effect ``name``; None where the effect is off."""
        scale = self.preset.scale(name)
        return None if scale == 0 else scale * self._normal(name)[neurons]

    def chosen(self, name: str, neurons: Array) -> Array:
        """Bool ``[n]``: neurons that defect ``name`` has struck."""
        probability = self.preset.scale(name)
        if probability == 0:
            return np.zeros(len(neurons), dtype=bool)
        return self._uniform(name)[neurons] < probability

    def phase(self, neurons: Array) -> Array:
        """Phase in [0, 1) ``[n]`` at which a stuck neuron starts each sample."""
        return self._uniform("stuck_phase")[neurons]

    def synapses(self, name: str, neurons: Array, n_in: int, uniform: bool = False, depth: int = 1) -> Array:
        """Standard draws ``[n, n_in, depth]`` of effect ``name`` for the first ``n_in`` synapses of ``neurons``.

        Each neuron has its own stream, so a synapse's draw depends neither on the size of the program nor on the
        chip's limits.
        """
        kept = self._blocks.get((name, n_in))
        if kept is not None and np.array_equal(kept[0], neurons):
            return kept[1]
        result = np.empty((len(neurons), n_in, depth))
        for i, neuron in enumerate(neurons.tolist()):
            row = self._rows.get((name, neuron))
            if row is None or len(row) < n_in:
                rng = Stream(self.preset.family, self.number, self.preset.stream(name), neuron)
                row = rng.random((n_in, depth)) if uniform else rng.normal((n_in, depth))
                self._rows[name, neuron] = row
            result[i] = row[:n_in]
        return result

    def prepare(self, neurons: Array, n_in: int) -> None:
        """Draw all synapses of ``neurons``, and what each neuron is, at once: the same draws as one by one."""
        preset = self.preset
        bits = preset.limits.weight_bits
        depths = {"dac_differential": 1 if bits is None else max(1, bits.value - 1)}
        for name in ("synapse", "dac_integral", "dac_differential", "dead_synapse"):
            if preset.scale(name) > 0:
                shape, stream = (n_in, depths.get(name, 1)), preset.stream(name)
                drawn = bulk.rows(preset.family, self.number, stream, neurons, shape, name == "dead_synapse")
                self._blocks[name, n_in] = (neurons, drawn)
        for uniform, names in ((False, _NORMAL), (True, _UNIFORM)):
            missing = [name for name in names if preset.scale(name) > 0 and (name, -1) not in self._rows]
            streams = [preset.stream(name) for name in missing]
            drawn = bulk.vectors(preset.family, self.number, streams, self.n_neurons, uniform)
            self._rows.update({(name, -1): row for name, row in zip(missing, drawn, strict=True)})

    def drawn(self, name: str, part: str, draw: Callable[[Stream], Array]) -> Array:
        """What ``draw`` makes of the stream of ``part`` of effect ``name``, kept: drawn when first asked for."""
        key = (f"{name} {part}", -1)
        row = self._rows.get(key)
        if row is None:
            row = draw(Stream(self.preset.family, self.number, f"{self.preset.stream(name)} {part}"))
            self._rows[key] = row
        return row

    def _normal(self, name: str) -> Array:
        return self._cached(name, uniform=False)

    def _uniform(self, name: str) -> Array:
        return self._cached(name, uniform=True)

    def _cached(self, name: str, uniform: bool) -> Array:
        row = self._rows.get((name, -1))
        if row is None:
            rng = Stream(self.preset.family, self.number, self.preset.stream(name))
            row = rng.random(self.n_neurons) if uniform else rng.normal(self.n_neurons)
            self._rows[name, -1] = row
        return row
