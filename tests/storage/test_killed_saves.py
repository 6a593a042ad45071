"""Killed within a save, at every point of it or at any time: what is there is a whole old one or a whole new one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hwloop as hl
from hwloop import storage
from hwloop.bundle.archive import pack_members, unpack_members
from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.session_log import record_session
from hwloop.session_log.content import read_log
from hwloop.session_log.records import MAGIC, RecordWriter

from .counts import cases
from .killing import killed_at_points, killed_at_random
from .readers import network, spikes

#: Kills at random times: with those at named points 300 on every push, 2,200 in the long run.
RANDOM = cases(80, 1000)
#: Longest time until a kill (s): some ten saves.
LONGEST = 0.03


def net() -> nn.Module:
    return nn.Linear(2, 3)


def state(k: int) -> dict[str, Any]:
    return {"k": k, "data": torch.full((20_000,), float(k % 1000))}


def whole(folder: Path) -> int:
    """The step of the newest checkpoint, whose data are those of this step."""
    found = load_checkpoint(folder, net())
    assert found is not None
    assert found.step == found.state["k"]
    assert found.state["data"].unique().tolist() == [float(found.step % 1000)]
    return found.step


def again(folder: Path, original: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)


def test_a_checkpoint_is_whole_after_a_kill_at_any_point_of_its_save(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "old", net(), state(1), step=1)
    folder, points, steps = tmp_path / "run", [], set()
    for point in killed_at_points(
        lambda: save_checkpoint(folder, net(), state(2), step=2), lambda: again(folder, tmp_path / "old")
    ):
        points.append(point)
        steps.add(whole(folder))
        save_checkpoint(folder, net(), state(2), step=2)  # what a resumed run does
        assert whole(folder) == 2
        names = sorted(p.suffix for p in folder.iterdir() if not p.name.startswith(".lock"))
        assert names == [".json", ".safetensors"]  # no leftovers
    assert steps == {1, 2}
    assert len(points) >= 20, points
    assert {
        "before replace",
        "after replace",
        "before fsync",
        "after fsync",
        "after sync_folder",
        "after unlink",
    } <= set(points)


def test_a_checkpoint_is_whole_after_a_kill_at_any_time(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, net(), state(1), step=1)
    before = 1
    for number in killed_at_random(lambda k: save_checkpoint(tmp_path, net(), state(k), step=k), RANDOM, LONGEST, 0):
        step = whole(tmp_path)
        assert step == before or step > number * 1_000
        before = step


def old_or_new(path: Path) -> str:
    members = unpack_members(path.read_bytes(), str(path), frozenset({"manifest.json", "a.json"}))
    return members["a.json"].decode()


def test_a_bundle_is_the_old_or_the_new_one_after_a_kill_at_any_point(tmp_path: Path) -> None:
    path, found = tmp_path / "x.hwb", set()
    old, new = (pack_members({"a.json": text * 50_000}) for text in (b"o", b"n"))
    for _ in killed_at_points(lambda: storage.write_bytes(path, new), lambda: path.write_bytes(old)):
        found.add(old_or_new(path)[0])
        storage.write_bytes(path, new)
        assert old_or_new(path)[0] == "n"
    assert found == {"o", "n"}


def test_a_bundle_is_whole_after_a_kill_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "x.hwb"

    def save(k: int) -> None:
        storage.write_bytes(path, pack_members({"a.json": str(k).encode() * 5_000}))

    save(0)
    for _ in killed_at_random(save, RANDOM // 2, LONGEST, 1):
        text = old_or_new(path)
        assert text == text[: len(text) // 5_000] * 5_000
    storage.remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["x.hwb"]


def append(path: Path, k: int) -> None:
    writer = RecordWriter(path, read_log_end(path))
    writer.append(99, str(k).encode() * 2_000, lasting=True)
    writer.close()


def read_log_end(path: Path) -> int:
    return sum(len(r[1]) + 24 for r in records_of(path)) + len(MAGIC)


def records_of(path: Path) -> list[Any]:
    from hwloop.session_log.records import Damage, read_records

    with path.open("rb") as file:
        found = list(read_records(file, path))
    assert not any(isinstance(one, Damage) and not one.cut for one in found)
    return [one for one in found if not isinstance(one, Damage)]


def test_a_log_keeps_all_records_after_a_kill_at_any_time(tmp_path: Path) -> None:
    path, before = tmp_path / "log", 0
    path.write_bytes(MAGIC)
    for _ in killed_at_random(lambda k: append(path, k), RANDOM // 2, LONGEST, 2):
        found = records_of(path)
        assert len(found) >= before
        assert all(body == body[: len(body) // 2_000] * 2_000 for _, body in found)
        before = len(found)
    assert before > RANDOM // 4


def test_a_recorded_run_is_in_the_log_before_anybody_has_it(tmp_path: Path) -> None:
    """Killed at every point of a recorded run, the log is whole up to it, or has it whole: never a part."""
    log, original = tmp_path / "x.log", tmp_path / "old.log"
    program = None
    with record_session(hl.open("emulator:7", session=1), original) as device:
        program = hl.compile(network(), device.target)
        device.load(program)
        device.run(spikes())
    taken, counts = tmp_path / "taken", set()

    def job() -> None:
        with record_session(hl.open("emulator:7", session=2), log) as device:
            device.load(program)
            device.run(spikes())
            taken.write_text("used")

    def prepare() -> None:
        taken.unlink(missing_ok=True)
        shutil.copyfile(original, log)

    for _ in killed_at_points(job, prepare):
        found = read_log(log)
        assert found.damage is None or found.damage.cut
        counts.add(len(found.runs))
        if taken.exists():
            assert len(found.runs) == 2
        with record_session(hl.open("emulator:7", session=3), log):
            assert len(read_log(log).runs) == len(found.runs)
    assert counts == {1, 2}


def writers(folder: Path) -> dict[str, Callable[[bool], object]]:
    """What the commands write, old or new, in ``folder``."""
    from hwloop.results import read_summary, write_summary
    from hwloop_calibration.yield_.study import _saved

    net_ = network()

    def summary(new: bool) -> None:
        write_summary(folder, "train", status="finished", seed=int(new))

    def weights(new: bool) -> None:
        storage.write_bytes(folder / "w.safetensors", _saved(net_))

    assert callable(read_summary)
    return {"summary": summary, "weights": weights}


@pytest.mark.parametrize("name", ["summary", "weights"])
def test_what_commands_write_is_whole_after_a_kill_at_any_point(tmp_path: Path, name: str) -> None:
    from hwloop.results import read_summary

    write = writers(tmp_path)[name]
    write(False)
    (file,) = tmp_path.iterdir()
    old = file.read_bytes()
    for _ in killed_at_points(lambda: write(True), lambda: file.write_bytes(old)):
        if name == "summary":
            assert read_summary(tmp_path)["seed"] in (0, 1)
        else:
            assert file.read_bytes() == old
