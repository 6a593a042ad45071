"""Values: samples of real inputs, for networks that run in steps and encode them on their own.

A batch of :class:`Values` stands where event-driven networks have :class:`hwloop.spikes.Spikes`. Every sample carries a
key: whoever draws random numbers for it (Poisson inputs) draws them as a function of that key, so that a sample's spikes
do not depend on the batch it is in. In training the keys are drawn anew for every epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ... import files
from ...arguments import whole
from ...errors import InputError

#: Keys are drawn below this: non-negative int64.
KEY_RANGE = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Values:
    """A batch of values.

    Parameters
    ----------
    values : Tensor, ``[batch, n]``, floating (0..1 for images), or uint8 (divided by 255 where used)
    keys : Tensor, ``[batch]`` int64
        Keys of the samples' random numbers.

    Raises
    ------
    InputError
        Other shapes or types, an empty batch, values that are not finite.
    """

    values: Tensor
    keys: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape:
            raise InputError(f"values have shape {tuple(self.values.shape)}; expected [batch >= 1, n >= 1]")
        if self.values.dtype != torch.uint8 and not self.values.dtype.is_floating_point:
            raise InputError(f"values have dtype {self.values.dtype}; allowed: uint8 (0..255), or a floating type")
        if self.keys.shape != self.values.shape[:1] or self.keys.dtype != torch.int64:
            raise InputError(f"keys are {self.keys.dtype} {tuple(self.keys.shape)}; expected int64, one a sample")
        if self.values.dtype.is_floating_point and not bool(torch.isfinite(self.values).all()):
            raise InputError("values hold inf or NaN; allowed: finite numbers")

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __getitem__(self, index: int | slice | Tensor) -> Values:
        """Samples ``index`` as a batch (an int gives a batch of one)."""
        if isinstance(index, int | np.integer):
            index = int(index)
            index = slice(index, index + 1) if index != -1 else slice(index, None)
        return Values(self.values[index], self.keys[index])

    @property
    def n_units(self) -> int:
        """Values of a sample."""
        return int(self.values.shape[1])

    def real(self, dtype: torch.dtype) -> Tensor:
        """``[batch, n]`` in ``dtype``; bytes become 0..1."""
        return self.values.to(dtype) / 255 if self.values.dtype == torch.uint8 else self.values.to(dtype)

    def dropped(self, share: float, generator: torch.Generator) -> Values:
        """Every value set to 0 with probability ``share``, drawn from ``generator``."""
        if not 0 <= share < 1:
            raise InputError(f"share of values left out = {share}; allowed: 0 <= share < 1")
        keep = torch.rand(self.values.shape, generator=generator) >= share
        return replace(self, values=torch.where(keep, self.values, torch.zeros_like(self.values)))


@dataclass(frozen=True, eq=False)
class ValueSet:
    """Values and their labels: what :class:`hwloop.datasets.Dataset` is for spikes.

    Parameters
    ----------
    values : Tensor or array, ``[n, units]``, as in :class:`Values`
    labels : Tensor or array, ``[n]`` whole numbers, >= 0
    """

    values: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        for name in ("values", "labels"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)))
        if self.labels.dtype in (torch.int8, torch.uint8, torch.int16, torch.int32):
            object.__setattr__(self, "labels", self.labels.long())
        if self.labels.shape != self.values.shape[:1] or self.labels.dtype != torch.int64:
            raise InputError(
                f"labels are {self.labels.dtype} {tuple(self.labels.shape)}; "
                f"expected int64, one for each of {len(self.values)} samples"
            )
        if int(self.labels.min()) < 0:
            raise InputError(f"label {int(self.labels.min())}; allowed: whole numbers >= 0")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> Values:
        """All samples as one batch; the key of a sample is its number."""
        return Values(self.values, torch.arange(len(self)))

    def select(self, index: slice | Tensor) -> ValueSet:
        """The samples ``index`` as a data set of their own."""
        return ValueSet(self.values[index], self.labels[index])

    def batches(self, size: int, generator: np.random.Generator | None = None) -> Iterator[tuple[Values, Tensor]]:
        """Batches of ``size`` samples; with a generator shuffled, and with keys drawn from it; else numbered keys."""
        size = whole("batch size", size)
        order, keys = torch.arange(len(self)), torch.arange(len(self))
        if generator is not None:
            order = torch.from_numpy(generator.permutation(len(self)))
            keys = torch.from_numpy(generator.integers(KEY_RANGE, size=len(self)))
        for start in range(0, len(self), size):
            part = order[start : start + size]
            yield Values(self.values[part], keys[start : start + size]), self.labels[part]


@dataclass(frozen=True)
class ValueTask:
    """A classification task of values: three data sets, ``n_in`` values a sample, ``n_out`` classes."""

    name: str
    train: ValueSet
    validation: ValueSet
    test: ValueSet
    n_in: int
    n_out: int

    def __post_init__(self) -> None:
        for part in ("train", "validation", "test"):
            data: ValueSet = getattr(self, part)
            if data.values.shape[1] != self.n_in:
                raise InputError(f"{self.name}, {part}: {data.values.shape[1]} values; the task has {self.n_in}")
            if int(data.labels.max()) >= self.n_out:
                raise InputError(f"{self.name}, {part}: label {int(data.labels.max())}; allowed: 0..{self.n_out - 1}")

    def subset(self, n_train: int, n_validation: int, n_test: int) -> ValueTask:
        """The first samples of each part, for quick runs."""
        sizes = {"train": n_train, "validation": n_validation, "test": n_test}
        parts: dict[str, ValueSet] = {}
        for part, n in sizes.items():
            data: ValueSet = getattr(self, part)
            if not 1 <= n <= len(data):
                raise InputError(f"{n} samples of {self.name}, {part}; allowed: 1..{len(data)}")
            parts[part] = data.select(slice(0, n))
        return ValueTask(f"{self.name} (subset)", **parts, n_in=self.n_in, n_out=self.n_out)


def mnist_values(data: Path | str | None = None, *, n_validation: int = 5000, seed: int = 0) -> ValueTask:
    """MNIST as values: 784 pixels a sample (bytes), 10 classes; the validation samples are drawn by ``seed``.

    The split is that of :func:`hwloop.datasets.mnist`. Raises :class:`DataError` where files are missing or malformed.
    """
    folder = files.data_folder(data, "mnist", "t10k-images-idx3-ubyte*")
    sets = []
    for part in ("train", "test"):
        images, labels = files.read_mnist(folder, part)
        sets.append(ValueSet(torch.from_numpy(images.reshape(len(images), -1).copy()), torch.from_numpy(labels)))
    if not 0 < n_validation < len(sets[0]):
        raise InputError(f"cannot split {n_validation} samples from {len(sets[0])}; allowed: 1..{len(sets[0]) - 1}")
    order = np.random.default_rng(seed).permutation(len(sets[0]))
    train, validation = (torch.from_numpy(np.sort(part)) for part in (order[n_validation:], order[:n_validation]))
    return ValueTask(
        "mnist-values", sets[0].select(train), sets[0].select(validation), sets[1], files.MNIST_SIDE**2, 10
    )
