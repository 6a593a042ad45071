from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import hwloop as hl
from hwloop.datasets import yin_yang
from hwloop.errors import CheckpointError, DataError, InputError
from hwloop.losses import FirstSpike
from hwloop.ownership import RECORD, held

#: Holds the folder it is given until its standard input ends.
HOLDER = """
import sys
from hwloop.ownership import held
with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def killed_holder(folder: Path) -> int:
    with holder(folder) as process:
        process.send_signal(signal.SIGKILL)
    return process.pid


def test_a_second_process_is_refused_with_pid_and_host_of_the_owner(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with (
            pytest.raises(CheckpointError, match=rf"in use: process {process.pid} on host {socket.gethostname()}"),
            held(tmp_path),
        ):
            pass
        process.communicate("")
    with held(tmp_path):  # the owner has ended
        pass


def test_what_a_killed_process_held_is_taken_over_and_said(tmp_path: Path) -> None:
    pid = killed_holder(tmp_path)
    said: list[str] = []
    with held(tmp_path, said.append):
        pass
    assert said == [f"{tmp_path} was left by process {pid}, which has ended without giving it back; it is taken over"]
    with held(tmp_path, said.append):
        pass
    assert len(said) == 1


def test_another_run_of_this_process_is_refused_and_a_later_one_is_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def second() -> None:
        try:
            with held(tmp_path):
                pass
        except CheckpointError as error:
            refused.append(str(error))

    with held(tmp_path):
        second()
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert all(f"another run in this process ({os.getpid()})" in text for text in refused)
    assert len(refused) == 2
    second()
    assert len(refused) == 2


def test_an_owner_on_another_host_is_not_taken_for_dead_and_the_remedy_works(tmp_path: Path) -> None:
    killed_holder(tmp_path)
    record = json.loads((tmp_path / RECORD).read_text())
    (tmp_path / RECORD).write_text(json.dumps({**record, "host": "elsewhere"}))
    with pytest.raises(CheckpointError, match=f"on host elsewhere since .* remove .*{RECORD}"), held(tmp_path):
        pass
    (tmp_path / RECORD).unlink()
    with held(tmp_path):
        pass


def test_a_damaged_record_does_not_hold_a_folder(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"format": "hwloop-owner", "version": 1, "pid": "x"}')
    with held(tmp_path):
        assert json.loads((tmp_path / RECORD).read_text())["pid"] == os.getpid()
    assert not (tmp_path / RECORD).exists()


def test_a_forked_child_neither_owns_the_folder_nor_gives_it_back(tmp_path: Path) -> None:
    with held(tmp_path):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with held(tmp_path):
                    pass
            except CheckpointError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (tmp_path / RECORD).exists()
        with pytest.raises(CheckpointError), held(tmp_path):
            pass


def test_a_folder_in_which_nothing_was_written_is_removed_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wrong"), held(tmp_path / "a" / "b"):
        raise InputError("wrong")
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").write_text("")
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["kept"]


def test_a_folder_that_cannot_be_made_or_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "run", Path("/proc/hwloop")):
        with pytest.raises(DataError, match=f"cannot write into {folder}: .*name another folder"), held(folder):
            pass


def tiny() -> tuple[hl.Network, hl.Task, FirstSpike]:
    net = hl.Network([hl.Dense(5, 3, generator=torch.Generator().manual_seed(0)), hl.LIF(3, 10e-3, 5e-3)])
    return net, yin_yang(sizes=(20, 10, 10)), FirstSpike(1e-3)


def test_training_beside_another_process_in_one_folder_is_refused(tmp_path: Path) -> None:
    net, task, loss = tiny()
    with holder(tmp_path) as process:
        with pytest.raises(CheckpointError, match=f"in use: process {process.pid}"):
            hl.fit(net, task, loss, epochs=1, checkpoint_dir=tmp_path, progress=False)
        with hl.open("emulator:0") as chip, pytest.raises(CheckpointError, match=f"in use: process {process.pid}"):
            hl.finetune(net, chip, task, loss, epochs=1, checkpoint_dir=tmp_path, resume=True, progress=False)
        process.communicate("")


def test_training_goes_on_in_the_folder_of_a_killed_run_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net, task, loss = tiny()
    pid = killed_holder(tmp_path)
    with caplog.at_level(logging.WARNING):
        hl.fit(net, task, loss, epochs=1, checkpoint_dir=tmp_path, resume=True, progress=False)
    assert f"left by process {pid}" in caplog.text
