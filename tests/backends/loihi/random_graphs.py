"""Random fixed-point graphs and inputs that reach every rule of the arithmetic, as the bit-for-bit tests take them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from hwloop_fixed_point.registers import Array
from hwloop_loihi import FixedGraph, FixedLayer, Synapses

#: Steps of all random graphs (s): the arithmetic does not depend on it.
DT = 1e-3


def random_graph(seed: int) -> FixedGraph:
    """Graph ``seed``: 1 to 3 layers of 1 to 24 neurons on 1 to 16 inputs.

    Over many seeds: weight exponents -4..4, mixed, excitatory and inhibitory weights, declared or found out by Lava, with 8
    bits or fewer, in range or beyond it (clipped); delays 0..63; bias; recurrence; decays from none to complete; thresholds
    low enough to fire and, now and then, sums that wrap u.
    """
    rng = np.random.default_rng([20, seed])
    sizes = rng.integers(1, [17, 25, 25, 25][: int(rng.integers(2, 5))])
    return FixedGraph(tuple(_layer(rng, int(a), int(b)) for a, b in itertools.pairwise(sizes)), DT)


def random_wiring(seed: int) -> FixedGraph:
    """Graph ``seed`` whose layers are driven by any others: 1 to 4 layers of 1 to 10 neurons, on 2 to 12 input units.

    Over many seeds: skip connections, several inputs, loops of one layer and of several, parts of a population, layers that no
    input reaches, and currents and membranes that do not start at 0; in each layer what :func:`random_graph` has.
    """
    rng = np.random.default_rng([22, seed])
    n_in, sizes = int(rng.integers(2, 13)), [int(n) for n in rng.integers(1, 11, int(rng.integers(1, 5)))]
    layers = []
    for index, n in enumerate(sizes):
        blocks = [(-1, 0, n_in)] if index == 0 else [_block(rng, [*sizes, n_in])]
        blocks += [_block(rng, [*sizes, n_in]) for _ in range(int(rng.integers(0, 3)))]
        layer = _layer(rng, sum(size for _, _, size in blocks), n)
        start = [rng.integers(-(2**12), 2**12, n).astype(np.int32) if rng.random() < 0.3 else None for _ in range(2)]
        layers.append(replace(layer, blocks=tuple(blocks), u_start=start[0], v_start=start[1]))  # type: ignore[arg-type]
    return FixedGraph(tuple(layers), DT)


def _block(rng: np.random.Generator, sizes: list[int]) -> tuple[int, int, int]:
    """Units of one of the populations, or of the input, whose size is the last: all of them, or some."""
    source = int(rng.integers(-1, len(sizes) - 1))
    if rng.random() < 0.7:
        return source, 0, sizes[source]
    start = int(rng.integers(0, sizes[source]))
    return source, start, int(rng.integers(1, sizes[source] - start + 1))


def random_raster(graph: FixedGraph, seed: int, batch: int, n_ticks: int) -> Array:
    """Input spikes ``[batch, n_ticks, n_in]`` bool, silent to dense; the first sample is empty in every eighth input."""
    rng = np.random.default_rng([21, seed])
    rate = rng.choice([0.02, 0.1, 0.4], size=(batch, 1, 1))
    raster: Array = rng.random((batch, n_ticks, graph.n_in)) < rate
    if seed % 8 == 7:
        raster[0] = False
    return raster


def _layer(rng: np.random.Generator, n_in: int, n: int) -> FixedLayer:
    synapses = _synapses(rng, n_in, n)
    # what the layer's own spikes add can be as strong as the input
    recurrent = _synapses(rng, n, n) if rng.random() < 0.4 else None
    drive = float(np.abs(synapses.effective()).sum(1).mean()) * 2.0**synapses.exponent
    vth = int(np.clip(drive * rng.uniform(0.2, 3.0), 1, 2**17 - 1))
    biased = rng.random() < 0.4
    return FixedLayer(
        synapses,
        du=int(rng.choice([0, 40, 300, 2000, 4095])),
        dv=int(rng.choice([0, 20, 150, 1000, 4095])),
        vth=vth,
        bias_mant=rng.integers(-4096, 4096, n).astype(np.int32) if biased else None,
        bias_exp=rng.integers(0, 8, n).astype(np.int32) if biased else None,
        recurrent=recurrent,
    )


def _synapses(rng: np.random.Generator, n_in: int, n: int) -> Synapses:
    mode = str(rng.choice(["auto", "mixed", "excitatory", "inhibitory"], p=[0.4, 0.3, 0.2, 0.1]))
    # beyond -256..255 every few layers: Lava clips without a word
    width = int(rng.choice([30, 255, 400], p=[0.3, 0.5, 0.2]))
    low = -width if mode in ("mixed", "inhibitory") or rng.random() < 0.7 else 0
    weight = rng.integers(low, width + 1, (n, n_in)).astype(np.int32)
    # every tenth matrix large sums: u wraps
    exponent = 7 if rng.random() < 0.1 else int(rng.integers(-4, 5))
    delay = rng.integers(0, int(rng.choice([2, 8, 64])), (n, n_in)).astype(np.int32) if rng.random() < 0.4 else None
    weight_bits = 8 if rng.random() < 0.7 else int(rng.integers(3, 8))
    return Synapses(weight, exponent, mode, weight_bits, delay)  # type: ignore[arg-type]  # one of the four above
