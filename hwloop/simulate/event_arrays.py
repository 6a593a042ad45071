"""Spikes as arrays: views of their tensors, and remembered by the spikes that a layer answered.

The next layer, the loss, the decision and the count of silent samples read the same spikes, and views of three small tensors
take as long to make as the spikes of a sample to simulate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .contract import Events

if TYPE_CHECKING:
    from ..spikes import Spikes

#: Where spikes keep their views: beside their fields, so that neither a copy nor a stored batch takes them along.
_KEPT = "_arrays"


def to_events(spikes: Spikes, dtype: Any) -> Events:
    """Arrays of ``spikes`` with times in ``dtype`` (None: theirs): views wherever they are so already."""
    found = remembered(spikes)
    if found is not None and (dtype is None or found.times.dtype == dtype):
        return found
    return events_of(spikes.times.detach(), spikes.units, spikes.counts, dtype)


def events_of(times: Tensor, units: Tensor, counts: Tensor, dtype: Any) -> Events:
    """Arrays of events without a gradient."""
    return Events(
        np.ascontiguousarray(times.numpy(), dtype),
        np.ascontiguousarray(units.numpy()),
        np.ascontiguousarray(counts.numpy()),
    )


def remember(spikes: Spikes, events: Events) -> None:
    """Let ``spikes`` keep ``events``, the very memory of its tensors: what is changed in them is seen in the arrays, too."""
    spikes.__dict__[_KEPT] = events, _places(spikes)


def remembered(spikes: Spikes) -> Events | None:
    """What :func:`remember` kept; None where a tensor has other memory, or another shape, since."""
    kept = spikes.__dict__.get(_KEPT)
    if kept is None or kept[1] != _places(spikes):
        return None
    events: Events = kept[0]
    return events


def _places(spikes: Spikes) -> tuple[Any, ...]:
    times, units = spikes.times, spikes.units
    return times.data_ptr(), units.data_ptr(), spikes.counts.data_ptr(), times.shape, units.shape
