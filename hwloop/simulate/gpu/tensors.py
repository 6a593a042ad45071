"""A layer, its events and its trace as tensors on one device: :mod:`hwloop.simulate.contract`, without NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import contract
from ..contract import Events, Layer


@dataclass(frozen=True)
class DeviceEvents:
    """Input events or output spikes, as :class:`~hwloop.simulate.contract.Events`."""

    times: Tensor
    units: Tensor
    counts: Tensor

    @classmethod
    def of(cls, events: Events, device: torch.device) -> DeviceEvents:
        """``events`` on ``device``."""
        return cls(*(as_tensor(array, device) for array in (events.times, events.units, events.counts)))


@dataclass(frozen=True)
class DeviceNeurons:
    """What the kernels read of a layer besides its weights.

    ``table [5, n]`` tau_mem, tau_syn, t_ref, reset, start; ``threshold [1 or batch, n]``; whether any neuron has a
    refractory time (``holds``).
    """

    table: Tensor
    threshold: Tensor
    subtract: bool
    max_spikes: int
    holds: bool

    @classmethod
    def of(cls, layer: Layer, device: torch.device) -> DeviceNeurons:
        """The neurons of ``layer`` on ``device``; kept in its memo."""
        key = f"gpu {device}"
        found: DeviceNeurons | None = layer.memo.get(key)
        if found is None:
            rows = np.stack([layer.tau_mem, layer.tau_syn, layer.t_ref, layer.reset, layer.start])
            found = layer.memo[key] = cls(
                as_tensor(rows, device), as_tensor(layer.threshold, device), layer.subtract, layer.max_spikes,
                bool(layer.t_ref.any()),
            )  # fmt: skip
        return found

    @property
    def row(self) -> int:
        """Distance of the rows of ``threshold`` from sample to sample."""
        return self.threshold.shape[1] if self.threshold.shape[0] > 1 else 0


@dataclass(frozen=True)
class DeviceTrace:
    """Output of the forward pass, as :class:`~hwloop.simulate.contract.Trace`; ``residual`` is None in a simulation."""

    spikes: DeviceEvents
    current: Tensor
    release_time: Tensor
    release_current: Tensor
    residual: Tensor | None

    @classmethod
    def of(cls, trace: contract.Trace, device: torch.device) -> DeviceTrace:
        """``trace`` on ``device``, less its residuals."""
        return cls(
            DeviceEvents.of(trace.spikes, device),
            as_tensor(trace.current, device),
            as_tensor(trace.release_time, device),
            as_tensor(trace.release_current, device),
            None,
        )

    def on_host(self) -> contract.Trace:
        """The same in arrays of NumPy."""
        residual = torch.zeros_like(self.current) if self.residual is None else self.residual
        events = self.spikes.times, self.spikes.units, self.spikes.counts
        others = self.current, self.release_time, self.release_current, residual
        return contract.Trace(Events(*map(as_array, events)), *map(as_array, others))


def as_tensor(array: np.ndarray[Any, Any], device: torch.device) -> Tensor:
    """``array`` on ``device``; one that may not be written to is copied."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


def as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """``tensor`` as an array of NumPy."""
    found: np.ndarray[Any, Any] = tensor.detach().cpu().numpy()
    return found
