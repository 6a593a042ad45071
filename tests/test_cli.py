from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.checkpoint import newest_manifest
from hwloop.command import listing, work
from hwloop.command.folder import load_trained
from hwloop.compare.comparison import Comparison
from hwloop.experiment import Experiment
from hwloop.results import read_summary

from .cli_runs import TINY, content, done, file_of, preset_file, refused, run, untrained, without_clock

COMMANDS = (
    "demo", "train", "deploy", "compare", "finetune", "targets", "doctor", "lava", "bundle", "run", "verify", "replay",
)  # fmt: skip


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
    assert "Ran on: emulator, emulator:7/bss2<" in (tuned / "report.html").read_text()
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


def test_targets_says_what_a_backend_without_a_default_wants() -> None:
    assert "replay: names no log" in done("targets").stdout


def test_targets_prints_what_differs_from_ideal() -> None:
    assert re.search(r"jitter +1e-07 device_s", done("targets", "--preset", "bss2").stdout)
    assert "what differs" not in done("targets", "emulator:4", "--preset", "ideal").stdout


def test_a_backend_that_does_not_import_is_listed_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "available", lambda: {"broken": "nowhere:Target", "emulator": "hwloop_emulator"})
    result = done("targets")
    assert "unknown target 'broken'" in result.stdout
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
