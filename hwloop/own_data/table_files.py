"""Tables of one row a sample: first-spike times or values, in an ``.npz`` with their labels or in a pair of ``.npy`` files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .. import encoding, files
from ..arguments import allowed_dtype, seconds, shown, whole
from ..datasets import Dataset, Stimulus, Task
from ..document_errors import did_you_mean
from ..errors import DataError, InputError, OptionError
from ..event_files import unpacked
from ..spikes import Spikes
from ..storage import printable, read_bytes
from .class_labels import labels_of
from .parts_of_data import PartOf, Parts, Source, checked_names

Array: TypeAlias = NDArray[Any]
Unit: TypeAlias = Literal["s", "ms", "us", "ns"]
#: What values become: later the larger they are, or earlier.
Code: TypeAlias = Literal["latency", "intensity"]

#: How often each unit of time fits into a second: times are divided by it, which rounds once.
PER_SECOND: dict[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
#: Largest file read (bytes), arrays in an ``.npz``, and what they may hold unpacked.
MAX_BYTES, MAX_ARRAYS, MAX_UNPACKED = 2**31, 64, 2**32


def spike_times(
    train: PartOf,
    validation: PartOf,
    test: PartOf,
    *,
    units: int,
    classes: int,
    t_stop: float,
    unit: Unit = "s",
    seed: int | None = None,
    names: Sequence[str] = (),
    name: str = "spike-times",
    dtype: torch.dtype | None = None,
) -> Task:
    """A task of first-spike times ``[samples, units]``, ``inf`` where a unit is silent.

    Parameters
    ----------
    train, validation, test : path, :class:`Source`, or (of the last two) a number of samples
        An ``.npz`` of arrays ``times`` and ``labels``, or a pair of files: ``Source(inputs="x.npy", labels="y.npy")``. A
        number is drawn from the training data by ``seed``.
    units, classes : int
        Input units and classes; labels are 0..classes-1, or text of ``names``.
    t_stop : float (s)
        End of the window.
    unit : "s", "ms", "us" or "ns"
        What the times in the files count in.
    seed : int, optional
        Needed where samples are drawn.
    names : of the classes, optional
    dtype : of the spike times, default torch's

    Raises
    ------
    InputError, OptionError
        Arguments that are not allowed.
    DataError
        A file that cannot be read; arrays of another shape or kind; NaN, a time before 0 or behind ``t_stop``, a label
        out of range: with file, row, unit and value.
    """
    if unit not in PER_SECOND:
        raise OptionError(f"unit = {unit!r}; allowed: {', '.join(map(repr, PER_SECOND))}")
    parts, end, labels = Parts.of(train, validation, test, seed), seconds("t_stop", t_stop), _labelled(classes, names)
    kept = allowed_dtype(dtype) or torch.get_default_dtype()

    def read(source: Source) -> Dataset:
        table, where, labelled = table_of(source, "times", whole("units", units), labels)
        times = _times(table, where, end, unit)
        return Dataset(Spikes.from_first_times(torch.from_numpy(times).to(kept), end), torch.from_numpy(labelled))

    return parts.task(name, read, labels[0])


def values(
    train: PartOf,
    validation: PartOf,
    test: PartOf,
    *,
    units: int,
    classes: int,
    code: Code,
    stimulus: Stimulus,
    span: tuple[float, float] = (0.0, 1.0),
    seed: int | None = None,
    names: Sequence[str] = (),
    name: str = "values",
    dtype: torch.dtype | None = None,
) -> Task:
    """A task of values ``[samples, units]`` that become one spike each.

    Parameters
    ----------
    train, validation, test, units, classes, seed, names, dtype : as of :func:`spike_times`
        The arrays in an ``.npz`` are ``values`` and ``labels``. A bias of ``stimulus`` is one more input.
    code : "latency" or "intensity"
        Larger is later (:func:`hwloop.encoding.latency`), or larger is earlier and the least value silent
        (:func:`hwloop.encoding.intensity_to_latency`).
    stimulus : Stimulus
        When values spike (s).
    span : (least, largest)
        The values that are 0 and 1 of the code; values outside are refused.

    Raises
    ------
    InputError, OptionError, DataError
        As :func:`spike_times`; a value outside ``span``.
    """
    codes: dict[str, Callable[..., Spikes]] = {"latency": encoding.latency, "intensity": encoding.intensity_to_latency}
    encode = codes.get(code)
    if encode is None:
        raise OptionError(f"code = {code!r}; allowed: 'latency' (larger is later), 'intensity' (larger is earlier)")
    low, high = span
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"span = {shown(span)}; allowed: (least, largest), finite, the first below the second")
    parts, labels = Parts.of(train, validation, test, seed), _labelled(classes, names)
    kept = allowed_dtype(dtype) or torch.get_default_dtype()
    how = partial(
        encode, t_early=stimulus.t_early, t_late=stimulus.t_late, t_stop=stimulus.t_stop, bias_time=stimulus.bias_time
    )

    def read(source: Source) -> Dataset:
        table, where, labelled = table_of(source, "values", whole("units", units), labels)
        _refuse(~((table >= low) & (table <= high)), table, where, f"{low:g}..{high:g} (span)")
        scaled = ((table.astype(np.float64) - low) / (high - low)).clip(0, 1)
        return Dataset(how(torch.from_numpy(scaled).to(kept)), torch.from_numpy(labelled))

    return parts.task(name, read, labels[0])


def _labelled(classes: int, names: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    classes = whole("classes", classes, 2)
    return classes, checked_names(classes, names)


def table_of(
    source: Source, what: str, units: int, labels: tuple[int, Sequence[str]]
) -> tuple[Array, str, NDArray[np.int64]]:
    """Array ``what`` ``[n, units]`` of ``source``, its place for messages, and its labels ``[n]``."""
    table, where, given, beside = arrays_of(source, what)
    if table.dtype.kind not in "fiu":
        raise DataError(f"{where}: {table.dtype}; allowed: floating or whole numbers")
    if table.ndim != 2 or len(table) == 0:
        flat = ". Of more axes: reshape(len(x), -1)" if table.ndim > 2 else ""
        raise DataError(f"{where}: shape {table.shape}; allowed: [samples, units], here [samples, {units}]{flat}")
    if table.shape[1] != units:
        raise DataError(
            f"{where}: {table.shape[1]} units; units = {units} is stated; state units = {table.shape[1]}, or give other data"
        )
    return table, where, labels_of(given, len(table), labels[0], labels[1], beside)


def arrays_of(source: Source, what: str) -> tuple[Array, str, Array, str]:
    """The two arrays of ``source``, inputs called ``what`` and labels, each with its place for messages."""
    if source.file is None:
        if source.inputs is None or source.labels is None:
            missing = "inputs" if source.inputs is None else "labels"
            raise InputError(f"{missing} is missing; state both, inputs and labels, or one file with both")
        found = [_array(Path(path)) for path in (source.inputs, source.labels)]
        return found[0], source.inputs, found[1], source.labels
    path = Path(source.file)
    if path.is_dir() or path.suffix != ".npz":
        raise InputError(
            f"{path} is {'a folder' if path.is_dir() else 'no .npz'}; allowed: an .npz with {what} and labels, or two .npy files: "
            'inputs = "x.npy", labels = "y.npy"'
        )
    arrays = unpacked(read_bytes(path, MAX_BYTES), str(path), members=MAX_ARRAYS, most=MAX_UNPACKED, of=f"{what}, .npz")
    names = source.inputs or what, source.labels or "labels"
    for name, key in zip(names, ("inputs", "labels"), strict=True):
        if name not in arrays:
            raise DataError(
                f"{path}: no array {name!r}; it has {', '.join(map(printable, arrays)) or 'none'}. Name the one that is meant: "
                f"{key} = ...{did_you_mean(name, arrays)}"
            )
    unread = [key for key in arrays if key not in names]
    if unread and source.inputs is None and source.labels is None:
        raise DataError(
            f"{path}: array {printable(unread[0])!r} would be dropped; allowed: {what} and labels alone, or state which are meant: "
            f'{{file = "{path.name}", inputs = "{names[0]}", labels = "{names[1]}"}}'
        )
    first, second = names
    return arrays[first], f"{path}, {printable(first)}", arrays[second], f"{path}, {printable(second)}"


def _array(path: Path) -> Array:
    if path.suffix != ".npy":
        raise InputError(f"{path}; allowed: inputs and labels as .npy files each, or one .npz: file = ...")
    return files.parse_npy(read_bytes(path, MAX_BYTES), str(path))


def _times(table: Array, where: str, t_stop: float, unit: str) -> NDArray[np.float64]:
    """First-spike times (s) of ``table``."""
    times = table.astype(np.float64) / PER_SECOND[unit]
    silent = np.isposinf(times)
    bad = ~(silent | ((times >= 0) & (times <= t_stop)))
    last = times[~silent & ~np.isnan(times)].max(initial=0.0)
    hint = ""
    if unit == "s" and last > t_stop and (fitting := [u for u, per in PER_SECOND.items() if last / per <= t_stop]):
        hint = f'. Times in another unit? State unit = "{fitting[0]}"'
    _refuse(bad, table, where, f"0..{t_stop * PER_SECOND[unit]:g} {unit} (t_stop), inf where silent{hint}")
    return times


def _refuse(bad: NDArray[np.bool_], table: Array, where: str, allowed: str) -> None:
    if bad.any():
        row, unit = (int(k) for k in np.argwhere(bad)[0])
        raise DataError(f"{where}, row {row}, unit {unit}: {table[row, unit]}; allowed: {allowed}")
