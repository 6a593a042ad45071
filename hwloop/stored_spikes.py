"""Spikes in files: the events alone, their times bit for bit, checked as any other spikes when they are read."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from .array_file import Array, ArrayReader
from .errors import InputError
from .spikes import Spikes
from .storage import malformed
from .strict_documents import Count, StrictDocument

#: Cells of a padded batch that may be allocated in any case, and for each event that is stored: the rest is padding.
MOST_CELLS, CELLS_AN_EVENT = 2**22, 64


class TrainText(StrictDocument):
    """What a batch is besides its arrays; ``width``: events that a sample has room for."""

    n_units: Annotated[int, Field(ge=1, le=2**31 - 1)]
    t_stop: Annotated[float, Field(gt=0)]
    dtype: Literal["float32", "float64"]
    samples: Annotated[int, Field(ge=1, le=2**31 - 1)]
    width: Count


def pack_spikes(spikes: Spikes, name: str, arrays: dict[str, Array]) -> TrainText:
    """``spikes`` as a text, and as arrays ``NAME.times``, ``NAME.units`` and ``NAME.counts`` that are added to ``arrays``.

    Raises :class:`InputError` for a batch that is nearly all padding, which no reader would take.
    """
    held = spikes.detach()
    valid, width = held.valid, int(held.times.shape[1])
    text = TrainText(
        n_units=held.n_units, t_stop=held.t_stop, dtype=str(held.times.dtype).removeprefix("torch."),  # type: ignore[arg-type]
        samples=len(held), width=width,
    )  # fmt: skip
    events = int(held.counts.sum())
    if _cells(text) > _most_cells(events):
        raise InputError(
            f"{name}: {len(held)} samples with room for {width} events hold {events}; allowed: {_most_cells(events)} places in "
            "all. Store the samples that have most events by themselves"
        )
    arrays[f"{name}.times"] = held.times[valid].cpu().numpy()
    arrays[f"{name}.units"] = held.units[valid].to(torch.int32).cpu().numpy()
    arrays[f"{name}.counts"] = held.counts.to(torch.int32).cpu().numpy()
    return text


def unpack_spikes(text: TrainText, name: str, arrays: ArrayReader, where: str) -> Spikes:
    """What :func:`pack_spikes` took, the same tensors; :class:`DataError` naming ``where`` for anything else."""
    times = arrays.take(f"{name}.times", (text.dtype,), (None,))
    units = arrays.take(f"{name}.units", ("int32",), times.shape)
    counts = arrays.take(f"{name}.counts", ("int32",), (text.samples,)).astype(np.int64)
    if int(counts.min()) < 0 or int(counts.sum()) != len(times) or int(counts.max()) > text.width:
        raise malformed(
            where, f"{name}.counts", f"{int(counts.sum())} events in all", f"{len(times)}, as there are times"
        )
    if _cells(text) > _most_cells(len(times)):
        raise malformed(
            where, f"{name}.width", text.width, f"{_most_cells(len(times)) // text.samples} for so few events"
        )
    found = torch.full((text.samples, text.width), math.inf, dtype=getattr(torch, text.dtype))
    numbers = torch.zeros((text.samples, text.width), dtype=torch.int64)
    valid = torch.arange(text.width) < torch.from_numpy(counts)[:, None]
    found[valid], numbers[valid] = torch.from_numpy(times.copy()), torch.from_numpy(units.astype(np.int64))
    try:
        return Spikes(found, numbers, torch.from_numpy(counts), text.n_units, text.t_stop)
    except InputError as error:
        raise malformed(where, name, str(error), "spikes that hwloop wrote") from None


def same_spikes(first: Spikes, second: Spikes) -> bool:
    """Whether both hold the same events, times bit for bit."""
    same = (first.n_units, first.t_stop, len(first)) == (second.n_units, second.t_stop, len(second))
    return same and all(
        a.dtype == b.dtype and torch.equal(a, b)
        for a, b in (
            (first.counts, second.counts),
            (first.times[first.valid], second.times[second.valid]),
            (first.units[first.valid], second.units[second.valid]),
        )
    )


def _cells(text: TrainText) -> int:
    return text.samples * text.width


def _most_cells(events: int) -> int:
    return max(MOST_CELLS, CELLS_AN_EVENT * events)
