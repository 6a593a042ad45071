"""What a batch of spikes has to be: checks of :class:`hwloop.spikes.Spikes`, each naming sample, event and value."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .arguments import DTYPES, floats, real_array, shown
from .errors import InputError


def event_pair(sample: int, pair: Any) -> tuple[Tensor | NDArray[np.float64], NDArray[np.int64]]:
    """Times (a tensor keeps its dtype and gradient) and units of ``sample``, of equal length."""
    try:
        times, units = pair
    except (TypeError, ValueError):
        raise InputError(f"sample {sample}: expected a (times, units) pair, found {shown(pair)}") from None
    where = f"sample {sample}: times"
    if isinstance(times, Tensor):
        t: Tensor | NDArray[np.float64] = floats(where, times)
    else:
        t = real_array(where, times).astype(np.float64)
    u = whole_numbers(f"sample {sample}: units", units)
    if t.ndim != 1 or u.ndim != 1 or len(t) != len(u):
        raise InputError(
            f"sample {sample}: times {tuple(t.shape)} and units {u.shape}; expected two lists of equal length"
        )
    return t, u


def whole_numbers(name: str, values: Any) -> NDArray[np.int64]:
    """``values`` as int64; :class:`InputError` naming one that is no whole number. Nothing is rounded."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    if np.size(values) == 0:
        return np.zeros(np.shape(values), np.int64)
    array = np.asarray(values)
    if array.dtype.kind == "b":
        raise InputError(f"{name} are booleans; allowed: whole numbers (of a mask: its positions, mask.nonzero())")
    array = real_array(name, values)
    if array.dtype.kind == "f":
        bad = ~(np.abs(array) < 2**63) | (array != np.rint(array))
    else:
        bad = array > np.int64(2**63 - 1) if array.dtype == np.uint64 else np.zeros(array.shape, bool)
    if bad.any():
        raise InputError(
            f"{name} must be whole numbers, found {array[bad][0]}; round them first, nothing is rounded here"
        )
    return array.astype(np.int64)


def how_to_spikes(value: Any) -> str:
    """The constructor that makes spikes of what looks like ``value``."""
    ndim = value.ndim if isinstance(value, (Tensor, np.ndarray)) else None
    dense = "a raster [batch, steps, units]: Spikes.from_dense(raster, dt)"
    first = "spike times (s) [batch, units]: Spikes.from_first_times(times, t_stop)"
    values = "values in 0..1 [batch, units]: hwloop.encoding.latency(values, t_early, t_late, t_stop)"
    events = "lists of events: Spikes.from_events([(times, units), ...], n_units, t_stop)"
    fitting = {2: [first, values], 3: [dense]}.get(ndim or 0, [events, dense, first, values])
    return "From " + "; from ".join(fitting)


def check_shapes(times: Tensor, units: Tensor, counts: Tensor) -> None:
    """Shapes and dtypes of the three tensors."""
    for name, value in (("times", times), ("units", units), ("counts", counts)):
        if not isinstance(value, Tensor):
            raise InputError(f"{name} are {shown(value)}; expected tensors. Lists of events: Spikes.from_events")
    if times.ndim != 2 or times.shape != units.shape or counts.shape != times.shape[:1]:
        raise InputError(
            f"times {tuple(times.shape)}, units {tuple(units.shape)}, counts {tuple(counts.shape)}; "
            "expected [batch, events] twice and [batch]"
        )
    if times.shape[0] == 0:
        raise InputError("a batch of no samples; give at least one")
    if times.dtype not in DTYPES:
        raise InputError(f"times have dtype {times.dtype}; allowed: float32 or float64")
    if units.dtype != torch.int64 or counts.dtype != torch.int64:
        raise InputError(f"units are {units.dtype} and counts {counts.dtype}; both must be int64")
    if int(counts.min()) < 0 or int(counts.max()) > times.shape[1]:
        raise InputError(f"counts span {int(counts.min())}..{int(counts.max())}; allowed: 0..{times.shape[1]} events")


def check_events(times: Tensor, units: Tensor, counts: Tensor, n_units: int, t_stop: float) -> None:
    """Values of the three tensors."""
    valid = torch.arange(times.shape[1], device=times.device) < counts[:, None]
    _refuse(valid & ~torch.isfinite(times), times, "time", "finite")
    _refuse(valid & (times < 0), times, "time", ">= 0 s")
    # a time that was rounded to the dtype may exceed the float64 t_stop by that rounding
    limit = float(torch.tensor(t_stop, dtype=times.dtype))
    _refuse(valid & (times > max(limit, t_stop)), times, "time", f"<= t_stop = {t_stop} s")
    _refuse(valid & ((units < 0) | (units >= n_units)), units, "unit", f"0..{n_units - 1}")
    if times.shape[1] > 1:
        falls = torch.zeros_like(valid)
        falls[:, 1:] = valid[:, 1:] & (times[:, 1:] < times[:, :-1])
        _refuse(falls, times, "time", "sorted (not before the event in front of it); sort times and units together")
    _refuse(~valid & ~torch.isposinf(times), times, "padding", "inf")


def _refuse(bad: Tensor, values: Tensor, what: str, allowed: str) -> None:
    if bool(bad.any()):
        sample, event = (int(x) for x in torch.nonzero(bad)[0])
        raise InputError(f"sample {sample}, event {event}: {what} {values[sample, event].item()}; allowed: {allowed}")
