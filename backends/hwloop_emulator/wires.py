"""Layers that run together: those of a loop, or one that the simulator's kernel of a layer does not carry.

Their synapses as bundles, the form of :mod:`hwloop.simulate.joint`, with the weights and parameters of the silicon. Stuck and
hot neurons fire whatever their membranes do: what they send into a loop comes from sources of their own. The jitter of a spike
acts on what leaves the loop and on what is recorded; within it spikes act at the times at which they arose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwloop.mapping import LayerProgram
from hwloop.mapping.run_order import Together
from hwloop.network.readouts import with_begin
from hwloop.network.trains import merged, relabelled, split
from hwloop.neurons import PARAMETERS
from hwloop.simulate.joint.autograd import Structure, component_call
from hwloop.simulate.joint.contract import CURRENT, INTEGRATE, JUMP
from hwloop.spikes import Spikes

from .loaded import Loaded
from .streams import Array

#: Number that the inputs have among the layers.
INPUT = -1
KINDS = {"LIF": CURRENT, "DeltaLIF": JUMP, "IF": INTEGRATE}


def needs_wires(layer: LayerProgram, loop: bool, starts: bool) -> bool:
    """Whether ``layer`` is beyond the kernel of a layer: a loop, synapses that are missing, other neurons, delays of each
    synapse, a bias through the synapse, or membranes that do not start at the leak (``starts``).
    """
    whole = layer.synapses is None or bool(layer.synapses.all())
    delayed = layer.delay is not None and layer.delay.ndim == 2
    return loop or starts or layer.filtered or delayed or not whole or layer.kind != "LIF"


def driving(layer: LayerProgram, number: int, sent: Mapping[int, Spikes]) -> Spikes:
    """All that drives layer ``number``, its units numbered as the columns of the layer's weights."""
    if not layer.blocks:
        return sent[number - 1]
    trains = []
    for block in layer.blocks:
        train = sent[block.source]
        if block.size != train.n_units:
            units = np.full(train.n_units, -1)
            units[block.start : block.start + block.size] = np.arange(block.size)
            train = relabelled(train, units, block.size)
        trains.append(train)
    return merged(trains)


def silence(n_units: int, like: Spikes) -> Spikes:
    """No spike of ``n_units``, as many samples and as long as ``like``."""
    none = like.times.new_zeros((len(like), 0))
    return Spikes.trusted(none, none.long(), torch.zeros_like(like.counts), n_units, like.t_stop)


@dataclass(frozen=True)
class Wires:
    """Synapses among the layers ``members`` and from outside.

    Attributes
    ----------
    external : layers outside that drive them (-1: the inputs), in the order of their units
    struck : members whose stuck and hot neurons are sources of their own, after those
    structure : Structure
    order : ``[synapses]``, place of each among those of all members, row by row of their weights
    delay : ``[bundles]`` (device s)
    filtered : ``[synapses of the begin]`` currents at time 0, None where no bias passes a synapse
    """

    members: tuple[int, ...]
    external: tuple[int, ...]
    struck: tuple[int, ...]
    structure: Structure
    order: Array
    delay: Tensor
    filtered: Array | None

    def fire(
        self,
        layers: Sequence[LayerProgram],
        loaded: Mapping[int, Loaded],
        received: Sequence[Spikes],
        thresholds: Sequence[Tensor],
        speedup: float,
        like: Spikes,
    ) -> list[Spikes]:
        """Spikes of each member (device s) for what arrives from :attr:`external` and then from :attr:`struck`.

        ``like``: spikes of as many samples, as long.
        """
        inputs = merged(received) if received else silence(0, like)
        if self.filtered is not None:
            inputs = with_begin(inputs)
        dtype = loaded[self.members[0]].weight.dtype
        parts = [_existing(layers[k], loaded[k]).to(dtype) for k in self.members]
        if self.filtered is not None:
            parts.append(torch.from_numpy(self.filtered).to(dtype))
        weight = torch.cat(parts)[torch.from_numpy(self.order)]
        names = " and ".join(repr(layers[k].name) if layers[k].name else str(k) for k in self.members)
        with torch.no_grad():
            out, _ = component_call(
                inputs, self.structure, weight, self.delay.to(dtype), self._parameters(layers, loaded, thresholds, speedup),
                where=f"population{'s' if len(self.members) > 1 else ''} {names}",
            )  # fmt: skip
        return split(out, [layers[k].n_out for k in self.members])

    def _parameters(
        self,
        layers: Sequence[LayerProgram],
        loaded: Mapping[int, Loaded],
        thresholds: Sequence[Tensor],
        speedup: float,
    ) -> dict[str, Tensor]:
        held = [loaded[k] for k in self.members]
        result = {name: torch.cat([one.parameters[name] for one in held]) for name in PARAMETERS if name != "v_th"}
        rows = max((1 if v_th.ndim == 1 else len(v_th)) for v_th in thresholds)
        if any(v_th.ndim == 2 for v_th in thresholds):
            result["v_th"] = torch.cat([v_th.expand(rows, v_th.shape[-1]) for v_th in thresholds], 1)
        else:
            result["v_th"] = torch.cat(list(thresholds))
        if any(one.start is not None for one in held):
            result["v_init"] = _starts(held, result["v_th"])
        if any(layers[k].kind == "IF" and layers[k].bias is not None for k in self.members):
            result["ramp"] = torch.cat([_ramp(layers[k], speedup) for k in self.members])
        return result


def wires_of(
    layers: Sequence[LayerProgram], group: Together, n_in: int, struck: Sequence[int], seconds: float
) -> Wires:
    """The wires of ``group``; ``n_in`` inputs of the program, ``seconds`` of the device in one of the model."""
    members = group.members
    sizes = [layers[k].n_out for k in members]
    start = dict(zip(members, np.cumsum([0, *sizes]).tolist(), strict=False))
    external = tuple(dict.fromkeys(b[0] for k in members for b in _blocks(k, layers) if b[0] not in members))
    widths = [n_in if k < 0 else layers[k].n_out for k in external]
    struck = tuple(k for k in members if k in struck)
    offsets = np.cumsum([0, *widths, *(layers[k].n_out for k in struck)]).tolist()
    first, ghosts = (
        dict(zip(external, offsets, strict=False)),
        dict(zip(struck, offsets[len(external) :], strict=False)),
    )
    begin = any(layers[k].filtered for k in members)
    n_external = offsets[-1] + int(begin)
    sources, targets, delays, places, count = [], [], [], [], 0
    for k in members:
        layer = layers[k]
        rows, columns = np.nonzero(_mask(layer))
        delay = np.zeros(len(rows)) if layer.delay is None else _delays(layer.delay, rows, columns)
        place = np.arange(count, count + len(rows))
        own, ghost = np.empty(layer.n_in, np.int64), np.full(layer.n_in, -1)
        column = 0
        for source, begins, size in _blocks(k, layers):
            base = n_external + start[source] if source in start else first[source]
            own[column : column + size] = base + begins + np.arange(size)
            if source in ghosts:
                ghost[column : column + size] = ghosts[source] + begins + np.arange(size)
            column += size
        for numbers in (own, ghost):
            there = numbers[columns] >= 0
            sources.append(numbers[columns[there]])
            targets.append(rows[there] + start[k])
            delays.append(delay[there] * seconds)
            places.append(place[there])
        count += len(rows)
    filtered = None
    if begin:
        filtered = np.concatenate([_filtered(layers[k]) for k in members])
        sources.append(np.full(len(filtered), offsets[-1]))
        targets.append(np.arange(len(filtered)))
        delays.append(np.zeros(len(filtered)))
        places.append(count + np.arange(len(filtered)))
    source, target = np.concatenate(sources), np.concatenate(targets)
    late, order = np.concatenate(delays), np.concatenate(places)
    sorting = np.lexsort((target, late, source))
    source, target, late, order = source[sorting], target[sorting], late[sorting], order[sorting]
    leads = np.flatnonzero(np.append(True, (source[1:] != source[:-1]) | (late[1:] != late[:-1]))[: len(source)])
    counts = np.bincount(source[leads], minlength=n_external + sum(sizes))
    structure = Structure(
        n_external, np.cumsum([0, *counts]).astype(np.int64), np.append(leads, len(source)).astype(np.int64),
        target.astype(np.int64), *_neurons([layers[k] for k in members]),
    )  # fmt: skip
    return Wires(members, external, struck, structure, order, torch.from_numpy(late[leads]), filtered)


def _neurons(layers: Sequence[LayerProgram]) -> tuple[Array, Array, Array]:
    """Kind, reset and cap of every neuron."""
    sizes = [layer.n_out for layer in layers]
    columns = (
        np.array([KINDS[layer.kind] for layer in layers], np.int64),
        np.array([layer.reset == "subtract" for layer in layers]),
        np.array([layer.max_spikes or 0 for layer in layers], np.int64),
    )
    kind, subtract, most = (np.repeat(column, sizes) for column in columns)
    return kind, subtract, most


def _blocks(index: int, layers: Sequence[LayerProgram]) -> list[tuple[int, int, int]]:
    """``(source, first unit, size)`` of each block of columns."""
    layer = layers[index]
    return [(b.source, b.start, b.size) for b in layer.blocks] if layer.blocks else [(index - 1, 0, layer.n_in)]


def _mask(layer: LayerProgram) -> Array:
    return np.ones(layer.codes.shape, bool) if layer.synapses is None else layer.synapses


def _existing(layer: LayerProgram, loaded: Loaded) -> Tensor:
    """Weights of the synapses that exist, row by row."""
    if layer.synapses is None:
        return loaded.weight.reshape(-1)
    return loaded.weight[torch.from_numpy(layer.synapses)]


def _delays(delay: Array, rows: Array, columns: Array) -> Array:
    return np.asarray((delay[columns] if delay.ndim == 1 else delay[rows, columns]), np.float64)


def _filtered(layer: LayerProgram) -> Array:
    """What a bias that passes the synapse adds to the current at time 0: it starts at its own negative."""
    return -layer.bias if layer.filtered and layer.bias is not None else np.zeros(layer.n_out)


def _ramp(layer: LayerProgram, speedup: float) -> Tensor:
    zero = np.zeros(layer.n_out, np.dtype(layer.dtype))
    ramp = zero if layer.bias is None or layer.kind != "IF" else layer.bias * speedup
    return torch.from_numpy(np.asarray(ramp, zero.dtype))


def _starts(held: Sequence[Loaded], v_th: Tensor) -> Tensor:
    """Membranes at time 0: where asked, else at the leak; at the reset potential where that is not below every threshold."""
    asked = torch.cat([one.parameters["v_leak"] if one.start is None else one.start for one in held])
    reset = torch.cat([one.parameters["v_reset"] for one in held])
    return torch.where(asked >= (v_th if v_th.ndim == 1 else v_th.amin(0)), reset, asked)
