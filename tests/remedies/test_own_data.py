"""Files of the user's own: each error names file, row and value, and what it says to do is done."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import hwloop as hl
from hwloop import own_data
from hwloop.datasets import Stimulus, Task
from hwloop.own_data import Clock, Source

from .data_files import idx
from .support import Case, Said, refused

TIMES = np.array([[1e-3, 2e-3], [3e-3, np.inf], [5e-3, 1e-3], [2e-3, 4e-3], [0.0, 5e-3]])
LABELS = np.array([0, 1, 2, 0, 1])


def times(
    folder: Path, train: Any = None, test: Any = 1, *, arrays: dict[str, Any] | None = None, **changes: Any
) -> Task:
    """The task of first-spike times in ``folder``, whose file of training data is written first where ``arrays`` change it."""
    held = {"times": TIMES, "labels": LABELS, **(arrays or {})}
    np.savez(folder / "train.npz", **{name: array for name, array in held.items() if array is not None})
    said = {"units": 2, "classes": 3, "t_stop": 5e-3, "seed": 1, **changes}
    return own_data.spike_times(train or folder / "train.npz", 1, test, **said)


def values(folder: Path, array: Any = None, labels: Any = LABELS, **changes: Any) -> Task:
    np.save(folder / "x.npy", TIMES.clip(0, 1) if array is None else array)
    np.save(folder / "y.npy", labels)
    said = {"units": 2, "classes": 3, "code": "latency", "stimulus": Stimulus(0, 5e-3, 1e-2), "seed": 1, **changes}
    return own_data.values(Source(inputs=str(folder / "x.npy"), labels=str(folder / "y.npy")), 1, 1, **said)


def test_parts_are_stated_as_the_messages_say(tmp_path: Path) -> None:
    read = partial(times, tmp_path)
    for case in (
        Case("Parts.of", "train = {}; allowed: a path", partial(read, 3), read),
        Case("Source.of", "{} = {}; allowed: a path, or own_data.Source", partial(read, None, 2.5), read),
        Case("Parts.__post_init__", "state the seed that draws them", partial(read, seed=None), read),
        Case("Parts.task", "together fewer than there are", partial(read, None, 4), partial(read, None, 3)),
        Case("checked_names", "names = {}; allowed: {} different ones", partial(read, names=["a", "b"]),
             (partial(read, names=["a", "b", "c"]), read)),
        Case("spike_times", "unit = {}; allowed: {}", partial(read, unit="h"), partial(read, unit="s")),
    ):  # fmt: skip
        case.follow()
    path = tmp_path / "train.npz"

    def apart(test: Path, seed: int | None) -> Task:
        return own_data.spike_times(path, path.with_name("v.npz"), test, units=2, classes=3, t_stop=5e-3, seed=seed)

    for name in ("v.npz", "t.npz"):
        path.with_name(name).write_bytes(path.read_bytes())
    refused("Parts.__post_init__", "is read from where {} is ({}); allowed: other samples", lambda: apart(path, None))
    refused("Parts.__post_init__", "draws nothing: {}; leave it out", lambda: apart(path.with_name("t.npz"), 3))
    assert len(apart(path.with_name("t.npz"), None).test) == 5


def test_arrays_are_named_as_the_messages_say(tmp_path: Path) -> None:
    read = partial(times, tmp_path)
    path = str(tmp_path / "train.npz")
    other: dict[str, Any] = {"times": None, "spikes": TIMES}
    more = {"more": TIMES}
    named = partial(read, Source(path, "spikes"), arrays=other)
    assert "Name the one that is meant: inputs" in refused(
        "arrays_of", "no array {}; it has {}. Name the one that is meant", partial(read, arrays=other)
    )
    named()
    Case("arrays_of", "would be dropped; allowed: {} and labels alone, or state which are meant",
         partial(read, arrays=more), (read, partial(read, Source(path, "times", "labels"), arrays=more))).follow()  # fmt: skip
    np.save(tmp_path / "x.npy", TIMES)
    np.save(tmp_path / "y.npy", LABELS)
    x, y = str(tmp_path / "x.npy"), str(tmp_path / "y.npy")
    pair = partial(read, Source(inputs=x, labels=y))
    Case(
        "arrays_of", "is {}; allowed: an .npz with {} and labels, or two .npy files", partial(read, x), (read, pair)
    ).follow()
    Case("arrays_of", "{} is missing; state both", partial(read, Source(inputs=x)), pair).follow()
    Case("_array", "allowed: inputs and labels as .npy files each, or one .npz",
         partial(read, Source(inputs=x, labels="y.txt")), (pair, partial(read, Source(path)))).follow()  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.nan, "row 2, unit 1: nan; allowed: 0..0.005 s"),
        (-1e-3, "row 2, unit 1: -0.001; allowed"),
        (6e-3, "row 2, unit 1: 0.006; allowed: 0..0.005 s (t_stop), inf where silent"),
        (-np.inf, "row 2, unit 1: -inf"),
    ],
)
def test_a_time_that_is_none_is_named_with_file_row_and_unit(tmp_path: Path, wrong: float, said: str) -> None:
    table = TIMES.copy()
    table[2, 1] = wrong
    message = refused("table_files._refuse", "row {}, unit {}", lambda: times(tmp_path, arrays={"times": table}))
    assert f"{tmp_path / 'train.npz'}, times, {said}" in message
    times(tmp_path)


def test_times_in_milliseconds_are_asked_for_and_then_read_as_such(tmp_path: Path) -> None:
    read = partial(times, tmp_path, arrays={"times": 1e3 * TIMES})
    assert 'State unit = "ms"' in refused("table_files._refuse", "row {}, unit {}: {}; allowed: {}", read)
    found, wanted = read(unit="ms"), times(tmp_path)
    for part in ("train", "validation", "test"):
        assert getattr(found, part).inputs.first_times().tolist() == getattr(wanted, part).inputs.first_times().tolist()


def test_tables_of_another_shape_or_kind_are_given_as_the_messages_say(tmp_path: Path) -> None:
    read = partial(times, tmp_path)
    Case(
        "table_of", "shape {}; allowed: [samples, units]", partial(read, arrays={"times": TIMES[..., None]}), read
    ).follow()
    Case("table_of", "{} units; units = {} is stated; state units = {}", partial(read, arrays={"times": np.ones((5, 5)) * 1e-3}),
         partial(read, arrays={"times": np.ones((5, 5)) * 1e-3}, units=5)).follow()  # fmt: skip
    Case(
        "table_of", "{}; allowed: floating or whole numbers", partial(read, arrays={"times": TIMES > 0}), read
    ).follow()


def test_labels_are_given_as_the_messages_say(tmp_path: Path) -> None:
    def read(labels: Any, **changes: Any) -> Callable[[], Task]:
        return lambda: times(tmp_path, arrays={"labels": np.asarray(labels)}, **changes)

    names = ["left", "right", "none"]
    text = ["left", "right", "none", "left", "right"]
    right = read(LABELS)
    Case("labels_of", "shape {}; allowed: one label for each of {} samples{}",
         read(np.eye(3)[LABELS]), read(np.eye(3)[LABELS].argmax(1))).follow()  # fmt: skip
    Case("labels_of", "{} labels for {} samples; allowed: one for each", read(LABELS[:4]), right).follow()
    Case("labels_of", "labels.astype('int64')", read(LABELS * 1.0), read((LABELS * 1.0).astype("int64"))).follow()
    Case("labels_of", "row {}: label {}; allowed: 0..{}, of {} classes{}",
         read(LABELS + 1), (right, read(LABELS + 1 - 1))).follow()  # fmt: skip
    Case("label_of", "label {}; allowed: 0..{}. Of classes with names: state them all",
         read(text), (read(text, names=names), read(["0", "1", "2", "0", "1"]))).follow()  # fmt: skip
    wrong = read([*text[:4], "rihgt"], names=names)
    message = refused("label_of", "allowed: one of {}", wrong)
    assert "row 4: label 'rihgt'; allowed: one of 'left', 'right', 'none'. Did you mean 'right'?" in message
    assert read(text, names=names)().train.labels.tolist() == right().train.labels.tolist()


def test_values_are_given_as_the_messages_say(tmp_path: Path) -> None:
    read = partial(values, tmp_path)
    Case("values", "code = {}; allowed: 'latency' {}, 'intensity'", partial(read, code="rate"),
         (partial(read, code="latency"), partial(read, code="intensity"))).follow()  # fmt: skip
    Case(
        "table_files.values",
        "span = {}; allowed: (least, largest)",
        partial(read, span=(1.0, 1.0)),
        partial(read, span=(0.0, 1.0)),
    ).follow()
    message = refused("table_files._refuse", "row {}, unit {}", partial(read, 255 * TIMES.clip(0, 1)))
    assert f"{tmp_path / 'x.npy'}, row 1, unit 1: 255.0; allowed: 0..1 (span)" in message
    read(255 * TIMES.clip(0, 1), span=(0.0, 255.0))


def test_images_are_given_as_the_messages_say(tmp_path: Path) -> None:
    pixels = np.arange(5 * 6, dtype=np.uint8).reshape(5, 2, 3)
    (tmp_path / "x-idx").write_bytes(idx(pixels))
    (tmp_path / "y-idx").write_bytes(idx(LABELS))
    np.save(tmp_path / "x.npy", pixels)
    np.save(tmp_path / "wide.npy", pixels.astype(int))

    def read(name: str = "x-idx", source: Source | None = None) -> Task:
        given = source or Source(inputs=str(tmp_path / name), labels=str(tmp_path / "y-idx"))
        return own_data.images(given, 1, 1, height=2, width=3, classes=3, stimulus=Stimulus(0, 5e-3, 1e-2), seed=1)

    Case(
        "images.read", "state both files, inputs (images) and labels", lambda: read(source=Source("x-idx")), read
    ).follow()
    Case(
        "image_files._bytes", "{}; allowed: uint8 [images, {}, {}]", lambda: read("wide.npy"), lambda: read("x.npy")
    ).follow()
    assert read("x.npy").train.inputs.first_times().tolist() == read().train.inputs.first_times().tolist()


# -- recordings -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five recordings of NIRData with their table."""
    for k in range(5):
        spikes = hl.Spikes.from_events([([1e-3 * k, 4e-3], [0, 1])], 2, 5e-3)
        data = nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": spikes.to_nir_data()})})
        nir.write_data(tmp_path / f"{k}.nir", data)
    return table(tmp_path, *((f"{k}.nir", str(LABELS[k])) for k in range(5)))


def table(folder: Path, *rows: tuple[str, ...], columns: tuple[str, ...] = ("file", "label")) -> Path:
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return folder


def aer(folder: Path, ticks: list[int]) -> Path:
    for k in range(5):
        events = np.zeros(len(ticks), dtype=[("t", "<i8"), ("x", "<i2")])
        events["t"], events["x"] = ticks, [0, 1, 0][: len(ticks)]
        np.save(folder / f"{k}.npy", events)
    return table(folder, *((f"{k}.npy", str(LABELS[k])) for k in range(5)))


def recordings(train: Any, **changes: Any) -> Task:
    said = {"units": 2, "classes": 3, "t_stop": 5e-3, "seed": 1, **changes}
    return own_data.recordings(train, 1, 1, **said)


def test_folders_and_tables_are_made_as_the_messages_say(folder: Path) -> None:
    rows = [(f"{k}.nir", str(LABELS[k])) for k in range(5)]

    def read(*given: tuple[str, ...], columns: tuple[str, ...] = ("file", "label")) -> Task:
        return recordings(table(folder, *given, columns=columns))

    def right() -> Task:
        return read(*rows)

    for case in (
        Case("_by_table", "columns {}; allowed: file, label", lambda: read(*rows, columns=("name", "label")), right),
        Case(
            "_by_table", "lists no recordings; allowed: a line for each file", lambda: recordings(empty(folder)), right
        ),
        Case("_by_table", "{} columns; allowed: 2", lambda: read(rows[0], (*rows[1], "x"), *rows[2:]), right),
        Case("_by_table", "{} stands twice; allowed: each file once", lambda: read(*rows, rows[0]), right),
        Case(
            "_by_table",
            "no label for {} recordings, first {}; allowed: a line for each",
            lambda: read(*rows[:4]),
            right,
        ),
        Case(
            "event_folders._inside",
            "file {}; allowed: a name inside {}",
            lambda: read(("../x.nir", "0")),
            right,
        ),
        Case(
            "event_folders._inside",
            "{} is not there; allowed: files of this folder",
            lambda: read(("9.nir", "0")),
            right,
        ),
    ):
        case.follow()
    (folder / "labels.csv").write_bytes(b"file,label\n\xff")
    refused("_by_table", "no table of text ({}); allowed: UTF-8, comma-separated", lambda: recordings(folder))
    right()
    refused("labelled_files", "is no folder; allowed: a folder of recordings", lambda: recordings(folder / "0.nir"))
    refused("labelled_files", "recordings are a folder: {}", lambda: recordings(Source(inputs="x", labels="y")))
    (folder / "labels.csv").unlink()
    refused(
        "labelled_files",
        "is missing; allowed: a table of columns file and label in the folder",
        lambda: recordings(folder),
    )
    right()


def empty(folder: Path) -> Path:
    inside = folder / "empty"
    inside.mkdir(exist_ok=True)
    return table(inside)


def test_folders_of_classes_are_made_as_the_messages_say(folder: Path) -> None:
    by_folder = Source(str(folder / "classes"), labels="folders")
    (folder / "classes").mkdir()
    refused("_by_folder", "holds no recordings; allowed: one folder for each class", lambda: recordings(by_folder))
    for k in range(5):
        inside = folder / "classes" / ("left", "right", "none")[LABELS[k]]
        inside.mkdir(exist_ok=True)
        (folder / f"{k}.nir").rename(inside / f"{k}.nir")
    named = partial(recordings, by_folder, names=["left", "right", "none"])
    assert sorted(
        label for part in ("train", "validation", "test") for label in getattr(named(), part).labels.tolist()
    ) == [0, 0, 1, 1, 2]
    (folder / "classes" / "stray.nir").touch()
    refused("_by_folder", "is a file beside the classes; allowed: one folder for each class", named)
    (folder / "classes" / "stray.nir").unlink()
    (folder / "classes" / "left" / "notes.txt").touch()
    refused("event_folders._spikes", "{}: {}; allowed: recordings, {}", named)
    (folder / "classes" / "left" / "notes.txt").unlink()
    named()


def test_recordings_that_do_not_fit_are_given_as_the_messages_say(folder: Path) -> None:
    Case("event_folders._spikes", "{} units; units = {} is stated; state units = {}", lambda: recordings(folder, units=3),
         lambda: recordings(folder, units=2)).follow()  # fmt: skip
    Case("event_folders._spikes", "{}: {}; its own window ends at {} s",
         lambda: recordings(folder, t_stop=2e-3), lambda: recordings(folder, t_stop=5e-3)).follow()  # fmt: skip
    two = hl.Spikes.from_events([([1e-3], [0]), ([1e-3], [1])], 2, 5e-3)
    one = (folder / "0.nir").read_bytes()
    nir.write_data(folder / "0.nir", nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": two.to_nir_data()})}))
    refused("event_folders._spikes", "{}: {} samples; allowed: one in each file", lambda: recordings(folder))
    (folder / "0.nir").write_bytes(one)
    recordings(folder)


def test_address_events_are_read_as_the_messages_say(tmp_path: Path) -> None:
    folder, clock = aer(tmp_path, [1000, 2000, 4000]), Clock("us")
    right = partial(recordings, folder, clock=clock)
    Case(
        "_of_aer", "is AER, whose times are ticks; state what a tick is worth", partial(recordings, folder), right
    ).follow()
    assert right().train.inputs.times.max().item() == pytest.approx(4e-3)
    Case("own_data.event_folders.recordings", "sensor_size = {} has {} units; units = {} is stated",
         partial(recordings, folder, clock=Clock("us", (3, 3))), partial(recordings, folder, clock=Clock("us", (2, 1)))).follow()  # fmt: skip
    aer(folder, [1000, 900, 4000])
    assert f"{folder / '0.npy'}: event 1: time" in refused("_of_aer", "{}: {}", right)
    aer(folder, [1000, 2000, 4000])
    np.save(folder / "0.npy", np.zeros(3))
    refused("parse_structured_npy", "a structured array of one axis", right)
    aer(folder, [1000, 2000, 4000])
    right()


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    said = Said("data_digests._digest", "cannot read {}: {}; check the path and its permissions")
    refused("data_digests._digest", said.text, lambda: own_data.digests_of({"train": [tmp_path / "none"]}))
    (tmp_path / "none").write_bytes(b"abc")
    assert own_data.digests_of({"train": [tmp_path / "none"]})[0].bytes == 3
