"""Populations that are simulated together: a component of a graph through :mod:`hwloop.simulate.joint`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..neurons import PARAMETERS
from ..record import LayerHealth, Ran
from ..simulate import Options
from ..simulate.joint.autograd import JointCall, Structure, component_call
from ..simulate.joint.contract import CURRENT, INTEGRATE, JUMP
from ..spikes import Spikes
from .differences import RanComponent
from .linear_map import Array
from .populations import IF, DeltaLIF, Population, SpikingPopulation
from .readouts import starting, with_begin
from .structure import Component
from .trains import merged, split
from .wiring import Wiring


class Medium(Protocol):
    """What a network is imagined to run on: it changes what acts, and what is sent on."""

    def weight(self, names: Sequence[str], weight: Tensor, target: Array, real: Array) -> Tensor:
        """Acting ``weight [synapses]`` of populations ``names``, onto neurons ``target``; those not ``real`` are biases."""

    def parameters(self, values: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Acting parameters ``[N]``; thresholds may be ``[batch, N]``."""

    def delay(self, names: Sequence[str], delay: Tensor, source: Array) -> Tensor:
        """Acting ``delay [bundles]`` (s) within the populations ``names``; ``source``: their neuron, below 0 one outside."""

    def sent(self, spikes: Spikes) -> Spikes:
        """What travels on of the ``spikes`` of a population."""

    def recorded(self, spikes: Spikes) -> Spikes:
        """What is recorded of it."""


def run_joint(
    component: Component,
    wiring: Wiring,
    nodes: Mapping[str, Population],
    trains: dict[str, Spikes],
    given: Mapping[str, Spikes],
    options: Options,
    where: str,
    health: dict[str, LayerHealth],
    ran: dict[str, Ran],
    medium: Medium | None = None,
) -> None:
    """Simulate the populations of ``component`` together, and write their spikes, health and what ran."""
    members = [node for name in component.names if isinstance(node := nodes[name], SpikingPopulation)]
    dtype = next((d for link in component.links if (d := link.composition.dtype) is not None), torch.float32)
    bias = [_bias(component, name, dtype) for name in component.names]
    weight, delay = (
        wiring.weight(_filtered(members, bias, dtype) if wiring.filtered else None, dtype),
        wiring.delay(dtype),
    )
    inputs = [trains[name] for name in wiring.external]
    received = merged(inputs) if inputs else _silence(trains)
    if wiring.filtered:
        received = with_begin(received)
    structure = wired(wiring, members)
    parameters = _parameters(members, bias, dtype)
    if medium is not None:
        real = wiring.order < sum(len(link.composition.paths.sources) for link in component.links)
        weight = medium.weight(component.names, weight, wiring.target, real)
        delay = medium.delay(component.names, delay, wiring.bundle_sources)
        parameters = medium.parameters(parameters, len(received))
    measured = merged([given[name] for name in component.names]) if given else None
    spikes, call = component_call(
        received, structure, weight, delay, parameters, floor=options.floor, policy=options.policy, measured=measured,
        where=where, engine=options.engine,
    )  # fmt: skip
    for name, train in zip(component.names, split(spikes, wiring.sizes), strict=True):
        trains[name] = train
    _write_health(component, wiring, call, trains, health, measured is not None)
    if measured is not None:
        held = RanComponent.of(received, structure, weight, delay, parameters, spikes)
        start = 0
        for name, size in zip(component.names, wiring.sizes, strict=True):
            ran[name] = held.part(start, size)
            start += size


def wired(wiring: Wiring, members: list[SpikingPopulation]) -> Structure:
    """What of the component has no gradient; made once for a wiring and the neurons' kinds, resets and caps."""
    kind = tuple(INTEGRATE if isinstance(n, IF) else JUMP if isinstance(n, DeltaLIF) else CURRENT for n in members)
    subtract = tuple(node.reset == "subtract" for node in members)
    cap = tuple(node.max_spikes or 0 for node in members)
    found = wiring.made.get((kind, subtract, cap))
    if found is None:
        sizes = list(wiring.sizes)
        found = wiring.made[kind, subtract, cap] = Structure(
            wiring.n_external, wiring.bundle_starts, wiring.first, wiring.target,
            np.repeat(np.array(kind, np.int64), sizes), np.repeat(np.array(subtract, bool), sizes),
            np.repeat(np.array(cap, np.int64), sizes),
        )  # fmt: skip
    return found


def _parameters(members: list[SpikingPopulation], bias: list[Tensor | None], dtype: torch.dtype) -> dict[str, Tensor]:
    each = [{name: value.to(dtype) for name, value in node.acting_parameters().items()} for node in members]
    result = {name: torch.cat([values[name] for values in each]) for name in PARAMETERS}
    leaky = [None if isinstance(node, IF) else part for node, part in zip(members, bias, strict=True)]
    ramps = [part if isinstance(node, IF) else None for node, part in zip(members, bias, strict=True)]
    for name, parts in (("bias", leaky), ("ramp", ramps)):
        if any(part is not None for part in parts):
            result[name] = torch.cat(
                [
                    torch.zeros(node.n, dtype=dtype) if part is None else part
                    for node, part in zip(members, parts, strict=True)
                ]
            )
    starts = [node.v_init for node in members]
    if any(start is not None for start in starts):
        result["v_init"] = torch.cat(
            [starting(values) if start is None else start.to(dtype) for start, values in zip(starts, each, strict=True)]
        )
    return result


def _bias(component: Component, name: str, dtype: torch.dtype) -> Tensor | None:
    """``[n]`` the constant current into a population, of all that leads into it; None where there is none."""
    found = [link.composition.offset() for link in component.links if link.target == name]
    parts = [part.to(dtype) for part in found if part is not None]
    return torch.stack(parts).sum(0) if parts else None


def _filtered(members: list[SpikingPopulation], bias: list[Tensor | None], dtype: torch.dtype) -> Tensor:
    """``[N]`` the part of the biases that passes the synapse."""
    return torch.cat(
        [
            part if part is not None and node.filtered_bias else torch.zeros(node.n, dtype=dtype)
            for node, part in zip(members, bias, strict=True)
        ]
    )


def _silence(trains: Mapping[str, Spikes]) -> Spikes:
    """No events of no unit, as many samples and as long as the others."""
    like = next(iter(trains.values()))
    none = like.times.new_zeros((len(like), 0))
    return Spikes.trusted(none, none.long(), torch.zeros_like(like.counts), 0, like.t_stop)


def _write_health(
    component: Component,
    wiring: Wiring,
    call: JointCall,
    trains: Mapping[str, Spikes],
    health: dict[str, LayerHealth],
    measured: bool,
) -> None:
    ends = np.cumsum([0, *wiring.sizes])
    residuals = call.residuals() if measured else np.zeros(ends[-1])
    low = call.low_of_neurons()
    for k, name in enumerate(component.names):
        part = slice(ends[k], ends[k + 1])
        counts = trains[name].counts
        health[name] = LayerHealth(
            int(counts.sum()), int(low[part].sum()), torch.from_numpy(residuals[part].copy()), int((counts == 0).sum())
        )
