"""Tasks of an experiment file: which data, encoded how. Strict, as all sections (:mod:`hwloop.experiment_sections`)."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from . import datasets, files
from .datasets import Task
from .errors import DataError
from .experiment_sections import Count, Positive, Section, Seed, Text
from .experiment_stimulus import StimulusSection


def _found(data: str | None, name: str, *patterns: str) -> dict[str, list[Path]]:
    """Files of the data set ``name`` like ``patterns``, the first of which says where its folder is; none where there is none."""
    try:
        folder = files.data_folder(data, name, patterns[0])
    except DataError:
        return {}
    return {"data": sorted({path for pattern in patterns for path in folder.glob(pattern)})}


class YinYangTask(Section):
    """Yin-Yang; ``train``, ``validation`` and ``test`` are sample counts, for generated data only."""

    name: Literal["yin-yang"]
    source: Literal["generated", "published"] = "generated"
    data: Text | None = None
    seed: Seed = 0
    train: Count | None = None
    validation: Count | None = None
    test: Count | None = None
    stimulus: StimulusSection | None = None

    @model_validator(mode="after")
    def _sizes_of_generated_data(self) -> Self:
        given = [name for name in ("train", "validation", "test") if getattr(self, name) is not None]
        if self.source == "published" and given:
            raise ValueError(f'{given[0]} is fixed for published data; allowed: with source = "generated"')
        if self.source == "generated" and self.data is not None:
            raise ValueError('data names a folder of files; allowed: with source = "published"')
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        bias = self.stimulus is None or self.stimulus.bias_time is not None
        return 4 + bias, len(datasets.YIN_YANG_CLASSES)

    def files(self) -> dict[str, list[Path]]:
        """The files that it is read from, none where it is generated."""
        if self.source == "generated":
            return {}
        return _found(
            self.data, "yin_yang", "test_samples.npy", *(f"{part}_*.npy" for part in ("train", "validation", "test"))
        )

    def build(self) -> Task:
        """Generate or read the data."""
        how = None if self.stimulus is None else self.stimulus.build()
        sizes = (self.train or 5000, self.validation or 1000, self.test or 1000)
        return datasets.yin_yang(self.data, source=self.source, seed=self.seed, sizes=sizes, stimulus=how)


class _ImageTask(Section):
    """Images; ``size`` is their side in pixels, ``train`` and ``test`` keep the first so many samples."""

    name: str
    size: Annotated[int, Field(ge=1, le=28)] = 28
    data: Text | None = None
    seed: Seed = 0
    validation: Annotated[int, Field(ge=1, le=59_999)] = 5000
    train: Count | None = None
    test: Count | None = None
    stimulus: StimulusSection | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        bias = self.stimulus is not None and self.stimulus.bias_time is not None
        return self.size**2 + bias, self.classes

    @property
    def classes(self) -> int:
        """Number of labels."""
        return 10

    def build(self) -> Task:
        """Read the data."""
        how = None if self.stimulus is None else self.stimulus.build()
        options = {"size": self.size, "n_validation": self.validation, "seed": self.seed, "stimulus": how}
        task = self._read(options)
        if self.train is None and self.test is None:
            return task
        n_train, n_test = self.train or len(task.train), self.test or len(task.test)
        return datasets.subset(task, n_train, len(task.validation), n_test)

    def files(self) -> dict[str, list[Path]]:
        """The files that it is read from."""
        return _found(self.data, self.name.replace("-", "_"), "t10k-*-ubyte*", "train-*-ubyte*")

    @abstractmethod
    def _read(self, options: dict[str, Any]) -> Task:
        """The data set, from its files."""


class MnistTask(_ImageTask):
    """MNIST; ``crop`` is the side of the centre that is kept."""

    name: Literal["mnist"]
    crop: Annotated[int, Field(ge=2, le=28, multiple_of=2)] | None = None

    def _read(self, options: dict[str, Any]) -> Task:
        return datasets.mnist(self.data, crop=self.crop, **options)


class FashionMnistTask(_ImageTask):
    """Fashion-MNIST."""

    name: Literal["fashion-mnist"]

    def _read(self, options: dict[str, Any]) -> Task:
        return datasets.fashion_mnist(self.data, **options)


class EmnistTask(_ImageTask):
    """A ``subset`` of EMNIST."""

    name: Literal["emnist"]
    subset: Literal["balanced", "bymerge", "byclass", "letters", "digits", "mnist"] = "balanced"

    @property
    def classes(self) -> int:
        """Number of labels."""
        first, last = files.EMNIST_LABELS[self.subset]
        return last - first + 1

    def files(self) -> dict[str, list[Path]]:
        """The files that it is read from."""
        return _found(self.data, "emnist", *(f"emnist-{self.subset}-{part}-*-ubyte*" for part in ("test", "train")))

    def _read(self, options: dict[str, Any]) -> Task:
        return datasets.emnist(self.data, subset=self.subset, **options)


class SpokenDigitsTask(Section):
    """Spoken digits; ``held_out`` names a speaker to test with, the other options are those of the filter bank.

    ``smoothing`` and ``area`` are seconds of the recording, ``t_stop`` of the events, ``span`` dB, ``low`` and ``high`` Hz.
    """

    name: Literal["spoken-digits"]
    data: Text | None = None
    held_out: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    channels: Annotated[int, Field(ge=1, le=1000)] = 40
    low: Annotated[float, Field(ge=1, le=1e6)] = 100.0
    high: Annotated[float, Field(ge=1, le=1e6)] = 3800.0
    smoothing: Annotated[float, Field(ge=8e-3, le=1)] = 10e-3
    span: Annotated[float, Field(ge=1, le=120)] = 40.0
    area: Annotated[float, Field(ge=1e-3, le=10)] = 20e-3
    speedup: Annotated[float, Field(ge=1e-3, le=1e6)] = 10.0
    t_stop: Positive = 0.3

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        return self.channels, 10

    def files(self) -> dict[str, list[Path]]:
        """The file that it is read from."""
        return _found(self.data, "spoken_digits", "spoken_digits.npz")

    def build(self) -> Task:
        """Read and encode the data."""
        how = self.model_dump(exclude={"name", "data", "held_out", "t_stop"})
        encoder = datasets.FilterBank(**how)
        return datasets.spoken_digits(self.data, held_out=self.held_out, encoder=encoder, t_stop=self.t_stop)
