"""What docs/your_data.md shows runs, and its experiment file reads the files that it names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from hwloop.command.averaging import note_slow
from hwloop.experiment import Experiment
from hwloop.experiment_own_data import beside_task

from .cli_runs import TINY

PAGE = (Path(__file__).parents[1] / "docs" / "your_data.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_runs_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "docs/your_data.md", "exec"), names)  # noqa: S102  # the page is ours
    with np.load(tmp_path / "train.npz") as held:
        np.save("x.npy", held["times"])
        np.save("y.npy", held["labels"])
    (document,) = map(tomllib.loads, blocks("toml"))
    document["task"]["validation"] = 50
    task = beside_task(document["task"], tmp_path)
    built = Experiment.from_dict({**TINY.to_dict(), "task": task}, "docs").build_task()
    assert (built.n_in, len(built.train), len(built.validation), len(built.test)) == (4, 250, 50, 300)
    assert built.test.inputs.first_times().max().item() < 20e-3


def test_the_recipe_of_the_tutorial_reads_its_file_and_has_steps_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tutorial = (Path(__file__).parents[1] / "docs/tutorials/your_data.md").read_text("utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```$", tutorial, re.MULTILINE | re.DOTALL)
    document = tomllib.loads(text)
    rng = np.random.default_rng(0)
    times = np.where(rng.random((500, 12)) < 0.1, np.inf, rng.uniform(0, 20e-3, (500, 12)))
    np.savez(tmp_path / "direction.npz", times=times, labels=rng.integers(0, 2, 500))
    task = beside_task(document.pop("task"), tmp_path)
    experiment = Experiment.from_dict({**Experiment.load("yin-yang").to_dict(), "task": task}, "tutorial").changed(
        **document
    )
    built = experiment.build_task()
    assert (len(built.train), len(built.validation), len(built.test)) == (300, 100, 100)
    assert experiment.build_network().blocks[0][1].n == 20
    for section in ("training", "finetune"):
        note_slow(experiment, section, len(built.train))
    assert capsys.readouterr().err == ""
