"""The arrays that the kernels of a component read and write, in a few tuples.

Numba compiles a kernel anew for arrays of another kind: read-only ones, or ones that lie in memory in another order. So
whatever a kernel is given goes through :func:`uniform` once, and one compiled kernel serves all calls of a dtype.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..contract import FloatArray, IntArray

#: Columns of the table of neuron constants.
TAU_MEM, TAU_SYN, REFRACTORY, RESET = range(4)

#: Layout of a bundle where its targets are not consecutive neurons of kind CURRENT: scattered ones, or any kind.
SCATTERED, MIXED = -1, -2

#: How a sample ended: at t_stop, out of room, or in an explosion.
DONE, FULL, EXPLODED = range(3)


class Plan(NamedTuple):
    """A component as the kernels read it.

    ``form``: closed form of the time constants; ``table [N, 4]``, ``per [N, 2]`` (rates)
    float64; ``sparse``: neurons of other kinds than CURRENT, ascending, and ``ramps`` those of kind
    INTEGRATE; ``moves``: a membrane may change before the first event; ``holding``: some neuron has a refractory time;
    ``layout [bundles]``: first target, or how targets lie; ``least [N]``: shortest delay of a neuron's bundles (inf: none);
    ``fifo``: all delays among the neurons are one; ``fastest`` (1/s) and ``block``: see :func:`~.simulation.simulate_range`.
    """

    form: int | None
    n_external: int
    table: FloatArray
    per: FloatArray
    threshold: FloatArray
    start: FloatArray
    ramp: FloatArray
    subtract: Any
    cap: IntArray
    kind: IntArray
    sparse: IntArray
    ramps: IntArray
    moves: bool
    holding: bool
    bundle_starts: IntArray
    delay: FloatArray
    first: IntArray
    target: IntArray
    weight: FloatArray
    layout: IntArray
    least: FloatArray
    fifo: bool
    fastest: float
    block: int


class External(NamedTuple):
    """Arrivals from outside in order of time, ``[batch, arrivals]``: time (s), bundle, event, and counts."""

    times: FloatArray
    bundles: IntArray
    events: IntArray
    counts: IntArray


class Measured(NamedTuple):
    """Spikes to replay, and the chain of those of each neuron: its first, and the next of the same neuron (-1: none)."""

    times: FloatArray
    units: IntArray
    counts: IntArray
    head: IntArray
    following: IntArray


class Found(NamedTuple):
    """What a forward pass writes; see :class:`~.contract.JointTrace`. ``status, stopped, rate [batch]``: how each ended."""

    times: FloatArray
    units: IntArray
    counts: IntArray
    current: FloatArray
    release_time: FloatArray
    release_current: FloatArray
    residual: FloatArray
    after: IntArray
    cause: IntArray
    bundle: IntArray
    origin: IntArray
    arrivals: IntArray
    status: IntArray
    stopped: FloatArray
    rate: FloatArray


_Arrays = TypeVar("_Arrays", Plan, External, Measured, Found)


def uniform(arrays: _Arrays) -> _Arrays:
    """The same, every array of it writable and in C order: itself where it is so, else a copy."""
    return arrays._replace(
        **{name: one_kind(value) for name, value in arrays._asdict().items() if isinstance(value, np.ndarray)}
    )


def one_kind(array: Any) -> Any:
    """``array`` writable and in C order: itself where it is so, else a copy."""
    return array if array.flags.carray else np.array(array, order="C")
