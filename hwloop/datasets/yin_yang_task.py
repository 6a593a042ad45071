"""Yin-Yang: generated from its published definition, or read from the ``.npy`` files of the publication.

Kriener, Goeltz, Petrovici, *The Yin-Yang dataset*, NICE 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .. import encoding, files
from ..arguments import whole
from ..errors import DataError, InputError
from .data import Dataset, Stimulus, Task, as_values, task_of

#: Inner radius (the dots) and outer radius of the Yin-Yang figure, which fills the unit square.
R_SMALL, R_BIG = 0.1, 0.5
#: Names of the Yin-Yang labels 0, 1, 2.
YIN_YANG_CLASSES = ("yin", "yang", "dot")


def yin_yang_stimulus(tau_syn: float = 5e-3) -> Stimulus:
    """Inputs over 0..4 ``tau_syn`` (s), a bias spike at 0, 10 ``tau_syn`` for the answer."""
    return Stimulus(0.0, 4 * tau_syn, 10 * tau_syn, bias_time=0.0)


def yin_yang_class(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Class of each point ``x``, ``y`` (``[n]``, 0..1) of the disc: 0 yin, 1 yang, 2 dot.

    Two dots of radius ``R_SMALL`` sit at half of ``R_BIG`` left and right of the centre. Yang is the upper half of the
    disc without the right bulge (radius ``R_BIG / 2``), together with the left bulge; yin is the rest.
    """
    left = np.hypot(x - 0.5 * R_BIG, y - R_BIG)
    right = np.hypot(x - 1.5 * R_BIG, y - R_BIG)
    yang = (left <= 0.5 * R_BIG) | ((y > R_BIG) & (right > 0.5 * R_BIG))
    return np.where(np.minimum(left, right) < R_SMALL, 2, np.where(yang, 1, 0)).astype(np.int64)


def yin_yang_samples(n: int, generator: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """``n`` random points: features ``[n, 4]`` (x, y, 1 - x, 1 - y) in 0..1, and labels ``[n]``.

    The wanted class is drawn first, uniformly, then points of the disc until one belongs to it; so the classes are
    equally likely although their areas are not.
    """
    if n < 1:
        raise InputError(f"n = {n} samples; allowed: >= 1")
    labels = generator.integers(len(YIN_YANG_CLASSES), size=n)
    points = np.empty((n, 2))
    missing = np.arange(n)
    while len(missing):
        x, y = generator.uniform(0, 2 * R_BIG, size=(2, len(missing)))
        hit = (np.hypot(x - R_BIG, y - R_BIG) <= R_BIG) & (yin_yang_class(x, y) == labels[missing])
        points[missing[hit]] = np.stack([x[hit], y[hit]], axis=1)
        missing = missing[~hit]
    return np.concatenate([points, 1 - points], axis=1), labels


def yin_yang(
    data: Path | str | None = None,
    *,
    source: Literal["generated", "published"] = "generated",
    seed: int = 0,
    sizes: tuple[int, int, int] = (5000, 1000, 1000),
    stimulus: Stimulus | None = None,
    dtype: torch.dtype | None = None,
) -> Task:
    """The Yin-Yang task: 4 features and a bias, 3 classes.

    Parameters
    ----------
    data : path, optional
        Folder of the ``.npy`` files, for ``source="published"``; see :func:`hwloop.files.data_folder`.
    source : ``"generated"`` (from ``seed``) or ``"published"`` (the 5,000 / 1,000 / 1,000 samples of the publication)
    sizes : samples to generate for train, validation, test
    stimulus : default :func:`yin_yang_stimulus`
    dtype : of the spike times, default torch's

    Raises
    ------
    InputError, DataError
        An unknown source; files that are missing or malformed.
    """
    seed, sizes = whole("seed", seed, 0), tuple(whole("sizes", n) for n in sizes)  # type: ignore[assignment]
    if source == "published":
        parts = _published(data)
    elif source == "generated":
        streams = np.random.default_rng(seed).spawn(3)
        parts = [yin_yang_samples(n, stream) for n, stream in zip(sizes, streams, strict=True)]
    else:
        raise InputError(f"source {source!r}; allowed: 'generated', 'published'")
    how = stimulus or yin_yang_stimulus()
    encoded = [
        Dataset(
            encoding.latency(as_values(x, dtype), how.t_early, how.t_late, how.t_stop, bias_time=how.bias_time),
            torch.from_numpy(y),
        )
        for x, y in parts
    ]
    return task_of("yin-yang", encoded, len(YIN_YANG_CLASSES))


def _published(data: Path | str | None) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    folder = files.data_folder(data, "yin_yang", "test_samples.npy")
    parts = []
    for part in ("train", "validation", "test"):
        features = files.read_npy(folder / f"{part}_samples.npy", np.dtype("<f8"), (None, 4)).astype(np.float64)
        labels = files.read_npy(folder / f"{part}_labels.npy", np.dtype("<i8"), (len(features),)).astype(np.int64)
        if not ((features >= 0) & (features <= 1)).all():
            raise DataError(f"{folder / f'{part}_samples.npy'}: features outside 0..1 or NaN; get the file again")
        if labels.min() < 0 or labels.max() >= len(YIN_YANG_CLASSES):
            raise DataError(
                f"{folder / f'{part}_labels.npy'}: labels {labels.min()}..{labels.max()}; allowed: 0..2; get the file again"
            )
        parts.append((features, labels))
    return parts
