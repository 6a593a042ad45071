"""StepRecord: what a run in steps leaves behind; a Record, so that decisions and reports take it as well."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from torch import Tensor

from ...errors import InputError
from ...record import Record
from ...spikes import Spikes
from .input_values import Values


class StepRecord(Record):
    """Rasters of every population, and the readout.

    Parameters
    ----------
    rasters : tuple of Tensor ``[batch, steps, n]``, or None where a rule keeps counts alone
        Spikes of each population a step: -1, 0, 1. Any small integer or floating type.
    readout : Tensor ``[batch, n_out]`` or ``[batch, steps, n_out]``, floating
        What losses and decisions look at: counts, rates, traces; the rule says which.
    values : Values
        The inputs, as given.
    dt : float (s)
    counts : tuple of Tensor ``[batch, n]``
        Net spikes of each population; taken from the rasters where not given.
    traces : dict
        What the rule keeps for its gradient, by name (e.g. ``membrane``: a tuple of ``[batch, steps, n]``).
    """

    readout: Tensor

    def __init__(
        self,
        rasters: tuple[Tensor, ...] | None,
        readout: Tensor,
        values: Values,
        dt: float,
        *,
        counts: tuple[Tensor, ...] | None = None,
        traces: dict[str, Any] | None = None,
    ) -> None:
        if rasters is None and counts is None:
            raise InputError("a record without rasters and counts; give one of them")
        self.rasters, self.readout, self.values, self.dt = rasters, readout, values, dt
        self._counts = counts
        self.traces = {} if traces is None else traces
        self.inputs = None
        self.health = None

    @cached_property
    def counts(self) -> tuple[Tensor, ...]:
        """Net spikes of each population, ``[batch, n]``."""
        if self._counts is not None:
            return self._counts
        return tuple(raster.sum(1, dtype=self.readout.dtype) for raster in self.rasters or ())

    @cached_property
    def populations(self) -> tuple[Spikes, ...]:  # type: ignore[override]  # made from the rasters where asked for
        """Every population as event lists: a spike of step t at ``t dt``."""
        if self.rasters is None:
            raise InputError("this record holds counts alone, no spike times; use record.counts")
        if any(bool((raster < 0).any()) for raster in self.rasters):
            raise InputError("negative spikes have no place in an event list; use record.rasters")
        dtype = self.readout.dtype
        return tuple(Spikes.from_dense(raster.to(dtype), self.dt) for raster in self.rasters)

    def __len__(self) -> int:
        return len(self.counts if self.rasters is None else self.rasters)

    @property
    def silent_samples(self) -> int:
        """Samples in which no output neuron spiked; 0 where the only layer is read out without spikes."""
        if not self.counts:
            return 0
        return int((self.counts[-1] == 0).all(1).sum())

    def tensors(self) -> list[Tensor]:
        """All tensors that the record holds, in a fixed order; not what was made from them since."""
        held = (self.rasters, self._counts, self.readout, self.values.values, self.values.keys, self.traces)
        return list(_tensors_in(held))

    def with_readout(self, readout: Tensor) -> StepRecord:
        """The same record with another readout tensor (the one that carries the gradient)."""
        return StepRecord(self.rasters, readout, self.values, self.dt, counts=self._counts, traces=self.traces)


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors_in(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors_in(part)
