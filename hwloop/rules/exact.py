"""The exact rule: event-driven simulation, gradients of spike times by the implicit function theorem.

The readout is the tensor of output spike times, ``[batch, events]``; losses look at any spike of the record, and at the
network, through torch's graph. Source: design of :mod:`hwloop.simulate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..losses import Decision
from ..network import DeltaLIF, Network
from ..record import Record
from ..simulate import DEFAULT_FLOOR, FloorPolicy, Options
from .base import Needs, Rule


@dataclass(frozen=True)
class Exact(Rule):
    """Exact event-based gradients; ``floor`` and ``policy`` as in :meth:`hwloop.network.Network.forward`.

    None: that of the loop which trains by it; without one, of :meth:`hwloop.network.Network.forward`.
    """

    name: ClassVar[str] = "exact"
    needs: ClassVar[Needs] = Needs(("event",), ("value", "subtract"), "binary", "spikes")

    floor: float | None = None
    policy: FloorPolicy | None = None

    def __post_init__(self) -> None:
        Options(floor=self._floor, policy=self._policy)  # refuses what is out of range

    @property
    def _floor(self) -> float:
        return DEFAULT_FLOOR if self.floor is None else self.floor

    @property
    def _policy(self) -> FloorPolicy:
        return "clip" if self.policy is None else self.policy

    def decision(self, net: nn.Module) -> Decision:
        """The earliest spike wins; of an output that does not spike the largest maximum of its membranes."""
        return (
            "first" if not isinstance(net, Network) or net.structure.output not in net.structure.readouts else "maximum"
        )

    @property
    def key(self) -> str:
        """The name alone: floor and policy are options of the trainer, bound there."""
        return self.name

    def check(self, net: nn.Module) -> None:
        """Takes a :class:`Network` whose trained weights move spike times: none into neurons with delta synapses."""
        if not isinstance(net, Network):
            raise InputError(
                f"rule 'exact' trains a Network of Dense and LIF in continuous time, not a {type(net).__name__}"
            )
        for link in net.structure.links:
            node = net.structure.nodes[link.target]
            values = [layer.values() for layer in link.composition.maps]
            if isinstance(node, DeltaLIF) and any(value is not None and value.requires_grad for value in values):
                raise InputError(
                    f"rule 'exact' cannot train the weights into {link.target!r} ({type(node).__name__}): with delta synapses a "
                    "spike falls on the input spike that caused it, whatever the weights, and their gradient is 0. Give the "
                    f"neurons a synaptic current (LIF), or keep those weights: net.requires_grad_(False) on {link.composition.where}"
                )

    def forward(self, net: Network, inputs: Any, measured: Record | None = None) -> Record:
        """Simulate, or replay at measured spikes; the record carries its graph."""
        return net(inputs, measured, floor=self._floor, policy=self._policy)

    def gradients(self, net: Network, record: Record, grad: Tensor) -> dict[str, Tensor]:
        """From the gradient of the output spike times."""
        named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
        times = record.output.times
        if not times.requires_grad:
            raise InputError("the record carries no graph; run forward with gradients on (outside torch.no_grad)")
        found = torch.autograd.grad(times, [p for _, p in named], grad, retain_graph=True, allow_unused=True)
        return {name: g for (name, _), g in zip(named, found, strict=True) if g is not None}

    def readout(self, record: Record) -> Tensor:
        """Output spike times."""
        return record.output.times

    def differentiable(self, net: Network, inputs: Any, measured: Record | None = None) -> Record:
        """Its forward pass is differentiable already."""
        return self.forward(net, inputs, measured)
