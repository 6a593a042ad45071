"""Stored files and checkpoints: what to do about those that are missing, damaged, too large, or another's."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
import torch
from torch import nn

from hwloop import checkpoint, storage
from hwloop.checkpoint import load_checkpoint, save_checkpoint

from .support import Case, Said, refused

KIND = {"kind": "test", "version": 2}


def write(folder: Path, text: str) -> Path:
    path = folder / "document.json"
    path.write_text(text)
    return path


def read(folder: Path, text: str) -> dict[str, Any]:
    return storage.read_json(write(folder, text), **KIND, older=(1,))


#: Documents that are refused, and what each message makes of them.
DOCUMENTS = [
    (Said("parse_headed", "{}: {} {}; this version of hwloop reads {}"), '{"format": "test", "version": 3}', ('{"format": "test", "version": 1}', '{"format": "test", "version": 2}')),
    (Said("parse_headed", "reads {}"), '{"format": "tests", "version": 2}', ('{"format": "test", "version": 2}',)),
    (Said("parse_json", "not a valid document ({}); allowed: strict JSON"), '{"format": "test", "version": 2,}', ('{"format": "test", "version": 2}',)),
    (Said("parse_json", "allowed: a JSON object"), "[]", ('{"format": "test", "version": 2}',)),
    (Said("_refuse_constant", "number {}; allowed: finite numbers"), '{"format": "test", "version": 2, "x": NaN}', ('{"format": "test", "version": 2, "x": 0}',)),
    (Said("_finite_float", "number {}; allowed: finite numbers"), '{"format": "test", "version": 2, "x": 1e999}', ('{"format": "test", "version": 2, "x": 1e300}',)),
    (Said("_unique", "a key stands twice in one object"), '{"format": "test", "version": 2, "x": 1, "x": 1}', ('{"format": "test", "version": 2, "x": 1}',)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "wrong", "mended"), DOCUMENTS, ids=lambda value: getattr(value, "text", None))
def test_a_document_that_is_mended_as_it_says_is_read(
    tmp_path: Path, error: Said, wrong: str, mended: tuple[str, ...]
) -> None:
    refused(*error, lambda: read(tmp_path, wrong))
    for right in mended:
        read(tmp_path, right)


def test_what_json_knows_is_written(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    allowed = "allowed: finite numbers, text, lists, objects"
    for wrong in (math.nan, {1, 2}):
        refused("headed", allowed, lambda wrong=wrong: storage.write_json(path, {"x": wrong}, **KIND))
    storage.write_json(path, {"x": [1.5, "text", {"y": 1}]}, **KIND)


def test_a_folder_that_exists_is_written_to(tmp_path: Path) -> None:
    message = "free space, or name a folder that exists and is writable"
    refused("write_bytes", message, lambda: storage.write_bytes(tmp_path / "none" / "x", b"1"))
    storage.write_bytes(tmp_path / "x", b"1")


def test_a_disk_with_free_space_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        refused("write_bytes", "free space, or name a folder", lambda: storage.write_bytes(tmp_path / "x", b"1"))
    storage.write_bytes(tmp_path / "x", b"1")


def test_a_file_of_the_allowed_size_and_path_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    refused("read_bytes", "check the path and its permissions", lambda: storage.read_bytes(path, 3))
    path.write_bytes(b"1234")
    said = refused("read_bytes", "bytes; allowed: up to {} bytes", lambda: storage.read_bytes(path, 3))
    path.write_bytes(b"1" * int(said.split("up to ")[1].split()[0]))
    storage.read_bytes(path, 3)
    path.write_bytes(b"1234")
    monkeypatch.setattr(
        os, "fstat", lambda descriptor: os.stat_result([0o100644] + [0] * 9)
    )  # it grows while it is read
    refused("read_bytes", "more than {} bytes, the most allowed", lambda: storage.read_bytes(path, 3))
    path.write_bytes(b"123")
    storage.read_bytes(path, 3)


# -- checkpoints ----------------------------------------------------------------------------------

STATE: dict[str, Any] = {"weights": torch.ones(2), "note": "text", "history": [(1, 2.0, None)]}


def net(n: int = 3) -> nn.Module:
    return nn.Linear(2, n)


def save(folder: Path, state: dict[str, Any] = STATE, step: int = 1) -> Path:
    return save_checkpoint(folder, net(), state, step=step)


STATES = [
    (Said("_pack", "{} holds inf or NaN; allowed: finite numbers"), {"w": torch.tensor([math.nan])}, {"w": torch.tensor([1.0])}),
    (Said("_pack", "{} = {}; allowed: finite numbers"), {"loss": math.inf}, {"loss": 1e300}),
    (Said("_pack", "allowed: tensors, numbers, text, None, lists, tuples, dicts"), {"x": {1}}, {"x": [torch.ones(1), 1, "text", None, (1,), {"a": 1}]}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "wrong", "right"), STATES, ids=lambda value: getattr(value, "text", None))
def test_a_state_of_what_is_allowed_is_saved(
    tmp_path: Path, error: Said, wrong: dict[str, Any], right: dict[str, Any]
) -> None:
    refused(*error, lambda: save(tmp_path, wrong))
    save(tmp_path, right)
    assert load_checkpoint(tmp_path, net()) is not None


def test_a_step_of_the_printed_range_is_saved(tmp_path: Path) -> None:
    Case(
        "arguments.whole",
        "{} = {}; allowed: a whole number {}..{}",
        lambda: save(tmp_path, step=10**8),
        (lambda: save(tmp_path, step=0), lambda: save(tmp_path, step=99_999_999)),
    ).follow()


def damage_manifest(**fields: Any) -> Callable[[Path], None]:
    def damage(manifest: Path) -> None:
        document = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**document, **fields}))

    return damage


def damage_data(manifest: Path) -> None:
    data = manifest.parent / json.loads(manifest.read_text())["data"]
    data.write_bytes(data.read_bytes()[:-1] + b"x")


DAMAGES = [
    (Said("_read_manifest", "field {} is {}; allowed: {}"), damage_manifest(step="1")),
    (Said("_read_manifest", "unknown field {}; allowed: {}"), damage_manifest(more=1)),
    (Said("_read_manifest", "allowed: step-NNNNNNNN-DIGEST.safetensors"), damage_manifest(data="../x")),
    (Said("_read_manifest", "sha256 {}; its manifest says {}"), damage_data),
    (Said("load_checkpoint", "damaged checkpoint: {}. {}"), damage_data),
    (Said("_unpack_state", "allowed: what hwloop saved"), damage_manifest(state={"tensor": "t9"})),
    (Said("_unpack_state", "state is {}; allowed: dict"), damage_manifest(state={"tuple": []})),
    (Said("checkpoint._unpack", "unknown kind {} in the state"), damage_manifest(state={"set": []})),
]


@pytest.mark.parametrize("remedy", ["restore", "older", "anew"])
@pytest.mark.parametrize(("error", "damage"), DAMAGES, ids=lambda value: getattr(value, "text", None))
def test_a_damaged_checkpoint_is_restored_or_removed(
    tmp_path: Path, error: Said, damage: Callable[[Path], None], remedy: str
) -> None:
    older = save(tmp_path / "older")
    kept = {path.name: path.read_bytes() for path in older.parent.iterdir()}
    manifest = save(tmp_path / "run", step=2)
    whole = {path: path.read_bytes() for path in manifest.parent.iterdir()}
    if remedy == "older":
        for name, data in kept.items():
            (manifest.parent / name).write_bytes(data)
    damage(manifest)
    said = refused(*error, lambda: load_checkpoint(manifest.parent, net()))
    assert "Restore the file, or remove it to start from an older one or anew" in said
    if remedy == "restore":
        for path, data in whole.items():
            path.write_bytes(data)
    else:
        manifest.unlink()
    found = load_checkpoint(manifest.parent, net())
    assert (None if found is None else found.step) == {"restore": 2, "older": 1, "anew": None}[remedy]


def test_a_checkpoint_of_another_network_is_loaded_by_the_saved_one_or_left_alone(tmp_path: Path) -> None:
    save(tmp_path)
    message = "Build the saved network, or name another folder"
    said = refused("load_checkpoint", message, lambda: load_checkpoint(tmp_path, net(4)))
    assert "Saved: weight 3x2 float32, bias 3 float32" in said
    assert load_checkpoint(tmp_path, net(3)) is not None
    assert load_checkpoint(tmp_path / "another", net(4)) is None


def test_a_folder_that_is_locked_is_left_for_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LOCK_TIMEOUT", 0.01)
    (tmp_path / "run").mkdir()
    with filelock.FileLock(tmp_path / "run" / ".lock"):
        refused("checkpoint._locked", "give each run a folder of its own", lambda: save(tmp_path / "run"))
        save(tmp_path / "another")


def test_a_folder_that_is_writable_is_saved_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused("checkpoint._locked", "name a writable folder", lambda: save(tmp_path / "file" / "run"))
    save(tmp_path / "run")


def test_a_checkpoint_that_could_not_be_saved_is_saved_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise storage.DataError("no space; free space")

    save(tmp_path)
    with monkeypatch.context() as disk:
        disk.setattr(storage, "write_bytes", full)
        refused("save_checkpoint", "checkpoint of step {} not saved: {}", lambda: save(tmp_path, step=2))
    before = load_checkpoint(tmp_path, net())
    assert before is not None
    assert before.step == 1
    save(tmp_path, step=2)


def test_a_file_that_does_not_hold_what_was_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as disk:
        disk.setattr(checkpoint, "_read_manifest", lambda path: ({}, b"something else"))
        refused("save_checkpoint", "does not hold what was written; {}", lambda: save(tmp_path))
    save(tmp_path)
