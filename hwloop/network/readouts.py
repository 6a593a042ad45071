"""Populations that do not spike: their membranes as functions of what drives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..record import Record
from ..simulate.readout import Membranes
from ..spikes import Spikes
from .composition import Composition
from .lif import LIF
from .populations import IF, LI, SpikingPopulation
from .structure import Component, Link
from .trains import along_paths, merged, split

if TYPE_CHECKING:
    from .model import Network


def read_out(component: Component, node: LI, trains: Mapping[str, Spikes], where: str) -> Membranes:
    """The membranes of ``node``; spikes reach it along every path of the maps into it."""
    parameters: dict[str, Tensor] = {"tau_mem": node.tau_mem, "v_leak": node.v_leak}
    for name in ("tau_syn", "v_init"):
        if (value := getattr(node, name)) is not None:
            parameters[name] = value
    return _membranes(component.links, trains, parameters, node.tau_syn is not None and node.filtered_bias, where)


def without_reset(net: Network, record: Record, name: str, dtype: torch.dtype | None = None) -> Membranes:
    """The membranes of a spiking population, driven by the recorded spikes, as they would be if nothing reset them.

    In ``dtype``; default that of the weights.

    Raises :class:`InputError` where the record does not hold what drives it.
    """
    node, trains = net.structure.nodes[name], trains_of(net, record)
    links = tuple(link for link in net.structure.links if link.target == name)
    if not isinstance(node, SpikingPopulation) or isinstance(node, IF):
        raise InputError(
            f"population {name!r} is {type(node).__name__}; allowed: spiking neurons with a leak, LIF or DeltaLIF"
        )
    held = node.acting_parameters()
    names = ("tau_mem", "tau_syn", "v_leak") if isinstance(node, LIF) else ("tau_mem", "v_leak")
    parameters: dict[str, Tensor] = {key: held[key] for key in names}
    parameters["v_init"] = starting(held) if node.v_init is None else node.v_init
    return _membranes(links, trains, parameters, node.filtered_bias, f"population {name!r}", dtype)


def trains_of(net: Network, record: Record) -> dict[str, Spikes]:
    """Recorded spikes of every input and population by its name; :class:`InputError` where the inputs were not recorded."""
    structure = net.structure
    if record.inputs is None:
        raise InputError("the record holds no inputs, which membranes need; record them")
    sizes = [structure.nodes[other].n for other in structure.inputs]
    inputs = [record.inputs] if len(sizes) == 1 else split(record.inputs, sizes)
    pairs = [*zip(structure.inputs, inputs, strict=True), *zip(structure.populations, record.populations, strict=True)]
    return dict(pairs)


def starting(parameters: Mapping[str, Tensor]) -> Tensor:
    """``[n]`` where the membranes of spiking neurons start that have no ``v_init``."""
    v_th, v_leak = parameters["v_th"], parameters["v_leak"]
    return torch.where(v_leak.detach() >= v_th.detach(), parameters["v_reset"], v_leak)


def _membranes(
    links: Sequence[Link], trains: Mapping[str, Spikes], parameters: dict[str, Tensor], filtered: bool, where: str,
    dtype: torch.dtype | None = None,
) -> Membranes:  # fmt: skip
    inputs, weight, offset = driven(links, trains)
    weight = weight if dtype is None else weight.to(dtype)
    if offset is not None:
        bias = offset.to(weight.dtype)
        parameters = {**parameters, "bias": bias}
        if filtered:
            inputs, weight = with_begin(inputs), torch.cat([weight, -bias[:, None]], 1)
    values = {name: value.to(weight.dtype) for name, value in parameters.items()}
    return Membranes(inputs, weight, values, "current" if "tau_syn" in values else "jump", where)


def driven(links: Sequence[Link], trains: Mapping[str, Spikes]) -> tuple[Spikes, Tensor, Tensor | None]:
    """What reaches a population along ``links``: spikes of all paths, their ``weight [n_out, units]``, and its bias ``[n_out]``."""
    received: list[Spikes] = []
    weights: list[Tensor] = []
    for link in links:
        spikes, weight = _received(link.composition, trains[link.source])
        received.append(spikes)
        weights.append(weight)
    offsets = [part for part in (link.composition.offset() for link in links) if part is not None]
    return merged(received), torch.cat(weights, 1), torch.stack(offsets).sum(0) if offsets else None


def _received(composition: Composition, spikes: Spikes) -> tuple[Spikes, Tensor]:
    """``(spikes, weight [n_out, units])``: one unit a source where delays are axonal, else one a path."""
    paths, weight, delay = composition.paths, composition.weight(), composition.delay()
    sources, targets = torch.from_numpy(paths.sources), torch.from_numpy(paths.targets)
    if composition.delayed_by_source:
        matrix = weight.new_zeros(composition.n_out, composition.n_in).index_put(
            (targets, sources), weight, accumulate=True
        )
        if delay is not None:
            first = np.searchsorted(paths.sources, np.arange(composition.n_in))
            of_source = delay[torch.from_numpy(np.minimum(first, len(paths.sources) - 1))]
            spikes = along_paths(spikes, np.arange(composition.n_in), of_source)
        return spikes, matrix
    matrix = weight.new_zeros(composition.n_out, len(paths.sources)).index_put(
        (targets, torch.arange(len(targets))), weight
    )
    return along_paths(spikes, paths.sources, delay), matrix


def with_begin(spikes: Spikes) -> Spikes:
    """``spikes`` and one more unit, which spikes at time 0, before all others."""
    begin = spikes.times.new_zeros((len(spikes), 1))
    unit = torch.full((len(spikes), 1), spikes.n_units, dtype=torch.int64)
    times, units = torch.cat([begin, spikes.times], 1), torch.cat([unit, spikes.units], 1)
    return Spikes.trusted(times, units, spikes.counts + 1, spikes.n_units + 1, spikes.t_stop)
