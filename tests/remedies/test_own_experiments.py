"""Experiment files of one's own data, settings from the command line, and what is made of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwloop.command import data_provenance
from hwloop.errors import HwloopError
from hwloop.experiment import Experiment
from tests.cli_runs import TINY, done, untrained
from tests.cli_runs import refused as refused_by_command

from .support import Case, Said, refused

VALUES = {
    "name": "values", "train": {"inputs": "x.npy", "labels": "y.npy"}, "validation": 1, "test": 1, "seed": 3, "units": 2,
    "classes": 3, "code": "latency", "stimulus": {"t_early": 0.0, "t_late": 5e-3, "t_stop": 1e-2},
}  # fmt: skip
RECORDINGS = {
    "name": "recordings", "train": "a", "validation": "b", "test": "c", "units": 8, "classes": 3, "t_stop": 0.1, "unit": "us",
}  # fmt: skip
IMAGES = {
    **{key: VALUES[key] for key in ("train", "validation", "test", "seed", "classes", "stimulus")},
    "name": "images", "height": 2, "width": 3,
}  # fmt: skip


def of(task: dict[str, Any], **changes: Any) -> Callable[[], Experiment]:
    """Whoever reads the experiment of ``task``, with ``changes``; None takes a key away."""
    table = {key: value for key, value in {**task, **changes}.items() if value is not None}
    return lambda: Experiment.from_dict({**TINY.to_dict(), "task": table}, "test")


@pytest.mark.parametrize(
    "case",
    [
        Case("PartTable._one_place", "samples and {}; allowed: a number to draw", of(VALUES, test={"samples": 3, "file": "x.npz"}),
             (of(VALUES, test=3), of(VALUES, test="x.npz"))),
        Case("PartTable._one_place", "state both, inputs and labels", of(VALUES, train={"inputs": "x.npy"}),
             (of(VALUES), of(VALUES, train="x.npz"))),
        Case("_OwnData._parts_agree", "train = {}; allowed: a path", of(VALUES, train=5), of(VALUES, train="x.npz")),
        Case("_OwnData._parts_agree", "names has {}; allowed: {} different ones", of(VALUES, names=["a", "b"]),
             (of(VALUES, names=["a", "b", "c"]), of(VALUES))),
        Case("_OwnData._parts_agree", "state the seed that draws it", of(VALUES, seed=None), of(VALUES, seed=3)),
        Case("_OwnData._parts_agree", "seed draws nothing, {}; leave it out", of(RECORDINGS, seed=3), of(RECORDINGS)),
        Case("ValuesTask._rising", "span = {}; allowed: [least, largest]", of(VALUES, span=[1.0, 0.0]), of(VALUES, span=[0.0, 1.0])),
        Case("RecordingsTask._units_of_sensor", "has {} units; allowed: units = {}, or leave it out", of(RECORDINGS, sensor_size=[4, 2, 2]),
             (of(RECORDINGS, sensor_size=[2, 2, 2]), of(RECORDINGS))),
        Case("RecordingsTask._units_of_sensor", "from_first and start = {}; state one", of(RECORDINGS, start=3, from_first=True),
             (of(RECORDINGS, start=3), of(RECORDINGS, from_first=True))),
        Case("Experiment._images_to_augment", "turns square images; those of the task are {}: leave it out",
             lambda: of(IMAGES)().changed(training={"augment": {"kind": "affine"}}), of(IMAGES)),
        Case("Experiment._steps_in_order", "allowed: 'train', then those wanted of", lambda: TINY.changed(steps=["deploy", "train"]),
             lambda: TINY.changed(steps=["train", "deploy"])),
        Case("_parsed", "allowed: KEY=VALUE", lambda: Experiment.load("demo", ["seed"]), lambda: Experiment.load("demo", ["seed=3"])),
        Case("_parsed", "no value of TOML; allowed: a number", lambda: Experiment.load("demo", ["description=a b"]),
             lambda: Experiment.load("demo", ['description="a b"'])),
        Case("experiment_settings._merged", "--set {}: {} is no table; allowed: --set {}=VALUE",
             lambda: Experiment.load("demo", ["name.x=3"]), lambda: Experiment.load("demo", ["name=x3"])),
        Case("experiment_settings._merged", "--set {}: no such item; allowed: 0..{}",
             lambda: Experiment.load("demo", ["network.hidden.1=3"]), lambda: Experiment.load("demo", ["network.hidden.0=3"])),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_stated_otherwise_is_read(case: Case) -> None:
    case.follow()


def test_files_are_begun_where_nothing_stands_and_runs_compared_where_there_are_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = Said("init_command.init", "--from {}; built in: {}{}")
    refused("init_command.init", said.text, _command("init", "--from", "yinyang"))
    refused("init_command.init", "allowed: a name that ends in .toml", _command("init", "mine.txt"))
    done("init")
    refused(
        "init_command.init", "exists and is left as it is; name another file: hwloop init FILE.toml", _command("init")
    )
    done("init", "FILE.toml")
    refused("_Run.read", "holds no run; give the folder of one", _command("diff", "here", "there"))
    for name in ("here", "there"):
        untrained(tmp_path / name, TINY)
    done("diff", "here", "there")
    refused(
        "stored_commands._refuse",
        "{} is not for runs {}; leave it out",
        _command("run", "demo", "--input", "x.npz"),
    )
    refused_by_command(2, "--set is not for runs of a bundle; leave it out", "run", "x.hwb", "--set", "seed=3")


def _command(*arguments: str) -> Callable[[], object]:
    """The command's own function, whose errors are not caught."""
    import typer.main

    from hwloop.cli import app

    group = typer.main.get_command(app)

    def call() -> object:
        command = group.commands[arguments[0]]  # type: ignore[attr-defined]
        with command.make_context(arguments[0], list(arguments[1:])) as context:
            return command.invoke(context)

    return call


def test_a_run_goes_on_with_the_data_of_then_or_anew(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", generator.uniform(size=(20, 2)))
    np.save(tmp_path / "y.npy", np.arange(20) % 3)
    experiment = of(VALUES)().changed(network={"hidden": [4]}, training={"epochs": 1}, steps=["train"])
    file = tmp_path / "mine.toml"
    file.write_text(experiment.to_toml())
    out = tmp_path / "run"
    first = done("train", file, "--out", out).stdout
    assert [line.split() for line in first.splitlines() if line.strip().startswith("all")] == [["all", "18", "1", "1"]]
    assert {digest.part for digest in data_provenance.stored(out) or []} == {"train"}
    x = (tmp_path / "x.npy").read_bytes()
    np.save(tmp_path / "x.npy", generator.uniform(size=(20, 2)))
    said = Said(
        "refuse_changed",
        "was begun on other data: {}. Resume it with the data of then, or begin anew with --force or another --out",
    )
    message = refused(
        "refuse_changed",
        said.text,
        lambda: data_provenance.refuse_changed(out, data_provenance.of(Experiment.load(out / "experiment.toml"))),
    )
    assert f"train: {tmp_path / 'x.npy'} had sha256" in message
    refused_by_command(2, "was begun on other data", "train", file, "--out", out, "--resume", "--epochs", 2)
    assert "the data are not those of" in done("deploy", out, "-t", "emulator:1", "--runs", 1).stderr
    done("train", file, "--out", out, "--force")
    (tmp_path / "x.npy").write_bytes(x)
    done("train", file, "--out", tmp_path / "another")
    done("train", file, "--out", tmp_path / "another", "--resume", "--epochs", 2)


def test_a_part_that_is_neither_path_nor_number_says_what_it_may_be() -> None:
    with pytest.raises(HwloopError, match=r"task.train = 2.5; allowed: a table, \[task.train\]"):
        of(VALUES, train=2.5)()
