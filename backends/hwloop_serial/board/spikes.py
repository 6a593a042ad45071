"""Events of INPUT as spikes of a target, and spikes of a target as events of OUTPUT."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from hwloop.spikes import Spikes

from .. import event_lists
from ..event_lists import EventError, Events
from ..messages import Code, Run
from .model import Refusal


def given(asked: Run, data: bytes, n_units: int, last: float, *, strictly: bool) -> Events:
    """The events of ``data`` for a batch of ``asked``; raises :class:`Refusal` naming the sample that does not fit."""
    try:
        events = event_lists.unpack(data, asked.batch, asked.format)
        event_lists.check(events, n_units, last, strictly=strictly)
    except EventError as error:
        raise Refusal(Code.BAD_INPUT, error.sample, text=str(error)) from None
    return events


def as_spikes(events: Events, n_units: int, t_stop: float) -> Spikes:
    """``events`` (s) as a batch in their dtype."""
    batch, width = len(events.counts), int(events.counts.max())
    first = np.repeat(np.cumsum(events.counts) - events.counts, events.counts)
    column = np.arange(len(events.times)) - first
    times = np.full((batch, width), math.inf, events.times.dtype.newbyteorder("="))
    units = np.zeros((batch, width), np.int64)
    times[events.samples, column], units[events.samples, column] = events.times, events.units
    counts = torch.from_numpy(events.counts.copy())
    return Spikes.trusted(torch.from_numpy(times), torch.from_numpy(units), counts, n_units, t_stop)


def in_a_row(populations: Sequence[Events], sizes: Sequence[int]) -> Events:
    """The events of all populations, sample by sample, units numbered through."""
    firsts = np.cumsum([0, *sizes[:-1]])
    sample = np.concatenate([events.samples for events in populations])
    order = np.argsort(sample, kind="stable")
    times = np.concatenate([events.times for events in populations])[order]
    units = np.concatenate([p.units + first for p, first in zip(populations, firsts, strict=True)])[order]
    counts = np.sum([events.counts for events in populations], axis=0)
    return Events(counts, times, units)


def of_spikes(spikes: Spikes) -> Events:
    """The events of ``spikes`` in a row."""
    valid = spikes.valid.cpu().numpy()
    times, units = spikes.times.detach().cpu().numpy()[valid], spikes.units.cpu().numpy()[valid]
    return Events(spikes.counts.cpu().numpy().astype(np.int64), times, units)


def packed(events: Events, code: int, room: int, between: bytes = b"") -> bytes:
    """OUTPUT; raises :class:`Refusal` with the number of samples that fit where ``room`` (bytes) is too small."""
    start = event_lists.COUNT.itemsize * len(events.counts) + len(between)
    used = start + np.cumsum(events.counts) * event_lists.event_type(code).itemsize
    if int(used[-1]) > room:
        raise Refusal(Code.OVERFLOW, int(np.searchsorted(used, room, "right")))
    return event_lists.pack(events, code, between)
