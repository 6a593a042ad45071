"""`hwloop calibrate` measures what the network uses, says before what that costs, and measures more where more is lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import hwloop as hl
from hwloop.cli import app
from hwloop.command.folder import opened
from hwloop.experiment import Experiment
from hwloop_calibration.extent import LEAST_SPARES, with_spares

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml").changed(
    network={"hidden": [3], "init_mean": [2.0, 2.0]}, task={"test": 20}
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    with opened(folder, "train") as out:
        out.begin(TINY)
        out.save_network(TINY.build_network(), 0)
        out.finish(TINY)
    return folder


def calibrate(run: Path, folder: Path, *options: object) -> Result:
    arguments = [
        "calibrate",
        run,
        "--repeats",
        4,
        "--runs",
        1,
        "--store",
        folder / "store",
        "--out",
        folder / "out",
        *options,
    ]
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    return result


def test_a_network_of_six_neurons_is_not_answered_by_measuring_512(run: Path, tmp_path: Path) -> None:
    result = calibrate(run, tmp_path, "--target", "emulator:7")
    used = 6 + LEAST_SPARES
    before, _, after = result.stderr.partition(": measuring")
    said = re.search(
        rf"calibrating {used} of 512 neurons, 5 synapse columns: (\d+) samples on the device, about", before
    )
    assert said is not None, result.stderr
    assert "--all-neurons measures the whole chip" in before
    assert "trimming, round 1" in after
    document = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert document["neurons"] == list(range(used))
    assert document["effort"]["samples"] == int(said[1])


def test_more_lost_neurons_than_spares_are_made_up_for(run: Path, tmp_path: Path) -> None:
    preset = Path(hl.__file__).parents[1] / "backends/hwloop_emulator/presets/bss2.toml"
    text = re.sub(r"(\[effects.dead\][^\[]*?scale = )[\d.e-]+", r"\g<1>0.3", preset.read_text())
    assert text != preset.read_text()
    (tmp_path / "many-dead.toml").write_text(text)
    result = calibrate(run, tmp_path, "--target", "emulator:0", "--preset", tmp_path / "many-dead.toml")
    assert "more than there were spares: once more, with more" in result.stderr
    document = json.loads((tmp_path / "out" / "calibration.json").read_text())
    sound = [n for n, verdict in zip(document["neurons"], document["verdict"], strict=True) if verdict != "masked"]
    assert len(sound) >= 6
    assert "device twin" in result.stdout


def test_spares_are_free_neurons_that_exist() -> None:
    with hl.open("emulator:0") as chip:
        program = hl.compile(TINY.build_network(), chip, mask=[2])
    assert with_spares(program, 512, [2, 7]) == [0, 1, 3, 4, 5, 6, 8, 9]
    assert with_spares(program, 8, [2]) == [0, 1, 3, 4, 5, 6, 7]
    assert with_spares(program, 7, [2]) == [0, 1, 3, 4, 5, 6]
