"""Ranks that are joined by a process group: sums over them, and what happens where one is lost.

The sums go through a group of their own, over gloo: it takes tensors of any device by way of the CPU, gives every rank the same
bits, and ends where a rank does, or after a deadline. What is sent is one gradient a batch.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

import torch
from torch import Tensor

from ..arguments import seconds
from ..checkpoint import packed, unpacked
from ..errors import InputError, RankError
from .base import Ranks, Share
from .roll import Roll
from .sharing import summing

#: Longest wait (s) for another rank by default: it may compile kernels meanwhile, or write a checkpoint to a slow disk.
DEADLINE = 300.0
#: What torchrun tells the processes that it starts.
ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

_numbers = itertools.count()


class JoinedRanks(Ranks):
    """One of ``size`` processes that train together; see :class:`Ranks`.

    Parameters
    ----------
    store : torch.distributed.Store
        Shared by these ranks alone.
    rank, size : int
    deadline : float (s)
        Longest wait for another rank.
    """

    def __init__(self, store: Any, rank: int, size: int, deadline: float = DEADLINE) -> None:
        import torch.distributed as dist

        self.rank, self.size = rank, size
        self._store, self._deadline, self._asking = store, deadline, False
        with self._all_there("did not come"):
            self._group: Any = dist.ProcessGroupGloo(store, rank, size, timedelta(seconds=deadline))
            self._roll = Roll(store, rank, size)
            self.wait()

    def close(self, note: str = "") -> None:
        """Leave the others: those that wait for this rank are told ``note``, why it ended; empty: its work is done."""
        self._roll.end(note)
        self._group = None  # closes the connections

    # -- shares -------------------------------------------------------------------------------

    @contextmanager
    def share(self, batch: tuple[Any, Tensor]) -> Iterator[Share]:
        """The samples of ``batch`` from ``n * rank // size`` on; where there are none, its first, which does not count."""
        inputs, labels = batch
        n = len(labels)
        start, stop = n * self.rank // self.size, n * (self.rank + 1) // self.size
        samples = stop - start
        part = slice(start, stop) if samples else slice(0, 1)

        def over_ranks(values: Tensor) -> Tensor:
            return self._sum(values.clone() if samples else torch.zeros_like(values))

        with summing(over_ranks):
            yield Share(inputs[part], labels[part], samples / n, samples)

    def mean_gradients(self, trained: Sequence[Tensor], loss: float, weight: float) -> float:
        """Sums over the ranks of the gradients, and of ``weight`` times ``loss``; a tensor without a gradient on any rank has none."""
        held = [value.grad for value in trained]
        dtype = torch.float64 if any(value.dtype == torch.float64 for value in trained) else torch.float32
        flat = torch.zeros(1 + len(held) + sum(value.numel() for value in trained), dtype=dtype)
        places = torch.split(flat[1 + len(held) :], [value.numel() for value in trained])
        if weight:
            flat[0] = weight * loss
            for k, (gradient, place) in enumerate(zip(held, places, strict=True)):
                if gradient is not None:
                    flat[1 + k] = 1
                    place.copy_(gradient.detach().reshape(-1))
        self._sum(flat)
        for k, (value, place) in enumerate(zip(trained, places, strict=True)):
            if not flat[1 + k]:
                value.grad = None
                continue
            if value.grad is None:
                value.grad = torch.zeros_like(value)
            value.grad.copy_(place.reshape(value.shape))
        return float(flat[0])

    def totals(self, values: Sequence[float]) -> Sequence[float]:
        """Sums over the ranks."""
        sums: list[float] = self._sum(torch.tensor(values, dtype=torch.float64)).tolist()
        return sums

    # -- agreement ----------------------------------------------------------------------------

    def from_first(self, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What ``work()``, called on the first rank alone, brings: plain values and tensors."""
        if self.first:
            found = work()
            text, data = packed(found)
            self._send(text.encode())
            self._send(data)
            return found
        text = self._send(None).decode()
        return unpacked(text, self._send(None))

    def put_same(self, tensors: Sequence[Tensor]) -> None:
        """Write the first rank's values into ``tensors``."""
        held = [tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in tensors]
        sent = torch.cat(held)
        self._broadcast(sent)
        if self.first:
            return
        for tensor, part in zip(tensors, torch.split(sent, [len(own) for own in held]), strict=True):
            with torch.no_grad():
                tensor.copy_(part.clone().view(tensor.dtype).reshape(tensor.shape))

    def agree(self, facts: Mapping[str, object]) -> None:
        """Raises :class:`InputError`, on every rank, where one was given other ``facts`` than the first."""
        own = {name: repr(value) for name, value in facts.items()}
        first = self.from_first(lambda: dict(own))
        names = sorted(own.keys() | first.keys())
        # names are the first rank's on all; one that it lacks counts as its last
        table = torch.zeros(self.size, len(first) + 1, dtype=torch.int64)
        for name in names:
            if own.get(name) != first.get(name):
                table[self.rank, list(first).index(name) if name in first else len(first)] = 1
        self._sum(table)
        if not bool(table.any()):
            return
        differ = [k for k in range(self.size) if bool(table[k].any())]
        which = [name for k, name in enumerate([*first, "options"]) if bool(table[:, k].any())]
        here = "" if not bool(table[self.rank].any()) else "".join(
            f"; {name} is {first.get(name, 'none')[:200]} on rank 0, {own.get(name, 'none')[:200]} here"
            for name in names if own.get(name) != first.get(name)
        )  # fmt: skip
        raise InputError(
            f"rank {', '.join(map(str, differ))} of {self.size} differs from rank 0 in {', '.join(which)}{here}; give every rank "
            "the same network, data and options (seeds too)"
        )

    def wait(self) -> None:
        """Until every rank has come here."""
        self._sum(torch.zeros(1))

    # -- between the ranks --------------------------------------------------------------------

    def _sum(self, values: Tensor) -> Tensor:
        """``values`` summed over the ranks, in place where they are on the CPU."""
        on_cpu = values.cpu().contiguous()
        with self._all_there("do not hear each other"):
            self._group.allreduce([on_cpu]).wait()
        return on_cpu.to(values.device)

    def _broadcast(self, values: Tensor) -> None:
        with self._all_there("do not hear each other"):
            self._group.broadcast([values]).wait()

    def _send(self, data: bytes | None) -> bytes:
        """``data`` of the first rank."""
        length = torch.tensor([0 if data is None else len(data)])
        self._broadcast(length)
        buffer = torch.zeros(int(length), dtype=torch.uint8)
        if data:
            buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if len(buffer):
            self._broadcast(buffer)
        return buffer.numpy().tobytes()

    @contextmanager
    def _all_there(self, what: str) -> Iterator[None]:
        """Turn errors of torch into one that says which rank is missing."""
        try:
            yield
        except RuntimeError as error:
            self._asking = True
            why = (str(error).splitlines() or [""])[0][:200]
            self._end(
                f"the {self.size} ranks {what} within {self._deadline:g} s ({why}); see that all run and reach each other"
            )

    def _end(self, otherwise: str) -> NoReturn:
        """Raise what the roll says of the other ranks; ``otherwise`` where all of them are at work."""
        roll = getattr(self, "_roll", None)
        missing = "" if roll is None else roll.missing()
        remedy = self.remedy or "Start all of them again"
        raise RankError(f"{missing or otherwise}. Rank {self.rank} ends too. {remedy}")

    @contextmanager
    def ending_on_sigterm(self) -> Iterator[None]:
        """SIGTERM, by which torchrun ends the other ranks once one is lost, raises the error that says which inside."""

        def end(number: int, frame: Any) -> None:
            if not self._asking:  # else it ends already, within the patience of the roll
                self._asking = True
                self._end("this process was told to end (SIGTERM), and no other rank is lost")

        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def joined(deadline: float = DEADLINE) -> Iterator[JoinedRanks]:
    """The ranks of this run: processes that ``torchrun`` started, or of torch's default process group where there is one.

    An error that leaves the block ends the other ranks too, with a message that names this rank and its error.

    Parameters
    ----------
    deadline : float (s)
        Longest wait for another rank; one that was killed is known at once, one that hangs after the deadline.

    Raises
    ------
    InputError
        There is no process group, and the process was not started by torchrun.
    RankError
        A rank is lost, or has failed.
    """
    import torch.distributed as dist

    deadline = seconds("deadline", deadline)
    begun = not dist.is_initialized()
    if begun:
        _check_environment()
        try:
            dist.init_process_group("gloo", timeout=timedelta(seconds=deadline))
        except (RuntimeError, ValueError) as error:
            raise RankError(
                f"the ranks did not find each other at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} within "
                f"{deadline:g} s ({str(error).splitlines()[0][:200]}); see that all were started, and that the address is right"
            ) from error
    try:
        c10d: Any = dist.distributed_c10d
        store = c10d.PrefixStore(f"hwloop/{next(_numbers)}", c10d._get_default_store())
        ranks = JoinedRanks(store, dist.get_rank(), dist.get_world_size(), deadline)
        try:
            yield ranks
        except BaseException as error:
            ranks.close(f"{type(error).__name__}: {error}")
            raise
        else:
            ranks.close()
    finally:
        if begun:
            dist.destroy_process_group()


def _check_environment() -> None:
    missing = [name for name in ENVIRONMENT if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"{', '.join(missing)} not set: this process is no rank of several; start it by torchrun, such as `torchrun "
            "--nproc-per-node 2 -m hwloop train yin-yang --distributed` or `torchrun --nproc-per-node 2 your_script.py`"
        )
