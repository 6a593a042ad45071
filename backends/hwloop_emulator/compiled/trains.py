"""The effects of a run on spike trains: jitter, read-out, and the change of the time unit, each in one compiled pass.

A chain of array operations would cost a dozen passes over memory and as many calls, longer than a small batch simulates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from hwloop.spikes import Spikes

from ..streams import Array
from . import passes
from .streams import Streams

#: The draws of a read-out that loses nothing.
_NONE: Array = np.empty(0)


class ReadOut(NamedTuple):
    """Events as the read-out hands them on, how many it lost and stamped too late, and the latest stamp (s; ``-inf``: none)."""

    spikes: Spikes
    lost: int
    late: int
    latest: float


def arrays(spikes: Spikes) -> tuple[Array, Array, Array]:
    """Times, units and counts, each contiguous: the one layout that the passes are compiled for."""
    times, units, counts = spikes.times.numpy(), spikes.units.numpy(), spikes.counts.numpy()
    return np.ascontiguousarray(times), np.ascontiguousarray(units), np.ascontiguousarray(counts)


def of_arrays(times: Array, units: Array, counts: Array, n_units: int, t_stop: float) -> Spikes:
    """Spikes in the memory of these arrays."""
    tensors = torch.from_numpy(times), torch.from_numpy(units), torch.from_numpy(counts)
    return Spikes.trusted(*tensors, n_units, t_stop)


def drawn(streams: Streams, spikes: Spikes, uniform: bool) -> Array:
    """A draw of one stream for every event: of what it draws for all of ``[batch, events]``, nothing for the padding."""
    batch, width = spikes.times.shape
    counts = spikes.counts.numpy()
    runs = np.zeros(batch, np.int64), width * np.arange(batch), counts
    return streams.random(*runs) if uniform else streams.normal(*runs)


def jittered(spikes: Spikes, sigma: float, streams: Streams) -> Spikes:
    """Every event moved by a normal ``sigma`` (s), kept inside the window, sorted again."""
    times, units, counts = arrays(spikes)
    moved, places = np.empty(times.shape, times.dtype), np.empty(times.shape, np.int64)
    passes.jitter(times, units, counts, drawn(streams, spikes, uniform=False), sigma, spikes.t_stop, moved, places)
    return of_arrays(moved, places, counts, spikes.n_units, spikes.t_stop)


def read_out(
    spikes: Spikes,
    probability: float,
    latency: float,
    tick: float,
    streams: Streams | None,
    room: tuple[Array, Array] | None = None,
) -> ReadOut:
    """Each event lost with ``probability``, or stamped later by ``latency`` (s), rounded down to ``tick`` (s; 0: none).

    Stamps after ``t_stop`` fall out of the recording. ``streams`` decide what is lost, None: nothing is. ``room`` are two
    arrays as wide as the events that the answer may lie in.
    """
    events = times, _, counts = arrays(spikes)
    draws = _NONE if streams is None else drawn(streams, spikes, uniform=True)
    out, to = room or (np.empty(times.shape, times.dtype), np.empty(times.shape, np.int64))
    left = np.empty_like(counts)
    share = 0.0 if streams is None else probability
    lost, late, latest = passes.read_out(events, draws, share, latency, tick, spikes.t_stop, (out, to, left))
    return ReadOut(of_arrays(out, to, left, spikes.n_units, spikes.t_stop), lost, late, latest)


def rescaled(spikes: Spikes, factor: float, t_stop: float) -> Spikes:
    """Times multiplied by ``factor``; ``t_stop`` is the new window. Exact where ``factor`` is 1, in the same memory then."""
    if factor == 1.0:
        return Spikes.trusted(spikes.times, spikes.units, spikes.counts, spikes.n_units, t_stop)
    times, units, counts = arrays(spikes)
    return _rescaled(times, units, counts, spikes.n_units, factor, t_stop, times.shape[1])


def narrowed(spikes: Spikes, factor: float, t_stop: float) -> Spikes:
    """As :func:`rescaled`, in memory of its own, as narrow as can be."""
    times, units, counts = arrays(spikes)
    return _rescaled(times, units, counts, spikes.n_units, factor, t_stop, int(counts.max()))


def _rescaled(
    times: Array, units: Array, counts: Array, n_units: int, factor: float, t_stop: float, width: int
) -> Spikes:
    out, to = np.empty((len(counts), width), times.dtype), np.empty((len(counts), width), np.int64)
    passes.rescale(times, units, counts, factor, t_stop, out, to)
    return of_arrays(out, to, counts, n_units, t_stop)
