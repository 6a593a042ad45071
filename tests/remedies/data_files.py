"""Small files of the data sets."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np


def idx(array: np.ndarray) -> bytes:
    """``array`` of bytes as IDX."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def idx_files(folder: Path, *, train: int, test: int) -> Path:
    """MNIST of so many samples in ``folder``."""
    for stem, n in (("train", train), ("t10k", test)):
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx(np.arange(n * 784).reshape(n, 28, 28) % 256))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
    return folder


#: Samples a second of the recordings made here.
RATE = 8000


def members(takes: int = 12, speakers: tuple[str, ...] = ("ada", "bob", "cy")) -> dict[str, Any]:
    """Recordings of spoken digits: every speaker says 0 and 7, ``takes`` times each; 20 ms of noise."""
    generator = np.random.default_rng(0)
    rows = [(digit, speaker, take) for digit in (0, 7) for speaker in speakers for take in range(takes)]
    start = np.arange(len(rows) + 1) * 160
    digits, names, numbers = zip(*rows, strict=True)
    return {
        "audio": generator.integers(-3000, 3000, start[-1]).astype(np.int16), "start": start, "label": np.array(digits),
        "speaker": np.array(names), "take": np.array(numbers), "rate": np.int64(RATE),
    }  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    """:func:`members`, some of them changed or None for left out, as ``spoken_digits.npz`` in ``folder``."""
    held = {name: value for name, value in {**members(), **changes}.items() if value is not None}
    np.savez(folder / "spoken_digits.npz", allow_pickle=False, **held)
    return folder
