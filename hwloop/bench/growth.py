"""How the cost of a sample grows: with input events, width, depth, batch and spikes a neuron, one at a time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .peers import Peer, Unavailable, build, tune
from .timing import interleave
from .workloads import Workload

#: What all points share but for the one thing that varies.
BASE = Workload("SCALING", (200, 200, 10), 50, 50, 1.0, None)

#: What varies, in which values. Spikes a neuron are those that the layers are tuned to.
AXES: dict[str, tuple[float, ...]] = {
    "events": (25, 50, 100, 200),
    "width": (50, 100, 200, 400, 800),
    "depth": (1, 2, 3, 4),
    "batch": (1, 5, 20, 50, 200),
    "spikes": (0.5, 1, 2, 4, 8),
}

#: Axis as a reader calls it.
NAMES = {
    "events": "input events a sample", "width": "neurons of the hidden layer", "depth": "hidden layers",
    "batch": "samples of a batch", "spikes": "spikes a neuron",
}  # fmt: skip


@dataclass(frozen=True)
class Point:
    """CPU seconds of a sample, forward and backward: medians; None where the peer cannot run this."""

    axis: str
    value: float
    peer: str
    seconds: float | None
    rates: tuple[float, ...] = ()
    reason: str = ""


def at(axis: str, value: float) -> Workload:
    """The base with ``axis`` at ``value``."""
    whole, (n_in, width, n_out) = int(value), BASE.layers
    changed: dict[str, Workload] = {
        "events": replace(BASE, events=whole),
        "width": replace(BASE, layers=(n_in, whole, n_out)),
        "depth": replace(BASE, layers=(n_in, *[width] * whole, n_out)),
        "batch": replace(BASE, batch=whole),
        "spikes": replace(BASE, rate=value),
    }
    return changed[axis]


def points(names: Sequence[str], rounds: int, seed: int, tick: Callable[[], None] = lambda: None) -> Iterator[Point]:
    """All points of ``names``, axis by axis; those of one value are timed by turns. ``tick`` is called once a value."""
    for axis, values in AXES.items():
        for value in values:
            yield from _of_value(axis, value, names, rounds, seed)
            tick()


def _of_value(axis: str, value: float, names: Sequence[str], rounds: int, seed: int) -> Iterator[Point]:
    workload = at(axis, value)
    ready: dict[str, Peer] = {}
    for name in names:
        try:
            peer = build(name, workload, seed)
            tune(peer, workload.rate)
            peer.step()
            ready[name] = peer
        except Unavailable as error:
            yield Point(axis, value, name, None, reason=str(error))
        except Exception as error:  # of a foreign library: the point says so
            yield Point(axis, value, name, None, reason=f"{type(error).__name__}: {error}")
    seconds = interleave({name: peer.step for name, peer in ready.items()}, rounds)
    for name, peer in ready.items():
        each = statistics.median(seconds[name]) / peer.description.batch
        yield Point(axis, value, name, each, tuple(peer.rates()))
