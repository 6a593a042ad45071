"""Address events (AER) as cameras and tonic hold them, structured arrays of fields ``t x y p``, as Spikes and back.

A pixel ``(x, y)`` of polarity ``p`` on a sensor of ``(w, h, n_p)`` is unit ``(p h + y) w + x``: the order of a frame
``[p, y, x]`` that is flattened.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .arguments import SECONDS, clock_dtype, real_array, seconds, shown, whole
from .errors import InputError, OptionError, TimeScaleWarning
from .spike_checks import whole_numbers
from .spikes import Spikes

Array: TypeAlias = NDArray[Any]

#: Fewer events than this say nothing about their clock.
FEW = 10
#: A window of so many times the events' is not theirs, but may be a thousand times theirs.
EMPTY = (300.0, 10_000.0)
#: Fields that are read; an array with any other is refused, since it would be dropped.
FIELDS = ("t", "x", "y", "p")


def from_aer(
    samples: Array | Sequence[Array],
    n_units: int | None = None,
    t_stop: float | None = None,
    time_unit: float | str = 1e-6,
    *,
    sensor_size: Sequence[int] | None = None,
    start: int | Sequence[int] | str | None = None,
    dtype: torch.dtype | None = None,
) -> Spikes:
    """Spikes of structured arrays with fields ``t``, ``x`` and, given a ``sensor_size``, ``y`` and ``p``.

    Parameters
    ----------
    samples : one structured array per sample, or one array alone
    n_units : units, where there is no ``sensor_size``; ``x`` is then the unit
    t_stop : end of the window (s), counted from t = 0; default one tick behind the last event of the batch
    time_unit : worth of one tick (s), or "s", "ms", "us", "ns"; tonic and most cameras use 1e-6
    sensor_size : ``(w, h, n_p)`` as in tonic: flattens ``x``, ``y`` and ``p`` into units ``(p h + y) w + x``
    start : the tick that becomes t = 0: one number, one per sample, or ``"first"``, each sample's first event. Default
        0, the clock's own zero, where ``t_stop`` is given, since that is a time of the clock; else ``"first"``. Whole
        ticks are subtracted as whole numbers, before they become seconds.
    dtype : of the times; default torch's, but float64 where float32 would not tell ticks apart (1 us from 4 s on)

    Raises
    ------
    InputError
        Fields that are missing or would be dropped, addresses that are fractions or outside the sensor, events that are
        not sorted, before ``start`` or behind ``t_stop``, a ``dtype`` that is too coarse for the clock.
    """
    arrays = _arrays(samples)
    tick = _tick(time_unit)
    size = None if sensor_size is None else _sensor(sensor_size)
    n_units = _n_units(n_units, size)
    _check_kept(arrays, size)
    units = [_units(i, array, size, n_units) for i, array in enumerate(arrays)]
    start = ("first" if t_stop is None else 0) if start is None else start
    clocks = _rebased([_ticks(i, array["t"]) for i, array in enumerate(arrays)], start)
    last = max((float(clock.max()) for clock in clocks if len(clock)), default=-1.0)
    if t_stop is None:
        if last < 0:
            raise InputError("a batch without events has no last one; give t_stop (s)")
        t_stop = (np.floor(last) + 1) * tick
    t_stop = seconds("t_stop", t_stop)
    _check_window(clocks, tick, t_stop)
    _warn_of_units(clocks, tick, t_stop)
    pairs = [(clock * tick, unit) for clock, unit in zip(clocks, units, strict=True)]
    return Spikes.from_events(pairs, n_units, t_stop, clock_dtype(t_stop, tick, dtype))


def to_aer(spikes: Spikes, time_unit: float | str = 1e-6, sensor_size: Sequence[int] | None = None) -> list[Array]:
    """One structured array per sample: fields ``t`` (nearest tick from t = 0), ``x``, ``p`` = 1.

    With ``sensor_size`` ``(w, h, n_p)``: fields ``t``, ``x``, ``y``, ``p`` of each unit's pixel. :func:`from_aer` reads
    both back, given ``t_stop``.
    """
    tick = _tick(time_unit)
    w, h, n_p = (spikes.n_units, 1, 1) if sensor_size is None else _sensor(sensor_size)
    if w * h * n_p != spikes.n_units:
        raise InputError(f"sensor_size {(w, h, n_p)} has {w * h * n_p} units; the spikes have {spikes.n_units}")
    names = ["t", "x", "p"] if sensor_size is None else ["t", "x", "y", "p"]
    arrays = []
    for times, unit in spikes.to_events():
        array = np.zeros(len(times), dtype=[(name, np.int8 if name == "p" else np.int64) for name in names])
        array["t"], array["x"] = np.rint(times.astype(np.float64) / tick), unit % w
        array["p"] = 1 if sensor_size is None else unit // (w * h)
        if sensor_size is not None:
            array["y"] = unit // w % h
        arrays.append(array)
    return arrays


def _arrays(samples: Any) -> list[Array]:
    if isinstance(samples, np.ndarray) and samples.dtype.names is not None and samples.ndim == 1:
        samples = [samples]
    arrays = list(samples)
    if not arrays:
        raise InputError("a batch of no samples; give at least one structured array")
    for i, array in enumerate(arrays):
        names = getattr(getattr(array, "dtype", None), "names", None) or ()
        if "t" not in names or "x" not in names:
            raise InputError(f"sample {i}: fields {names} of {shown(array)}; an AER array needs 't' and 'x'")
        if array.ndim != 1:
            raise InputError(f"sample {i}: shape {array.shape}; expected one axis, the events")
        for name in names:
            if name not in FIELDS:
                kept = [n for n in names if n in FIELDS]
                raise InputError(
                    f"sample {i}: field {name!r} would be dropped; allowed: {', '.join(FIELDS)}. Leave it out: array[{kept}]"
                )
    return arrays


def _tick(time_unit: float | str) -> float:
    if isinstance(time_unit, str):
        if time_unit not in SECONDS:
            raise OptionError(f"time_unit = {time_unit!r}; allowed: seconds, or {', '.join(map(repr, SECONDS))}")
        return SECONDS[time_unit]
    return seconds("time_unit", time_unit)


def _sensor(size: Sequence[int]) -> tuple[int, int, int]:
    try:
        sides = tuple(size)
    except TypeError:
        sides = ()
    if len(sides) not in (2, 3):
        raise InputError(f"sensor_size = {shown(size)}; allowed: (width, height, polarities), as in tonic")
    w, h, n_p = (*sides, 1)[:3]
    return whole("sensor_size: width", w), whole("sensor_size: height", h), whole("sensor_size: polarities", n_p)


def _n_units(n_units: int | None, size: tuple[int, int, int] | None) -> int:
    if size is None:
        if n_units is None:
            raise InputError(
                "neither n_units nor sensor_size; give sensor_size=(w, h, p), or n_units where x is the unit"
            )
        return whole("n_units", n_units)
    if n_units is not None and whole("n_units", n_units) != np.prod(size):
        raise InputError(f"n_units = {n_units}, but sensor_size {size} has {np.prod(size)} units; leave n_units out")
    return int(np.prod(size))


def _units(sample: int, array: Array, size: tuple[int, int, int] | None, n_units: int) -> NDArray[np.int64]:
    w, h, n_p = size or (n_units, 1, 1)
    names = array.dtype.names or ()
    for name, length in (("y", h), ("p", n_p)):
        if length > 1 and name not in names:
            raise InputError(f"sample {sample}: no field {name!r}; sensor_size {size} needs it, fields are {names}")
    x = _address(sample, array, "x", w)
    y = _address(sample, array, "y", h) if size is not None and "y" in names else 0
    p = _address(sample, array, "p", n_p) if n_p > 1 else 0
    units: NDArray[np.int64] = (p * h + y) * w + x
    return units


def _address(sample: int, array: Array, name: str, length: int) -> NDArray[np.int64]:
    field = array[name]
    values = whole_numbers(
        f"sample {sample}: {name!r} (addresses)", field.astype(np.int8) if field.dtype == bool else field
    )
    bad = (values < 0) | (values >= length)
    if bad.any():
        event = int(np.argmax(bad))
        hint = ". Polarities of -1 and 1: (p + 1) // 2" if name == "p" else ""
        raise InputError(f"sample {sample}, event {event}: {name} = {values[event]}; allowed: 0..{length - 1}{hint}")
    return values


def _check_kept(arrays: list[Array], size: tuple[int, int, int] | None) -> None:
    """Refuse a batch of which ``y`` or ``p`` would be dropped although it says something."""
    if size is not None and size[2] > 1:
        return
    for name, silent in (("y", 0), ("p", 1)) if size is None else (("p", None),):
        values = np.concatenate([array[name] for array in arrays if name in (array.dtype.names or ())] or [np.zeros(0)])
        if len(values) and (values != (values[0] if silent is None else silent)).any():
            found = ", ".join(str(v) for v in np.unique(values)[:4])
            raise InputError(
                f"field {name!r} (values {found}) would be dropped; give sensor_size=(w, h, p), which makes a unit of each "
                f"pixel and polarity{'' if size is None else ', here with p = 2'}"
            )


def _ticks(sample: int, field: Array) -> Array:
    """The clock as int64, or as float64 where it is one."""
    if field.dtype.kind in "iu":
        return whole_numbers(f"sample {sample}: 't'", field)
    ticks = real_array(f"sample {sample}: 't'", field).astype(np.float64)
    bad = ~np.isfinite(ticks)
    if bad.any():
        event = int(np.argmax(bad))
        raise InputError(f"sample {sample}, event {event}: t = {ticks[event]}; allowed: finite")
    return ticks


def _rebased(clocks: list[Array], start: Any) -> list[Array]:
    if isinstance(start, str):
        if start != "first":
            raise OptionError(f"start = {start!r}; allowed: 'first', a tick, or one tick per sample")
        origins: list[Any] = [clock[0] if len(clock) else 0 for clock in clocks]
    elif np.ndim(start) == 0:
        origins = [whole("start", start, -(2**63))] * len(clocks)
    else:
        origins = [whole("start", value, -(2**63)) for value in start]
        if len(origins) != len(clocks):
            raise InputError(f"start has {len(origins)} ticks for {len(clocks)} samples; give one, or one per sample")
    rebased = []
    for sample, (clock, origin) in enumerate(zip(clocks, origins, strict=True)):
        before = clock < origin
        if before.any():
            event = int(np.argmax(before))
            raise InputError(
                f"sample {sample}, event {event}: tick {clock[event]} lies before start = {origin}; allowed: sorted events "
                "from start on"
            )
        rebased.append(clock - origin)
    return rebased


def _check_window(clocks: list[Array], tick: float, t_stop: float) -> None:
    for sample, clock in enumerate(clocks):
        if len(clock) and float(clock[0]) * tick > t_stop:
            raise InputError(
                f"sample {sample} begins at {float(clock[0]) * tick:g} s of its clock, behind t_stop = {t_stop:g} s; allowed: "
                "start='first', which counts from each sample's first event, or start=<tick of t = 0>"
            )


def _warn_of_units(clocks: list[Array], tick: float, t_stop: float) -> None:
    """Ask where the window or the clock looks as if it counted in another unit."""
    n_events, last = sum(map(len, clocks)), max((float(clock[-1]) for clock in clocks if len(clock)), default=0.0)
    if n_events < FEW or last <= 0:
        return
    question = None
    if t_stop >= 1 and EMPTY[0] < t_stop / (last * tick) < EMPTY[1]:
        question = (
            f"the last event lies at {last * tick:g} s, t_stop = {t_stop:g} s; is t_stop in ms? Write {t_stop:g}e-3"
        )
    elif last < n_events and any(clock.dtype.kind == "f" and (clock % 1).any() for clock in clocks) and tick < 1:
        question = f"times are fractions up to {last:g} ticks of {tick:g} s; are they in seconds? Write time_unit='s'"
    if question:
        warnings.warn(question, TimeScaleWarning, stacklevel=4)
