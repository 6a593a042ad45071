"""Training, validation and test samples: from files of their own, or drawn from the training data by a seed that is stated."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from ..arguments import shown, whole
from ..datasets import Dataset, Stimulus, Task, split
from ..errors import InputError


@dataclass(frozen=True)
class Source:
    """Where the samples of one part are.

    Attributes
    ----------
    file : path, optional
        An ``.npz`` with inputs and labels, or a folder of recordings.
    inputs : str, optional
        With an ``.npz``: the name of its array of inputs. Without ``file``: the file of the inputs.
    labels : str, optional
        The same of the labels; of a folder, the name of the table in it, or ``"folders"``: one folder a class.
    """

    file: str | None = None
    inputs: str | None = None
    labels: str | None = None

    @classmethod
    def of(cls, part: str, value: Source | str | os.PathLike[str]) -> Source:
        """``value`` as a source; :class:`InputError` naming ``part`` where it is neither one nor a path."""
        if isinstance(value, Source):
            return value
        if isinstance(value, (str, os.PathLike)):
            return cls(os.fspath(value))
        raise InputError(
            f"{part} = {shown(value)}; allowed: a path, or own_data.Source(file=..., inputs=..., labels=...)"
        )

    def paths(self) -> list[Path]:
        """The files (or the folder) that it is read from."""
        if self.file is not None:
            return [Path(self.file)]
        return [Path(path) for path in (self.inputs, self.labels) if path is not None]


#: A part as users give it: a path or source, or the number of samples to draw from the training data.
PartOf: TypeAlias = "Source | str | os.PathLike[str] | int"


@dataclass(frozen=True)
class Parts:
    """Which samples are for training, validation and test; ``seed`` draws those that are given as a number.

    Raises :class:`InputError` where a number comes without a seed, or two parts are read from the same place.
    """

    train: Source
    validation: Source | int
    test: Source | int
    seed: int | None = None

    @classmethod
    def of(cls, train: PartOf, validation: PartOf, test: PartOf, seed: int | None) -> Parts:
        """As the functions of this package take them."""
        if isinstance(train, int):
            raise InputError(
                f"train = {train}; allowed: a path. Validation and test samples may be drawn from its data"
            )
        later = [
            whole(name, part) if isinstance(part, int) else Source.of(name, part)
            for name, part in (("validation", validation), ("test", test))
        ]
        return cls(Source.of("train", train), later[0], later[1], seed)

    def __post_init__(self) -> None:
        drawn = [name for name in ("validation", "test") if isinstance(getattr(self, name), int)]
        if drawn and self.seed is None:
            raise InputError(
                f"{drawn[0]} = {getattr(self, drawn[0])} samples are drawn from the training data; state the seed that draws them"
            )
        if not drawn and self.seed is not None:
            raise InputError(
                f"seed = {self.seed} draws nothing: validation and test have files of their own; leave it out"
            )
        seen: dict[Source, str] = {}
        for name, source in self.sources().items():
            if source in seen:
                raise InputError(
                    f"{name} is read from where {seen[source]} is ({source.file or source.inputs}); allowed: other samples, "
                    "or a number of samples to draw from the training data"
                )
            seen[source] = name

    def sources(self) -> dict[str, Source]:
        """The parts that are read, by name."""
        found = {name: getattr(self, name) for name in ("train", "validation", "test")}
        return {name: part for name, part in found.items() if isinstance(part, Source)}

    def task(self, name: str, read: Callable[[Source], Dataset], classes: int, pixels: Stimulus | None = None) -> Task:
        """The task ``name`` of ``classes``, each part read by ``read``; ``pixels``: how square images were encoded.

        Raises :class:`InputError` where more samples are to be drawn than there are.
        """
        read_parts = {part: read(source) for part, source in self.sources().items()}
        train = read_parts["train"]
        wanted = {part: size for part in ("test", "validation") if isinstance(size := getattr(self, part), int)}
        if wanted and sum(wanted.values()) >= len(train):
            asked = " and ".join(f"{part} = {size}" for part, size in wanted.items())
            raise InputError(
                f"{asked} of {len(train)} samples; allowed: together fewer than there are, some are to train"
            )
        for part, size in wanted.items():
            train, read_parts[part] = split(train, size, self.seed or 0)
        inputs = train.inputs
        return Task(
            name, train, read_parts["validation"], read_parts["test"], inputs.n_units, classes, inputs.t_stop
        )  # fmt: skip


def class_counts(task: Task) -> dict[str, list[int]]:
    """Samples of each class in each part of ``task``: ``{"train": [n_0, n_1, ...], "validation": ..., "test": ...}``."""
    parts = {"train": task.train, "validation": task.validation, "test": task.test}
    return {name: torch.bincount(data.labels, minlength=task.n_out).tolist() for name, data in parts.items()}


def checked_names(classes: int, names: Sequence[str]) -> tuple[str, ...]:
    """``names`` of the classes, or none; :class:`InputError` where they are not one of its own for each of ``classes``."""
    found = tuple(names)
    if found and (len(found) != classes or len(set(found)) != classes):
        raise InputError(
            f"names = {shown(list(found))}; allowed: {classes} different ones, one for each class, or none"
        )
    return found
