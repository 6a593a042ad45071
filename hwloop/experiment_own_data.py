"""Tasks of an experiment file that read the user's own files (:mod:`hwloop.own_data`). Strict, as all sections.

Paths are relative to ``data``, which is by default the folder of the experiment's file.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from . import own_data
from .datasets import Task
from .experiment_sections import Count, Positive, Section, Seed, Text
from .experiment_stimulus import StimulusSection
from .own_data import Parts, Source

#: Names of the tasks that read the user's own files.
OWN = ("spike-times", "values", "recordings", "images")


def beside_task(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The table of a task, ``data`` an absolute path where it reads the user's own files: relative ones count from ``folder``."""
    data = task.get("data", "")
    if task.get("name") not in OWN or not isinstance(data, str):
        return task
    return {**task, "data": str((folder / Path(data).expanduser()).resolve())}


_Path = Annotated[Text, Field(min_length=1)]
_Limit = Annotated[float, Field(ge=-1e12, le=1e12)]
_Unit = Literal["s", "ms", "us", "ns"]


class PartTable(Section):
    """Where one part of the data is: ``file``, or ``inputs`` and ``labels`` in files of their own; or so many ``samples`` drawn.

    With a ``file`` that is an ``.npz``, ``inputs`` and ``labels`` name its arrays. A path alone may be written for ``{file = ...}``,
    a number for ``{samples = ...}``.
    """

    file: _Path | None = None
    inputs: _Path | None = None
    labels: _Path | None = None
    samples: Count | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        read = [name for name in ("file", "inputs", "labels") if getattr(self, name) is not None]
        if self.samples is not None and read:
            raise ValueError(
                f"samples and {read[0]}; allowed: a number to draw from the training data, or where they are"
            )
        if self.samples is None and self.file is None and len(read) < 2:
            raise ValueError(
                "allowed: a path, a number of samples, or {inputs = ..., labels = ...}; state both, inputs and labels"
            )
        return self

    def part(self, data: Path) -> Source | int:
        """As :mod:`hwloop.own_data` takes it; paths from the folder ``data``."""
        if self.samples is not None:
            return self.samples
        if self.file is not None:
            return Source(str(data / Path(self.file).expanduser()), self.inputs, self.labels)
        paths = (self.inputs or "", self.labels or "")
        return Source(None, *(str(data / Path(path).expanduser()) for path in paths))


def _as_table(value: Any) -> Any:
    if isinstance(value, str):
        return {"file": value}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"samples": value}
    return value


_Part = Annotated[PartTable, BeforeValidator(_as_table)]


class _OwnData(Section):
    """Base of these tasks; ``seed`` draws the samples that are given as a number."""

    name: str
    data: Text | None = None
    train: _Part
    validation: _Part
    test: _Part
    seed: Seed | None = None
    classes: Annotated[int, Field(ge=2, le=100_000)]
    names: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100_000)] = Field([])

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.train.samples is not None:
            raise ValueError(
                f"train = {self.train.samples}; allowed: a path. Validation and test may be drawn from its samples"
            )
        if self.names and (len(self.names) != self.classes or len(set(self.names)) != len(self.names)):
            raise ValueError(
                f"names has {len(self.names)}; allowed: {self.classes} different ones, as classes says, or none"
            )
        drawn = [name for name in ("validation", "test") if getattr(self, name).samples is not None]
        if drawn and self.seed is None:
            raise ValueError(
                f"seed is missing; {drawn[0]} is drawn from the training data: state the seed that draws it"
            )
        if not drawn and self.seed is not None:
            raise ValueError("seed draws nothing, validation and test have files of their own; leave it out")
        return self

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""

    @abstractmethod
    def build(self) -> Task:
        """Read the data."""

    def _parts(self) -> dict[str, Any]:
        """Arguments that all readers share."""
        base = Path(self.data or ".").expanduser()
        parts = {name: getattr(self, name).part(base) for name in ("train", "validation", "test")}
        return {**parts, "seed": self.seed, "classes": self.classes, "names": self.names}

    def files(self) -> dict[str, list[Path]]:
        """The files and folders of each part."""
        said = self._parts()
        parts = Parts.of(said["train"], said["validation"], said["test"], self.seed)
        return {name: source.paths() for name, source in parts.sources().items()}


class SpikeTimesTask(_OwnData):
    """First-spike times ``[samples, units]`` in ``unit``, ``inf`` where silent; window ``t_stop`` (s)."""

    name: Literal["spike-times"]
    units: Count
    unit: _Unit = "s"
    t_stop: Positive

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        return self.units, self.classes

    def build(self) -> Task:
        """Read the data."""
        return own_data.spike_times(**self._parts(), units=self.units, unit=self.unit, t_stop=self.t_stop)


class ValuesTask(_OwnData):
    """Values ``[samples, units]`` of ``span``, each one spike by ``code``; see :func:`hwloop.own_data.values`."""

    name: Literal["values"]
    units: Count
    code: Literal["latency", "intensity"]
    span: Annotated[list[_Limit], Field(min_length=2, max_length=2)] = Field([0.0, 1.0])
    stimulus: StimulusSection

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.span[0] >= self.span[1]:
            raise ValueError(f"span = {self.span}; allowed: [least, largest], the first below the second")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        return self.units + (self.stimulus.bias_time is not None), self.classes

    def build(self) -> Task:
        """Read and encode the data."""
        how, span = self.stimulus.build(), (self.span[0], self.span[1])
        return own_data.values(**self._parts(), units=self.units, code=self.code, stimulus=how, span=span)


class RecordingsTask(_OwnData):
    """Folders of recordings, one file a sample; of AER, ``unit`` is a tick and ``sensor_size`` makes units of pixels."""

    name: Literal["recordings"]
    units: Count
    t_stop: Positive
    unit: _Unit | None = None
    sensor_size: Annotated[list[Count], Field(min_length=2, max_length=3)] | None = None
    start: Annotated[int, Field(ge=0, lt=2**62)] = 0
    from_first: bool = False

    @model_validator(mode="after")
    def _units_of_sensor(self) -> Self:
        if self.sensor_size is not None and math.prod(self.sensor_size) != self.units:
            raise ValueError(
                f"sensor_size = {self.sensor_size} has {math.prod(self.sensor_size)} units; allowed: units = {self.units}, or leave it out for recordings without y and p"
            )
        if self.from_first and self.start:
            raise ValueError(f"from_first and start = {self.start}; state one of them")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        return self.units, self.classes

    def build(self) -> Task:
        """Read the data."""
        clock = own_data.Clock(self.unit, self.sensor_size, "first" if self.from_first else self.start)
        return own_data.recordings(**self._parts(), units=self.units, t_stop=self.t_stop, clock=clock)


class ImagesTask(_OwnData):
    """Images of bytes in IDX or ``.npy`` files, brighter is earlier and black silent."""

    name: Literal["images"]
    height: Annotated[int, Field(ge=1, le=10_000)]
    width: Annotated[int, Field(ge=1, le=10_000)]
    stimulus: StimulusSection

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        return self.height * self.width + (self.stimulus.bias_time is not None), self.classes

    def build(self) -> Task:
        """Read and encode the data."""
        return own_data.images(**self._parts(), height=self.height, width=self.width, stimulus=self.stimulus.build())
