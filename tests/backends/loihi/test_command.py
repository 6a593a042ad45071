from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hwloop.cli import app
from hwloop.experiment import Experiment

TINY = Path(__file__).parents[2] / "tiny.toml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400", "TERM": "dumb"})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("loihi") / "run"
    assert run("train", TINY, "--out", out).exit_code == 0
    return out


def test_deploy_chooses_the_step_and_prints_the_table(trained: Path, tmp_path: Path) -> None:
    result = run("deploy", trained, "--target", "loihi", "--dt", "auto", "--runs", 1, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(re.findall(r"us +[\d.]+% +[\d.]+% +[\d.]+%", result.stdout)) == 6
    assert result.stdout.count("<- chosen") == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    chosen = summary["dt_choice"]["dt"]
    assert Experiment.load(tmp_path / "out" / "experiment.toml").target.dt == chosen
    assert summary["program"]["dt"] == chosen
    assert {row["ran_on"] for row in summary["results"]} == {"simulator", "emulator"}


def test_finetune_resumes_with_the_step_that_it_chose(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    options = ("--target", "loihi", "--dt", "auto", "--runs", 1, "--out", out)
    first = run("finetune", trained, *options, "--epochs", 1)
    assert first.exit_code == 0, first.output
    dt = Experiment.load(out / "experiment.toml").target.dt
    again = run("finetune", trained, *options, "--epochs", 2, "--resume")
    assert again.exit_code == 0, again.output
    assert "<- chosen" not in again.stdout
    assert Experiment.load(out / "experiment.toml").target.dt == dt
    compared = run("compare", out, "--samples", 5)
    assert compared.exit_code == 0, compared.output
    assert f"device loihi/{(dt or 0) * 1e6:g}us" in compared.stdout


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--target", "loihi", "--dt", "fast"), 2, "--dt 'fast'; allowed: a step in seconds"),
        (("--target", "emulator:1", "--dt", "auto"), 2, "emulator:1 has no time step to choose"),
        (("--target", "emulator:1", "--dt", "1e-4"), 2, "backend 'emulator' has no option 'dt'"),
        (("--target", "loihi", "--dt", "0.5"), 1, "time constants of at least one step"),
        (("--target", "loihi", "--preset", "bss2"), 2, "backend 'loihi' has no option 'preset'"),
    ],
)
def test_steps_that_cannot_be_are_refused(trained: Path, options: tuple[str, ...], status: int, message: str) -> None:
    result = run("deploy", trained, *options)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
