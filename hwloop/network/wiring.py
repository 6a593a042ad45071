"""Wiring: a component's links as bundles of synapses, the form in which loops are simulated.

Sources are numbered through: the units of the nodes outside the component that drive it, then one more that spikes once at
time 0 where a bias passes the synapse, then the component's own neurons. A *bundle* is what one spike of a source reaches at
one time: all paths of a source through a link whose delays are axonal, else each path by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..simulate.joint.autograd import Structure
from .linear_map import Array
from .populations import Population
from .structure import Component, Link


@dataclass(frozen=True)
class Wiring:
    """Arrays as of :class:`hwloop.simulate.joint.contract.Synapses`, and what gathers weights and delays for them.

    Attributes
    ----------
    external : names of the nodes outside that drive the component, in the order of their units
    n_external : int, their units, and one more where a bias passes the synapse
    bundle_starts, first, target : int64
    order : ``[synapses]``, place of each among the paths of all links, one after the other (and the biases after them)
    leaders : ``[bundles]``, place of a path whose delay is the bundle's, among the paths likewise
    sizes : neurons of each population of the component
    filtered : whether the last external unit is the one of the biases that pass the synapse
    made : what was derived of it before, by the neurons that it connects
    """

    links: tuple[Link, ...]
    external: tuple[str, ...]
    n_external: int
    bundle_starts: Array
    first: Array
    target: Array
    order: Array
    leaders: Array
    sizes: tuple[int, ...]
    filtered: bool
    made: dict[object, Structure] = field(default_factory=dict, compare=False, repr=False)

    @property
    def bundle_sources(self) -> Array:
        """``[bundles]`` the neuron of the component that each comes from; below 0 where it comes from outside."""
        bundles = np.diff(self.bundle_starts)
        return np.repeat(np.arange(len(bundles)), bundles) - self.n_external

    def weight(self, filtered: Tensor | None, dtype: torch.dtype) -> Tensor:
        """``[synapses]`` differentiable; ``filtered [N]`` is the bias that passes the synapse."""
        parts = [link.composition.weight().to(dtype) for link in self.links]
        if filtered is not None:
            parts.append(-filtered.to(dtype))
        return torch.cat(parts)[torch.from_numpy(self.order)]

    def delay(self, dtype: torch.dtype) -> Tensor:
        """``[bundles]`` (s), differentiable."""
        n = len(self.order)
        found = [link.composition.delay() for link in self.links]
        if all(part is None for part in found):
            return torch.zeros(len(self.leaders), dtype=dtype)
        counts = [len(link.composition.paths.sources) for link in self.links]
        parts = [
            torch.zeros(k, dtype=dtype) if part is None else part.to(dtype)
            for part, k in zip(found, counts, strict=True)
        ]
        parts.append(torch.zeros(n - sum(counts), dtype=dtype))
        return torch.cat(parts)[torch.from_numpy(self.leaders)]


def wiring_of(component: Component, nodes: Mapping[str, Population], filtered: bool) -> Wiring:
    """The wiring of ``component``; with the source of biases that pass the synapse where ``filtered``."""
    starts = dict(zip(component.names, np.cumsum([0, *(nodes[name].n for name in component.names)]), strict=False))
    external = tuple(dict.fromkeys(link.source for link in component.links if link.source not in component.names))
    offsets = dict(zip(external, np.cumsum([0, *(nodes[name].n for name in external)]), strict=False))
    outside, inside = sum(nodes[name].n for name in external), sum(nodes[name].n for name in component.names)
    n_external = outside + int(filtered)
    sources, targets, bundles, count = [], [], [], 0
    for link in component.links:
        paths = link.composition.paths
        base = n_external + starts[link.source] if link.source in starts else offsets[link.source]
        sources.append(paths.sources + base)
        targets.append(paths.targets + starts[link.target])
        shared = link.composition.delayed_by_source
        bundles.append(count + (paths.sources if shared else np.arange(len(paths.sources))))
        count += link.composition.n_in if shared else len(paths.sources)
    if filtered:
        sources.append(np.full(inside, outside))
        targets.append(np.arange(inside))
        bundles.append(np.full(inside, count))
    source, target, bundle = (np.concatenate(part) for part in (sources, targets, bundles))
    order = np.lexsort((target, bundle, source))
    return Wiring(
        component.links, external, n_external, *_by_bundle(source[order], bundle[order], n_external + inside),
        target[order].astype(np.int64), order, order[_first_of_each(bundle[order])],
        tuple(nodes[name].n for name in component.names), filtered,
    )  # fmt: skip


def _by_bundle(source: Array, bundle: Array, n_sources: int) -> tuple[Array, Array]:
    """``(bundle_starts, first)`` of synapses sorted by source and bundle."""
    leaders = _first_of_each(bundle)
    counts = np.bincount(source[leaders], minlength=n_sources)
    return np.cumsum([0, *counts]).astype(np.int64), np.append(leaders, len(bundle)).astype(np.int64)


def _first_of_each(values: Sequence[int] | Array) -> Array:
    array = np.asarray(values)
    if not len(array):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.append(True, array[1:] != array[:-1]))
