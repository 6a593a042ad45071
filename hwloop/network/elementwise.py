"""Maps from each unit to itself (Flatten, Scale, Delay), and Sparse: synapses listed one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..arguments import real_array, whole
from ..errors import InputError
from ..neurons import ParameterValue, as_parameter
from .linear_map import LinearMap, Shape, Synapses, size_of


class _OfEachUnit(LinearMap):
    """Unit j to unit j."""

    def synapses(self, shape: Shape) -> Synapses:
        units = np.arange(size_of(shape))
        return Synapses(units, units)

    def apply_to(self, x: Tensor, shape: Shape) -> Tensor:
        return x


class Flatten(_OfEachUnit):
    """Maps ``(channels, height, width)`` as a row of units, in that order."""

    def out_shape(self, shape: Shape, where: str) -> Shape:
        return (size_of(shape),)


class Scale(_OfEachUnit):
    """A factor of every unit's spikes.

    Parameters
    ----------
    factor : number, or ``[n]`` of the units flat; an ``nn.Parameter`` is trained
    n : int
        Units.
    """

    factor: Tensor

    def __init__(self, n: int, factor: ParameterValue) -> None:
        super().__init__()
        self.n = whole("Scale: n", n)
        _hold(self, "factor", as_parameter("Scale: factor", factor, self.n))
        if not bool(torch.isfinite(self.factor.detach()).all()):
            raise InputError("Scale: a factor is NaN or infinite; allowed: finite numbers")

    def out_shape(self, shape: Shape, where: str) -> Shape:
        return _of_n(self.n, shape, where, "Scale")

    def synapses(self, shape: Shape) -> Synapses:
        units = np.arange(self.n)
        return Synapses(units, units, units)

    def apply_to(self, x: Tensor, shape: Shape) -> Tensor:
        return x * self.factor

    def values(self) -> Tensor:
        return self.factor

    def extra_repr(self) -> str:
        return str(self.n)


class Delay(_OfEachUnit):
    """A delay of every unit: axonal where it stands before the weights, dendritic after them.

    Parameters
    ----------
    n : int
        Units.
    delay : number or ``[n]`` (s), >= 0; an ``nn.Parameter`` is trained
    """

    delay: Tensor

    def __init__(self, n: int, delay: ParameterValue) -> None:
        super().__init__()
        self.n = whole("Delay: n", n)
        _hold(self, "delay", as_parameter("Delay: delay", delay, self.n))
        check_delays(self.delay, "Delay")

    def out_shape(self, shape: Shape, where: str) -> Shape:
        return _of_n(self.n, shape, where, "Delay")

    def synapses(self, shape: Shape) -> Synapses:
        units = np.arange(self.n)
        return Synapses(units, units, delays=units)

    def delays(self) -> Tensor:
        check_delays(self.delay, "Delay")
        return self.delay

    def extra_repr(self) -> str:
        return str(self.n)


class Sparse(LinearMap):
    """Synapses listed one by one.

    Parameters
    ----------
    n_in, n_out : int
        Units before and after.
    sources, targets : ``[synapses]`` whole numbers
    weight : number or ``[synapses]``; it is trained unless it is a plain tensor that requires no gradient and ``train`` is False
    delay : number or ``[synapses]`` (s), optional; an ``nn.Parameter`` is trained
    bias : bool
        A constant current of each unit after, trained.
    """

    delay: Tensor | None
    bias: nn.Parameter | None
    sources: Tensor
    targets: Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        sources: Any,
        targets: Any,
        weight: ParameterValue,
        *,
        delay: ParameterValue | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.n_in, self.n_out = whole("Sparse: n_in", n_in), whole("Sparse: n_out", n_out)
        ends = [_numbers("sources", sources, self.n_in), _numbers("targets", targets, self.n_out)]
        if len(ends[0]) != len(ends[1]):
            raise InputError(
                f"Sparse: {len(ends[0])} sources and {len(ends[1])} targets; allowed: one of each a synapse"
            )
        for name, numbers in zip(("sources", "targets"), ends, strict=True):
            self.register_buffer(name, torch.from_numpy(numbers))
        n = len(ends[0])
        value = as_parameter("Sparse: weight", weight, n)
        self.weight = value if isinstance(value, nn.Parameter) else nn.Parameter(value.detach().clone())
        self.bias = nn.Parameter(torch.zeros(self.n_out, dtype=self.weight.dtype)) if bias else None
        if delay is None:
            self.delay = None
        else:
            held = as_parameter("Sparse: delay", delay, n)
            _hold(self, "delay", held)
            check_delays(held, "Sparse")

    def out_shape(self, shape: Shape, where: str) -> Shape:
        _of_n(self.n_in, shape, where, "Sparse")
        return (self.n_out,)

    def synapses(self, shape: Shape) -> Synapses:
        each = np.arange(len(self.weight))
        delays = None if self.delay is None else each
        return Synapses(self.sources.numpy(), self.targets.numpy(), each, delays=delays)

    def apply_to(self, x: Tensor, shape: Shape) -> Tensor:
        moved = x[..., self.sources] * self.weight
        return x.new_zeros(*x.shape[:-1], self.n_out).index_add(-1, self.targets, moved)

    def values(self) -> Tensor:
        return self.weight

    def delays(self) -> Tensor | None:
        delay: Tensor | None = self.delay
        if delay is not None:
            check_delays(delay, "Sparse")
        return delay

    def offset(self, shape: Shape) -> Tensor | None:
        return self.bias

    def extra_repr(self) -> str:
        return f"{self.n_in}, {self.n_out}, synapses={len(self.weight)}"


def check_delays(delay: Tensor, where: str) -> None:
    """Raise :class:`InputError` for a delay that is negative, NaN or infinite; names its place."""
    value = delay.detach()
    bad = ~torch.isfinite(value) | (value < 0)
    if bool(bad.any()):
        place = torch.nonzero(bad)[0].tolist()
        found = value[tuple(place)].item()
        at = place[0] if len(place) == 1 else tuple(place)
        raise InputError(f"{where}: delay {at} = {found:g} s; allowed: finite and >= 0 s")


def _hold(module: nn.Module, name: str, value: Tensor) -> None:
    """``value`` as a parameter where it is one, else as a buffer: a copy, which no caller changes."""
    if isinstance(value, nn.Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value if value.requires_grad else value.clone())


def _of_n(n: int, shape: Shape, where: str, kind: str) -> Shape:
    if size_of(shape) != n:
        raise InputError(f"{where}: takes {n} units, those before it are {shape}; build {kind}({size_of(shape)}, ...)")
    return shape


def _numbers(name: str, value: Any, limit: int) -> Any:
    array = real_array(f"Sparse: {name}", value if not isinstance(value, Tensor) else value.detach().cpu().numpy())
    if array.ndim != 1 or (array.dtype.kind == "f" and not np.array_equal(array, np.floor(array))):
        raise InputError(f"Sparse: {name} of shape {array.shape}; allowed: a row of whole numbers")
    if array.size and (array.min() < 0 or array.max() >= limit):
        raise InputError(f"Sparse: {name} {array.min():g}..{array.max():g}; allowed: 0..{limit - 1}")
    return array.astype(np.int64)
