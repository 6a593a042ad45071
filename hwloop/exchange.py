"""Spikes as other tools hold them, and back: NIRData of the NIR standard, Neo of electrophysiology.

Times are seconds in hwloop and in NIRData; Neo states its own unit. Both hold float64, and readers that bin by rounding
down need it, so times are float64 here unless told otherwise. Both packages are imported at first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .arguments import seconds
from .errors import InputError
from .rasters import steps_of
from .spikes import Spikes

if TYPE_CHECKING:
    import neo
    import nir

__all__ = ["from_neo", "from_nir_data", "to_neo", "to_nir_data"]


def to_nir_data(spikes: Spikes, dt: float | None = None) -> nir.EventData:
    """``spikes`` as ``nir.EventData``: index -1 and time ``inf`` where padded; ``t_max = t_stop`` (s).

    ``dt`` (s): times that are multiples of it, as far as their dtype can tell, are written as ``k dt`` in float64, so that
    NIR's binning at ``dt``, which rounds down, finds bin k; a float32 time may lie just below. Others stay as they are.
    """
    import nir

    events = spikes.detach()
    index = torch.where(events.valid, events.units, -1).cpu().numpy()
    times = torch.where(events.valid, events.times, torch.inf).cpu()
    if dt is not None:
        step, on_grid = steps_of(times, seconds("dt", dt))
        times = torch.where(on_grid, step * dt, times.double())
    return nir.EventData(index, times.numpy(), spikes.n_units, spikes.t_stop)


def from_nir_data(data: nir.EventData | nir.TimeGriddedData, dtype: torch.dtype | None = None) -> Spikes:
    """Spikes of ``nir.EventData`` (any order within a sample), or of boolean ``nir.TimeGriddedData``.

    A spike in step k of gridded data falls at ``k dt``. Events in one axis are one sample. ``dtype``: of the times;
    default float64.

    Raises :class:`InputError` for valued events and real-valued grids, which are no spikes, and for times and units
    that :class:`~hwloop.spikes.Spikes` does not allow.
    """
    import nir

    dtype = dtype or torch.float64
    if isinstance(data, nir.TimeGriddedData):
        if data.data.dtype != bool:
            raise InputError(
                f"gridded NIRData of {data.data.dtype}; spikes are bool (a real-valued signal is no spikes)"
            )
        return Spikes.from_dense(torch.from_numpy(data.data.copy()), data.dt, dtype)
    if isinstance(data, nir.ValuedEventData) or not isinstance(data, nir.EventData):
        raise InputError(f"NIRData of type {type(data).__name__}; allowed: EventData, TimeGriddedData of bool")
    index, time = (np.asarray(part)[None] if np.ndim(part) == 1 else np.asarray(part) for part in (data.idx, data.time))
    if index.ndim != 2:
        raise InputError(f"NIRData of shape {index.shape}; allowed: [n_samples, n_events], or [n_events] of one sample")
    samples = []
    for units, times in zip(index, time, strict=True):
        kept = units != -1
        order = np.argsort(times[kept], kind="stable")
        samples.append((times[kept][order], units[kept][order]))
    return Spikes.from_events(samples, data.n_neurons, data.t_max, dtype)


def to_neo(spikes: Spikes) -> neo.Block:
    """``spikes`` as a ``neo.Block``: a segment a sample, a spike train a unit (silent units included), in seconds."""
    neo = _neo()
    block = neo.Block(name="hwloop")
    for sample, (narrow, units) in enumerate(spikes.to_events()):
        # a float32 time may be rounded beyond t_stop, which Neo refuses
        times = np.minimum(narrow.astype(np.float64), spikes.t_stop)
        segment = neo.Segment(name=f"sample {sample}", index=sample)
        for unit in range(spikes.n_units):
            train = neo.SpikeTrain(times[units == unit], units="s", t_start=0.0, t_stop=spikes.t_stop, unit=unit)
            segment.spiketrains.append(train)
        block.segments.append(segment)
    return block


def from_neo(block: neo.Block | Sequence[neo.Segment], dtype: torch.dtype | None = None) -> Spikes:
    """Spikes of a ``neo.Block``, of segments or of one: a sample is a segment, unit k its k-th spike train.

    All trains of a segment share its clock: t = 0 is the earliest ``t_start`` among them, ``t_stop`` the latest
    ``t_stop``; outside its own window a train is silent. Times are converted to seconds. ``dtype``: of the times;
    default float64.

    Raises :class:`InputError` where segments differ in their number of trains or in duration, or hold none, and where
    trains are annotated with another ``unit`` than their place.
    """
    segments = [block] if hasattr(block, "spiketrains") else list(getattr(block, "segments", block))
    if not segments or not segments[0].spiketrains:
        raise InputError("no segment with a spike train; a sample is a segment, a unit a spike train")
    n_units, t_stop = len(segments[0].spiketrains), _window(segments[0].spiketrains)[1]
    samples = []
    for number, segment in enumerate(segments):
        trains = segment.spiketrains
        if len(trains) != n_units:
            raise InputError(f"segment {number} has {len(trains)} spike trains; the first has {n_units}")
        for place, train in enumerate(trains):
            unit = train.annotations.get("unit", place)
            if isinstance(unit, int) and unit != place:
                raise InputError(
                    f"segment {number}, train {place} is annotated as unit {unit}; units are counted by place: sort the trains"
                )
        start, duration, last = _window(trains)
        if not np.isclose(duration, t_stop, rtol=1e-9, atol=0.0):
            raise InputError(
                f"segment {number}, train {last} lasts {duration:g} s; the first {t_stop:g} s: cut them alike"
            )
        samples.append(_merged(trains, start, t_stop))
    return Spikes.from_events(samples, n_units, t_stop, dtype or torch.float64)


def _merged(trains: Sequence[Any], start: float, t_stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) after ``start`` and units of the trains of one segment, sorted."""
    times = [train.rescale("s").magnitude.astype(np.float64).ravel() - start for train in trains]
    units = np.repeat(np.arange(len(times)), [len(t) for t in times])
    merged = np.clip(np.concatenate(times), 0.0, t_stop)  # a conversion of units may leave the window by rounding
    order = np.argsort(merged, kind="stable")
    return merged[order], units[order]


def _window(trains: Sequence[Any]) -> tuple[float, float, int]:
    """Start (s) and duration (s) of the clock that ``trains`` share, and the train that ends last."""
    ends = [float(train.t_stop.rescale("s")) for train in trains]
    start = min(float(train.t_start.rescale("s")) for train in trains)
    return start, max(ends) - start, int(np.argmax(ends))


def _neo() -> Any:
    try:
        import neo
    except ImportError as error:
        raise InputError(f"Neo cannot be imported ({error}); install it: pip install 'hwloop[neo]'") from error
    return neo
