"""Run folders hold the files that their experiments name: they can be moved, and what they came from may go."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from unittest import mock

import nir
import pytest

import hwloop as hl
from hwloop.command import own_files, replaced
from hwloop.command.folder import load_trained, opened
from hwloop.errors import DataError
from hwloop.experiment import Experiment
from tests.cli_runs import TINY, done, preset_file, refused


def experiment_file(folder: Path, n: int = 7) -> Path:
    """An experiment of a NIR file on a chip of a preset file, all three in ``folder``."""
    folder.mkdir(exist_ok=True)
    net = hl.Network([hl.Dense(5, n).init_normal_(2.0, 1.0), hl.LIF(n, 1e-2, 5e-3), hl.Dense(n, 3).init_normal_(2.0, 1.0), hl.LIF(3, 1e-2, 5e-3)])  # fmt: skip
    nir.write(folder / "net.nir", net.to_nir())
    preset_file(folder, 'name = "bss2"', 'name = "mine"')
    document = TINY.changed(training={"epochs": 1}, target={"preset": "mine.toml"}).to_dict()
    document["network"] = {"nir": "net.nir", "time_unit": "s", "spike": "jump", "reset": "value"}
    file = folder / "mine-tiny.toml"
    file.write_text(Experiment.from_dict(document, "test").to_toml())
    return file


def test_a_moved_run_goes_on_without_the_files_that_it_was_begun_with(tmp_path: Path) -> None:
    file = experiment_file(tmp_path / "from")
    done("train", file, "--out", tmp_path / "run")
    shutil.rmtree(tmp_path / "from")
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert str(tmp_path) not in (moved / "experiment.toml").read_text()
    assert sorted(path.name.partition("-")[2] for path in (moved / "inputs").iterdir()) == ["mine.toml", "net.nir"]
    assert "emulator:0/mine/" in done("deploy", moved).stdout
    done("train", "--resume", "--out", moved, "--epochs", 2)
    done("finetune", moved, "--epochs", 1, "--runs", 1, "--out", tmp_path / "tuned")
    shutil.rmtree(moved)
    (tmp_path / "tuned").rename(tmp_path / "again")
    done("deploy", tmp_path / "again", "--runs", 1)


def test_a_run_is_resumed_with_the_file_that_it_was_begun_with_and_not_with_one_that_was_changed(
    tmp_path: Path,
) -> None:
    file = experiment_file(tmp_path)
    done("train", file, "--out", tmp_path / "run")
    done("train", file, "--out", tmp_path / "run", "--resume", "--epochs", 2)
    experiment_file(tmp_path, 8)
    refused(
        2,
        "was begun with network.nir = .*; resume with the same options",
        "train",
        file,
        "--out",
        tmp_path / "run",
        "--resume",
    )
    done("train", "--out", tmp_path / "run", "--resume", "--epochs", 2)


def test_a_relative_preset_is_beside_its_experiment_wherever_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment_file(tmp_path / "from")
    monkeypatch.chdir(tmp_path)
    found = Experiment.load("from/mine-tiny.toml")
    assert found.target.preset == str(tmp_path / "from" / "mine.toml")
    monkeypatch.chdir(os.sep)
    assert found.target.find().capabilities.name == "emulator/mine"


def test_what_a_replaced_run_kept_is_there_until_the_new_one_has_finished(tmp_path: Path) -> None:
    def begin(force: bool) -> None:
        experiment = Experiment.load(experiment_file(tmp_path, 7 + force))
        with opened(tmp_path / "run", "train", force=force) as out:
            out.begin(experiment)
            if not force:
                out.save_network(experiment.build_network(), 0)
                out.finish(experiment)

    begin(False)
    begin(True)  # and is killed
    before = load_trained(tmp_path / "run")
    assert before.net.structure.nodes[before.net.structure.populations[0]].n == 7
    assert Path(before.experiment.target.preset or "").is_relative_to(tmp_path / "run" / replaced.KEPT)
    experiment = Experiment.load(tmp_path / "run" / "experiment.toml")
    with opened(tmp_path / "run", "train", force=True) as out:
        out.begin(experiment)  # its own files
        out.save_network(experiment.build_network(), 0)
        out.finish(experiment)
    assert load_trained(tmp_path / "run").experiment == experiment
    assert len(list((tmp_path / "run" / "inputs").iterdir())) == 2
    with opened(tmp_path / "run", "train", force=True) as out:
        out.begin(TINY)
        out.finish(TINY)
    assert not (tmp_path / "run" / "inputs").exists()


def test_a_file_that_is_not_there_is_named_and_nothing_is_begun(tmp_path: Path) -> None:
    experiment = Experiment.load(experiment_file(tmp_path))
    (tmp_path / "net.nir").unlink()
    with pytest.raises(DataError, match=r"cannot read .*net.nir"), opened(tmp_path / "run", "train") as out:
        out.begin(experiment)
    assert not (tmp_path / "run").exists()


def test_a_preset_file_of_any_name_is_kept_under_one_that_is_read_as_a_file(tmp_path: Path) -> None:
    preset_file(tmp_path, 'name = "bss2"', 'name = "mine"').rename(tmp_path / "chip")
    experiment = TINY.changed(target={"preset": str(tmp_path / "chip")})
    with opened(tmp_path / "run", "train") as out:
        out.begin(experiment)
    (tmp_path / "chip").unlink()
    again = Experiment.load(tmp_path / "run" / "experiment.toml")
    assert Path(again.target.preset or "").name.endswith("-chip.toml")
    assert again.target.find().capabilities.name == "emulator/mine"


def test_a_run_without_a_summary_that_can_be_read_is_not_one_that_has_finished(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{")
    (tmp_path / "experiment.toml").write_text("x")
    replaced.copy_documents(tmp_path)
    assert (tmp_path / replaced.KEPT / "experiment.toml").read_text() == "x"


def test_after_a_kill_while_files_are_kept_the_folder_is_one_of_a_run(tmp_path: Path) -> None:
    """A folder that holds anything else than a run is never written to: the summary comes first."""
    experiment = Experiment.load(experiment_file(tmp_path))
    with (
        mock.patch.object(own_files, "kept", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
        opened(tmp_path / "run", "train") as out,
    ):
        out.begin(experiment)
    with opened(tmp_path / "run", "train", force=True) as out:
        out.begin(experiment)
    assert len(list((tmp_path / "run" / "inputs").iterdir())) == 2


def test_only_files_of_the_same_content_are_the_same(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).write_text(text)
    a, b, c = (str(tmp_path / name) for name in "abc")
    assert own_files.same(a, b)
    assert not any(
        (own_files.same(a, c), own_files.same(a, str(tmp_path / "none")), own_files.same(None, a), own_files.same(a, 1))
    )
