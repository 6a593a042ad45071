"""Spoken digits: recordings of six speakers as events of a filter bank (Free Spoken Digit Dataset, Z. Jackson and others).

The set's own split keeps takes 0..4 of every speaker and digit for testing; takes 5..9 are for validation here, never the test
set. The harder split holds one speaker out: all his recordings are the test set.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .. import files
from ..arguments import seconds, shown
from ..errors import InputError
from ..spikes import Spikes
from .data import Dataset, Task, task_of
from .filter_bank import FilterBank
from .recordings import WORDS, Recordings, read_recordings

#: Takes below the first are the set's own test set, those below the second validate.
TEST_TAKES, VALIDATION_TAKES = 5, 10
#: Window of a sample at the default speed-up (s): the longest recording takes .228 s, the rest is for delays and the answer.
T_STOP = 0.3
FILE = "spoken_digits.npz"


def spoken_digits(
    data: Path | str | None = None,
    *,
    held_out: str | None = None,
    encoder: FilterBank | None = None,
    t_stop: float = T_STOP,
    dtype: torch.dtype | None = None,
) -> Task:
    """The spoken digits: one input unit for each band of the filter bank, 10 classes.

    Parameters
    ----------
    data : path, optional
        Folder of ``spoken_digits.npz``; see :func:`hwloop.files.data_folder`.
    held_out : str, optional
        A speaker whose recordings are the test set; validation are takes 5..9 of the others, training the rest of theirs.
        Without it the set's own split: takes 0..4 test, takes 5..9 validate, the rest trains.
    encoder : default :class:`FilterBank`
    t_stop : float (s)
        Window of a sample, in the time of the events.
    dtype : of the spike times, default torch's

    Raises
    ------
    InputError, DataError
        A speaker that is not in the file; a window shorter than a recording; a file that is missing or malformed.
    """
    how, t_stop = encoder or FilterBank(), seconds("t_stop", t_stop)
    found = read_recordings(files.data_folder(data, "spoken_digits", FILE) / FILE)
    parts = split_of(found, held_out)
    longest = float(np.diff(found.start).max()) / found.rate / how.speedup
    if longest > t_stop:
        least = math.ceil(1e4 * longest) / 1e4
        raise InputError(f"t_stop = {t_stop:g} s; allowed: >= {least:g} s, the longest recording at this speed-up")
    name = "spoken-digits" if held_out is None else f"spoken-digits-without-{held_out}"
    return task_of(name, [_encoded(found, part, how, t_stop, dtype) for part in parts], WORDS)


def split_of(found: Recordings, held_out: str | None = None) -> list[NDArray[np.int64]]:
    """Numbers of the recordings for training, validation and test.

    Raises :class:`InputError` for a speaker who is not there, or alone, and for a part without recordings.
    """
    if held_out is None:
        test, known = found.take < TEST_TAKES, np.ones(len(found), bool)
    else:
        speakers = sorted(set(found.speaker.tolist()))
        if held_out not in speakers or len(speakers) == 1:
            raise InputError(f"held_out = {shown(held_out)}; allowed: one of {', '.join(speakers)}, and not all")
        test = found.speaker == held_out
        known = ~test
    second = known & (found.take >= TEST_TAKES) & (found.take < VALIDATION_TAKES)
    train = known & ~test & ~second
    parts = [np.flatnonzero(part) for part in (train, second, test)]
    for part, numbers in zip(("training", "validation", "test"), parts, strict=True):
        if not len(numbers):
            raise InputError(f"no recordings for {part}; allowed: files with takes 0..4, 5..9 and above")
    return parts


def _encoded(
    found: Recordings, numbers: NDArray[np.int64], how: FilterBank, t_stop: float, dtype: torch.dtype | None
) -> Dataset:
    events = how.encode([found.sound(int(number)) for number in numbers], found.rate)
    labels = torch.from_numpy(found.label[numbers])
    return Dataset(Spikes.from_events(events, how.channels, t_stop, dtype or torch.get_default_dtype()), labels)
