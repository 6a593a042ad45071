"""Weights as the training loops move them: placed and taken back, kept in range, averaged, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..mapping import Program
from .evaluate import Evaluation
from .options import Model


class Weights:
    """The tensors of a network that a loop trains, by name."""

    def __init__(self, net: Model, trained: Sequence[Tensor]) -> None:
        names = {id(value): name for name, value in net.named_parameters()}
        self.named = {names.get(id(value), f"tensor {k}"): value for k, value in enumerate(trained)}
        self.tensors = list(self.named.values())

    def copies(self) -> list[Tensor]:
        """The values as they are now."""
        return [value.detach().clone() for value in self.tensors]

    @torch.no_grad()
    def put(self, values: Sequence[Any]) -> None:
        """Write ``values``, tensors or arrays in the order of :attr:`named`."""
        for value, new in zip(self.tensors, values, strict=True):
            value.copy_(torch.as_tensor(new))

    @contextmanager
    def holding(self, values: Sequence[Any]) -> Iterator[None]:
        """The network with ``values`` inside; with its own again after, whatever happens."""
        own = self.copies()
        try:
            self.put(values)
            yield
        finally:
            self.put(own)

    @torch.no_grad()
    def limit(self, program: Program) -> None:
        """Keep weights where the codes of ``program`` can follow: beyond, a step would have no effect for long.

        The tensors are those of the layers of ``program``, first to last.
        """
        for value, layer in zip(self.tensors, program.layers, strict=True):
            if layer.max_code is not None:
                value.copy_(within(value, layer.largest_weight()))


def within(weight: Tensor, limit: Any) -> Tensor:
    """``weight [n_out, n_in]`` between ``-limit`` and ``limit``: a number, or an array ``[n_out, 1]``."""
    bound = torch.as_tensor(limit, dtype=weight.dtype, device=weight.device)
    return torch.clamp(weight, -bound, bound)


class Average:
    """Exponential moving average of weights, with ``decay`` a step; it begins at the weights as they are."""

    def __init__(self, weights: Weights, decay: float) -> None:
        self._weights, self._share = weights, 1.0 - decay
        self.values = weights.copies()

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        torch._foreach_lerp_(self.values, self._weights.tensors, self._share)

    def restart(self) -> None:
        """Begin anew at the weights as they are."""
        self.values = self._weights.copies()


@dataclass
class Best:
    """The best epoch so far and its weights: highest validation accuracy, then lowest loss, then the earliest."""

    epoch: int = 0
    validation: Evaluation | None = None
    weights: dict[str, Tensor] | None = None

    def offer(self, epoch: int, validation: Evaluation, net: Model) -> bool:
        """Take ``net``'s weights if ``validation`` is better; tells whether it was."""
        if self.validation is not None and _rank(validation) <= _rank(self.validation):
            return False
        self.epoch, self.validation = epoch, validation
        self.weights = {name: value.detach().clone() for name, value in net.state_dict().items()}
        return True

    def restore(self, net: Model) -> None:
        """Put the best weights back into ``net``."""
        if self.weights is not None:
            net.load_state_dict(self.weights)


def _rank(found: Evaluation) -> tuple[float, float]:
    return found.accuracy, -math.inf if found.loss is None or math.isnan(found.loss) else -found.loss


def named_values(weights: Weights, saved: Mapping[str, Tensor] | Sequence[Tensor]) -> list[Tensor]:
    """Saved values in the order of ``weights``: by name, as an averaged model of torch names them, or in that order."""
    if isinstance(saved, Mapping):
        return [saved[name if name in saved else f"module.{name}"] for name in weights.named]
    if len(saved) != len(weights.named):
        raise ValueError(f"{len(saved)} tensors for {len(weights.named)} weights")
    return list(saved)
