"""Networks larger than a device, cut into pieces that run one after the other.

Each piece holds some populations, or some neurons of one, and is driven by the network's inputs and by the recorded spikes of
the pieces before. A loop is never cut. Where a neuron has more synapses than a circuit has, several circuits are joined.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CompileError
from .capabilities import Capabilities
from .compiler import compile_network, inputs_of, layer_program, network_values
from .constraints import Block, LayerValues, check_layer
from .loss import weight_losses
from .program import LayerProgram, Program
from .quantise import Array, ScaleRule, scale_rules
from .run_order import Together, run_order, sources_of

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True)
class Part:
    """Neurons ``start .. start + size`` of population ``layer``; of the inputs where it is -1."""

    layer: int
    start: int
    size: int


@dataclass(frozen=True)
class Piece:
    """What a device holds at a time: the neurons of ``parts``, driven by ``inputs`` in the order of its units."""

    program: Program
    parts: tuple[Part, ...]
    inputs: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class PartitionedProgram(Program):
    """A program in pieces; ``layers`` are those of the whole network, placed piece by piece.

    ``mask``: physical neurons that are not used.
    """

    pieces: tuple[Piece, ...] = ()
    mask: tuple[int, ...] = ()

    def with_weights(self, net: Network) -> Program:
        """See :meth:`Program.with_weights`."""
        return partition_network(net, self.capabilities, weight_scale=list(self.scales), mask=self.mask, warn=False)

    def _content(self) -> bytes:
        cuts = [[(part.layer, part.start, part.size) for part in piece.parts] for piece in self.pieces]
        return json.dumps(cuts).encode()


def partition_network(
    net: Network,
    capabilities: Capabilities,
    *,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    mask: Iterable[int] = (),
    warn: bool = True,
) -> Program:
    """As :func:`~hwloop.mapping.compile_network`; a network that does not fit comes in pieces.

    Raises :class:`CompileError` also where a loop is larger than the device, or a neuron has more synapses than circuits can
    be joined for. ``warn``: look for what compiling lost.
    """
    layers, avoided = network_values(net), tuple(sorted({int(neuron) for neuron in mask}))
    free = np.setdiff1d(np.arange(capabilities.n_neurons), np.array(avoided, np.int64))
    if all(layer.fan_in <= capabilities.fan_in for layer in layers) and _neurons(layers) <= len(free):
        return compile_network(net, capabilities, weight_scale=weight_scale, mask=avoided)
    wide = replace(capabilities, fan_in=capabilities.fan_in * capabilities.joined)
    for index, layer in enumerate(layers):
        check_layer(index, layer, wide, layers)
    rules = scale_rules(weight_scale, len(layers))
    joined = [-(-layer.fan_in // capabilities.fan_in) or 1 for layer in layers]
    cuts = _cut(layers, joined, len(free))
    whole = [
        layer_program(layer, rule, _placed(index, cuts, joined, free), capabilities.max_code)
        for index, (layer, rule) in enumerate(zip(layers, rules, strict=True))
    ]
    pieces = tuple(_piece(parts, whole, capabilities) for parts in cuts)
    notes = [f"runs in {len(pieces)} pieces, one after the other, each with the recorded spikes of those before it"]
    most = max(joined)
    if most > 1:
        notes.append(f"{most} circuits are joined to a neuron where it has more than {capabilities.fan_in} synapses")
    lost: list[str] = []
    if warn and capabilities.max_code is not None:
        lost = weight_losses(
            layers, whole, rules,
            lambda index, rule: layer_program(layers[index], rule, whole[index].neurons, capabilities.max_code),
        )  # fmt: skip
    return PartitionedProgram(
        capabilities, tuple(whole), notes=tuple(notes), warnings=tuple(lost), inputs=() if net.is_plain_chain else inputs_of(net), pieces=pieces,
        mask=avoided,
    )  # fmt: skip


def _neurons(layers: Sequence[LayerValues]) -> int:
    return sum(layer.weight.shape[0] for layer in layers)


def _cut(layers: Sequence[LayerValues], joined: Sequence[int], free: int) -> list[list[Part]]:
    """The parts of each piece: as many neurons as fit, in an order in which all that drives them has run, or runs with them."""
    pieces: list[list[Part]] = [[]]
    left = free
    for group in run_order(layers):
        needed = sum(layers[k].weight.shape[0] * joined[k] for k in group.members)
        if group.loop:
            _check_loop(group, layers, needed, free)
        if group.loop and needed > left:
            pieces, left = [*pieces, []], free
        for k in group.members:
            start, size = 0, layers[k].weight.shape[0]
            while start < size:
                if left < joined[k]:
                    pieces, left = [*pieces, []], free
                count = min(size - start, left // joined[k])
                pieces[-1].append(Part(k, start, count))
                start, left = start + count, left - count * joined[k]
    return [piece for piece in pieces if piece]


def _check_loop(group: Together, layers: Sequence[LayerValues], needed: int, free: int) -> None:
    if needed > free:
        raise CompileError(
            limit=f"loops of at most {free} circuits: a loop is never cut",
            value=f"{needed} circuits in a loop of {len(group.members)} populations",
            layer=layers[group.members[0]].neurons_at,
            fix=f"build the loop of populations that need {needed - free} circuits less, or mask fewer neurons",
        )


def _placed(index: int, cuts: Sequence[Sequence[Part]], joined: Sequence[int], free: Array) -> Array:
    """First circuit ``[n_out]`` of each neuron of population ``index``."""
    found = []
    for parts in cuts:
        at = 0
        for part in parts:
            if part.layer == index:
                found.append(free[at + joined[index] * np.arange(part.size)])
            at += joined[part.layer] * part.size
    result: Array = np.concatenate(found).astype(np.int64)
    return result


def _piece(parts: Sequence[Part], whole: Sequence[LayerProgram], limits: Capabilities) -> Piece:
    """The program of ``parts``, and what drives it from outside."""
    held = {part.layer: (row, part) for row, part in enumerate(parts)}
    outside: list[Part] = []
    layers = []
    for part in parts:
        blocks: list[Block] = []
        for source, start, size in _sources(part.layer, whole):
            blocks += _blocks(source, start, size, held, outside)
        layers.append(replace(_rows(whole[part.layer], part), blocks=tuple(blocks)))
    starts = np.cumsum([0, *(part.size for part in outside)]).tolist()
    # so far blocks from outside name the part they come from: from here on its first unit
    named = [replace(layer, blocks=tuple(_from(block, outside, starts) for block in layer.blocks)) for layer in layers]
    return Piece(Program(limits, tuple(named)), tuple(parts), tuple(outside))


def _sources(index: int, whole: Sequence[LayerProgram]) -> list[tuple[int, int, int]]:
    layer = whole[index]
    if not layer.blocks:
        return [(sources_of(index, layer)[0], 0, layer.n_in)]
    return [(block.source, block.start, block.size) for block in layer.blocks]


def _blocks(source: int, start: int, size: int, held: dict[int, tuple[int, Part]], outside: list[Part]) -> list[Block]:
    """Blocks for units ``start .. start + size`` of ``source``: those in the piece itself, all others from outside."""
    row, inside = held.get(source, (-1, Part(source, 0, 0)))
    ends = sorted(
        {start, start + size, *(x for x in (inside.start, inside.start + inside.size) if start < x < start + size)}
    )
    found = []
    for low, high in pairwise(ends):
        if inside.size and inside.start <= low < inside.start + inside.size:
            found.append(Block(row, low - inside.start, high - low))
            continue
        part = Part(source, low, high - low)
        if part not in outside:
            outside.append(part)
        found.append(Block(-1 - outside.index(part), 0, high - low))
    return found


def _from(block: Block, outside: Sequence[Part], starts: Sequence[int]) -> Block:
    if block.source >= 0:
        return block
    return Block(-1, starts[-1 - block.source], block.size)


def _rows(layer: LayerProgram, part: Part) -> LayerProgram:
    """Neurons of ``part`` alone."""
    rows = slice(part.start, part.start + part.size)
    delay = layer.delay[rows] if layer.delay is not None and layer.delay.ndim == 2 else layer.delay
    picked: dict[str, Any] = {
        name: None if (value := getattr(layer, name)) is None else value[rows]
        for name in ("gain", "synapses", "bias", "v_init")
    }
    parameters = {name: value[rows] for name, value in layer.parameters.items()}
    return replace(
        layer, codes=layer.codes[rows], neurons=layer.neurons[rows], parameters=parameters, delay=delay, **picked
    )
