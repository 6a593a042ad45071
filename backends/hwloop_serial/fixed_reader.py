"""Program images of kind "fixed" back to graphs: every field checked, nothing allocated that the image does not hold."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.layers import Block, FixedLayer
from hwloop_fixed_point.registers import (
    BIAS_MANTISSA,
    DECAY_UNITY,
    EXPONENTS,
    MAX_STATE,
    MAX_THRESHOLD,
    STATE_SHIFT,
    Array,
)
from hwloop_fixed_point.synapses import SignMode, Synapses

from .fixed_layout import (
    ALIGNED,
    DENSE,
    HEADER,
    LISTED,
    MAGIC,
    MOST_DEPTH,
    POPULATION,
    PROJECTION,
    VERSION,
    WIDE,
    ImageHeader,
    PopulationEntry,
    ProjectionEntry,
)

#: Sign mode of a projection by the code of its weight bytes.
MODES: tuple[SignMode, ...] = ("mixed", "excitatory", "inhibitory")
#: A graph made from an image has no step of its own; ticks are all that a device knows (s).
ANY_DT = 1.0
#: Largest bias (membrane units): mantissa and exponent at their ends.
LARGEST_BIAS = -BIAS_MANTISSA[0] << 7


class ImageError(ValueError):
    """An image that is none, with the offset of the field that does not fit."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(f"byte {offset}: {text}")
        self.offset = offset


def read(image: bytes) -> FixedGraph:
    """The graph of ``image``, for its ticks; what the times of its spikes are is not in it.

    Raises :class:`ImageError` where a field does not fit, or projections of one population differ in exponent and sign in
    a way that no layer has.
    """
    header = _header(image)
    populations = [
        PopulationEntry(*POPULATION.unpack_from(image, header.populations_at + k * POPULATION.size))
        for k in range(header.populations)
    ]
    _check_populations(header, populations)
    into: list[list[tuple[ProjectionEntry, Synapses]]] = [[] for _ in populations]
    synapses, weights = 0, list[tuple[int, int, int]]()
    for k in range(header.projections):
        place = header.projections_at + k * PROJECTION.size
        entry = ProjectionEntry(*PROJECTION.unpack_from(image, place))
        _check_projection(header, populations, entry, place)
        found, count = _synapses(image, entry, populations[entry.target].n, place)
        into[entry.target].append((entry, found))
        synapses += count
        weights.append((entry.weights_at, entry.weights_at + count, place + 28))
    _check_apart(weights)
    _require(synapses == header.synapses, 20, f"{header.synapses} synapses; the projections have {synapses}")
    layers = tuple(_layer(image, header, index, entry, into[index]) for index, entry in enumerate(populations))
    _require(
        any(b.source < 0 for layer in layers for b in layer.blocks), header.projections_at, "nothing takes the input"
    )
    graph = FixedGraph(layers, ANY_DT)
    _require(graph.n_in == header.inputs, 12, f"{header.inputs} inputs; the projections take {graph.n_in}")
    return graph


def _check_apart(weights: list[tuple[int, int, int]]) -> None:
    """Each projection has weights of its own: an image then takes no longer than its length says."""
    for (_, end, _), (start, _, place) in itertools.pairwise(sorted(weights)):
        _require(end <= start, place, "projections that share weights")


def _require(fits: bool, offset: int, text: str) -> None:
    if not fits:
        raise ImageError(offset, text)


def _header(image: bytes) -> ImageHeader:
    _require(len(image) >= HEADER.size, 0, f"{len(image)} bytes; a header has {HEADER.size}")
    header = ImageHeader(*HEADER.unpack_from(image))
    _require(header.magic == MAGIC, 0, "no program image")
    _require(header.version == VERSION, 4, f"version {header.version}; allowed: {VERSION}")
    _require(header.populations > 0, 6, "no populations")
    _require(header.projections > 0, 8, "no projections")
    _require(header.flags == 0, 10, f"flags {header.flags}; allowed: 0")
    _require(header.inputs > 0, 12, "no inputs")
    _require(header.total_bytes == len(image), 24, f"{header.total_bytes} bytes said, {len(image)} there")
    for offset, place, size in (
        (28, header.populations_at, header.populations * POPULATION.size),
        (32, header.projections_at, header.projections * PROJECTION.size),
    ):
        _in_image(image, place, size, offset)
    _require(header.reserved == 0, 36, "reserved field is not 0")
    return header


def _in_image(image: bytes, place: int, size: int, offset: int) -> None:
    fits = place % ALIGNED == 0 and HEADER.size <= place and place + size <= len(image)
    _require(fits, offset, f"{size} bytes at {place}; allowed: a multiple of {ALIGNED} within {len(image)}")


def _check_populations(header: ImageHeader, populations: list[PopulationEntry]) -> None:
    first = 0
    for k, entry in enumerate(populations):
        place = header.populations_at + k * POPULATION.size
        _require(entry.n > 0, place, "no neurons")
        _require(entry.first == first, place + 4, f"first neuron {entry.first}; expected {first}")
        _require(entry.keep_u < DECAY_UNITY, place + 8, f"keep_u {entry.keep_u}; allowed: 0..{DECAY_UNITY - 1}")
        _require(1 <= entry.keep_v <= DECAY_UNITY, place + 12, f"keep_v {entry.keep_v}; allowed: 1..{DECAY_UNITY}")
        fits = 0 <= entry.threshold <= MAX_THRESHOLD << STATE_SHIFT and entry.threshold % (1 << STATE_SHIFT) == 0
        _require(fits, place + 16, f"threshold {entry.threshold}")
        first += entry.n
    _require(first == header.neurons, 16, f"{header.neurons} neurons; the populations have {first}")


def _check_projection(
    header: ImageHeader, populations: list[PopulationEntry], entry: ProjectionEntry, place: int
) -> None:
    _require(-1 <= entry.source < len(populations), place, f"source {entry.source}")
    units = header.inputs if entry.source < 0 else populations[entry.source].n
    _require(entry.size > 0 and entry.start + entry.size <= units, place + 4, f"units of {units}")
    _require(entry.target < len(populations), place + 12, f"target {entry.target}")
    _require(EXPONENTS[0] <= entry.exponent <= EXPONENTS[1], place + 16, f"exponent {entry.exponent}")
    _require(1 <= entry.depth <= MOST_DEPTH, place + 20, f"depth {entry.depth}; allowed: 1..{MOST_DEPTH}")
    _require(entry.code < len(MODES), place + 24, f"code {entry.code}")
    _require(entry.form in (DENSE, LISTED), place + 25, f"form {entry.form}")
    _require(entry.pad == 0, place + 26, "padding is not 0")


def _synapses(image: bytes, entry: ProjectionEntry, n: int, place: int) -> tuple[Synapses, int]:
    if entry.form == DENSE:
        _require(entry.pointer_at == entry.targets_at == 0, place + 36, "a matrix with a list")
        count = entry.size * n
        weights = _array(image, entry.weights_at, "u1", count, place + 28).reshape(entry.size, n)
        delays = _delays(image, entry, count, place)
        delay = None if delays is None else delays.reshape(entry.size, n)
        return _made(entry, _values(weights, entry.code), delay), count
    pointer = _array(image, entry.pointer_at, "<u4", entry.size + 1, place + 36).astype(np.int64)
    _require(pointer[0] == 0 and bool((np.diff(pointer) >= 0).all()), entry.pointer_at, "pointers that go back")
    count = int(pointer[-1])
    targets = _array(image, entry.targets_at, "<u2" if n <= WIDE else "<u4", count, place + 40).astype(np.int64)
    _require(not count or int(targets.max()) < n, entry.targets_at, f"a target beyond the {n} neurons")
    weights = _array(image, entry.weights_at, "u1", count, place + 28)
    delays = _delays(image, entry, count, place)
    sources = np.repeat(np.arange(entry.size), np.diff(pointer))
    once = len(np.unique(sources * n + targets)) == count
    _require(once, entry.targets_at, "two synapses of one unit onto one neuron, which a matrix does not hold")
    dense, late = np.zeros((entry.size, n), np.int64), np.zeros((entry.size, n), np.int64)
    dense[sources, targets] = _values(weights, entry.code)
    if delays is not None:
        late[sources, targets] = delays
    return _made(entry, dense, None if delays is None else late), count


def _values(weights: Array, code: int) -> Array:
    """Weights that the bytes stand for."""
    if code == 0:
        return 2 * weights.view(np.int8).astype(np.int64)
    return weights.astype(np.int64) * (1 if code == 1 else -1)


def _made(entry: ProjectionEntry, weight: Array, delay: Array | None) -> Synapses:
    late = None if delay is None else np.ascontiguousarray(delay.T).astype(np.int32)
    return Synapses(np.ascontiguousarray(weight.T).astype(np.int32), entry.exponent, MODES[entry.code], delay=late)


def _delays(image: bytes, entry: ProjectionEntry, count: int, place: int) -> Array | None:
    if entry.delays_at == 0:
        return None
    delays = _array(image, entry.delays_at, "u1", count, place + 32)
    _require(int(delays.max(initial=0)) < entry.depth, entry.delays_at, f"a delay beyond depth {entry.depth}")
    return delays


def _array(image: bytes, at: int, kind: str, count: int, offset: int) -> Array:
    dtype: np.dtype[Any] = np.dtype(kind)
    _in_image(image, at, count * dtype.itemsize, offset)
    return np.frombuffer(image, dtype, count, at)


def _layer(
    image: bytes,
    header: ImageHeader,
    index: int,
    entry: PopulationEntry,
    driven: list[tuple[ProjectionEntry, Synapses]],
) -> FixedLayer:
    place = header.populations_at + index * POPULATION.size
    _require(bool(driven), place, "a population that nothing drives")
    (first, _), *_ = driven
    alike = [(p, s) for p, s in driven if (p.exponent, p.code) == (first.exponent, first.code)]
    others = [(p, s) for p, s in driven if (p.exponent, p.code) != (first.exponent, first.code)]
    own = [s for p, s in others if (p.source, p.start, p.size) == (index, 0, entry.n)]
    _require(len(others) == len(own) <= 1, place, "projections that differ in exponent or sign of the weights")
    parts = [synapses for _, synapses in alike]
    delayed = any(part.delay is not None for part in parts)
    delays = [np.zeros_like(part.weight) if part.delay is None else part.delay for part in parts]
    synapses = Synapses(
        np.concatenate([part.weight for part in parts], axis=1),
        first.exponent,
        MODES[first.code],
        delay=np.concatenate(delays, axis=1) if delayed else None,
    )
    bias = _state(image, entry.bias_at, entry.n, place + 20, LARGEST_BIAS)
    mantissa, exponent = (None, None) if bias is None else _registers(bias, entry.bias_at)
    return FixedLayer(
        synapses,
        du=DECAY_UNITY - 1 - entry.keep_u,
        dv=DECAY_UNITY - entry.keep_v,
        vth=entry.threshold >> STATE_SHIFT,
        bias_mant=mantissa,
        bias_exp=exponent,
        recurrent=own[0] if own else None,
        blocks=tuple(Block(p.source, p.start, p.size) for p, _ in alike),
        u_start=_state(image, entry.u_start_at, entry.n, place + 24, MAX_STATE - 1),
        v_start=_state(image, entry.v_start_at, entry.n, place + 28, MAX_STATE - 1),
    )


def _state(image: bytes, at: int, n: int, offset: int, most: int) -> Array | None:
    if at == 0:
        return None
    values = _array(image, at, "<i4", n, offset).astype(np.int32)
    _require(bool((np.abs(values.astype(np.int64)) <= most).all()), at, f"a value beyond {most}")
    return values


def _registers(bias: Array, at: int) -> tuple[Array, Array]:
    """Mantissa and exponent of each bias, the smallest exponent that holds it."""
    wide = bias.astype(np.int64)
    exponent = np.zeros(len(wide), np.int64)
    for shift in range(7, 0, -1):
        whole = wide % (1 << shift) == 0
        needed = ((wide >> (shift - 1)) > BIAS_MANTISSA[1]) | ((wide >> (shift - 1)) < BIAS_MANTISSA[0])
        exponent = np.where((exponent == 0) & whole & needed, shift, exponent)
    mantissa = wide >> exponent
    fits = (mantissa << exponent == wide) & (mantissa >= BIAS_MANTISSA[0]) & (mantissa <= BIAS_MANTISSA[1])
    _require(bool(fits.all()), at, "a bias that no mantissa of 13 bits and exponent of 0..7 make")
    return mantissa.astype(np.int32), exponent.astype(np.int32)
