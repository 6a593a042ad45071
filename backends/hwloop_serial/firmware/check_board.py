"""Runs random networks on a board and compares every spike with the bit-exact emulator. Use: ADDRESS [NETWORKS [BAUD]].

ADDRESS is what ``hwloop`` takes after ``serial:``, as /dev/ttyUSB0. Ends with 0 where all are equal, with 1 at the first that is not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from hwloop.errors import CompileError
from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.layers import Block, FixedLayer
from hwloop_fixed_point.runs import Emulator
from hwloop_fixed_point.synapses import Synapses
from hwloop_fixed_point.ticks import TickSpikes
from hwloop_serial import fixed_image
from hwloop_serial.device import FixedDevice
from hwloop_serial.messages import Region
from hwloop_serial.target import SerialTarget

NETWORKS, BATCH, TICKS = 40, 2, 60
#: Neurons of a layer, inputs, and layers at most.
MOST_NEURONS, MOST_INPUTS, MOST_LAYERS = 16, 12, 3

Rng: TypeAlias = np.random.Generator


def random_network(rng: Rng) -> FixedGraph:
    """Layers that drive each other in any order: both signs, delays, bias, loops, starts, sums that leave 24 bits."""
    n_in, sizes = (
        int(rng.integers(1, MOST_INPUTS)),
        rng.integers(1, MOST_NEURONS, int(rng.integers(1, MOST_LAYERS + 1))),
    )
    layers = []
    for index, n in enumerate(sizes.tolist()):
        blocks = [Block(-1, 0, n_in)] if index == 0 else [Block(index - 1, 0, int(sizes[index - 1]))]
        if rng.random() < 0.5:
            source = int(rng.integers(0, len(sizes)))
            blocks.append(Block(source, 0, int(sizes[source])))
        layers.append(_layer(rng, n, blocks))
    return FixedGraph(tuple(layers), 1e-3)


def _layer(rng: Rng, n: int, blocks: Sequence[Block]) -> FixedLayer:
    shape = (n, sum(block.size for block in blocks))
    exponent = 7 if rng.random() < 0.2 else int(rng.integers(-4, 4))
    delay = rng.integers(0, int(rng.choice([2, 16, 64])), shape).astype(np.int32) if rng.random() < 0.5 else None
    synapses = Synapses(rng.integers(-256, 256, shape).astype(np.int32), exponent, delay=delay)
    drive = float(np.abs(synapses.effective()).sum(1).mean()) * 2.0**exponent
    return FixedLayer(
        synapses,
        du=int(rng.choice([0, 300, 2000, 4095])),
        dv=int(rng.choice([0, 150, 1000, 4095])),
        vth=int(np.clip(drive * rng.uniform(0.1, 1.0), 1, 2**17 - 1)),
        bias_mant=rng.integers(-4096, 4096, n).astype(np.int32),
        bias_exp=rng.integers(0, 8, n).astype(np.int32),
        blocks=tuple(blocks),
        u_start=rng.integers(-4096, 4096, n).astype(np.int32),
        v_start=rng.integers(-4096, 4096, n).astype(np.int32),
    )


def differs(device: FixedDevice, graph: FixedGraph, rng: Rng) -> tuple[str, int]:
    """What differs between board and emulator, "" where nothing does, and how many spikes were compared."""
    inputs = TickSpikes.from_raster(rng.random((BATCH, TICKS, graph.n_in)) < 0.2)
    device.remote.upload(Region.PROGRAM, fixed_image.write(graph))
    layers, wraps = device.run_graph(graph, inputs, TICKS)
    wanted = Emulator(graph).run(inputs, TICKS)
    for index, (ours, theirs) in enumerate(zip(layers, wanted.layers, strict=True)):
        unequal = np.argwhere(ours.to_raster(TICKS) != theirs.to_raster(TICKS))
        if len(unequal):
            sample, tick, unit = unequal[0]
            return f"layer {index}, sample {sample}: neuron {unit} differs at tick {tick}", 0
        if not np.array_equal(wraps[index], wanted.wraps[index]):
            return f"layer {index}: currents wrapped {wraps[index]} times, {wanted.wraps[index]} expected", 0
    return "", sum(int(layer.counts.sum()) for layer in wanted.layers)


def check(device: FixedDevice, networks: int) -> str:
    """What is said about ``networks`` of them; begins with "equal" where they are."""
    spikes = ran = 0
    begun = time.monotonic()
    for seed in range(networks):
        rng = np.random.default_rng([31, seed])
        graph = random_network(rng)
        try:
            device.target.check_graph(graph, fixed_image.write(graph))
        except CompileError:  # larger than the board; what its limits are, it says itself
            continue
        found, count = differs(device, graph, rng)
        if found:
            return f"network {seed} is not equal: {found}"
        spikes, ran = spikes + count, ran + 1
    if ran == 0:
        return f"none of {networks} networks fits the board's memories"
    seconds = (time.monotonic() - begun) / ran
    return (
        f"equal: {ran} networks, {spikes} spikes, {seconds:.2f} s each; {networks - ran} were too large for the board"
    )


def main(address: str, networks: str = str(NETWORKS), *baud: str) -> int:
    """Exit status."""
    target = SerialTarget(address, baud=int(baud[0])) if baud else SerialTarget(address)
    with target.open() as device:
        if not isinstance(device, FixedDevice):
            sys.stdout.write(f"{target.device_id} runs no fixed-point programs\n")
            return 1
        said = check(device, int(networks))
    sys.stdout.write(f"{target.device_id}: {said}\n")
    return 0 if said.startswith("equal") else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
