from __future__ import annotations

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from hwloop.checkpoint import newest_manifest
from hwloop.cli import app
from hwloop.command import listing, work
from hwloop.command.folder import load_trained, opened
from hwloop.compare.comparison import Comparison
from hwloop.experiment import Experiment
from hwloop.results import read_summary

COMMANDS = (
    "demo", "train", "deploy", "compare", "finetune", "targets", "doctor", "lava", "bundle", "run", "verify", "replay",
)  # fmt: skip
TINY = Experiment.load(Path(__file__).with_name("tiny.toml"))


def run(*arguments: object) -> Result:
    # wide enough that no message is wrapped
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400", "TERM": "dumb"})


def done(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert not re.search(r"error|Traceback", result.stderr)  # progress alone
    return result


def refused(status: int, message: str, *arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.output
    return result


def file_of(folder: Path, experiment: Experiment) -> Path:
    path = folder / f"{experiment.name}.toml"
    path.write_text(experiment.to_toml())
    return path


def untrained(folder: Path, experiment: Experiment) -> Path:
    """A run folder with the first weights as its network."""
    with opened(folder, "train") as out:
        out.begin(experiment)
        out.save_network(experiment.build_network(), 0)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def without_clock(document: Any) -> Any:
    if isinstance(document, dict):
        return {k: without_clock(v) for k, v in document.items() if k not in ("seconds", "command")}
    return [without_clock(v) for v in document] if isinstance(document, list) else document


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    done("train", file_of(folder, TINY), "--out", folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def tuned(trained: Path) -> Path:
    out = trained.parent / "tuned"
    done("finetune", trained, "--target", "emulator:7", "--runs", 1, "--out", out)
    return out


# -- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = done(command, "--help")
    assert f"Example: hwloop {command}" in result.stdout


def test_the_command_without_arguments_shows_its_help_as_wrong_use() -> None:
    result = run()
    assert result.exit_code == 2
    assert all(command in result.output for command in COMMANDS)
    assert "Exit status: 0 done; 1 failed" in result.output


def test_version_is_printed() -> None:
    assert re.fullmatch(r"hwloop \d+\.\d+\.\d+\n", done("--version").stdout)


def test_a_trained_run_holds_all_that_the_next_command_needs(trained: Path) -> None:
    summary = read_summary(trained)
    assert (summary["kind"], summary["status"], summary["seed"]) == ("train", "finished", 0)
    assert set(summary["versions"]) >= {"hwloop", "torch", "numpy"}
    assert [(r["data"], r["ran_on"]) for r in summary["results"]] == [
        ("validation", "simulator"),
        ("test", "simulator"),
    ]
    assert len(summary["history"]) == 2
    assert Experiment.load(trained / "experiment.toml") == TINY
    page = (trained / "report.html").read_text()
    assert "Ran on: simulator" in page
    assert not re.search(r"(src|href)=.https?:", page)
    assert load_trained(trained).net.n_in == 5


def test_a_network_is_found_by_run_folder_checkpoint_folder_and_manifest(trained: Path) -> None:
    manifest = newest_manifest(trained / "network")
    assert manifest is not None
    nets = [load_trained(path).net for path in (trained, trained / "network", manifest, trained / "checkpoints")]
    for net in nets[1:]:
        assert torch.equal(net.blocks[0][0].weight, nets[0].blocks[0][0].weight)


def test_resumed_training_ends_where_an_uninterrupted_one_does(trained: Path, tmp_path: Path) -> None:
    file, out = file_of(tmp_path, TINY), tmp_path / "run"
    done("train", file, "--epochs", 1, "--out", out)
    done("train", file, "--out", out, "--resume")
    a, b = load_trained(out).net.state_dict(), load_trained(trained).net.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in b)
    assert without_clock(read_summary(out)) == without_clock(read_summary(trained))


def test_force_begins_a_run_of_the_same_kind_anew(trained: Path, tmp_path: Path) -> None:
    file, out = file_of(tmp_path, TINY), tmp_path / "run"
    done("train", file, "--seed", 3, "--epochs", 1, "--out", out)
    (out / "mine.txt").write_text("keep me")
    done("train", file, "--out", out, "--force")
    assert without_clock(read_summary(out)) == without_clock(read_summary(trained))
    assert (out / "mine.txt").read_text() == "keep me"


def test_deploy_reports_resources_and_accuracy_and_writes_only_where_told(trained: Path, tmp_path: Path) -> None:
    before = content(trained.parent)
    result = done("deploy", trained, "--target", "emulator:3", "--preset", "bss2", "--runs", 2)
    assert "13 of 512 neurons, 80 synapses, 6-bit weights" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if "emulator:3" in line]
    assert [row[2] for row in rows] == ["emulator", "emulator"]
    assert content(trained.parent) == before
    done("deploy", trained, "--target", "emulator:3", "--runs", 2, "--out", tmp_path / "out")
    summary = read_summary(tmp_path / "out")
    assert summary["kind"] == "deploy"
    assert summary["program"]["digest"] == summary["results"][-1]["program_digest"]
    assert summary["results"][-1]["device_id"].startswith("emulator:3/bss2/")
    assert (tmp_path / "out" / "report.html").exists()


def test_options_of_the_target_reach_it(trained: Path) -> None:
    result = done(
        "deploy", trained, "-t", "emulator:3", "--preset", "worst", "--spread", 0.2, "--no-trial-noise", "--runs", 1
    )
    assert "4-bit weights" in result.stdout
    # without trial noise, and in one session, two runs are one
    once, twice = (done("deploy", trained, "-o", "session=5", "--no-trial-noise", "--runs", n).stdout for n in (1, 2))
    assert re.findall(r"[\d.]+ %", once) == re.findall(r"[\d.]+ %", twice)


def test_an_ideal_chip_spikes_as_the_simulator_does(trained: Path, tmp_path: Path) -> None:
    result = done(
        "compare", trained, "-t", "emulator:1", "--preset", "ideal", "--samples", 10, "--out", tmp_path / "out"
    )
    assert "All events of 10 samples are equal to the last digit" in result.stdout
    document = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert document["identical"] is True
    assert read_summary(tmp_path / "out")["kind"] == "compare"
    assert "Simulated against measured" in (tmp_path / "out" / "report.html").read_text()


def test_comparison_subtracts_the_constant_latency(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = Path(__file__).parents[1] / "backends/hwloop_emulator/presets/ideal.toml"
    file = tmp_path / "late.toml"
    file.write_text(preset.read_text() + '\n[effects.latency]\nscale = 1e-3\nsource = "assumed"\n')
    seen: list[Comparison] = []
    compare = work.compare

    def spy(*args: Any, **kwargs: Any) -> Comparison:
        seen.append(compare(*args, **kwargs))
        return seen[0]

    monkeypatch.setattr(work, "compare", spy)
    done("compare", trained, "--preset", file, "--samples", 10)
    # float32 times near .05 s: adding and subtracting 1 ms rounds twice
    assert max(float(np.abs(p.matching.errors).max()) for p in seen[0].populations) < 1e-8


def test_finetune_keeps_what_deploy_needs_to_repeat_it(trained: Path, tuned: Path) -> None:
    summary = read_summary(tuned)
    assert [r["network"] for r in summary["results"]] == ["software", "as is", "fine-tuned"]
    assert [r["ran_on"] for r in summary["results"]] == ["simulator", "emulator", "emulator"]
    assert len(summary["history"]) == 2
    assert {"below_floor", "missing", "extra"} <= set(summary["history"][0]["health"])
    assert "Ran on: emulator, emulator:7/bss2/" in (tuned / "report.html").read_text()
    result = done("deploy", tuned, "--runs", 1)
    assert f"program {summary['results'][-1]['program_digest'][:12]} for emulator/bss2" in result.stdout
    assert "fine-tuned on emulator:7" in done("deploy", tuned, "-t", "emulator:8", "--runs", 1).stdout


def test_finetune_goes_beside_its_run_where_no_folder_is_named(trained: Path, tmp_path: Path) -> None:
    copy = untrained(tmp_path / "run", TINY)
    done("finetune", copy, "-t", "emulator:2", "--epochs", 1, "--runs", 1)
    assert read_summary(tmp_path / "run-emulator-2")["status"] == "finished"


def test_a_run_remembers_data_and_preset_files_from_wherever_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    file = preset_file(tmp_path / "here", "scale = 0.10", "scale = 0.11")
    untrained(tmp_path / "run", TINY)
    monkeypatch.chdir(tmp_path / "here")
    done("finetune", tmp_path / "run", "--preset", file.name, "--epochs", 1, "--runs", 1, "--out", "../tuned")
    monkeypatch.chdir(tmp_path)
    assert "fine-tuned" in done("deploy", "tuned", "--runs", 1).stdout


def test_targets_lists_every_backend_and_its_presets() -> None:
    result = done("targets")
    assert re.search(r"emulator:0 +512 +256 +6 bit +1000 +bss2, dynapse, ideal, worst", result.stdout)


def test_targets_prints_what_differs_from_ideal() -> None:
    assert re.search(r"jitter +1e-07 device_s", done("targets", "--preset", "bss2").stdout)
    assert "what differs" not in done("targets", "emulator:4", "--preset", "ideal").stdout


def test_a_backend_that_does_not_import_is_listed_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "available", lambda: {"broken": "nowhere:Target", "emulator": "hwloop_emulator"})
    result = done("targets")
    assert "unknown target 'broken:0'" in result.stdout
    assert "emulator:0" in result.stdout


# -- interruption ---------------------------------------------------------------------------------


def interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` cut off by Ctrl-C after its first epoch."""

    def stop(epoch: object) -> None:
        raise KeyboardInterrupt

    return lambda *args, **options: function(*args, **options, on_epoch=stop)


def test_interrupted_training_says_how_to_go_on_and_does(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = file_of(tmp_path, TINY), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(work, "fit", interrupted(work.fit))
        refused(130, "go on with the same command and --resume", "train", file, "--out", out)
    assert read_summary(out)["status"] == "running"
    refused(1, "holds no trained network .was its run interrupted", "deploy", out)
    done("train", "--out", out, "--resume")
    assert without_clock(read_summary(out)) == without_clock(read_summary(trained))


def test_interrupted_fine_tuning_ends_where_an_uninterrupted_one_does(
    trained: Path, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the session is named: in one process, sessions of a chip count up
    command = ("finetune", trained, "-t", "emulator:7", "-o", "session=0", "--runs", 1, "--out")
    with monkeypatch.context() as patch:
        patch.setattr(work, "finetune", interrupted(work.finetune))
        refused(130, "--resume", *command, tmp_path / "run")
    done(*command, tmp_path / "run", "--resume")
    done(*command, tmp_path / "whole")
    assert without_clock(read_summary(tmp_path / "run")) == without_clock(read_summary(tmp_path / "whole"))


def test_ctrl_c_ends_a_real_process_with_130_and_keeps_its_state(tmp_path: Path) -> None:
    slow = TINY.changed(task={"train": 20_000}, training={"epochs": 500})
    out = tmp_path / "run"
    command = [sys.executable, "-m", "hwloop", "train", str(file_of(tmp_path, slow)), "--out", str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        deadline = time.monotonic() + 60
        while newest_manifest(out / "checkpoints") is None and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        printed, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert "interrupted" in complained
    assert "Traceback" not in complained
    assert load_trained(out / "checkpoints").net.n_out == 3


# -- refusals -------------------------------------------------------------------------------------


def idx(*shape: int, cut: int = 0) -> bytes:
    """An IDX file of unsigned bytes, all zero, its last ``cut`` bytes missing."""
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return header + bytes(int(np.prod(shape)) - cut)


def mnist_files(folder: Path, cut: int) -> Path:
    for part, n in (("train", 20), ("t10k", 10)):
        for kind, data in (("images-idx3", idx(n, 28, 28, cut=cut)), ("labels-idx1", idx(n))):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))
    return folder


def preset_file(folder: Path, old: str, new: str) -> Path:
    text = (Path(__file__).parents[1] / "backends/hwloop_emulator/presets/bss2.toml").read_text()
    assert old in text
    (folder / "mine.toml").write_text(text.replace(old, new, 1))
    return folder / "mine.toml"


def refused_and_nothing_written(folder: Path, status: int, message: str, *arguments: object) -> None:
    before = content(folder)
    refused(status, message, *arguments, "--out", folder / "out")
    assert content(folder) == before
    assert not (folder / "out").exists()


def test_a_network_of_too_many_neurons_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden": [200, 200, 200], "init_mean": 1.0, "init_std": 1.0}
    large = untrained(tmp_path / "run", TINY.changed(network=sizes))
    message = r"found 603 .*the target allows .*512.*Cheapest fix"
    for command in ("deploy", "compare", "finetune"):
        refused_and_nothing_written(tmp_path, 1, message, command, large, "-t", "emulator:1")


def test_a_fan_in_that_is_too_large_is_refused_before_data_are_read(tmp_path: Path) -> None:
    mnist = untrained(tmp_path / "run", Experiment.load("mnist-784-350-10"))
    message = r"layer 0 \(Dense\): found 784 inputs a neuron; the target allows a fan-in of 256"
    refused_and_nothing_written(tmp_path, 1, message, "deploy", mnist, "--preset", "bss2", "--data", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[effects.jitter]", "[effects.jiter]", "unknown key 'effects.jiter'; known here: tau_mem"),
        ("scale = 0.10", "scale = -0.10", "effects.tau_mem.scale = -0.1; .*greater than or equal to 0"),
        ("scale = 0.10", "scale = nan", "effects.tau_mem.scale = nan"),
    ],
)
def test_a_bad_preset_is_refused(trained: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    file = preset_file(tmp_path, old, new)
    refused_and_nothing_written(tmp_path, 2, message, "deploy", trained, "--preset", file)
    refused(2, message, "targets", "--preset", file)


def test_an_unknown_target_lists_those_available(trained: Path, tmp_path: Path) -> None:
    message = r"unknown target 'loihi9:1'; available: .*emulator"
    for command in ("deploy", "compare", "finetune"):
        refused_and_nothing_written(tmp_path, 2, message, command, trained, "--target", "loihi9:1")
    refused(2, message, "targets", "loihi9:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "bss3"), "unknown preset 'bss3'; shipped: bss2, dynapse, ideal, worst"),
        (("--target", "emulator:x"), "emulator:x is no chip; allowed: emulator:N"),
        (("--spread", "-0.1"), "spread"),
        (("--option", "sped=3"), "has no option 'sped'; it has: preset, spread"),
        (("--option", "session"), "allowed: KEY=VALUE"),
        (("--runs", "0"), "runs"),
        (("--experiment", "nope"), "unknown experiment 'nope'; built in"),
        (("--nonsense",), "nonsense"),
    ],
)
def test_wrong_use_is_status_2(trained: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    refused_and_nothing_written(tmp_path, 2, message, "deploy", trained, *arguments)


def test_a_command_that_does_not_exist_is_wrong_use() -> None:
    refused(2, "No such command 'tran'", "tran")


def test_a_checkpoint_of_another_network_is_refused(trained: Path, tmp_path: Path) -> None:
    other = file_of(tmp_path, TINY.changed(network={"hidden": [11]}))
    message = "is a checkpoint of another network. Saved: layers.0.weight 10x5"
    refused_and_nothing_written(tmp_path, 1, message, "deploy", trained, "--experiment", other)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    run_folder = untrained(tmp_path / "run", TINY)
    (data,) = (run_folder / "network").glob("*.safetensors")
    data.write_bytes(data.read_bytes()[:-1])
    refused_and_nothing_written(tmp_path, 1, "damaged checkpoint: .*sha256", "deploy", run_folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    refused(1, "does not exist; give the folder of a run", "deploy", tmp_path / "nowhere")
    refused(1, "holds no experiment.toml", "deploy", tmp_path)


def test_a_missing_data_folder_is_refused(tmp_path: Path) -> None:
    message = r"no mnist data: no file t10k-images-idx3-ubyte\* in .*nowhere.*--data DIR or the environment variable"
    refused_and_nothing_written(tmp_path, 1, message, "train", "mnist-256-128-10", "--data", tmp_path / "nowhere")


def test_a_truncated_mnist_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data = mnist_files(tmp_path / "data", cut=7)
    message = r"train-images-idx3-ubyte.gz.*(7833|15673)"
    refused_and_nothing_written(tmp_path, 1, message, "train", "mnist-256-128-10", "--data", data)


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for part in ("train", "validation", "test"):
        np.save(tmp_path / "data" / f"{part}_samples.npy", np.full((4, 4), 0.5))
        np.save(tmp_path / "data" / f"{part}_labels.npy", np.array([0, 1, 2, 3]))
    published = file_of(
        tmp_path, Experiment.from_dict({**TINY.to_dict(), "task": {"name": "yin-yang", "source": "published"}}, "")
    )
    message = r"train_labels.npy: labels 0..3; allowed: 0..2"
    refused_and_nothing_written(tmp_path, 1, message, "train", published, "--data", tmp_path / "data")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tau_mem = [0.01]", "tau_mem = [0.0]", "network.tau_mem.0 = 0.0; allowed: greater than 0"),
        ("v_reset = [0.0]", "v_reset = [1.0]", "v_th = 1, v_reset = 1; allowed: v_th > v_reset"),
        ("lr = 0.01", "lr = inf", "training.lr = inf"),
        ("hidden", "hiden", "unknown key 'network.hiden'|network.hidden is missing"),
    ],
)
def test_a_bad_experiment_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = TINY.to_toml()
    assert old in text
    (tmp_path / "bad.toml").write_text(text.replace(old, new, 1))
    refused_and_nothing_written(tmp_path, 2, rf"bad.toml: .*({message})", "train", tmp_path / "bad.toml")


def test_what_is_in_a_folder_is_never_written_over(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years")
    before = content(trained.parent)
    file = trained.parent / "tiny.toml"
    cases = [
        (("train", file, "--out", tmp_path), "holds thesis.txt and no run of hwloop"),
        (("train", file, "--out", tmp_path, "--force"), "holds thesis.txt and no run of hwloop"),
        (("train", file, "--out", trained), "holds a run already; go on with --resume, replace it with --force"),
        (("train", file, "--out", trained, "--resume", "--force"), "exclude each other"),
        (("train", file, "--out", trained, "--resume", "--seed", 9), "begun with seed = 0, this run has 9"),
        (("train", file, "--out", file), "allowed: a folder"),
        (("demo", "--out", trained, "--force"), "holds a run of `hwloop train`; name another folder"),
        (("deploy", trained, "--out", trained, "--force"), "holds a run of `hwloop train`; name another folder"),
    ]
    for arguments, message in cases:
        refused(2, message, *arguments)
    assert content(trained.parent) == before
    assert content(tmp_path) == {"thesis.txt": b"two years"}


def test_a_folder_that_cannot_be_made_fails_without_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(
        1, "cannot write into .*Not a directory", "train", file_of(tmp_path, TINY), "--out", tmp_path / "file" / "x"
    )
