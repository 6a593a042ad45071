"""Whatever is wrong with what a command is given, it says so in a line, with status 1 or 2, and writes nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hwloop.cli import app
from hwloop.command.folder import load_trained, opened
from hwloop.experiment import Experiment
from hwloop.results import read_summary

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml").changed(network={"init_mean": [2.0, 1.0]})


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400", "TERM": "dumb"})


def content(folder: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.endswith((".run.lock", ".lock"))}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A run, a file, a folder called as a file is, and a file that is no text."""
    with opened(tmp_path / "run", "train") as out:
        out.begin(TINY)
        out.save_network(TINY.build_network(), 0)
        out.finish(TINY)
    (tmp_path / "file").write_text("x")
    (tmp_path / "tiny.toml").write_text(TINY.to_toml())
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    return tmp_path


WRONG = [
    (1, "folder.toml.*Is a directory", "train {0}/folder.toml --out {0}/o"),
    (1, "bytes.toml.*not UTF-8", "train {0}/bytes.toml --out {0}/o"),
    (1, "none.toml.*No such file", "train {0}/none.toml --out {0}/o"),
    (1, "cannot write into /proc/hwloop: .*name another folder", "train {0}/tiny.toml --out /proc/hwloop"),
    (2, "File name too long; allowed: a folder", "train {0}/tiny.toml --out {0}/" + 300 * "a"),
    (2, "Not a directory; allowed: a folder", "train {0}/tiny.toml --out {0}/file"),
    (1, "cannot write into .*Not a directory", "train {0}/tiny.toml --out {0}/file/x"),
    (2, "--epochs", "train {0}/tiny.toml --out {0}/o --epochs nan"),
    (2, "holds no run to resume; check --out, or name the experiment", "train --resume --out {0}/nowhere"),
    (1, "no mnist data.*HWLOOP_DATA", "train mnist-256-128-10 --out {0}/o --data {0}/file"),
    (2, "spread", "deploy {0}/run --spread nan"),
    (2, "dt = nan; allowed: a finite number", "deploy {0}/run -t loihi --dt nan"),
    (2, "dt = -1.0; allowed: greater than 0", "deploy {0}/run -t loihi --dt -1"),
    (2, "clock = nan; allowed: 0..", "deploy {0}/run -o clock=nan"),
    (2, "clock = 'x'; allowed: 0..", "targets emulator:1 -o clock=x"),
    (2, r"clock = \[1\]; allowed: 0..", "deploy {0}/run -o clock=[1]"),
    (2, r"fail_after = 3; allowed: a list of whole numbers, e.g. \[100\]", "deploy {0}/run -o fail_after=3"),
    (2, "session = -1; allowed: a whole number", "deploy {0}/run -o session=-1"),
    (2, "--option preset=...; allowed: --preset NAME", "deploy {0}/run -o preset=bss2"),
    (2, "--option mismatch=...; allowed: --no-mismatch", "deploy {0}/run -o mismatch=no"),
    (2, "--target ''; allowed: the name of a target", "deploy {0}/run -t ="),
    (1, "folder.toml.*Is a directory", "deploy {0}/run --preset {0}/folder.toml"),
    (1, "bytes.toml.*codec", "deploy {0}/run --preset {0}/bytes.toml"),
    (1, "holds no experiment.toml; give the folder of a run", "deploy {0}/file"),
    (2, "--samples", "compare {0}/run --samples -3"),
    (2, "unknown preset 'bss3'", "yield {0}/run --preset bss3 --out {0}/o"),
    (2, "jobs = 0; allowed: -1", "yield {0}/run --jobs 0 --out {0}/o"),
    (2, "efforts.0 = nan", "yield {0}/run --effort nan --out {0}/o"),
    (2, "jobs = 0; allowed: -1", "demo --quick --jobs 0 --out {0}/o"),
    (1, "x.json", "calibrations show {0}/x.json"),
    (1, "folder.toml/x.json: No such file", "calibrations show {0}/folder.toml/x.json --store {0}"),
    (1, "no interpreter '/nonexistent'", "lava setup --python /nonexistent"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "message", "line"), WRONG)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    place: Path, status: int, message: str, line: str
) -> None:
    before = content(place)
    result = call(*(word.replace("{0}", str(place)) if word != "=" else "" for word in line.split()))
    assert result.exit_code == status, result.output
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.output
    assert len([said for said in result.stderr.splitlines() if said.startswith("error: ")]) <= 1
    assert content(place) == before
    assert not (place / "o").exists()


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8])
def test_a_full_disk_is_said_and_the_run_of_before_stays(
    place: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before = load_trained(place / "run").net.state_dict()
    syncs, fsync = 0, os.fsync

    def full(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        if syncs > after:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    command = ("train", place / "tiny.toml", "--epochs", 1, "--out", place / "run", "--force")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = call(*command)
    assert result.exit_code == 1, result.output
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.output
    kept = load_trained(place / "run").net.state_dict()
    assert all(kept[name].equal(value) for name, value in before.items())
    assert call(*command).exit_code == 0  # what the message advises: free space
    assert read_summary(place / "run")["status"] == "finished"


def test_what_the_system_refuses_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/dev/board")

    monkeypatch.setattr("hwloop.command.listing.list_targets", refuse)
    result = call("targets")
    assert result.exit_code == 1
    assert result.stderr == "error: /dev/board: Permission denied; check the path, its permissions and the space left\n"


def test_a_warning_is_one_line_without_a_place_in_the_source(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    from hwloop.command import work

    def warn(*_: object) -> None:
        for _ in range(2):
            warnings.warn("layer 1 lost 12 weights", stacklevel=1)

    monkeypatch.setattr(work, "deploy_run", warn)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = call("deploy", place / "run")
    assert (result.exit_code, result.stderr) == (0, "warning: layer 1 lost 12 weights\n")
