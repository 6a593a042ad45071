"""Tasks: encoded data with labels, split into train, validation and test. Yin-Yang and MNIST.

Yin-Yang is generated from its published definition (Kriener, Goeltz, Petrovici, *The Yin-Yang dataset*, NICE 2022) or
read from the ``.npy`` files of the publication; MNIST is read from its IDX files (:mod:`hwloop.files`). Validation data
come from the source's own validation set, else from the training set, never from the test set.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import encoding, files
from .arguments import Numbers, allowed_dtype, seconds, shown, whole
from .errors import DataError, InputError
from .spike_checks import how_to_spikes, whole_numbers
from .spikes import Index, Spikes, concatenate

#: Inner radius (the dots) and outer radius of the Yin-Yang figure, which fills the unit square.
R_SMALL, R_BIG = 0.1, 0.5
#: Names of the Yin-Yang labels 0, 1, 2.
YIN_YANG_CLASSES = ("yin", "yang", "dot")
#: Images encoded at once: bounds the memory of the sort, changes no result.
ENCODE_CHUNK = 5000


@dataclass(frozen=True, init=False)
class Dataset:
    """Encoded samples and their labels.

    Parameters
    ----------
    inputs : Spikes of ``n`` samples
    labels : ``[n]`` whole numbers >= 0, a list, an array or a tensor; kept as an int64 tensor

    A torch ``DataLoader`` over it yields ``(Spikes, labels)``, batch by batch, in workers too.

    Raises :class:`InputError` where ``inputs`` are no Spikes, or labels are not one whole number >= 0 per sample.
    """

    inputs: Spikes
    labels: Tensor

    def __init__(self, inputs: Spikes, labels: Numbers) -> None:
        if not isinstance(inputs, Spikes):
            raise InputError(f"inputs are {shown(inputs)}; allowed: Spikes. {how_to_spikes(inputs)}")
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "labels", _as_labels(labels, len(inputs)))

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: Index) -> tuple[Spikes, Tensor]:
        """Sample ``index`` as a batch of one and its label; of a slice or list, those samples and their labels."""
        if isinstance(index, (slice, list)) or (isinstance(index, (np.ndarray, Tensor)) and index.ndim):
            return self.inputs[index], self.labels[index]
        number = operator.index(index)  # type: ignore[arg-type]  # a sequence went above
        if not -len(self) <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        return self.inputs[number], self.labels[number]

    def select(self, index: slice | Tensor) -> Dataset:
        """The samples ``index`` as a data set of their own."""
        return Dataset(self.inputs[index], self.labels[index])

    def batches(self, size: int, generator: np.random.Generator | None = None) -> Iterator[tuple[Spikes, Tensor]]:
        """Batches of ``size`` samples, the last one smaller where need be; shuffled if a generator is given."""
        if isinstance(size, int) and size < 1:
            raise InputError(f"batch size {size}; allowed: >= 1")
        size = whole("batch size", size)
        order = None if generator is None else torch.from_numpy(generator.permutation(len(self)))
        for start in range(0, len(self), size):
            index = slice(start, start + size) if order is None else order[start : start + size]
            yield self.inputs[index], self.labels[index]

    def to(self, dtype: torch.dtype) -> Dataset:
        """The same data with times in ``dtype``."""
        return Dataset(self.inputs.to(dtype), self.labels)


def _as_labels(labels: Any, n: int) -> Tensor:
    """``labels`` as int64 ``[n]``; :class:`InputError` where they are not one whole number >= 0 per sample."""
    if isinstance(labels, Tensor) and labels.dtype == torch.int64:
        numbers = labels
    else:
        numbers = torch.from_numpy(whole_numbers("labels", labels))
    if numbers.shape != (n,):
        hint = ". Of one row per sample, the class: labels.argmax(1)" if numbers.ndim == 2 and len(numbers) == n else ""
        raise InputError(f"labels have shape {tuple(numbers.shape)}; expected one for each of {n} samples{hint}")
    if int(numbers.min()) < 0:
        raise InputError(f"label {int(numbers.min())}; allowed: whole numbers >= 0")
    return numbers


@dataclass(frozen=True)
class Task:
    """A classification task: three data sets of one encoding, ``n_in`` input units, ``n_out`` classes, ``t_stop`` (s).

    Raises :class:`InputError` where the data sets do not fit each other or a label has no class.
    """

    name: str
    train: Dataset
    validation: Dataset
    test: Dataset
    n_in: int
    n_out: int
    t_stop: float

    def __post_init__(self) -> None:
        for name in ("n_in", "n_out"):
            object.__setattr__(self, name, whole(f"{self.name}: {name}", getattr(self, name)))
        t_stop = seconds(f"{self.name}: t_stop", self.t_stop)
        # a float32 of NumPy or torch is the window of the data, once rounded
        same = np.float32(t_stop) == np.float32(self.train.inputs.t_stop)
        object.__setattr__(self, "t_stop", self.train.inputs.t_stop if same else t_stop)
        for part in ("train", "validation", "test"):
            data: Dataset = getattr(self, part)
            found = (data.inputs.n_units, data.inputs.t_stop)
            if found != (self.n_in, self.t_stop):
                raise InputError(
                    f"{self.name}, {part}: {found[0]} units, t_stop {found[1]} s; "
                    f"the task has {self.n_in} units, t_stop {self.t_stop} s"
                )
            if int(data.labels.max()) >= self.n_out:
                raise InputError(f"{self.name}, {part}: label {int(data.labels.max())}; allowed: 0..{self.n_out - 1}")


@dataclass(frozen=True)
class Stimulus:
    """How values become spike times: earliest and latest value spike, end of the window, bias spike (s).

    ``bias_time=None`` means no bias unit.
    """

    t_early: float
    t_late: float
    t_stop: float
    bias_time: float | None = None


def yin_yang_stimulus(tau_syn: float = 5e-3) -> Stimulus:
    """Inputs over 0..4 ``tau_syn`` (s), a bias spike at 0, 10 ``tau_syn`` for the answer."""
    return Stimulus(0.0, 4 * tau_syn, 10 * tau_syn, bias_time=0.0)


def mnist_stimulus(tau_syn: float = 5e-3) -> Stimulus:
    """White at 0, black's edge at 2 ``tau_syn`` (s), 8 ``tau_syn`` for the answer, no bias."""
    return Stimulus(0.0, 2 * tau_syn, 8 * tau_syn)


def collate(samples: Sequence[tuple[Spikes, Tensor]]) -> tuple[Spikes, Tensor]:
    """Join single samples of a :class:`Dataset` into a batch, for a torch ``DataLoader``."""
    return concatenate([spikes for spikes, _ in samples]), torch.stack([label for _, label in samples])


def split(data: Dataset, n_second: int, seed: int) -> tuple[Dataset, Dataset]:
    """Two disjoint parts of ``data``, the second of ``n_second`` samples, drawn by ``seed``; order is kept."""
    n_second, seed = whole("n_second", n_second, 0), whole("seed", seed, 0)
    if not 0 < n_second < len(data):
        raise InputError(f"cannot split {n_second} samples from {len(data)}; allowed: 1..{len(data) - 1}")
    order = np.random.default_rng(seed).permutation(len(data))
    first, second = np.sort(order[n_second:]), np.sort(order[:n_second])
    return data.select(torch.from_numpy(first)), data.select(torch.from_numpy(second))


# -- Yin-Yang -------------------------------------------------------------------------------------


def yin_yang_class(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int64]:
    """Class of each point of the disc: 0 yin, 1 yang, 2 dot.

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
            encoding.latency(_values(x, dtype), how.t_early, how.t_late, how.t_stop, bias_time=how.bias_time),
            torch.from_numpy(y),
        )
        for x, y in parts
    ]
    return _task("yin-yang", encoded, len(YIN_YANG_CLASSES))


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


# -- MNIST ----------------------------------------------------------------------------------------


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
    size, crop = whole("size", size), files.MNIST_SIDE if crop is None else whole("crop", crop)
    if crop > files.MNIST_SIDE or (files.MNIST_SIDE - crop) % 2:
        raise InputError(f"size {size}, crop {crop}; allowed: size >= 1, crop an even number of 2..28")
    folder = files.data_folder(data, "mnist", "t10k-images-idx3-ubyte*")
    how = stimulus or mnist_stimulus()
    parts = []
    for part in ("train", "test"):
        images, labels = files.read_mnist(folder, part)
        margin = (files.MNIST_SIDE - crop) // 2
        centre = images[:, margin : margin + crop, margin : margin + crop]
        parts.append(Dataset(_encode_images(centre, size, how, dtype), torch.from_numpy(labels)))
    train, validation = split(parts[0], n_validation, seed)
    return _task(f"mnist-{size}x{size}", [train, validation, parts[1]], 10)


def resample_area(images: NDArray[np.uint8], size: int) -> NDArray[np.float64]:
    """Images ``[n, side, side]`` of bytes as ``[n, size, size]`` in 0..1: each new pixel is the mean over its area.

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
        pixels = _values(resample_area(images[start : start + ENCODE_CHUNK], size).reshape(-1, size * size), dtype)
        chunks.append(
            encoding.intensity_to_latency(pixels, how.t_early, how.t_late, how.t_stop, bias_time=how.bias_time)
        )
    return concatenate(chunks)


def _values(features: NDArray[np.float64], dtype: torch.dtype | None) -> Tensor:
    return torch.from_numpy(features).to(allowed_dtype(dtype) or torch.get_default_dtype())


def _task(name: str, parts: list[Dataset], n_out: int) -> Task:
    inputs = parts[0].inputs
    return Task(name, parts[0], parts[1], parts[2], inputs.n_units, n_out, inputs.t_stop)


def subset(task: Task, n_train: int, n_validation: int, n_test: int) -> Task:
    """The first samples of each part of ``task``, for quick runs."""

    def first(data: Dataset, n: int) -> Dataset:
        n = whole(f"samples of {task.name}", n)
        if n > len(data):
            raise InputError(f"{n} samples of {task.name}; allowed: 1..{len(data)}")
        return data.select(slice(0, n))

    return replace(
        task,
        name=f"{task.name} (subset)",
        train=first(task.train, n_train),
        validation=first(task.validation, n_validation),
        test=first(task.test, n_test),
    )
