"""Spikes: batched event lists, the one type that simulated and measured spikes share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .errors import InputError

if TYPE_CHECKING:
    import neo
    import nir

#: Events of one sample as handed in by users: (times (s), unit numbers).
EventPair = tuple[Any, Any]


@dataclass(frozen=True, eq=False)
class Spikes:
    """A batch of spike trains.

    Parameters
    ----------
    times : Tensor, ``[batch, events]`` (s)
        Sorted per sample, in ``[0, t_stop]``; padded with ``inf``. May require grad. Padding never
        enters arithmetic.
    units : Tensor, ``[batch, events]`` int64
        The neuron of each event, in ``[0, n_units)``; 0 where padded.
    counts : Tensor, ``[batch]`` int64
        Events in each sample.
    n_units : int
    t_stop : float (s)
        End of the observation window, which starts at 0.

    Raises
    ------
    InputError
        Unsorted, negative, NaN or infinite times, times beyond ``t_stop``, units out of range, shapes
        that do not fit, or a batch of no samples. Silence (no events at all) is legal.
    """

    times: Tensor
    units: Tensor
    counts: Tensor
    n_units: int
    t_stop: float

    def __post_init__(self) -> None:
        _check_window(self.n_units, self.t_stop)
        _check_shapes(self.times, self.units, self.counts)
        _check_events(self.times.detach(), self.units, self.counts, self.n_units, self.t_stop)

    @classmethod
    def trusted(cls, times: Tensor, units: Tensor, counts: Tensor, n_units: int, t_stop: float) -> Spikes:
        """Build without checks, for kernels whose output is valid by construction."""
        self = object.__new__(cls)
        self.__dict__.update(times=times, units=units, counts=counts, n_units=n_units, t_stop=t_stop)
        return self

    # -- constructors -------------------------------------------------------------------------

    @classmethod
    def from_events(
        cls, samples: Sequence[EventPair], n_units: int, t_stop: float, dtype: torch.dtype | None = None
    ) -> Spikes:
        """From one ``(times, units)`` pair a sample; times (s) must be sorted.

        Raises :class:`InputError` naming sample and event where a value is not allowed.
        """
        if len(samples) == 0:
            raise InputError("a batch of no samples; give at least one (times, units) pair")
        dtype = dtype or torch.get_default_dtype()
        pairs = [_as_event_arrays(i, pair) for i, pair in enumerate(samples)]
        counts = torch.tensor([len(t) for t, _ in pairs], dtype=torch.int64)
        width = int(counts.max())
        times = torch.full((len(pairs), width), math.inf, dtype=dtype)
        units = torch.zeros((len(pairs), width), dtype=torch.int64)
        for i, (t, u) in enumerate(pairs):
            times[i, : len(t)] = torch.as_tensor(t, dtype=dtype)
            units[i, : len(u)] = torch.as_tensor(u)
        return cls(times, units, counts, n_units, float(t_stop))

    @classmethod
    def from_first_times(cls, first: Tensor, t_stop: float) -> Spikes:
        """From first-spike times ``[batch, n_units]`` (s), ``inf`` where silent; differentiable in ``first``."""
        if first.ndim != 2 or first.shape[0] == 0 or first.shape[1] == 0:
            raise InputError(f"first-spike times have shape {tuple(first.shape)}; expected [batch >= 1, n_units >= 1]")
        if bool((torch.isneginf(first) | torch.isnan(first)).any()):
            raise InputError("first-spike times contain NaN or -inf; a silent unit is +inf")
        order = torch.argsort(first.detach(), dim=1, stable=True)
        times = torch.gather(first, 1, order)
        counts = torch.isfinite(times.detach()).sum(1)
        width = int(counts.max())
        times, units = times[:, :width], order[:, :width]
        units = torch.where(torch.isfinite(times.detach()), units, torch.zeros_like(units))
        return cls(times, units, counts, first.shape[1], float(t_stop))

    @classmethod
    def from_dense(cls, raster: Tensor, dt: float) -> Spikes:
        """From a binary raster ``[batch, steps, n_units]`` of step ``dt`` (s); step i is time ``i dt``."""
        if raster.ndim != 3:
            raise InputError(f"raster has shape {tuple(raster.shape)}; expected [batch, steps, n_units]")
        if not (math.isfinite(dt) and dt > 0):
            raise InputError(f"dt = {dt} s; allowed: finite and > 0")
        values = raster.detach()
        if bool(((values != 0) & (values != 1)).any()):
            raise InputError("raster holds values other than 0 and 1; one event per unit and step is allowed")
        samples = []
        for sample in values.cpu().numpy():
            step, unit = np.nonzero(sample)
            samples.append((step * dt, unit))
        dtype = raster.dtype if raster.dtype.is_floating_point else None
        return cls.from_events(samples, raster.shape[2], raster.shape[1] * dt, dtype)

    @classmethod
    def from_aer(cls, samples: Sequence[np.ndarray], n_units: int, t_stop: float, time_unit: float = 1e-6) -> Spikes:
        """From AER structured arrays with fields ``t`` and ``x`` (and, with several channels, none else).

        ``time_unit`` (s) is the worth of one tick; tonic and most cameras use 1e-6.
        """
        pairs = []
        for i, array in enumerate(samples):
            names = array.dtype.names or ()
            if "t" not in names or "x" not in names:
                raise InputError(f"sample {i}: fields {names}; an AER array needs 't' and 'x'")
            pairs.append((np.asarray(array["t"], float) * time_unit, np.asarray(array["x"], np.int64)))
        return cls.from_events(pairs, n_units, t_stop)

    @classmethod
    def from_nir_data(cls, data: nir.EventData | nir.TimeGriddedData, dtype: torch.dtype | None = None) -> Spikes:
        """From NIRData; see :func:`hwloop.exchange.from_nir_data`."""
        from .exchange import from_nir_data

        return from_nir_data(data, dtype)

    @classmethod
    def from_neo(cls, block: neo.Block | Sequence[neo.Segment], dtype: torch.dtype | None = None) -> Spikes:
        """From Neo (extra ``neo``); see :func:`hwloop.exchange.from_neo`."""
        from .exchange import from_neo

        return from_neo(block, dtype)

    # -- views --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self.times.shape[0])

    def __getitem__(self, index: int | slice | Tensor) -> Spikes:
        """Samples ``index`` as a batch (an int gives a batch of one)."""
        if isinstance(index, int):
            index = slice(index, index + 1) if index != -1 else slice(index, None)
        counts = self.counts[index]
        if len(counts) == 0:
            raise InputError(f"index selects no samples of the {len(self)} in this batch")
        width = int(counts.max())
        return Spikes.trusted(
            self.times[index][:, :width], self.units[index][:, :width], counts, self.n_units, self.t_stop
        )

    @property
    def valid(self) -> Tensor:
        """``[batch, events]`` bool: true where an event stands, false where padded."""
        return torch.arange(self.times.shape[1], device=self.times.device) < self.counts[:, None]

    def first_times(self) -> Tensor:
        """``[batch, n_units]`` (s), ``inf`` where silent; differentiable in ``times``."""
        if self.times.is_cpu and self.times.dtype in (torch.float32, torch.float64):
            from .simulate.first_spikes import first_times

            return first_times(self)
        batch, width = self.times.shape
        if width == 0:
            silent_batch = self.times.new_full((batch, self.n_units), math.inf)
            return silent_batch + self.times.sum(1, keepdim=True)  # an empty sum: it ties in a gradient of zero
        position = torch.arange(width, device=self.times.device).expand(batch, width)
        position = torch.where(self.valid, position, width)
        first = torch.full((batch, self.n_units), width, dtype=torch.int64, device=self.times.device)
        first = first.scatter_reduce(1, self.units, position, "amin")
        silent = first == width
        gathered = torch.gather(self.times, 1, torch.where(silent, 0, first))
        return torch.where(silent, torch.full_like(gathered, math.inf), gathered)

    def unit_counts(self) -> Tensor:
        """``[batch, n_units]`` int64: spikes of each unit."""
        counts = torch.zeros((len(self), self.n_units), dtype=torch.int64, device=self.times.device)
        return counts.scatter_add(1, self.units, self.valid.to(torch.int64))

    def to_events(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """One ``(times (s), units)`` pair of arrays a sample."""
        times, units = self.times.detach().cpu().numpy(), self.units.cpu().numpy()
        return [(times[i, :n].copy(), units[i, :n].copy()) for i, n in enumerate(self.counts.tolist())]

    def to_dense(self, dt: float) -> Tensor:
        """``[batch, steps, n_units]`` spike counts in bins of ``dt`` (s); ``steps = ceil(t_stop / dt)``."""
        if not (math.isfinite(dt) and dt > 0):
            raise InputError(f"dt = {dt} s; allowed: finite and > 0")
        steps = max(1, math.ceil(self.t_stop / dt - 1e-9))
        raster = torch.zeros((len(self), steps, self.n_units), dtype=self.times.dtype, device=self.times.device)
        sample, event = torch.nonzero(self.valid, as_tuple=True)
        t = self.times.detach()[sample, event]
        # half a thousandth of a bin: a time that is a multiple of dt must not fall into the bin before by rounding
        step = torch.clamp(torch.floor(t / dt + 5e-4).to(torch.int64), 0, steps - 1)
        raster.index_put_((sample, step, self.units[sample, event]), torch.ones_like(t), accumulate=True)
        return raster

    def to_aer(self, time_unit: float = 1e-6) -> list[np.ndarray]:
        """One structured array (fields ``t``, ``x``, ``p``) a sample; ``time_unit`` (s) is one tick."""
        arrays = []
        for t, u in self.to_events():
            array = np.zeros(len(t), dtype=[("t", np.int64), ("x", np.int64), ("p", np.int8)])
            array["t"], array["x"], array["p"] = np.rint(t / time_unit), u, 1
            arrays.append(array)
        return arrays

    def to_nir_data(self) -> nir.EventData:
        """As ``nir.EventData``; see :func:`hwloop.exchange.to_nir_data`."""
        from .exchange import to_nir_data

        return to_nir_data(self)

    def to_neo(self) -> neo.Block:
        """As a ``neo.Block`` (extra ``neo``); see :func:`hwloop.exchange.to_neo`."""
        from .exchange import to_neo

        return to_neo(self)

    def to(self, *args: Any, **kwargs: Any) -> Spikes:
        """Times to a dtype and / or everything to a device, as ``Tensor.to``."""
        times = self.times.to(*args, **kwargs)
        return Spikes.trusted(
            times, self.units.to(times.device), self.counts.to(times.device), self.n_units, self.t_stop
        )

    def detach(self) -> Spikes:
        """The same events without gradient."""
        return Spikes.trusted(self.times.detach(), self.units, self.counts, self.n_units, self.t_stop)

    def __repr__(self) -> str:
        return (
            f"Spikes(batch={len(self)}, n_units={self.n_units}, events={int(self.counts.sum())}, "
            f"t_stop={self.t_stop:g} s, dtype={str(self.times.dtype).removeprefix('torch.')})"
        )


def concatenate(batches: Sequence[Spikes]) -> Spikes:
    """Join batches of equal ``n_units`` and ``t_stop`` along the batch."""
    if not batches:
        raise InputError("nothing to concatenate; give at least one batch")
    first = batches[0]
    for other in batches[1:]:
        if (other.n_units, other.t_stop) != (first.n_units, first.t_stop):
            raise InputError(
                f"cannot join a batch of {other.n_units} units, t_stop {other.t_stop} s "
                f"with one of {first.n_units} units, t_stop {first.t_stop} s"
            )
    width = max(b.times.shape[1] for b in batches)
    times = torch.cat(
        [torch.nn.functional.pad(b.times, (0, width - b.times.shape[1]), value=math.inf) for b in batches]
    )
    units = torch.cat([torch.nn.functional.pad(b.units, (0, width - b.units.shape[1])) for b in batches])
    return Spikes.trusted(times, units, torch.cat([b.counts for b in batches]), first.n_units, first.t_stop)


def _as_event_arrays(sample: int, pair: EventPair) -> tuple[np.ndarray, np.ndarray]:
    try:
        times, units = pair
    except (TypeError, ValueError):
        raise InputError(f"sample {sample}: expected a (times, units) pair, found {type(pair).__name__}") from None
    t = np.asarray(times, dtype=np.float64)
    raw = np.asarray(units)
    if t.ndim != 1 or raw.ndim != 1 or len(t) != len(raw):
        raise InputError(f"sample {sample}: times {t.shape} and units {raw.shape}; expected two lists of equal length")
    u = raw.astype(np.int64)
    if len(raw) and not np.array_equal(u, raw):
        raise InputError(f"sample {sample}: units must be whole numbers, found {raw[u != raw][0]}")
    return t, u


def _check_window(n_units: int, t_stop: float) -> None:
    if not isinstance(n_units, int) or n_units < 1:
        raise InputError(f"n_units = {n_units!r}; allowed: a whole number >= 1")
    if not (math.isfinite(t_stop) and t_stop > 0):
        raise InputError(f"t_stop = {t_stop} s; allowed: finite and > 0")


def _check_shapes(times: Tensor, units: Tensor, counts: Tensor) -> None:
    if times.ndim != 2 or times.shape != units.shape or counts.shape != times.shape[:1]:
        raise InputError(
            f"times {tuple(times.shape)}, units {tuple(units.shape)}, counts {tuple(counts.shape)}; "
            "expected [batch, events] twice and [batch]"
        )
    if times.shape[0] == 0:
        raise InputError("a batch of no samples; give at least one")
    if not times.dtype.is_floating_point:
        raise InputError(f"times have dtype {times.dtype}; allowed: float32 or float64")
    if units.dtype != torch.int64 or counts.dtype != torch.int64:
        raise InputError(f"units are {units.dtype} and counts {counts.dtype}; both must be int64")
    if int(counts.min()) < 0 or int(counts.max()) > times.shape[1]:
        raise InputError(f"counts span {int(counts.min())}..{int(counts.max())}; allowed: 0..{times.shape[1]} events")


def _check_events(times: Tensor, units: Tensor, counts: Tensor, n_units: int, t_stop: float) -> None:
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
