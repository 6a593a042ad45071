"""Checkpoints while something else touches their folder: files that go, disks that keep what was there before."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hwloop import checkpoint, storage
from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.errors import CheckpointError, DataError


def net() -> nn.Module:
    return nn.Linear(2, 3)


def state_in(folder: Path) -> dict[str, Any]:
    found = load_checkpoint(folder, net())
    assert found is not None
    return found.state


def test_a_disk_that_keeps_the_manifest_of_before_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, net(), {"w": torch.ones(1)}, step=5)
    monkeypatch.setattr(storage, "write_json", lambda *_args, **_options: None)
    with pytest.raises(
        CheckpointError, match=r"of step 5 not saved: .*step-00000005-\w+\.safetensors does not hold what"
    ):
        save_checkpoint(tmp_path, net(), {"w": torch.zeros(1)}, step=5)
    monkeypatch.undo()
    assert state_in(tmp_path)["w"].item() == 1


def test_a_checkpoint_that_vanishes_while_it_is_read_is_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = save_checkpoint(tmp_path, net(), {"n": 1}, step=5)

    def gone(*_args: Any, **_options: Any) -> None:
        manifest.unlink()
        raise DataError(f"{manifest} is gone")

    monkeypatch.setattr(storage, "read_json", gone)
    with pytest.raises(CheckpointError, match=r"damaged checkpoint: .*step-00000005.json is gone. Restore the file"):
        load_checkpoint(tmp_path, net())


def test_a_checkpoint_that_a_newer_one_replaces_while_it_is_read_gives_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, net(), {"n": 1}, step=5)
    read = storage.read_json

    def replaced(path: Path, **options: Any) -> Any:
        monkeypatch.setattr(storage, "read_json", read)
        save_checkpoint(tmp_path, net(), {"n": 2}, step=6)
        return read(path, **options)

    monkeypatch.setattr(storage, "read_json", replaced)
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert (found.step, found.state, found.path.name) == (6, {"n": 2}, "step-00000006.json")


def test_an_older_file_that_somebody_else_removed_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Path.iterdir

    def and_one_more(folder: Path) -> Iterator[Path]:
        yield folder / "step-00000001.json"
        yield from listed(folder)

    monkeypatch.setattr(Path, "iterdir", and_one_more)
    save_checkpoint(tmp_path, net(), {"n": 1}, step=5)
    monkeypatch.undo()
    assert state_in(tmp_path) == {"n": 1}


def test_leftovers_of_killed_saves_are_cleared_away_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleared: list[Path] = []
    monkeypatch.setattr(storage, "remove_leftovers", cleared.append)
    save_checkpoint(tmp_path / "a" / "b", net(), {}, step=1)  # folders are made
    assert cleared == [tmp_path / "a" / "b"]


def test_a_folder_that_cannot_be_written_is_named_with_the_systems_word_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path))

    monkeypatch.setattr(checkpoint.LockFile, "acquire", refused)
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(tmp_path, net(), {}, step=1)
    assert str(caught.value) == f"cannot save into {tmp_path}: Permission denied; name a writable folder"
