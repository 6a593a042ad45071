"""Locks exclude each other although their files go, and no file is left."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import filelock
import pytest

import hwloop as hl
from hwloop.checkpoint import save_checkpoint
from hwloop.lock_files import LockFile
from hwloop.ownership import held
from hwloop.session_log import SessionLog

#: Turns of each of four processes.
TURNS = 200


def take_turns(folder: Path) -> None:
    """Add 1 to a number in a file, read and written while the lock is held."""
    for _ in range(TURNS):
        lock = LockFile(folder / ".lock")
        lock.acquire(60.0)
        number = int((folder / "number").read_text())
        (folder / "number").write_text(str(number + 1))
        lock.release()


def test_processes_that_take_turns_lose_none(tmp_path: Path) -> None:
    """The file is removed and made anew some hundred times meanwhile: a process that has opened one without a name has nothing."""
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=take_turns, args=(tmp_path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120.0)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    assert (tmp_path / "number").read_text() == str(4 * TURNS)
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_a_lock_that_another_holds_is_left_alone(tmp_path: Path) -> None:
    one, other = LockFile(tmp_path / "x"), LockFile(tmp_path / "x")
    one.acquire()
    with pytest.raises(filelock.Timeout):
        other.acquire()
    other.release()  # it has nothing to give back
    with pytest.raises(filelock.Timeout):
        other.acquire(0.05)
    one.release()
    other.acquire()
    other.release()
    assert not list(tmp_path.iterdir())


def test_a_child_gives_nothing_of_its_parent_back(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "x")
    lock.acquire()
    child = os.fork()
    if child == 0:
        lock.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(filelock.Timeout):
        LockFile(tmp_path / "x").acquire()
    lock.release()


def test_a_file_that_cannot_be_removed_does_not_keep_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "it is open")

    lock = LockFile(tmp_path / "x")
    lock.acquire()
    with monkeypatch.context() as there:
        there.setattr(Path, "unlink", refuse)
        lock.release()
    again = LockFile(tmp_path / "x")
    again.acquire()
    again.release()


def test_logs_checkpoints_and_runs_leave_no_lock_behind(tmp_path: Path) -> None:
    log = SessionLog(tmp_path / "session.log")
    assert (tmp_path / ".session.log.lock").exists()
    log.close()
    net = hl.Network([hl.Dense(2, 2), hl.LIF(2, 10e-3, 5e-3)])
    save_checkpoint(tmp_path / "checkpoints", net, {}, step=1)
    (tmp_path / "run").mkdir()
    with held(tmp_path / "run"):
        (tmp_path / "run" / "something").write_text("x")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".lock")]
