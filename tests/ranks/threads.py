"""Ranks as threads of one process: the same sums over the same connections, without the time that processes take to start."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch.distributed as dist

from hwloop.ranks import JoinedRanks

#: Longest wait of one rank for another (s): a hundred times what the slowest work here takes.
DEADLINE = 60.0


def together(size: int, work: Callable[[JoinedRanks], Any], deadline: float = DEADLINE) -> list[Any]:
    """What ``work(ranks)`` brings on each of ``size`` ranks; the error of one that raises, as its result."""
    store = dist.HashStore()

    def one(rank: int) -> Any:
        ranks = JoinedRanks(store, rank, size, deadline)
        try:
            found = work(ranks)
        except Exception as error:
            ranks.close(f"{type(error).__name__}: {error}")
            return error
        ranks.close()
        return found

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))
