"""Who is at work: a roll in the store that the ranks share, by which a lost one is called by its number.

Every rank counts up there from a thread of its own, whatever its main thread is at, and leaves a note when it ends. Where
the ranks no longer hear each other, one that neither counts nor left a note is lost.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Any

#: Time between two counts (s); a lost rank is known after :data:`PATIENCE`.
BEAT = 0.5
#: How long a rank may stand still before it counts as lost (s): several beats on a busy machine.
PATIENCE = 5.0
#: How often the roll is looked at meanwhile (s).
LOOK = 0.1
#: Longest note (characters).
LONGEST_NOTE = 500


class Roll:
    """This rank's place on the roll.

    Parameters
    ----------
    store : torch.distributed.Store
        Shared by the ranks, under a prefix of their own.
    rank, size : int
    """

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self._store, self._rank, self._size = store, rank, size
        self._ended = threading.Event()
        self._who = {"process": os.getpid(), "host": socket.gethostname()}
        self._write("beat", 0)
        self._thread = threading.Thread(target=self._beat, name="hwloop-roll", daemon=True)
        self._thread.start()

    def end(self, note: str) -> None:
        """Leave a note why this rank ends, and stop counting."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        try:
            self._store.set(f"ended/{self._rank}", note[:LONGEST_NOTE])
        except RuntimeError:  # the store went with the rank that kept it
            return

    def missing(self, patience: float = PATIENCE) -> str:
        """Which other ranks have ended or are lost, in words; empty where all are at work."""
        try:
            return self._missing(patience)
        except RuntimeError:
            return (
                "the store that the ranks share no longer answers: the process that keeps it (rank 0, or torchrun) is lost, or "
                "the network to it"
            )

    def _missing(self, patience: float) -> str:
        others = [rank for rank in range(self._size) if rank != self._rank]
        before = {rank: self._read(rank) for rank in others if self._store.check([f"roll/{rank}"])}
        if absent := [str(rank) for rank in others if rank not in before]:
            return f"rank {', '.join(absent)} of {self._size} has not come"
        notes: dict[int, str] = {}
        waiting, until = set(before), time.monotonic() + patience
        while waiting and time.monotonic() < until:
            time.sleep(LOOK)
            for rank in sorted(waiting):
                if self._store.check([f"ended/{rank}"]):
                    notes[rank] = self._store.get(f"ended/{rank}").decode("utf-8", "replace")
                    waiting.discard(rank)
                elif self._read(rank)["beat"] > before[rank]["beat"]:
                    waiting.discard(rank)
        found = [(rank, "no longer answers: it was ended, or its machine or network failed") for rank in waiting]
        # a rank that ended because of another says nothing new, and one that has done its work nothing wrong
        found += [
            (rank, f"has failed: {note}") for rank, note in notes.items() if note and not note.startswith("RankError")
        ]
        found = found or [(rank, note or "has left, its work done") for rank, note in notes.items()]
        return "; ".join(f"rank {rank} (process {before[rank]['process']} on {before[rank]['host']}) {what}"
                         for rank, what in sorted(found))  # fmt: skip

    def _beat(self) -> None:
        beat = 0
        while not self._ended.wait(BEAT):
            beat += 1
            try:
                self._write("beat", beat)
            except RuntimeError:
                return

    def _write(self, name: str, value: int) -> None:
        self._store.set(f"roll/{self._rank}", json.dumps({**self._who, name: value}))

    def _read(self, rank: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._store.get(f"roll/{rank}"))
        return found
