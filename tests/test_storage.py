from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop import storage
from hwloop.errors import DataError, InputError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(JSON)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    storage.write_json(path, {"value": value}, kind="hwloop-test", version=1)
    assert storage.read_json(path, kind="hwloop-test", version=1)["value"] == value


def test_a_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    storage.write_bytes(tmp_path / "a", b"1")
    storage.write_bytes(tmp_path / "a", b"2")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"2"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a"
    storage.write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(DataError, match="No space left on device.*unchanged"):
        storage.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        storage.write_bytes(tmp_path / "nowhere" / "a", b"")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_values_that_json_does_not_know_are_refused_and_write_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError, match="allowed: finite numbers"):
        storage.write_json(tmp_path / "a.json", {"value": value}, kind="k", version=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": 1, "a": 2}',
        '{"a": ' + "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        "\xff\xfe",
    ],
)
def test_malformed_documents_raise_one_error_type(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.json"):
        storage.read_json(tmp_path / "a.json", kind="k", version=1)


@pytest.mark.parametrize("head", [{"kind": "other", "version": 1}, {"kind": "k", "version": 2}])
def test_another_format_or_version_is_refused(tmp_path: Path, head: dict[str, Any]) -> None:
    storage.write_json(tmp_path / "a.json", {}, **head)
    with pytest.raises(DataError, match="this version of hwloop reads"):
        storage.read_json(tmp_path / "a.json", kind="k", version=1)


def test_version_true_is_not_version_1(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"format": "k", "version": true}')
    with pytest.raises(DataError, match="version True"):
        storage.read_json(tmp_path / "a.json", kind="k", version=1)


def test_a_file_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)  # sparse: a terabyte that takes no disk
    with pytest.raises(DataError, match=f"{2**40} bytes; allowed: up to 1000"):
        storage.read_bytes(tmp_path / "a", 1000)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        storage.read_bytes(tmp_path / "a", 10)


def test_an_older_version_is_read_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    storage.write_json(path, {"value": 1}, kind="k", version=1)
    assert storage.read_json(path, kind="k", version=2, older=(1,))["version"] == 1
    with pytest.raises(DataError, match="version 1; this version of hwloop reads 3 or 2$"):
        storage.read_json(path, kind="k", version=2, older=(3,))


def test_a_forked_child_writes_under_temporary_names_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def named(source: Path, target: Path) -> None:
        names.append(source.name)

    monkeypatch.setattr(os, "replace", named)
    storage.write_bytes(tmp_path / "a", b"")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        storage.write_bytes(tmp_path / "a", b"")
        os.write(writer, names[-1].encode())
        os._exit(0)
    os.waitpid(child, 0)
    storage.write_bytes(tmp_path / "a", b"")
    assert len({*names, os.read(reader, 1000).decode()}) == 3


def test_only_temporary_files_of_killed_writes_are_removed(tmp_path: Path) -> None:
    for name in (".a.json.0123456789ab.tmp", ".a.tmp", "a.0123456789ab.tmp", ".run.lock", "a.json"):
        (tmp_path / name).write_text("")
    storage.remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.tmp", ".run.lock", "a.0123456789ab.tmp", "a.json"]


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(DataError, match="not a regular file"):
        storage.read_bytes(tmp_path / "a", 10)


def test_a_device_without_an_end_is_refused_unread() -> None:
    with pytest.raises(DataError, match="/dev/zero: not a regular file"):
        storage.read_bytes("/dev/zero", 2**30)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a regular file|Is a directory"):
        storage.read_bytes(tmp_path, 10)


def test_where_the_folder_cannot_be_synced_the_error_says_that_the_file_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    storage.write_bytes(path, b"old")

    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(storage, "sync_folder", fail)
    with pytest.raises(DataError, match="is written, but.*power cut.*write it again"):
        storage.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"  # the message does not say "unchanged", which would be wrong


@pytest.mark.parametrize("text", ['{"a": [' + "{}," * 600_000 + "0]}", '{"a": [' + "0," * 9_000_000 + "0]}"])
def test_a_document_that_would_take_far_more_memory_than_its_size_is_refused_unparsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "a.json").write_text(text)
    monkeypatch.setattr(storage.json, "loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(DataError, match="parts; allowed: up to"):
        storage.read_json(tmp_path / "a.json", kind="k", version=1)
