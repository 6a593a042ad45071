"""What a loss needs of a batch as a whole while every rank holds a share of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_sum: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("hwloop_sum_over_ranks", default=None)


def summed(values: Tensor) -> Tensor:
    """``values``, sums over the samples of this rank's share, summed over the whole batch; as they are where it is not shared.

    For losses that look at a batch as a whole, such as :class:`hwloop.losses.DeadHinge`. No gradient passes. Every rank has to
    call it as often as the others, whatever its samples.
    """
    over_ranks = _sum.get()
    return values if over_ranks is None else over_ranks(values.detach())


@contextmanager
def summing(over_ranks: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """:func:`summed` is ``over_ranks`` inside."""
    token = _sum.set(over_ranks)
    try:
        yield
    finally:
        _sum.reset(token)
