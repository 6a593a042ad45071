"""Memory of the device: room for spikes, and what is said where a batch does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ...errors import InputError

#: Output events that one call may hold; more is a runaway network. The limit of the CPU's engine.
MAX_EVENTS = 1 << 26

#: Spikes of a neuron that there is room for at first, and the layers (by shape) of which another number is remembered.
FIRST_ROOM, REMEMBERED = 8, 64

#: Bytes that the adjoint currents of one range of samples may take. A number of its own, not a share of what is free:
#: the ranges decide in which order a gradient is summed, and equal calls answer equal bits.
SCRATCH = 1 << 28

_needed: dict[tuple[int, int], int] = {}


def expected(shape: tuple[int, int], max_spikes: int, batch: int) -> int:
    """Spikes of a neuron to make room for in a layer of ``shape`` (inputs, neurons); ``max_spikes`` 0 means no cap."""
    room = max(FIRST_ROOM, min(_needed.get(shape, 0), MAX_EVENTS // max(1, batch * shape[1])))
    return min(room, max_spikes) if max_spikes else room


def remember(shape: tuple[int, int], most: int) -> None:
    """Keep in mind that a neuron of such a layer had ``most`` spikes: by half as many again as were found wanting."""
    if most > max(FIRST_ROOM, _needed.get(shape, 0)):
        _needed[shape] = most + most // 2
        if len(_needed) > REMEMBERED:
            _needed.pop(next(iter(_needed)))


def check_room(batch: int, most: int) -> None:
    """Raise :class:`InputError` where a batch has more spikes than one call may hold."""
    if batch * most > MAX_EVENTS:
        raise InputError(
            f"a layer on the GPU answers {batch} samples with up to {most} spikes each; allowed: {MAX_EVENTS} in one "
            "call. Use smaller batches, lower weights, a refractory time, or max_spikes"
        )


@contextmanager
def holding(device: torch.device, what: str, size: int) -> Iterator[None]:
    """Say what a batch needs (``size`` bytes for ``what``, besides what is held) where ``device`` cannot hold it."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        free, whole = torch.cuda.mem_get_info(device) if device.type == "cuda" else (0, 0)
        raise InputError(
            f"{device} cannot hold the batch: {what} needs {size / 2**20:.0f} MiB more, {free / 2**20:.0f} of "
            f"{whole / 2**20:.0f} MiB are free. Use smaller batches, or shorter ones in time"
        ) from error
