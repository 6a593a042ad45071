"""Spikes as other tools hold them, and back: NIRData of the NIR standard, Neo of electrophysiology.

Times are seconds in hwloop and in NIRData; Neo states its own unit. Both packages are imported at first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .errors import InputError
from .spikes import Spikes

if TYPE_CHECKING:
    import neo
    import nir

__all__ = ["from_neo", "from_nir_data", "to_neo", "to_nir_data"]


def to_nir_data(spikes: Spikes) -> nir.EventData:
    """``spikes`` as ``nir.EventData``: index -1 and time ``inf`` where padded; ``t_max = t_stop`` (s)."""
    import nir

    events = spikes.detach()
    index = torch.where(events.valid, events.units, -1).cpu().numpy()
    times = torch.where(events.valid, events.times, torch.inf).cpu().numpy()
    return nir.EventData(index, times, spikes.n_units, spikes.t_stop)


def from_nir_data(data: nir.EventData | nir.TimeGriddedData, dtype: torch.dtype | None = None) -> Spikes:
    """Spikes of ``nir.EventData`` (any order within a sample), or of boolean ``nir.TimeGriddedData``.

    A spike in step k of gridded data falls at ``k dt``. ``dtype``: of the times; default torch's.

    Raises :class:`InputError` for valued events and real-valued grids, which are no spikes, and for times and units
    that :class:`~hwloop.spikes.Spikes` does not allow.
    """
    import nir

    if isinstance(data, nir.TimeGriddedData):
        if data.data.dtype != bool:
            raise InputError(
                f"gridded NIRData of {data.data.dtype}; spikes are bool (a real-valued signal is no spikes)"
            )
        return Spikes.from_dense(torch.from_numpy(data.data.astype(np.float64)), data.dt).to(dtype or _default())
    if isinstance(data, nir.ValuedEventData) or not isinstance(data, nir.EventData):
        raise InputError(f"NIRData of type {type(data).__name__}; allowed: EventData, TimeGriddedData of bool")
    samples = []
    for index, times in zip(data.idx, data.time, strict=True):
        kept = index != -1
        order = np.argsort(times[kept], kind="stable")
        samples.append((times[kept][order], index[kept][order]))
    return Spikes.from_events(samples, data.n_neurons, data.t_max, dtype)


def to_neo(spikes: Spikes) -> neo.Block:
    """``spikes`` as a ``neo.Block``: a segment a sample, a spike train a unit (silent units included), in seconds."""
    neo = _neo()
    block = neo.Block(name="hwloop")
    for sample, (times, units) in enumerate(spikes.to_events()):
        segment = neo.Segment(name=f"sample {sample}", index=sample)
        for unit in range(spikes.n_units):
            train = neo.SpikeTrain(times[units == unit], units="s", t_start=0.0, t_stop=spikes.t_stop, unit=unit)
            segment.spiketrains.append(train)
        block.segments.append(segment)
    return block


def from_neo(block: neo.Block | Sequence[neo.Segment], dtype: torch.dtype | None = None) -> Spikes:
    """Spikes of a ``neo.Block`` (or of segments): a sample a segment, unit k its k-th spike train.

    Times are counted from each train's ``t_start`` and converted to seconds.

    Raises :class:`InputError` where segments differ in their number of trains or in duration, or hold none.
    """
    segments = list(getattr(block, "segments", block))
    if not segments or not segments[0].spiketrains:
        raise InputError("no segment with a spike train; a sample is a segment, a unit a spike train")
    n_units, t_stop = len(segments[0].spiketrains), _duration(segments[0].spiketrains[0])
    samples = []
    for number, segment in enumerate(segments):
        if len(segment.spiketrains) != n_units:
            raise InputError(f"segment {number} has {len(segment.spiketrains)} spike trains; the first has {n_units}")
        for unit, train in enumerate(segment.spiketrains):
            if not np.isclose(_duration(train), t_stop, rtol=1e-9, atol=0.0):
                raise InputError(
                    f"segment {number}, train {unit} lasts {_duration(train):g} s; the first {t_stop:g} s: cut them alike"
                )
        samples.append(_merged(segment.spiketrains, t_stop))
    return Spikes.from_events(samples, n_units, t_stop, dtype)


def _merged(trains: Sequence[Any], t_stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Times (s) and units of the trains of one segment, sorted."""
    times = [(train.rescale("s").magnitude - float(train.t_start.rescale("s"))).ravel() for train in trains]
    units = np.repeat(np.arange(len(times)), [len(t) for t in times])
    merged = np.clip(np.concatenate(times), 0.0, t_stop)  # a conversion of units may leave the window by rounding
    order = np.argsort(merged, kind="stable")
    return merged[order], units[order]


def _duration(train: Any) -> float:
    return float((train.t_stop - train.t_start).rescale("s"))


def _neo() -> Any:
    try:
        import neo
    except ImportError as error:
        raise InputError(f"Neo cannot be imported ({error}); install it: pip install 'hwloop[neo]'") from error
    return neo


def _default() -> torch.dtype:
    return torch.get_default_dtype()
