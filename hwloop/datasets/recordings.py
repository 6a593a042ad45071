"""Recordings of spoken digits in one file: every sound in a row, where each starts, who said what, and which take it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..event_files import unpacked
from ..storage import malformed, read_bytes

#: Largest file read (bytes), and what its members may hold unpacked; the real one has 15 MB, unpacked 21.
MAX_BYTES, MAX_UNPACKED = 2**27, 2**28
#: Members of the file, and the kind of the numbers or text in each.
MEMBERS = {"audio": "i", "start": "iu", "label": "iu", "speaker": "U", "take": "iu", "rate": "iu"}
#: Samples a second that are accepted.
RATES = (4000, 192_000)
#: Words that are said: the digits.
WORDS = 10


@dataclass(frozen=True)
class Recordings:
    """``n`` recordings of one file.

    Attributes
    ----------
    audio : ``[samples]`` int16, all recordings in a row
    start : ``[n + 1]`` int64, where each starts, and the end of the last
    label : ``[n]`` int64, the digit that is said
    speaker : ``[n]`` text
    take : ``[n]`` int64, counts the recordings of one speaker saying one digit
    rate : samples a second
    """

    audio: NDArray[np.int16]
    start: NDArray[np.int64]
    label: NDArray[np.int64]
    speaker: NDArray[np.str_]
    take: NDArray[np.int64]
    rate: int

    def __len__(self) -> int:
        return len(self.label)

    def sound(self, number: int) -> NDArray[np.int16]:
        """``[samples]`` of recording ``number``."""
        return self.audio[self.start[number] : self.start[number + 1]]


def read_recordings(path: Path | str) -> Recordings:
    """The recordings in ``path``, an ``.npz`` of :data:`MEMBERS`; nothing is unpickled.

    Raises :class:`~hwloop.errors.DataError` naming file, member, what was found and what is allowed.
    """
    where = str(path)
    arrays = unpacked(
        read_bytes(path, MAX_BYTES), where, members=len(MEMBERS), most=MAX_UNPACKED, of="recordings, .npz"
    )
    for name, kinds in MEMBERS.items():
        shape = () if name == "rate" else (None,)
        if name not in arrays or arrays[name].dtype.kind not in kinds or arrays[name].ndim != len(shape):
            found = "missing" if name not in arrays else f"{arrays[name].dtype} of shape {arrays[name].shape}"
            raise malformed(where, name, found, f"{_KIND[kinds]}{' in a row' if shape else ', one'}")
    rate, start = int(arrays["rate"]), arrays["start"].astype(np.int64)
    n = len(start) - 1
    if arrays["audio"].dtype != np.int16:
        raise malformed(where, "audio", str(arrays["audio"].dtype), "int16")
    if not RATES[0] <= rate <= RATES[1]:
        raise malformed(where, "rate", f"{rate} samples a second", f"{RATES[0]}..{RATES[1]}")
    if n < 1 or start[0] != 0 or start[-1] != len(arrays["audio"]) or (np.diff(start) < 1).any():
        raise malformed(where, "start", f"{n} recordings", "rising from 0 to the samples of audio")
    for name in ("label", "speaker", "take"):
        if len(arrays[name]) != n:
            raise malformed(where, name, f"{len(arrays[name])} values", f"one for each of {n} recordings")
    label, take = arrays["label"].astype(np.int64), arrays["take"].astype(np.int64)
    if label.min() < 0 or label.max() >= WORDS:
        raise malformed(where, "label", f"{label.min()}..{label.max()}", f"0..{WORDS - 1}")
    return Recordings(arrays["audio"], start, label, arrays["speaker"], take, rate)


_KIND = {"i": "signed whole numbers", "iu": "whole numbers", "U": "text"}
