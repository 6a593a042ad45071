"""What a training loop asks of the ranks that share its work; of one process alone, which shares nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Share:
    """What one rank computes of a batch.

    Attributes
    ----------
    inputs, labels : of its samples, at least one
    weight : float
        Their share of the batch; 0 where the batch has fewer samples than there are ranks and this one was lent a sample.
    samples : int
        How many of them count.
    """

    inputs: Any
    labels: Tensor
    weight: float
    samples: int


class Ranks:
    """One process alone: it has every sample, and what it finds is what is found."""

    rank = 0
    size = 1
    #: What a message about a lost rank says of how to go on.
    remedy = ""

    @property
    def first(self) -> bool:
        """Whether this rank writes checkpoints, shows progress and calls back."""
        return self.rank == 0

    @contextmanager
    def share(self, batch: tuple[Any, Tensor]) -> Iterator[Share]:
        """This rank's share of ``batch``; a loss inside may look at the whole of it by :func:`hwloop.ranks.summed`."""
        inputs, labels = batch
        yield Share(inputs, labels, 1.0, len(labels))

    def mean_gradients(self, trained: Sequence[Tensor], loss: float, weight: float) -> float:
        """Turn the gradients in ``trained``, of ``weight`` times ``loss``, and ``loss`` into those of the whole batch; return it."""
        return loss

    def totals(self, values: Sequence[float]) -> Sequence[float]:
        """Sums over the ranks."""
        return values

    def from_first(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What ``work()`` brings on the first rank."""
        return work()

    def put_same(self, tensors: Sequence[Tensor]) -> None:
        """Write the first rank's values into ``tensors``."""

    def agree(self, facts: Mapping[str, object]) -> None:
        """Refuse ranks that were given something else than the first."""

    def wait(self) -> None:
        """Until every rank has come here."""


#: One process alone.
ALONE = Ranks()
