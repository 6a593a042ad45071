"""A recipe that averages over more steps than there are says so: its weights would hardly have moved."""

from __future__ import annotations

import pytest

from hwloop.command.averaging import note_slow
from hwloop.experiment import Experiment

from ..cli_runs import TINY


def said(experiment: Experiment, section: str, samples: int, capsys: pytest.CaptureFixture[str]) -> str:
    note_slow(experiment, section, samples)
    return capsys.readouterr().err


def test_a_recipe_on_few_data_is_told_what_is_left_of_the_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    slow = TINY.changed(training={"averaging": 0.998, "epochs": 15})
    text = said(slow, "training", 300, capsys)
    assert "averaging = 0.998" in text
    assert f"{100 * 0.998**180:.0f} % those of the beginning, after all 180 steps" in text
    # what is proposed leaves nothing of them
    better = float(text.split("training.averaging = ")[1].split(",")[0])
    assert better**180 < 0.01
    assert said(slow.changed(training={"averaging": better}), "training", 300, capsys) == ""
    assert "finetune.averaging" in said(TINY.changed(finetune={"averaging": 0.995}), "finetune", 100, capsys)


@pytest.mark.parametrize("name", ["yin-yang", "demo", "demo-quick", "mnist-256-128-10"])
def test_built_in_recipes_have_steps_enough(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = Experiment.load(name)
    samples = {"yin-yang": 5000, "mnist-256-128-10": 50_000}.get(name) or len(experiment.build_task().train)
    assert said(experiment, "training", samples, capsys) == ""
    assert said(experiment, "finetune", samples, capsys) == ""
