"""Numbers of sessions: every opening of a chip has noise of its own, in forked processes too.

In a process the sessions of a chip count up from 0, so that the same script finds the same noise. A forked child would
go on with its parent's count and repeat, as number ``k``, the noise that the parent has as number ``k``. Its sessions
count up from a number of its own instead, which follows from the order in which its ancestors forked: the same again in
every run of the script.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import defaultdict

#: Bits of the number that a forked child begins with: sessions of two processes meet once in 2^60 or so.
FIRST_BITS = 62


class _Process:
    """The sessions of one process; ``forks``: which fork of which fork ... of the first process it is."""

    def __init__(self, forks: tuple[int, ...] = ()) -> None:
        self.forks = forks
        self.children = 0
        first = _first(forks)
        self.counts: defaultdict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(first))


def _first(forks: tuple[int, ...]) -> int:
    if not forks:
        return 0
    drawn = hashlib.sha256(repr(forks).encode()).digest()
    return int.from_bytes(drawn[:8], "little") >> (64 - FIRST_BITS)


_process = _Process()


def next_session(device_id: str) -> int:
    """Number of the next session with the chip, which no other session here, of the parent or of another child has."""
    return next(_process.counts[device_id])


def _before_fork() -> None:
    _process.children += 1


def _after_fork_in_child() -> None:
    global _process
    _process = _Process((*_process.forks, _process.children))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
