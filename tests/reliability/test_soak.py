"""Fine-tuning again and again over a line with faults: the result of a line without, and nothing that grows."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import psutil

import hwloop as hl

from .test_finetuning import OPTIONS, board, check, task, tuned

__all__ = ["task"]

#: Memory that may be more at the end than after the first third (bytes): pools of the allocator, not a leak of every round.
SLACK = 48 << 20


def held() -> tuple[int, int, int]:
    """Memory (bytes), open descriptors and threads of this process."""
    gc.collect()
    process = psutil.Process()
    return process.memory_info().rss, process.num_fds(), threading.active_count()


def test_fine_tuning_over_faults_grows_nothing(task: hl.datasets.Task, rounds: Callable[[int, int], int]) -> None:
    """Threads of the relay that a closed line leaves end in their own time: they are waited for."""
    n = rounds(3, 3000)
    expected = tuned(hl.open("emulator:3", **OPTIONS), task)
    sizes = []
    for number in range(n):
        with board() as served:
            check(
                tuned(hl.open(f"serial:faulty://{served.url}?flip=2e-4&drop=2e-4&seed={number}", session=5), task),
                expected,
            )
        until = time.monotonic() + 5
        while sizes and held()[2] > sizes[0][2] and time.monotonic() < until:
            time.sleep(0.02)
        sizes.append(held())
    early, late = sizes[(n - 1) // 3], sizes[-1]
    assert late[0] - early[0] < SLACK
    assert late[1] <= early[1]
    assert late[2] <= early[2]
