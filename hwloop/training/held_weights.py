"""The weights of a network that a device holds, as the loops around devices move them."""

from __future__ import annotations

from typing import Any

import torch

from ..mapping import Program
from ..mapping.held import held_value, largest_weight, places_of
from ..network import Network
from .weights import Weights, within


class HeldWeights(Weights):
    """The weights of ``net`` that a device holds, first to last."""

    def __init__(self, net: Network) -> None:
        if net.is_plain_chain:
            self._places = []
            super().__init__(net, [dense.weight for dense, _ in net.blocks])
            return
        placed = places_of(net)
        self._places = [place for _, place in placed]
        super().__init__(net, [tensor for tensor, _ in placed])

    def held(self, program: Program) -> list[Any]:
        """Their values on a device that holds ``program``."""
        matrices = program.weights()
        if not self._places:
            return list(matrices)
        pairs = zip(self.tensors, self._places, strict=True)
        return [held_value(tensor, place, matrices[place.layer]) for tensor, place in pairs]

    @torch.no_grad()
    def limit(self, program: Program) -> None:
        """See :meth:`Weights.limit`."""
        if not self._places:
            super().limit(program)
            return
        for tensor, place in zip(self.tensors, self._places, strict=True):
            layer = program.layers[place.layer]
            if layer.max_code is not None:
                tensor.copy_(within(tensor, largest_weight(place, layer)))
