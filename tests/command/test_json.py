"""``--json`` on every command: one strict document on standard output, which says what the words say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hwloop.command import answer, exit_status, serve_command
from hwloop.command.folder import opened
from hwloop.experiment import Experiment
from hwloop_lava import LavaTarget

from ..cli_runs import file_of, run
from .json_answers import CHIP, SMALL, Shown, commands, documented, strict


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, an experiment, and what later commands leave there."""
    folder = tmp_path_factory.mktemp("json")
    with opened(folder / "run", "train") as out:
        out.begin(SMALL)
        out.save_network(SMALL.build_network(), 0)
        out.finish(SMALL)
    file_of(folder, SMALL.changed(name="small", steps=["train", "deploy"], training={"epochs": 1}))
    return folder


@pytest.fixture(scope="module", autouse=True)
def cheap(place: Path) -> Iterator[None]:
    """Less work: a small demonstration and short measurements of speed; no environment of Lava is built."""
    load = Experiment.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWLOOP_LAVA_ROOT", str(place / "lava"))
        patch.setattr("hwloop.bench.timing.SLICE", 0.002)
        patch.setattr(Experiment, "load", lambda name, *rest: SMALL if name == "demo-quick" else load(name, *rest))
        patch.setattr(LavaTarget, "setup", staticmethod(lambda *_, **__: ["lava-nc 0: ready in a folder"]))
        yield


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shown]:
    """Calls a command with ``--json``; its words are said besides, on standard error, by the very answer."""

    def give(found: answer.Answer) -> None:
        answer.give(found)
        found.words()

    def call(command: str, *arguments: object, status: int = 0) -> Shown:
        monkeypatch.setattr(exit_status, "give", give)
        result = run(*command.split(), *arguments, "--json")
        assert result.exit_code == status, result.output
        document = strict(result.stdout)
        assert list(document) == ["format", "version", "command", "result"]
        assert document["format"] == "hwloop-answer"
        assert document["version"] == answer.VERSION
        assert document["command"] == command
        undocumented = set(document["result"]) - DOCUMENTED[command]
        assert not undocumented, f"docs/json.md says nothing of them for {command}"
        COVERED.add(command)
        return Shown(document["result"], result.stderr)

    return call


DOCUMENTED = documented()
#: Commands that a test below has called.
COVERED: set[str] = set()


def said(shown: Shown, *texts: object) -> None:
    """The words hold each of ``texts``, which come from the document."""
    assert texts
    for text in texts:
        assert str(text) in shown.words, f"{text!r} is not in:\n{shown.words}"


def percent(results: list[dict[str, Any]]) -> list[str]:
    assert results
    return [f"{100 * entry['accuracy']:.1f} %" for entry in results]


# -- runs -----------------------------------------------------------------------------------------


def test_train(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown("train", place / "small.toml", "--epochs", 1, "--out", place / "trained")
    said(found, *percent(found.result["results"]), f"of {len(found.result['history'])}", found.result["folder"])
    stored = strict((place / "trained/summary.json").read_text())
    assert {key: found.result[key] for key in stored if key not in ("format", "version")} == {
        key: value for key, value in stored.items() if key not in ("format", "version")
    }
    assert sum(found.result["samples"]["train"]) == 20


def test_deploy_without_a_folder(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown("deploy", place / "run", *CHIP, "--runs", 1)
    assert found.result["folder"] is None
    assert found.result["kind"] == "deploy"
    program = found.result["program"]
    said(found, *percent(found.result["results"]), program["digest"][:12], program["neurons"])
    assert {entry["ran_on"] for entry in found.result["results"]} == {"simulator", "emulator"}


def test_compare(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown("compare", place / "run", *CHIP, "--samples", 5, "--out", place / "compared")
    said(found, found.result["first_divergence"], place / "compared" / "report.html")
    stored = strict((place / "compared/comparison.json").read_text())
    assert found.result["comparison"]["populations"] == stored["populations"]
    assert found.result["comparison"]["n_samples"] == 5


def test_finetune_and_replay_of_its_log(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown(
        "finetune", place / "run", *CHIP, "--epochs", 1, "--runs", 1, "--out", place / "tuned", "--log", place / "a.log"
    )
    said(found, *percent(found.result["results"]), f"kept epoch {found.result['best_epoch']} of 1")
    log = shown("replay", place / "a.log")
    (program, *_) = log.result["programs"]
    said(
        log, f"{log.result['bytes']} bytes", f"{log.result['runs']} runs", program["program"][:12], "all of it is whole"
    )
    assert sum(use["runs"] for use in log.result["programs"]) == log.result["runs"]
    assert log.result["damage"] is None


def test_calibrate_and_what_is_stored(place: Path, shown: Callable[..., Shown]) -> None:
    store = ("--store", place / "store")
    found = shown("calibrate", place / "run", *CHIP, "--repeats", 4, "--runs", 1, *store)
    made = found.result["calibration"]
    said(found, *percent(found.result["results"]), f"calibration {made['id']}: {found.result['calibration_file']}")

    listed = shown("calibrations list", *store)
    (entry,) = listed.result["calibrations"]
    assert entry["id"] == made["id"]
    assert entry["file"] == found.result["calibration_file"]
    said(listed, entry["id"], entry["date"], f"{entry['usable']}/{entry['neurons']}")

    one = shown("calibrations show", made["id"], *store)
    assert one.result["calibration"] == strict(Path(entry["file"]).read_text())
    said(one, entry["device_id"])

    same = shown("calibrations diff", made["id"], made["id"], *store)
    assert all(row["rms_change"] == 0 and row["changed"] == 0 for row in same.result["parameters"])
    said(same, *(f"{row['median_before']:.6g}" for row in same.result["parameters"]))

    out = shown("calibrations export", made["id"], place / "chip.txt", *store)
    assert Path(out.result["file"]).stat().st_size > 100
    said(out, out.result["file"])


def test_yield(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown("yield", place / "run", "--chips", 1, "--strategy", "as-is", "--runs", 1, "--jobs", 1)
    groups = found.result["study"]["groups"]
    assert groups
    said(found, *(group["label"] for group in groups), *(f"{100 * group['mean']:.2f} %" for group in groups))


def test_demo(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown("demo", "--quick", "--target", "emulator:0", "--jobs", 1, "--out", place / "demo")
    assert [chip["device_id"].split("/")[0] for chip in found.result["chips"]] == ["emulator:0"]
    tested = [entry for entry in found.result["results"] if "without" not in entry["network"]]
    said(found, *percent(tested)[-1:], found.result["chips"][0]["device_id"])


def test_run_of_an_experiment_and_diff(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown("run", place / "small.toml", "--out", place / "whole")
    assert list(found.result["summaries"]) == found.result["steps"] == ["train", "deploy"]
    said(found, *percent(found.result["results"]))
    difference = shown("diff", place / "run", place / "whole")
    rows = difference.result["experiment"]["differing"]
    assert {"name": "training.epochs", "first": 2, "second": 1} in rows
    said(
        difference,
        f"experiment: {len(rows)} of {difference.result['experiment']['compared']} differ",
        "training.epochs",
    )
    again = shown("diff", place / "whole" / "train", place / "trained")
    said(again, "weights: no difference")
    assert again.result["weights"] == []


def test_cost(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown("cost", place / "run", "--samples", 3)
    counted = found.result["cost"]
    assert counted["samples"] == 3
    said(found, f"{counted['operations']['effective'] / 3:.6g}", f"{counted['memory']['weights']} bytes")


# -- files ----------------------------------------------------------------------------------------


def test_bundle_run_and_verify(place: Path, shown: Callable[..., Shown]) -> None:
    path = place / "run.hwb"
    made = shown("bundle", place / "run", *CHIP, "--samples", 3, "--out", path)
    said(
        made,
        f"{path.stat().st_size} bytes",
        made.result["run_id"],
        f"3 golden samples, {made.result['golden_spikes']} spikes",
    )
    assert made.result["bytes"] == path.stat().st_size
    ran = shown("run", path)
    said(ran, ran.result["program_digest"][:12], *(layer["spikes"] for layer in ran.result["populations"]))
    kept = shown("run", path, "--out", place / "out.npz")
    said(kept, f"spikes: {kept.result['spikes_file']}")
    verified = shown("verify", path)
    assert verified.result["passed"] is True
    said(verified, f"{verified.result['spikes']} golden spikes: equal bit for bit")
    other = shown("verify", path, "--target", "emulator:3", "--option", "preset=bss2", status=1)
    first = other.result["first"]
    assert other.result["passed"] is False
    said(other, f"sample {first['sample']}, neuron {first['neuron']}")


def test_init(place: Path, shown: Callable[..., Shown]) -> None:
    made = shown("init", place / "new.toml")
    said(made, made.result["file"], f"like {made.result['like']}")
    assert Experiment.load(made.result["file"]).name == "new"


def test_nir_export_and_check(place: Path, shown: Callable[..., Shown]) -> None:
    made = shown("nir export", place / "run", "--out", place / "net.nir")
    said(made, f"{made.result['nodes']} nodes, {made.result['edges']} edges")
    found = shown("nir check", place / "net.nir")
    said(found, *found.result["meaning"], *(node["node"] for node in found.result["nodes"]))
    carried = {entry["target"].split(":")[0]: entry for entry in found.result["targets"]}
    assert carried["emulator"] == {"target": "emulator:0", "carries_it": True, "why_not": None}
    assert all(entry["why_not"] in found.words for entry in carried.values() if not entry["carries_it"])
    said(found, f"{found.result['round_trips'][0]['spikes']} spikes")


# -- this computer and its targets ----------------------------------------------------------------


def test_targets(shown: Callable[..., Shown]) -> None:
    found = shown("targets")
    with_limits = {entry["target"]: entry for entry in found.result["targets"] if "limits" in entry}
    said(found, *with_limits, *(entry["limits"]["n_neurons"] for entry in with_limits.values()))
    one = shown("targets", "emulator:7", "--preset", "bss2")
    assert one.result["limits"] == with_limits["emulator:0"]["limits"]
    said(one, *(effect["value"] for effect in one.result["effects"]))


def test_doctor(shown: Callable[..., Shown]) -> None:
    found = shown("doctor")
    assert found.result["broken"] == []
    said(found, "nothing is broken", *(row["found"] for row in found.result["findings"]))


def test_lava(shown: Callable[..., Shown]) -> None:
    assert shown("lava setup").result == {"environment": ["lava-nc 0: ready in a folder"]}
    found = shown("lava status")
    said(found, *(row["found"] for row in found.result["findings"]))


def test_completion(shown: Callable[..., Shown]) -> None:
    found = shown("completion", "zsh")
    assert found.result["shell"] == "zsh"
    said(found, found.result["script"])


def test_bench(place: Path, shown: Callable[..., Shown]) -> None:
    found = shown("bench", "--part", "speed", "--workload", "YY", "--peer", "cumsum", "--rounds", 1)
    assert [row["peer"] for row in found.result["rows"]] == ["hwloop", "cumsum"]
    said(found, f"{found.result['rows'][0]['samples_per_second']:,.0f}", found.result["machine"]["clock"])


def test_conform(place: Path, shown: Callable[..., Shown]) -> None:
    claims = shown("conform", "--list")
    said(claims, *(claim["demands"] for claim in claims.result["claims"]))
    name = claims.result["claims"][0]["claim"]
    found = shown("conform", "emulator:0", "--claim", name, "--json-file", place / "claims.json")
    assert found.result["conforms"] is True
    assert [claim["status"] for claim in found.result["claims"]] == ["passed"]
    said(found, name, found.result["device_id"])
    assert strict((place / "claims.json").read_text())["claims"] == found.result["claims"]


def test_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    def give(found: answer.Answer) -> None:
        answer.give(found)
        os.kill(os.getpid(), signal.SIGTERM)  # what ends it

    monkeypatch.setattr(serve_command, "give", give)
    result = run("serve", "--target", "emulator:0", "--port", "tcp://127.0.0.1:0", "--json")
    assert result.exit_code == 0, result.output
    found = strict(result.stdout)["result"]
    assert found["target"] == "emulator:0"
    assert found["open"].startswith("serial:tcp://127.0.0.1:") or found["open"].startswith("serial:socket://127.0.0.1:")
    COVERED.add("serve")


def test_every_command_has_been_called_with_json() -> None:
    """A new command without ``--json``, or without a test of what it says, is noticed here."""
    without = [name for name, command in commands().items() if not isinstance(command, exit_status.Answering)]
    assert without == []
    assert set(DOCUMENTED) == set(commands())
    assert all(any("--json" in parameter.opts for parameter in command.params) for command in commands().values())
    if len(COVERED) > 1:  # not where this test is run alone
        assert set(commands()) - COVERED == set()


def test_what_others_print_is_not_on_standard_output(place: Path) -> None:
    """In a process of its own: what C and worker processes print included is what a pipe gets."""
    command = [sys.executable, "-m", "hwloop", "deploy", str(place / "run"), *CHIP, "--runs", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert strict(done.stdout)["result"]["kind"] == "deploy"
    assert "opening emulator:0" in done.stderr


def test_a_name_of_a_file_after_json_is_the_option_of_before(place: Path) -> None:
    """``hwloop cost RUN --json cost.json`` was the way to write the figures into a file."""
    result = run("cost", place / "run", "--samples", 2, "--json", place / "cost.json")
    assert result.exit_code == 0, result.output
    assert "Operations by sample" in result.stdout
    assert strict((place / "cost.json").read_text())["samples"] == 2
    assert run("cost", place / "run", "--samples", 2, "--json").stdout.startswith("{")
