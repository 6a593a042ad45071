"""Data sets of the package tonic as ours: events with labels, read one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from ..arguments import shown
from ..errors import InputError
from ..spikes import Spikes
from .data import Dataset


class LabelledEvents(Protocol):
    """What a data set of tonic is: ``(events, label)`` by number, events as :meth:`hwloop.Spikes.from_aer` reads them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]: ...


def from_tonic(
    data: LabelledEvents,
    t_stop: float,
    *,
    samples: Iterable[int] | None = None,
    sensor_size: Sequence[int] | None = None,
    time_unit: float | str = 1e-6,
) -> Dataset:
    """The samples of a data set of tonic, or of anything that is indexed like one.

    Parameters
    ----------
    data : such as ``tonic.datasets.NMNIST("data", train=True)``; needs the extra ``hwloop[tonic]``, a list of pairs does not
    t_stop : end of the window (s), counted from each sample's first event; later events are refused, so that none is lost unseen
    samples : numbers of those to take; default all
    sensor_size : ``(w, h, n_p)``; default what the data set says, which every one of tonic does
    time_unit : worth of one tick (s), or "s", "ms", "us", "ns"

    Raises
    ------
    InputError
        No sensor size, no samples, labels that are no whole numbers, and as :meth:`hwloop.Spikes.from_aer`.
    """
    size = getattr(data, "sensor_size", None) if sensor_size is None else sensor_size
    if size is None:
        raise InputError("data without a sensor_size; give sensor_size=(width, height, polarities)")
    chosen = range(len(data)) if samples is None else list(samples)
    if not chosen:
        raise InputError(f"samples = {shown(samples)}: none; give the numbers of those to take, or leave it out")
    pairs = [data[number] for number in chosen]
    inputs = Spikes.from_aer([events for events, _ in pairs], t_stop=t_stop, time_unit=time_unit, sensor_size=size, start="first")  # fmt: skip
    return Dataset(inputs, [label for _, label in pairs])
