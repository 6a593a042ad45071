"""Encoded data with labels, and tasks: data sets of one encoding for training, validation and test."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arguments import Numbers, allowed_dtype, seconds, shown, whole
from ..errors import InputError
from ..spike_checks import how_to_spikes, whole_numbers
from ..spikes import Index, Spikes, concatenate


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
    """A classification task called ``name``: data sets ``train``, ``validation`` and ``test`` of one encoding, ``n_in`` input units,
    ``n_out`` classes, and a window of ``t_stop`` (s).

    ``images``: how the pixels of images became spikes (:func:`hwloop.encoding.intensity_to_latency`), where they did;
    training may then augment them.

    Raises :class:`InputError` where the data sets do not fit each other or a label has no class.
    """

    name: str
    train: Dataset
    validation: Dataset
    test: Dataset
    n_in: int
    n_out: int
    t_stop: float
    images: Stimulus | None = None

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
    """How values become spike times: the earliest and the latest a value spikes, ``t_early`` and ``t_late``, the end of the window
    ``t_stop``, and the spike of a bias unit ``bias_time`` (all in s); ``bias_time=None`` means no bias unit.
    """

    t_early: float
    t_late: float
    t_stop: float
    bias_time: float | None = None


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


def as_values(features: NDArray[np.float64], dtype: torch.dtype | None) -> Tensor:
    """``features`` in ``dtype``, default torch's."""
    return torch.from_numpy(features).to(allowed_dtype(dtype) or torch.get_default_dtype())


def task_of(name: str, parts: list[Dataset], n_out: int, images: Stimulus | None = None) -> Task:
    """The task of ``parts`` for training, validation and test."""
    inputs = parts[0].inputs
    return Task(name, parts[0], parts[1], parts[2], inputs.n_units, n_out, inputs.t_stop, images)
