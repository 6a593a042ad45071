"""Folders of recordings, one file a sample: NIRData, hwloop's own ``.npz``, or AER as structured arrays in ``.npy`` files.

The label of a file stands in a table ``labels.csv`` (columns ``file``, ``label``), or in the name of the folder it lies in.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import files
from ..address_events import from_aer
from ..arguments import allowed_dtype, seconds, shown, whole
from ..datasets import Dataset, Task
from ..errors import DataError, InputError
from ..event_files import read_events
from ..spikes import Spikes, concatenate
from ..storage import printable, read_bytes
from .class_labels import label_of
from .parts_of_data import PartOf, Parts, Source, checked_names
from .table_files import MAX_BYTES

#: Name of the table of labels, and what stands instead of it where the folders are the classes.
TABLE, FOLDERS = "labels.csv", "folders"
#: Endings of recordings whose times are seconds, and of AER, whose times are ticks of a clock.
IN_SECONDS, IN_TICKS = (".nir", ".h5", ".hdf5", ".npz"), (".npy",)
#: Largest table of labels (bytes).
MAX_TABLE = 2**26


@dataclass(frozen=True)
class Clock:
    """The clock of AER recordings.

    Attributes
    ----------
    unit : "s", "ms", "us" or "ns"
        Worth of a tick; needed for AER, and of AER alone: NIRData and ``.npz`` are in seconds.
    sensor_size : (width, height, polarities), optional
        Makes a unit of each pixel and polarity; without it ``x`` is the unit.
    start : whole number, or "first"
        The tick that becomes t = 0; ``"first"``: of each recording its first event.
    """

    unit: str | None = None
    sensor_size: Sequence[int] | None = None
    start: int | str = 0


def recordings(
    train: PartOf,
    validation: PartOf,
    test: PartOf,
    *,
    units: int,
    classes: int,
    t_stop: float,
    clock: Clock | None = None,
    seed: int | None = None,
    names: Sequence[str] = (),
    name: str = "recordings",
    dtype: torch.dtype | None = None,
) -> Task:
    """A task of recordings, one file a sample.

    Parameters
    ----------
    train, validation, test : path of a folder, :class:`Source`, or (of the last two) a number of samples drawn by ``seed``
        The folder has a ``labels.csv``; ``Source(folder, labels="other.csv")`` names another table in it, and
        ``labels="folders"`` says that it has one folder for each class, called by its name or number.
    units, classes : int
    t_stop : float (s)
        End of the window of every sample.
    clock : Clock, for AER
    names : of the classes, optional
    dtype : of the spike times, default torch's

    Raises
    ------
    InputError
        Arguments that are not allowed.
    DataError
        A file that cannot be read, is in no table, or twice; events outside the window or the units; a label out of range.
    """
    classes, n_units, end = whole("classes", classes, 2), whole("units", units), seconds("t_stop", t_stop)
    names, how, kept = (
        checked_names(classes, names),
        clock or Clock(),
        allowed_dtype(dtype) or torch.get_default_dtype(),
    )
    if how.sensor_size is not None and int(np.prod(how.sensor_size)) != n_units:
        raise InputError(
            f"sensor_size = {shown(list(how.sensor_size))} has {int(np.prod(how.sensor_size))} units; units = {n_units} is stated"
        )

    def read(source: Source) -> Dataset:
        listed = labelled_files(source, classes, names)
        trains = [_spikes(path, n_units, end, how, kept) for path, _ in listed]
        return Dataset(concatenate(trains), [label for _, label in listed])

    return Parts.of(train, validation, test, seed).task(name, read, classes)


def labelled_files(source: Source, classes: int, names: Sequence[str]) -> list[tuple[Path, int]]:
    """Every recording of a folder with its label, in the order of its table or of the names."""
    if source.file is None or source.inputs is not None:
        raise InputError('recordings are a folder: train = "folder", or {file = "folder", labels = "folders"}')
    folder = Path(source.file)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; allowed: a folder of recordings, one file a sample")
    if source.labels == FOLDERS:
        return _by_folder(folder, classes, names)
    table = folder / (source.labels or TABLE)
    if not table.is_file():
        raise DataError(
            f"{table} is missing; allowed: a table of columns file and label in the folder, or one folder for each class: "
            f'labels = "{FOLDERS}"'
        )
    return _by_table(folder, table, classes, names)


def recordings_in(folder: Path) -> list[Path]:
    """Files below ``folder`` that look like recordings, sorted by name; hidden ones are none."""
    endings = (*IN_SECONDS, *IN_TICKS)
    found = [path for path in folder.rglob("*") if path.suffix in endings and path.is_file()]
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _by_folder(folder: Path, classes: int, names: Sequence[str]) -> list[tuple[Path, int]]:
    listed = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            raise DataError(
                f"{path} is a file beside the classes; allowed: one folder for each class, recordings inside"
            )
        label = label_of(path.name, classes, names, str(path))
        for file in sorted(path.iterdir()):
            if not file.name.startswith("."):
                listed.append((file, label))
    if not listed:
        raise DataError(f"{folder} holds no recordings; allowed: one folder for each class, with {_endings()} files")
    return listed


def _by_table(folder: Path, table: Path, classes: int, names: Sequence[str]) -> list[tuple[Path, int]]:
    try:
        text = read_bytes(table, MAX_TABLE).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: no table of text ({error}); allowed: UTF-8, comma-separated") from None
    if not rows or sorted(rows[0]) != ["file", "label"]:
        raise DataError(f"{table}: columns {', '.join(map(printable, rows[0] if rows else []))}; allowed: file, label")
    at_file, at_label = rows[0].index("file"), rows[0].index("label")
    listed: dict[Path, int] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        where = f"{table}, line {number}"
        if len(row) != 2:
            raise DataError(f"{where}: {len(row)} columns; allowed: 2, file and label")
        path = _inside(folder, row[at_file], where)
        if path in listed:
            raise DataError(f"{where}: {printable(row[at_file])!r} stands twice; allowed: each file once")
        listed[path] = label_of(row[at_label].strip(), classes, names, where)
    left = [path for path in recordings_in(folder) if path not in listed]
    if left:
        raise DataError(
            f"{table}: no label for {len(left)} recordings, first {left[0]}; allowed: a line for each, or move them away"
        )
    if not listed:
        raise DataError(f"{table}: lists no recordings; allowed: a line for each file")
    return list(listed.items())


def _inside(folder: Path, name: str, where: str) -> Path:
    """The file ``name`` of ``folder``; a table may not lead out of it."""
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise DataError(f"{where}: file {printable(name)!r}; allowed: a name inside {folder}")
    if not (folder / name).is_file():
        raise DataError(f"{where}: {folder / printable(name)} is not there; allowed: files of this folder")
    return folder / name


def _spikes(path: Path, units: int, t_stop: float, clock: Clock, dtype: torch.dtype) -> Spikes:
    """The one sample in ``path``."""
    if path.suffix in IN_TICKS:
        return _of_aer(path, units, t_stop, clock, dtype)
    if path.suffix not in IN_SECONDS:
        raise DataError(f"{path}: {path.suffix or 'no ending'}; allowed: recordings, {_endings()}")
    found = read_events(path)
    if len(found) != 1:
        raise DataError(f"{path}: {len(found)} samples; allowed: one in each file")
    if found.n_units != units:
        raise DataError(
            f"{path}: {found.n_units} units; units = {units} is stated; state units = {found.n_units}, or give other data"
        )
    try:
        return Spikes.from_events(found.to_events(), units, t_stop, dtype)
    except InputError as error:
        raise DataError(f"{path}: {error}; its own window ends at {found.t_stop:g} s") from None


def _of_aer(path: Path, units: int, t_stop: float, clock: Clock, dtype: torch.dtype) -> Spikes:
    if clock.unit is None:
        raise InputError(
            f'{path} is AER, whose times are ticks; state what a tick is worth: unit = "us", "ms", "ns" or "s"'
        )
    array = files.parse_structured_npy(read_bytes(path, MAX_BYTES), str(path))
    size: Any = clock.sensor_size
    try:
        return from_aer(
            array,
            None if size is not None else units,
            t_stop,
            clock.unit,
            sensor_size=size,
            start=clock.start,
            dtype=dtype,
        )
    except InputError as error:
        raise DataError(f"{path}: {str(error).removeprefix('sample 0').lstrip(':, ')}") from None


def _endings() -> str:
    return ", ".join((*IN_SECONDS, *IN_TICKS))
