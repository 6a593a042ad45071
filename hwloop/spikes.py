"""Spikes: batched event lists, the one type that simulated and measured spikes share."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

from .arguments import DTYPES, Numbers, allowed_dtype, floats, seconds, shown, whole
from .described import Described
from .errors import InputError
from .spike_checks import check_events, check_shapes, event_pair

if TYPE_CHECKING:
    import neo
    import nir

    from .drawing import Drawing

#: Events of one sample as handed in by users: (times (s), unit numbers).
EventPair = tuple[Any, Any]
#: What picks samples of a batch.
Index: TypeAlias = "SupportsIndex | slice | Sequence[int] | np.ndarray[Any, Any] | Tensor"


@dataclass(frozen=True, eq=False, repr=False)
class Spikes(Described):
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
        object.__setattr__(self, "n_units", whole("n_units", self.n_units))
        object.__setattr__(self, "t_stop", seconds("t_stop", self.t_stop))
        check_shapes(self.times, self.units, self.counts)
        check_events(self.times.detach(), self.units, self.counts, self.n_units, self.t_stop)

    @classmethod
    def trusted(cls, times: Tensor, units: Tensor, counts: Tensor, n_units: int, t_stop: float) -> Spikes:
        """Build without checks, for kernels whose output is valid by construction."""
        self = object.__new__(cls)
        self.__dict__.update(times=times, units=units, counts=counts, n_units=n_units, t_stop=t_stop)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what else a batch holds are views of its tensors, no part of a copy or of a file."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    # -- constructors -------------------------------------------------------------------------

    @classmethod
    def from_events(
        cls, samples: Iterable[EventPair], n_units: int, t_stop: float, dtype: torch.dtype | None = None
    ) -> Spikes:
        """From one ``(times, units)`` pair per sample; times (s) must be sorted.

        ``dtype``: of the times; default that of times given as tensors, whose gradient is kept, else torch's.

        Raises :class:`InputError` naming sample and event where a value is not allowed.
        """
        samples = list(samples)
        if len(samples) == 0:
            raise InputError("a batch of no samples; give at least one (times, units) pair")
        pairs = [event_pair(i, pair) for i, pair in enumerate(samples)]
        counts = torch.tensor([len(t) for t, _ in pairs], dtype=torch.int64)
        width = int(counts.max())
        times = torch.full(
            (len(pairs), width), math.inf, dtype=allowed_dtype(dtype) or _dtype_of([t for t, _ in pairs])
        )
        units = torch.zeros((len(pairs), width), dtype=torch.int64)
        for i, (t, u) in enumerate(pairs):
            times[i, : len(t)] = torch.as_tensor(t, dtype=times.dtype, device="cpu")
            units[i, : len(u)] = torch.as_tensor(u)
        return cls(times, units, counts, n_units, t_stop)

    @classmethod
    def from_first_times(cls, first: Numbers, t_stop: float) -> Spikes:
        """From first-spike times ``[batch, n_units]`` (s), ``inf`` where silent; differentiable in ``first``.

        An array is taken as a tensor of its dtype; float16 and bfloat16 are widened to float32.
        """
        first = floats("first-spike times", first, keep=True)
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
        return cls(times, units, counts, first.shape[1], t_stop)

    @classmethod
    def from_dense(cls, raster: Numbers, dt: float, dtype: torch.dtype | None = None) -> Spikes:
        """From a binary raster ``[batch, steps, n_units]``; see :func:`hwloop.rasters.from_dense`."""
        from .rasters import from_dense

        return from_dense(raster, dt, dtype)

    @classmethod
    def from_aer(
        cls,
        samples: np.ndarray | Sequence[np.ndarray],
        n_units: int | None = None,
        t_stop: float | None = None,
        time_unit: float | str = 1e-6,
        *,
        sensor_size: Sequence[int] | None = None,
        start: int | Sequence[int] | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Spikes:
        """From AER structured arrays of fields ``t``, ``x``, ``y``, ``p``; see :func:`hwloop.address_events.from_aer`."""
        from .address_events import from_aer

        return from_aer(samples, n_units, t_stop, time_unit, sensor_size=sensor_size, start=start, dtype=dtype)

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

    def __iter__(self) -> Iterator[Spikes]:
        """The samples, each as a batch of one."""
        return (self[k] for k in range(len(self)))

    def __getitem__(self, index: Index) -> Spikes:
        """Samples ``index`` as a batch (a whole number, Python's or NumPy's, gives a batch of one)."""
        index = _rows(index)
        try:
            counts = self.counts[index]
        except (IndexError, TypeError) as error:
            raise InputError(f"index {shown(index)} of a batch of {len(self)}: {error}") from None
        if counts.ndim != 1 or len(counts) == 0:
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
        if self.times.is_cpu and self.times.dtype in DTYPES:
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
        """``[batch, steps, n_units]`` spike counts in bins of ``dt`` (s); see :func:`hwloop.rasters.to_dense`."""
        from .rasters import to_dense

        return to_dense(self, dt)

    def to_aer(self, time_unit: float | str = 1e-6, sensor_size: Sequence[int] | None = None) -> list[np.ndarray]:
        """One structured array per sample; see :func:`hwloop.address_events.to_aer`."""
        from .address_events import to_aer

        return to_aer(self, time_unit, sensor_size)

    def to_nir_data(self, dt: float | None = None) -> nir.EventData:
        """As ``nir.EventData``; see :func:`hwloop.exchange.to_nir_data`."""
        from .exchange import to_nir_data

        return to_nir_data(self, dt)

    def to_neo(self) -> neo.Block:
        """As a ``neo.Block`` (extra ``neo``); see :func:`hwloop.exchange.to_neo`."""
        from .exchange import to_neo

        return to_neo(self)

    def to(self, *args: Any, **kwargs: Any) -> Spikes:
        """Times to a dtype and / or everything to a device, as ``Tensor.to``."""
        times = self.times.to(*args, **kwargs)
        if times.dtype not in DTYPES:
            allowed_dtype(times.dtype)
        return Spikes.trusted(
            times, self.units.to(times.device), self.counts.to(times.device), self.n_units, self.t_stop
        )

    def detach(self) -> Spikes:
        """The same events without gradient."""
        return Spikes.trusted(self.times.detach(), self.units, self.counts, self.n_units, self.t_stop)

    def plot(self, sample: int = 0, title: str = "spikes") -> Drawing:
        """The spikes of one sample, a row a unit, to be shown in a notebook or saved: ``.plot().save("spikes.svg")``."""
        from .drawing.spike_panels import checked_sample, draw_spikes

        return draw_spikes(self, checked_sample(sample, len(self)), title)

    def _facts(self) -> dict[str, Any]:
        return {
            "batch": len(self), "n_units": self.n_units, "events": int(self.counts.sum()), "t_stop": f"{self.t_stop:g} s",
            "dtype": str(self.times.dtype).removeprefix("torch."),
        }  # fmt: skip


def concatenate(batches: Iterable[Spikes]) -> Spikes:
    """Join batches of equal ``n_units`` and ``t_stop`` along the batch."""
    batches = list(batches)
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


def _collate(samples: Sequence[Spikes], *, collate_fn_map: Any = None) -> Spikes:
    """Samples as a batch, in the form in which torch's default collate asks for it."""
    return concatenate(samples)


# the documented way to teach torch's default collate a type; a worker process comes by here too
default_collate_fn_map[Spikes] = _collate


def _dtype_of(times: Sequence[Any]) -> torch.dtype:
    """The widest dtype among those that are tensors; torch's default where none is."""
    given = {t.dtype for t in times if isinstance(t, Tensor)}
    if not given:
        return torch.get_default_dtype()
    return torch.float64 if torch.float64 in given else torch.float32


def _rows(index: Any) -> Any:
    """``index`` as torch takes it, a whole number as a slice of one."""
    if isinstance(index, np.ndarray) and index.ndim:
        return torch.from_numpy(index.copy())
    if isinstance(index, (slice, list)) or (isinstance(index, Tensor) and index.ndim):
        return index
    try:
        number = None if isinstance(index, (bool, np.bool_)) else operator.index(index)
    except (TypeError, RuntimeError):
        number = None
    if number is None:
        raise InputError(
            f"index {shown(index)}; allowed: a sample's number, a slice, a list, array or tensor of numbers"
        )
    return slice(number, number + 1) if number != -1 else slice(number, None)
