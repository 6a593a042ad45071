"""Images as first-spike times: MNIST, EMNIST and Fashion-MNIST, from their IDX files (:mod:`hwloop.files`).

Validation data come from the training set, never from the test set.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .. import encoding, files
from ..arguments import whole
from ..errors import InputError
from ..spikes import Spikes, concatenate
from .data import Dataset, Stimulus, Task, as_values, split, task_of

#: Bytes ``[n, 28, 28]`` and labels ``[n]``.
Images: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
#: Images encoded at once: bounds the memory of the sort, changes no result.
ENCODE_CHUNK = 5000


def mnist_stimulus(tau_syn: float = 5e-3) -> Stimulus:
    """White at 0, black's edge at 2 ``tau_syn`` (s), 8 ``tau_syn`` for the answer, no bias."""
    return Stimulus(0.0, 2 * tau_syn, 8 * tau_syn)


def mnist(
    data: Path | str | None = None,
    *,
    size: int = 28,
    crop: int | None = None,
    n_validation: int = 5000,
    seed: int = 0,
    stimulus: Stimulus | None = None,
    dtype: torch.dtype | None = None,
) -> Task:
    """The MNIST task: ``size * size`` pixels, 10 classes, white first and black silent.

    Parameters
    ----------
    data : path, optional
        Folder of the four IDX files; see :func:`hwloop.files.data_folder`.
    size : int
        Side of the image that is encoded; other sizes than 28 are made by :func:`resample_area`.
    crop : int, optional
        Side of the centre that is kept before resampling; default the whole image (28). The digits fill a 20 x 20
        box whose centre of mass, not whose middle, lies in the centre of the image.
    n_validation : int
        Training samples set aside for validation, drawn by ``seed``.
    stimulus : default :func:`mnist_stimulus`
    dtype : of the spike times, default torch's

    Raises
    ------
    InputError, DataError
        A size or crop that is not possible; files that are missing, truncated or malformed.
    """
    sides = _checked(size, crop)
    folder = files.data_folder(data, "mnist", "t10k-images-idx3-ubyte*")
    return _image_task("mnist", partial(files.read_mnist, folder), 10, sides, n_validation, seed, stimulus, dtype)


def fashion_mnist(
    data: Path | str | None = None,
    *,
    size: int = 28,
    n_validation: int = 5000,
    seed: int = 0,
    stimulus: Stimulus | None = None,
    dtype: torch.dtype | None = None,
) -> Task:
    """Fashion-MNIST (Xiao, Rasul, Vollgraf, arXiv 1708.07747): 10 classes of clothing; options as of :func:`mnist`.

    Its four files have the names of MNIST's; they lie in a folder ``fashion_mnist``, or ``data`` names theirs.

    Raises
    ------
    InputError, DataError
        As :func:`mnist`; files of MNIST.
    """
    sides = _checked(size)
    folder = files.data_folder(data, "fashion_mnist", "t10k-images-idx3-ubyte*")
    return _image_task(
        "fashion-mnist", partial(files.read_fashion_mnist, folder), 10, sides, n_validation, seed, stimulus, dtype
    )


def emnist(
    data: Path | str | None = None,
    *,
    subset: str = "balanced",
    size: int = 28,
    n_validation: int = 5000,
    seed: int = 0,
    stimulus: Stimulus | None = None,
    dtype: torch.dtype | None = None,
) -> Task:
    """A subset of EMNIST (Cohen and others, arXiv 1702.05373), letters and digits; other options as of :func:`mnist`.

    Parameters
    ----------
    subset : "balanced" (47 classes), "bymerge" (47), "byclass" (62), "letters" (26), "digits" (10), "mnist" (10)

    Images are turned upright, labels count from 0.

    Raises
    ------
    InputError, DataError
        As :func:`mnist`; another subset.
    """
    if subset not in files.EMNIST_LABELS:
        raise InputError(f"subset = {subset!r}; allowed: {', '.join(map(repr, files.EMNIST_LABELS))}")
    sides = _checked(size)
    folder = files.data_folder(data, "emnist", f"emnist-{subset}-test-images-idx3-ubyte*")
    first, last = files.EMNIST_LABELS[subset]
    read = partial(files.read_emnist, folder, subset)
    return _image_task(f"emnist-{subset}", read, last - first + 1, sides, n_validation, seed, stimulus, dtype)


def _checked(size: int, crop: int | None = None) -> tuple[int, int]:
    size, crop = whole("size", size), files.MNIST_SIDE if crop is None else whole("crop", crop)
    if crop > files.MNIST_SIDE or (files.MNIST_SIDE - crop) % 2:
        raise InputError(f"size {size}, crop {crop}; allowed: size >= 1, crop an even number of 2..28")
    return size, crop


def _image_task(
    name: str, read: Callable[[str], Images], n_out: int, sides: tuple[int, int], n_validation: int, seed: int,
    stimulus: Stimulus | None, dtype: torch.dtype | None,
) -> Task:  # fmt: skip
    size, crop = sides
    how, parts = stimulus or mnist_stimulus(), []
    for part in ("train", "test"):
        images, labels = read(part)
        margin = (files.MNIST_SIDE - crop) // 2
        centre = images[:, margin : files.MNIST_SIDE - margin, margin : files.MNIST_SIDE - margin]
        parts.append(Dataset(_encode_images(centre, size, how, dtype), torch.from_numpy(labels)))
    train, validation = split(parts[0], n_validation, seed)
    return task_of(f"{name}-{size}x{size}", [train, validation, parts[1]], n_out, how)


def resample_area(images: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """``images`` ``[n, side, side]`` of bytes as ``[n, size, size]`` in 0..1: each new pixel is the mean over its area.

    A new pixel covers ``side / size`` old ones along each axis; those cut by its border count by the covered fraction.
    So the mean brightness is kept exactly, and ``size == side`` changes nothing.
    """
    side = images.shape[1]
    edges = np.linspace(0, side, size + 1)
    old = np.arange(side)
    low, high = np.maximum(edges[:-1, None], old), np.minimum(edges[1:, None], old + 1)
    weights = np.clip(high - low, 0, None) * (size / side)
    resampled: NDArray[np.float64] = weights @ (images / 255.0) @ weights.T
    return resampled.clip(0, 1)


def _encode_images(images: NDArray[np.uint8], size: int, how: Stimulus, dtype: torch.dtype | None) -> Spikes:
    chunks = []
    for start in range(0, len(images), ENCODE_CHUNK):
        pixels = as_values(resample_area(images[start : start + ENCODE_CHUNK], size).reshape(-1, size * size), dtype)
        chunks.append(
            encoding.intensity_to_latency(pixels, how.t_early, how.t_late, how.t_stop, bias_time=how.bias_time)
        )
    return concatenate(chunks)
