"""What a fixed-point graph needs of a device, and what a device of given limits refuses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwloop.errors import CompileError
from hwloop_fixed_point.graph import FixedGraph

from .fixed_layout import HEADER, ImageHeader
from .information import FixedLimits

#: Working memory of the reference firmware (bytes): of a neuron, of a population, and of a place in a ring buffer.
NEURON_BYTES, POPULATION_BYTES, PLACE_BYTES = 12, 8, 4


@dataclass(frozen=True)
class Needs:
    """What a graph takes: in the terms of :class:`~.information.FixedLimits`."""

    neurons: int
    inputs: int
    synapses: int
    max_delay: int
    recurrent: bool
    bias: bool
    starts: bool
    state_bytes: int


def needs(graph: FixedGraph) -> Needs:
    """What ``graph`` takes of a device; synapses are all places of its matrices, zeros too."""
    deepest, folded, places, recurrent, delays = [0] * len(graph.layers), 0, 0, False, 0
    for index, layer in enumerate(graph.layers):
        parts = [(block, layer.synapses) for block in graph.sources(index)]
        recurrent |= layer.recurrent is not None or any(block.source >= index for block, _ in parts)
        for synapses in [layer.synapses, *([] if layer.recurrent is None else [layer.recurrent])]:
            depth = 1 if synapses.delay is None else int(synapses.delay.max()) + 1
            delays = max(delays, depth - 1)
            deepest[index] = max(deepest[index], depth)
            places += synapses.weight.size
            if synapses.exponent < 0:
                folded = max(folded, depth * layer.n)
    sizes = np.array(graph.sizes)
    ring = int((np.array(deepest) * sizes).sum()) + folded
    return Needs(
        neurons=int(sizes.sum()),
        inputs=graph.n_in,
        synapses=places,
        max_delay=delays,
        recurrent=recurrent,
        bias=any(bool(layer.bias.any()) for layer in graph.layers),
        starts=any(layer.u_start is not None or layer.v_start is not None for layer in graph.layers),
        state_bytes=NEURON_BYTES * int(sizes.sum()) + POPULATION_BYTES * len(sizes) + PLACE_BYTES * ring,
    )


def check(graph: FixedGraph, limits: FixedLimits, image: bytes, room: int, device: str) -> None:
    """Raise :class:`CompileError` for the first thing of ``graph``, as ``image``, that a device of ``limits`` and ``room`` bytes lacks."""
    used = replace(needs(graph), synapses=ImageHeader(*HEADER.unpack_from(image)).synapses)
    for name, what, fix in (
        ("neurons", "neurons", "a smaller network"),
        ("inputs", "inputs", "fewer inputs"),
        ("synapses", "synapses", "smaller layers"),
        ("max_delay", "ticks of delay", "shorter delays, or a larger dt"),
        ("state_bytes", "bytes of working memory", "a smaller network, or shorter delays"),
    ):
        if getattr(used, name) > getattr(limits, name):
            raise CompileError(
                f"{getattr(limits, name)} {what} ({device})",
                f"{getattr(used, name)}",
                "the network",
                f"{fix}, or a larger board",
            )
    for name, what in (("recurrent", "loops"), ("bias", "biases"), ("starts", "membranes that do not start at 0")):
        if getattr(used, name) and not getattr(limits, name):
            raise CompileError(f"no {what} ({device})", what, "the network", f"build the network without {what}")
    if len(image) > room:
        raise CompileError(
            f"{room} bytes of program memory ({device})",
            f"{len(image)} bytes",
            "the network",
            "smaller layers, or a larger board",
        )
