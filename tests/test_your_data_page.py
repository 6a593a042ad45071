"""What docs/your_data.md shows runs, and its experiment file reads the files that it names."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

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
