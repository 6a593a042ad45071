"""Killed at any step, a folder holds the old run or the new one, and the same command can be given again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hwloop import storage
from hwloop.checkpoint import load_checkpoint, newest_manifest, save_checkpoint
from hwloop.command.folder import Trained, load_trained, prepare
from hwloop.experiment import Experiment
from hwloop.results import read_summary, write_summary

from .killed import fresh_copies, kills

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml")
#: Of another shape: its weights do not fit the first one's network.
OTHER = TINY.changed(network={"hidden": [7]}, seed=1)


def run_of(folder: Path, experiment: Experiment, *, force: bool = False, resume: bool = False, step: int = 2) -> None:
    """A run with first weights as what came out, through the steps of `hwloop train`."""
    out = prepare(folder, "train", force=force, resume=resume)
    folder.mkdir(exist_ok=True)
    out.begin(experiment)
    out.save_network(experiment.build_network(), step)
    storage.write_bytes(folder / "report.html", experiment.name.encode())
    out.finish(experiment)


def state(net: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in net.state_dict().values()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("step", [1, 2, 3])
@pytest.mark.parametrize("force", [True, False])
def test_a_run_folder_always_holds_a_network(tmp_path: Path, force: bool, step: int) -> None:
    run_of(tmp_path / "run", TINY)
    (tmp_path / "run" / "mine.txt").write_text("kept")
    new = OTHER if force else TINY.changed(training={"epochs": 9})
    old_state, new_state = state(TINY.build_network()), state(new.build_network())

    def job(folder: Path) -> None:
        run_of(folder, new, force=force, resume=not force, step=step)

    found: list[Trained] = []
    for folder in kills(job, fresh_copies(tmp_path / "run", tmp_path)):
        found.append(load_trained(folder))
        assert same(state(found[-1].net), old_state) or same(state(found[-1].net), new_state)
        assert (folder / "mine.txt").read_text() == "kept"
        job(folder)  # what the user does next
        assert read_summary(folder)["status"] == "finished"
        assert same(state(load_trained(folder).net), new_state)
        assert not [path.name for path in folder.rglob(".*") if path.name not in (".lock", ".run.lock")]
    assert len(found) > 10
    assert same(state(found[0].net), old_state)


def test_a_replacement_that_never_finishes_can_be_killed_twice(tmp_path: Path) -> None:
    run_of(tmp_path / "run", TINY)
    old_state = state(TINY.build_network())

    def begun(folder: Path) -> None:
        out = prepare(folder, "train", force=True)
        out.begin(OTHER)
        save_checkpoint(folder / "checkpoints", OTHER.build_network(), {}, step=1)

    for number, folder in enumerate(kills(begun, fresh_copies(tmp_path / "run", tmp_path / "first"), every=5)):
        for again in kills(begun, fresh_copies(folder, tmp_path / f"second-{number}"), every=3):
            assert same(state(load_trained(again).net), old_state)


@pytest.mark.parametrize("step", [3, 4, 5])
def test_a_checkpoint_folder_always_holds_a_whole_checkpoint(tmp_path: Path, step: int) -> None:
    net = TINY.build_network()
    save_checkpoint(tmp_path / "run", net, {"value": 1}, step=4)
    values = set()
    for folder in kills(
        lambda folder: save_checkpoint(folder, net, {"value": 2}, step=step), fresh_copies(tmp_path / "run", tmp_path)
    ):
        checkpoint = load_checkpoint(folder, net)
        assert checkpoint is not None
        values.add(checkpoint.state["value"])
        save_checkpoint(folder, net, {"value": 3}, step=6)
        assert len(list(folder.iterdir())) == 2  # manifest and data: nothing that was killed is left
    assert values == {1, 2}


def test_a_document_is_always_the_old_or_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_summary(tmp_path / "run", "train", status="running", seed=0)
    found = {
        read_summary(folder)["status"]
        for folder in kills(
            lambda folder: write_summary(folder, "train", status="finished", seed=0),
            fresh_copies(tmp_path / "run", tmp_path),
        )
    }
    assert found == {"running", "finished"}


def test_a_reader_meets_no_gap_while_checkpoints_follow_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = TINY.build_network()
    save_checkpoint(tmp_path, net, {"value": 1}, step=1)
    read = storage.read_json

    def overtaken(path: Path, **options: object) -> object:
        document = read(path, **options)  # type: ignore[arg-type]
        if document["step"] == 1:
            monkeypatch.setattr(storage, "read_json", read)
            save_checkpoint(tmp_path, net, {"value": 2}, step=2)
        return document

    monkeypatch.setattr(storage, "read_json", overtaken)
    checkpoint = load_checkpoint(tmp_path, net)
    assert checkpoint is not None
    assert checkpoint.state == {"value": 2}


def test_a_forced_run_that_is_killed_leaves_the_old_network_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_of(out, TINY)
    slow = OTHER.changed(task={"train": 2000}, training={"epochs": 400})
    (tmp_path / "slow.toml").write_text(slow.to_toml())
    command = [sys.executable, "-m", "hwloop", "train"]
    forced = [*command, str(tmp_path / "slow.toml"), "--out", str(out), "--force"]
    with subprocess.Popen(forced, stderr=subprocess.PIPE, text=True, env={**os.environ}) as process:
        deadline = time.monotonic() + 60
        while newest_manifest(out / "checkpoints") is None and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        beside = subprocess.run([*command, "--out", str(out), "--resume"], capture_output=True, text=True, timeout=60)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert beside.returncode == 1
    assert f"in use: process {process.pid}" in beside.stderr
    assert same(state(load_trained(out).net), state(TINY.build_network()))
    done = len(read_history(out))
    resumed = [*command, "--out", str(out), "--resume", "--epochs", str(done)]
    last = subprocess.run(resumed, capture_output=True, text=True, timeout=120)
    assert last.returncode == 0, last.stderr
    assert f"left by process {process.pid}" in last.stderr
    assert [value.shape for value in state(load_trained(out).net)] == [v.shape for v in state(slow.build_network())]


def read_history(out: Path) -> list[object]:
    checkpoint = load_checkpoint(out / "checkpoints", Experiment.load(out / "experiment.toml").build_network())
    assert checkpoint is not None
    history: list[object] = checkpoint.state["history"]
    return history
