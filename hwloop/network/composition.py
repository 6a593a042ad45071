"""Composition: the maps of one projection in a row, as one list of synapses, or as one matrix or convolution.

A spike of a unit reaches a neuron along a *path* through the maps; the weight of a path is the product of its synapses'
weights, its delay the sum of their delays. Paths are followed once; weights and delays are gathered along them whenever
they are asked for, by torch, and so are differentiable in the parameters of every map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..machine_memory import check_fits
from .conv2d import Conv2d
from .dense import Dense
from .elementwise import Delay, Flatten, Scale
from .linear_map import Array, LinearMap, Shape, size_of
from .pools import SumPool2d


@dataclass(frozen=True)
class Transmission:
    """What the synapses of a device make of the weights asked of them, path by path.

    Attributes
    ----------
    mismatch : ``[paths]`` factor at full scale
    bend, full_scale : ``[paths]`` bow of the synapse's converter and weight of its full scale; None: straight
    """

    mismatch: Tensor
    bend: Tensor | None = None
    full_scale: Tensor | None = None

    def of(self, weight: Tensor) -> Tensor:
        """What acts of ``weight [paths]``; as :meth:`hwloop.network.Dense.transmitted`."""
        acting = weight * self.mismatch.to(weight.dtype)
        if self.bend is None or self.full_scale is None:
            return acting
        share = torch.clamp(weight.abs() / self.full_scale.to(weight.dtype), max=1.0)
        return acting * (1.0 + self.bend.to(weight.dtype) * (1.0 - share))


@dataclass(frozen=True)
class Paths:
    """All paths of a composition, sorted by source.

    Attributes
    ----------
    sources, targets : ``[paths]`` int64
    weights, delays : per map that has such, ``(map, [paths] place in its flattened values or delays)``
    share : factor of all weights
    """

    sources: Array
    targets: Array
    weights: tuple[tuple[LinearMap, Array], ...]
    delays: tuple[tuple[LinearMap, Array], ...]
    share: float


class Composition:
    """``maps`` in a row, from units of ``in_shape``.

    Raises :class:`InputError` naming ``where`` for maps that do not fit each other.
    """

    def __init__(self, maps: Sequence[LinearMap], in_shape: Shape, where: str) -> None:
        self.maps, self.in_shape, self.where = tuple(maps), in_shape, where
        #: In a device twin what the device's synapses do; None: the weights act as they are.
        self.transmission: Transmission | None = None
        shapes = [in_shape]
        for k, layer in enumerate(self.maps):
            name = (
                f"{where}: {type(layer).__name__}"
                if len(self.maps) == 1
                else f"{where}: map {k} ({type(layer).__name__})"
            )
            shapes.append(layer.out_shape(shapes[-1], name))
        self.shapes = tuple(shapes)

    @property
    def out_shape(self) -> Shape:
        """Shape of the units after the last map."""
        return self.shapes[-1]

    @property
    def n_in(self) -> int:
        """Units before."""
        return size_of(self.in_shape)

    @property
    def n_out(self) -> int:
        """Units after."""
        return size_of(self.out_shape)

    @property
    def dtype(self) -> torch.dtype | None:
        """Dtype of the weights; None where there are none."""
        return next((value.dtype for value in (layer.values() for layer in self.maps) if value is not None), None)

    @cached_property
    def paths(self) -> Paths:
        """All paths through the maps."""
        units = np.arange(self.n_in)
        sources, targets, share = units, units, 1.0
        weights: list[tuple[LinearMap, Array]] = []
        delays: list[tuple[LinearMap, Array]] = []
        for layer, shape in zip(self.maps, self.shapes[:-1], strict=True):
            if isinstance(layer, Flatten):
                continue
            found = layer.synapses(shape)
            order = np.argsort(found.sources, kind="stable")
            starts = np.searchsorted(found.sources[order], np.arange(size_of(shape) + 1))
            counts = np.diff(starts)[targets]
            check_fits(
                self.where, int(counts.sum()) * 8 * (4 + len(weights) + len(delays)), "fewer synapses, or smaller maps"
            )
            before = np.repeat(np.arange(len(targets)), counts)
            first = np.cumsum(counts) - counts
            place = order[starts[targets][before] + np.arange(len(before)) - first[before]]
            weights = [(other, where[before]) for other, where in weights]
            delays = [(other, where[before]) for other, where in delays]
            sources, targets, share = sources[before], found.targets[place], share * found.share
            if found.parameters is not None:
                weights.append((layer, found.parameters[place]))
            if found.delays is not None:
                delays.append((layer, found.delays[place]))
        return Paths(sources, targets, tuple(weights), tuple(delays), share)

    def weight(self) -> Tensor:
        """``[paths]`` weights that act, in the order of :attr:`paths`; differentiable."""
        asked = self.asked_weight()
        return asked if self.transmission is None else self.transmission.of(asked)

    def asked_weight(self) -> Tensor:
        """``[paths]`` weights that are asked of a device; elsewhere :meth:`weight`."""
        paths, total = self.paths, None
        for layer, place in paths.weights:
            value = layer.values()
            if value is None:
                continue
            gathered = value.reshape(-1)[torch.from_numpy(place)]
            total = gathered if total is None else total * gathered
        if total is None:
            return torch.full((len(paths.sources),), paths.share)
        return total if paths.share == 1.0 else total * paths.share

    def delay(self) -> Tensor | None:
        """``[paths]`` delays (s), differentiable; None where there are none."""
        total = None
        for layer, place in self.paths.delays:
            value = layer.delays()
            if value is None:
                continue
            gathered = value.reshape(-1)[torch.from_numpy(place)]
            total = gathered if total is None else total + gathered
        return total

    @cached_property
    def delayed_by_source(self) -> bool:
        """Whether all paths of one source have one delay (axonal), whatever its value."""
        for _, place in self.paths.delays:
            first = np.full(self.n_in, -1)
            first[self.paths.sources] = place
            if not np.array_equal(first[self.paths.sources], place):
                return False
        return True

    def offset(self) -> Tensor | None:
        """``[n_out]`` what the maps add by themselves (their biases, through the maps after them); None where nothing."""
        total: Tensor | None = None
        for layer, shape in zip(self.maps, self.shapes[:-1], strict=True):
            own = layer.offset(shape)
            if total is not None:
                total = layer.apply_to(total, shape)
            if own is not None:
                total = own if total is None else total + own
        return total

    @property
    def biased(self) -> bool:
        """Whether a map has a bias."""
        return any(layer.offset(shape) is not None for layer, shape in zip(self.maps, self.shapes[:-1], strict=True))

    @property
    def core(self) -> Core | None:
        """The composition as events that are given other numbers and delays, then one matrix or convolution; None: neither.

        None in a device twin too, where every synapse has a factor of its own.
        """
        return self._core if self.transmission is None else None

    @cached_property
    def _core(self) -> Core | None:
        before: list[LinearMap] = []
        weights: Dense | Conv2d | None = None
        scales: list[Scale] = []
        for layer in self.maps:
            if isinstance(layer, Flatten):
                continue
            if weights is None and isinstance(layer, (Dense, Conv2d)):
                weights = layer
                if isinstance(layer, Dense) and layer.delay is not None and layer.delay.ndim == 2:
                    return None
            elif weights is None and (isinstance(layer, Delay) or (isinstance(layer, SumPool2d) and layer.merges)):
                before.append(layer)
            elif isinstance(weights, Dense) and isinstance(layer, Scale):
                scales.append(layer)
            else:
                return None
        return None if weights is None else Core(self, tuple(before), weights, tuple(scales))


@dataclass(frozen=True)
class Core:
    """Steps on events (pools that merge trains, axonal delays), and the weights after them."""

    of: Composition
    before: tuple[LinearMap, ...]
    weights: Dense | Conv2d
    scales: tuple[Scale, ...]

    @property
    def share(self) -> float:
        """Factor of the weights: that of the pools."""
        share = 1.0
        for layer in self.before:
            share *= layer.share if isinstance(layer, SumPool2d) else 1.0
        return share

    @property
    def shape(self) -> Shape:
        """Shape of the units that the weights see."""
        return self.of.shapes[self.of.maps.index(self.weights)]

    def weight(self) -> Tensor:
        """``[n_out, n_in]`` of a Dense, ``[c_out, c_in, kernel, kernel]`` of a Conv2d; differentiable."""
        value = self.weights.values()
        if value is None:
            raise InputError(f"{self.of.where}: no weights")
        for scale in self.scales:
            value = value * scale.factor[:, None]
        return value if self.share == 1.0 else value * self.share
