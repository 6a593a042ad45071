"""``hwloop init``, ``run`` of an experiment, and ``diff`` of two runs."""

from __future__ import annotations

import html
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hwloop.command import work
from hwloop.command.calibrations import put_calibration
from hwloop.command.run_page import CHAPTERS
from hwloop.errors import TargetError
from hwloop.experiment import STEPS, Experiment, builtin
from hwloop.experiment_text import COMMENTS, commented
from hwloop.mapping import place
from hwloop.results import read_summary
from hwloop_calibration import Calibration
from tests.cli_runs import TINY, content, done, file_of, refused, without_clock

SMALL = TINY.changed(
    task={"train": 50, "validation": 20, "test": 20},
    network={"hidden": [6]},
    training={"epochs": 1},
    finetune={"epochs": 1},
)
#: With the step that only chips with trim cells take.
WHOLE = SMALL.changed(steps=list(STEPS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    done("run", file_of(folder, WHOLE), "--out", folder / "run")
    return folder / "run"


def test_every_step_is_a_run_of_its_command_and_the_summary_holds_their_figures(whole: Path) -> None:
    for step in STEPS:
        summary = read_summary(whole / step)
        assert (summary["kind"], summary["status"]) == (step, "finished")
        assert (whole / step / "report.html").is_file()
    summary = read_summary(whole)
    assert (summary["kind"], summary["status"], summary["steps"]) == ("run", "finished", list(STEPS))
    assert [(r["network"], r["data"]) for r in summary["results"]] == [
        ("software", "validation"), ("software", "test"), ("as is", "validation"), ("as is", "test"), ("calibrated", "test"),
        ("device twin, without noise", "test"), ("calibrated, fine-tuned", "test"),
    ]  # fmt: skip
    assert summary["results"][-1] == read_summary(whole / "finetune")["results"][-1]
    assert "finetune/report.html" in (whole / "report.html").read_text()
    assert Experiment.load(whole / "experiment.toml") == WHOLE
    done("deploy", whole / "finetune", "--runs", 1)
    refused(1, "holds no trained network itself; give one of the folders in it, train or finetune", "deploy", whole)


def test_what_follows_the_calibration_runs_on_the_calibrated_chip_also_later(whole: Path, tmp_path: Path) -> None:
    made = Calibration.load(whole / "calibrate" / "calibration.json")
    assert Calibration.load(whole / "finetune" / "calibration.json") == made
    for step in ("compare", "finetune"):
        before, _, provenance = (whole / step / "report.html").read_text().partition("<h2>Provenance</h2>")
        assert made.id in provenance
        assert made.id not in before
    said = done("deploy", whole / "finetune", "--runs", 1).stdout
    assert "calibrated, fine-tuned" in said
    # what was tuned with it is deployed elsewhere without it
    assert "calibrated" not in done("deploy", whole / "finetune", "--runs", 1, "--target", "emulator:3").stdout
    on_three = ("deploy", whole / "train", "--target", "emulator:3", "--runs", 1, "--calibration")
    refused(
        1, "is of device emulator:0/bss2.*; this is emulator:3/bss2.*Calibrate this device", *on_three,
        whole / "calibrate" / "calibration.json",
    )  # fmt: skip
    done(
        "calibrate", whole / "train", "--target", "emulator:3", "--repeats", 4, "--runs", 1, "--store", tmp_path / "store",
        "--out", tmp_path / "three",
    )  # fmt: skip
    done(*on_three, tmp_path / "three" / "calibration.json")
    file = whole / "calibrate" / "calibration.json"
    assert re.search(
        r"\n calibrated +emulator", done("deploy", whole / "train", "--runs", 1, "--calibration", file).stdout
    )
    refused(1, "is of device", "deploy", whole / "train", "--target", "loihi", "--calibration", file)
    # a device of others that has no such method
    with pytest.raises(TargetError, match="mine takes no calibration; leave it out, or name a target that takes one"):
        put_calibration(SimpleNamespace(device_id="mine"), made)  # type: ignore[arg-type]


def test_a_network_that_was_fine_tuned_on_a_chip_stays_on_its_neurons_where_that_is_calibrated(
    whole: Path, tmp_path: Path
) -> None:
    done(
        "calibrate", whole / "finetune", "--repeats", 4, "--runs", 1, "--store", tmp_path / "store", "--out", tmp_path / "again"
    )  # fmt: skip
    summary = read_summary(tmp_path / "again")
    assert [r["network"] for r in summary["results"]][1:3] == [
        "calibrated, fine-tuned",
        "calibrated, fine-tuned, then calibrated",
    ]
    other = summary["effect"]["other"]
    assert other[0].startswith("the network was fine-tuned on this chip as it was before")
    before = Calibration.load(whole / "calibrate" / "calibration.json").mask
    used = {int(neuron) for layer in place((6, 3), 512, before) for neuron in layer}
    lost = used & set(Calibration.load(tmp_path / "again" / "calibration.json").mask)
    assert any("stand on other neurons" in text for text in other) == bool(lost)
    assert {"software", "as is"}.isdisjoint(summary["costs"])


def test_a_target_without_trim_cells_is_refused_before_anything_is_trained_where_it_is_to_be_calibrated(
    tmp_path: Path,
) -> None:
    message = (
        r"steps has 'calibrate', and loihi.* has no trim cells; leave it out: --set 'steps=\[\"train\", \"deploy\""
    )
    call = ("run", file_of(tmp_path, WHOLE), "--target", "loihi", "--out", tmp_path / "run")
    said = refused(2, message, *call)
    assert not (tmp_path / "run").exists()
    shown = shlex.split(said.stderr[said.stderr.index("--set") :])[:2]
    done(*call, *shown)
    assert read_summary(tmp_path / "run")["steps"] == [step for step in STEPS if step != "calibrate"]


def test_one_page_holds_the_whole_experiment_each_step_folded(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    for step, (heading, line) in CHAPTERS.items():
        own = (whole / step / "report.html").read_text()
        assert f"<h2>{heading}</h2>" in page
        assert f'<details class="chapter"><summary>{line}</summary>' in page
        headings = re.findall(r"<h2>(.*?)</h2>", own)
        assert len(headings) > 1
        assert all(f"<h3>{text}</h3>" in page for text in headings)
        assert (whole / step / "plots").is_dir()
    assert page.count("<svg") == 1 + sum((whole / step / "report.html").read_text().count("<svg") for step in STEPS)
    effect = read_summary(whole / "calibrate")["effect"]
    in_short = page.partition("<h2>In short</h2>")[2].partition("<h2>")[0]
    assert html.escape(effect["sentences"][0]) in in_short
    for result in read_summary(whole)["results"]:
        if result["data"] == "test":
            assert f"{result['network']} {100 * result['accuracy']:.1f} %" in in_short
    costs = page.partition("<h2>What an answer costs</h2>")[2].partition("<h2>")[0]
    for step, name in (
        ("train", "software"),
        ("deploy", "as is"),
        ("calibrate", "calibrated"),
        ("finetune", "calibrated, fine-tuned"),
    ):
        cost = read_summary(whole / step)["costs"][name]
        row = re.search(rf"<td>{name}</td>(.*?)</tr>", costs)
        assert row is not None
        assert f">{cost['operations']['effective'] / cost['samples']:.4g}<" in row[1]
        assert ("counts only" in row[1]) == (name != "software")
    assert "Counts only for emulator/bss2: no published energy" in costs


def test_steps_that_are_left_out_are_not_done(tmp_path: Path) -> None:
    done("run", file_of(tmp_path, SMALL), "--set", 'steps=["train", "deploy"]', "--out", tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir()) == ["deploy", "plots", "train"]


def test_an_interrupted_run_ends_as_an_uninterrupted_one_and_does_nothing_twice(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
        def stop(epoch: object) -> None:
            raise KeyboardInterrupt

        return lambda *args, **options: function(*args, **options, on_epoch=stop)

    file, out = file_of(tmp_path, WHOLE), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(work, "finetune", interrupted(work.finetune))
        refused(130, "go on with the same command and --resume", "run", file, "--out", out)
    before = {step: content(out / step) for step in ("train", "calibrate", "compare")}
    refused(2, "go on with --resume", "run", file, "--out", out)
    refused(2, "was begun with seed = 0, this run has 3", "run", file, "--out", out, "--resume", "--set", "seed=3")
    done("run", file, "--out", out, "--resume")
    assert {step: content(out / step) for step in before} == before
    assert [r["data"] for r in read_summary(out)["results"]] == [r["data"] for r in read_summary(whole)["results"]]
    for step in ("train", "compare"):
        assert (
            without_clock(read_summary(out / step))["results"] == without_clock(read_summary(whole / step))["results"]
        )


def test_a_target_that_cannot_carry_the_network_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    file = file_of(tmp_path, SMALL)
    refused(1, "the target allows", "run", file, "--set", "network.hidden=[600]", "--out", tmp_path / "run")
    refused(2, "unknown target 'emulatr:1'", "run", file, "-t", "emulatr:1", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_change_the_file_s_values_and_name_themselves_in_errors(tmp_path: Path) -> None:
    file = file_of(tmp_path, SMALL)
    settings = [
        "network.hidden=[7]",
        "target.preset=ideal",
        "training.lr=1e-2",
        "name='other'",
        "network.init_mean.0=0.5",
    ]
    found = Experiment.load(file, settings)
    assert (found.network.hidden, found.target.preset, found.training.lr, found.name) == (
        [7],
        "ideal",
        1e-2,
        "other",
    )  # type: ignore[union-attr]
    assert Experiment.load("mnist-784-350-10", ["task.data=here"]).task.data == str(Path("here").absolute())
    assert found.network.init_mean == [0.5, 0.2]  # type: ignore[union-attr]
    refused(
        2,
        "--set training.epohcs=3: unknown key 'training.epohcs'.* Did you mean 'epochs'",
        "run",
        file,
        "--set",
        "training.epohcs=3",
    )
    refused(2, r"--set training.epochs=0: training.epochs = 0; allowed", "run", file, "--set", "training.epochs=0")


def test_errors_of_a_file_name_the_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    text = (
        file_of(tmp_path, SMALL).read_text().replace("epochs = 1", "epochs = 0", 1).replace("lr = 0.004", "lr = -1.0")
    )
    file.write_text(text)
    lines = {line: k for k, line in enumerate(text.splitlines(), 1)}
    message = rf"wrong.toml, line {lines['epochs = 0']}: training.epochs = 0; allowed: .*\n  line {lines['lr = -1.0']}: finetune.lr = -1.0"
    refused(2, message, "run", file)


@pytest.mark.parametrize("name", builtin())
def test_a_file_that_is_begun_from_a_built_in_experiment_says_what_every_value_means(name: str) -> None:
    experiment = Experiment.load(name)
    text = commented(experiment, name)
    assert Experiment.from_dict(tomllib.loads(text), name) == experiment
    table = ""
    for line in text.splitlines():
        if header := re.fullmatch(r"\[\[?([\w.-]+)\]?\]", line):
            table = f"{header[1]}."
        elif line and not line.startswith("#"):
            assert f"{table}{line.partition(' = ')[0]}" in COMMENTS, line


def test_init_writes_a_file_that_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done("init", "mine.toml", "--from", "demo-quick")
    assert Experiment.load("mine.toml") == Experiment.load("demo-quick").changed(name="mine")
    done(
        "run",
        "mine.toml",
        "--set",
        "steps=['train']",
        "--set",
        "training.epochs=1",
        "--set",
        "task.train=30",
        "--out",
        "run",
    )
    assert read_summary(tmp_path / "run")["status"] == "finished"


def test_diff_tells_what_was_asked_what_came_out_and_how_far_the_weights_are(whole: Path, tmp_path: Path) -> None:
    same = done("diff", whole, whole).stdout
    assert [line for line in same.splitlines() if line.strip()] == [
        "experiment: no difference", "data: none in both", "versions: no difference", "figures: no difference", "weights: no difference"
    ]  # fmt: skip
    done("train", file_of(tmp_path, WHOLE), "--seed", 3, "--out", tmp_path / "run")
    said = done("diff", whole / "train", tmp_path / "run").stdout
    assert re.search(r"experiment: 1 of \d+ differ", said)
    assert re.search(r"seed +0 +3", said)
    assert re.search(r"layers.0.weight +6 x 5 +6 x 5 +[\d.]+ +[\d.]+", said)
    assert "versions: no difference" in said
    assert "no network in" in done("diff", whole / "deploy", whole / "train").stdout
