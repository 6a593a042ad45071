"""Small files of the data sets."""

from __future__ import annotations

import struct
from pathlib import Path

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
