"""Populations that do not spike: their membranes as functions of what drives them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..record import Record
from ..simulate.readout import Membranes
from ..spikes import Spikes
from .composition import Composition
from .lif import LIF
from .populations import LI
from .structure import Component, Structure
from .trains import along_paths, merged, split


def read_out(component: Component, node: LI, trains: Mapping[str, Spikes], where: str) -> Membranes:
    """The membranes of ``node``; spikes reach it along every path of the maps into it."""
    received: list[Spikes] = []
    weights: list[Tensor] = []
    for link in component.links:
        spikes, weight = _received(link.composition, trains[link.source])
        received.append(spikes)
        weights.append(weight)
    offsets = [part for part in (link.composition.offset() for link in component.links) if part is not None]
    parameters: dict[str, Tensor] = {"tau_mem": node.tau_mem, "v_leak": node.v_leak}
    for name in ("tau_syn", "v_init"):
        if (value := getattr(node, name)) is not None:
            parameters[name] = value
    weight = torch.cat(weights, 1)
    inputs = merged(received)
    if offsets:
        bias = torch.stack(offsets).sum(0).to(weight.dtype)
        parameters["bias"] = bias
        if node.tau_syn is not None and node.filtered_bias:
            inputs, weight = with_begin(inputs), torch.cat([weight, -bias[:, None]], 1)
    values = {name: value.to(weight.dtype) for name, value in parameters.items()}
    return Membranes(inputs, weight, values, "jump" if node.tau_syn is None else "current", where)


def driving(structure: Structure, index: int, record: Record) -> tuple[Spikes, Tensor, dict[str, Tensor]]:
    """``(spikes, weight [n, units], parameters)``: all that drove population ``index`` in ``record``, a bias as leak.

    Raises :class:`InputError` for other neurons than LIF, and where the record lacks the inputs.
    """
    name = structure.populations[index]
    node = structure.nodes[name]
    if not isinstance(node, LIF):
        raise InputError(f"population {name!r} is {type(node).__name__}; allowed: LIF, whose membranes have a maximum")
    links = [link for link in structure.links if link.target == name]
    trains = dict(zip(structure.populations, record.populations, strict=True))
    if any(link.source in structure.inputs for link in links):
        if record.inputs is None:
            raise InputError(f"the record holds no inputs, which drive population {name!r}; record them")
        sizes = [structure.nodes[one].n for one in structure.inputs]
        trains.update(zip(structure.inputs, split(record.inputs, sizes), strict=True))
    received = [_received(link.composition, trains[link.source]) for link in links]
    parameters = node.acting_parameters()
    offsets = [part for part in (link.composition.offset() for link in links) if part is not None]
    if offsets:
        parameters["v_leak"] = parameters["v_leak"] + torch.stack(offsets).sum(0)
    return merged([spikes for spikes, _ in received]), torch.cat([weight for _, weight in received], 1), parameters


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
