from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hwloop.cli import app
from hwloop.command import demo_command
from hwloop.demo import DemoResult, run_demo
from hwloop.demo_report import demo_report
from hwloop.errors import OptionError, TargetError
from hwloop.experiment import Experiment
from hwloop.results import read_summary

from .browser.looking import browser, faults
from .cost.plain_counts import counted, ways_of_program

TINY = Experiment.load(Path(__file__).with_name("tiny.toml")).changed(
    task={"train": 200}, network={"hidden": [20]}, training={"epochs": 4}, finetune={"epochs": 1, "lr": 0.01}
)


@pytest.fixture(scope="module")
def demo() -> DemoResult:
    return run_demo(TINY, ("emulator:0", "emulator:1"), runs=2, jobs=1, progress=False)


def test_every_chip_is_measured_as_is_and_fine_tuned(demo: DemoResult) -> None:
    assert [(r.network, r.ran_on) for r in demo.results] == [
        ("software", "simulator"), ("as is, no mismatch", "emulator"),
        ("as is", "emulator"), ("calibrated", "emulator"), ("fine-tuned", "emulator"),
        ("as is", "emulator"), ("calibrated", "emulator"), ("fine-tuned", "emulator"),
    ]  # fmt: skip
    assert [chip.device_id.partition("/")[0] for chip in demo.chips] == ["emulator:0", "emulator:1"]
    # one base network: the same program on both chips, and each repaired on its own
    assert demo.chips[0].as_is.program_digest == demo.chips[0].program.digest
    assert demo.chips[0].tuned.program_digest != demo.chips[1].tuned.program_digest


def test_both_comparisons_are_with_the_software_network(demo: DemoResult) -> None:
    for chip in demo.chips:
        before, after = chip.before, chip.after
        assert before.simulated.output.times.equal(after.simulated.output.times)
        assert before.decisions.accuracy_simulated == pytest.approx(demo.software.accuracy)
        assert before.provenance["program_digest"] != after.provenance["program_digest"] or chip.loop.best_epoch == 0


def test_the_report_is_read_in_a_browser(demo: DemoResult, tmp_path: Path) -> None:
    demo_report(demo).write(tmp_path / "report.html")
    with browser() as opened:
        assert faults(opened, tmp_path / "report.html") == []


def test_the_report_stands_alone_and_says_where_everything_ran(demo: DemoResult) -> None:
    page = demo_report(demo).html()
    assert not re.search(r"(src|href)=.(https?:|//|file:)", page)
    assert page.count("<script") == 1
    for heading in (
        "In short", "Accuracy", "Calibrating", "Spike times before and after", "Fine-tuning in the loop", "What an answer costs",
        "Decisions",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in page
    assert page.count("Ran on: ") == page.count("<figcaption>")
    assert "All chips here are emulated; no hardware was used" in page
    assert re.search(r"First divergence of this sample, emulator:0 as is: (layer|none)", page)
    for result in demo.results:
        assert f"{100 * result.accuracy:.1f} %" in page


def test_digests_of_chips_and_programs_stand_under_provenance_alone(demo: DemoResult) -> None:
    before, _, provenance = demo_report(demo).html().partition("<h2>Provenance</h2>")
    for chip in demo.chips:
        for digest in (chip.device_id.rpartition("/")[2], chip.as_is.program_digest, chip.tuned.program_digest):
            assert digest[:8] not in before
            assert digest in provenance


def test_what_an_answer_costs_is_counted_on_the_spikes_of_every_state_of_every_chip(demo: DemoResult) -> None:
    page = demo_report(demo).html().partition("<h2>What an answer costs</h2>")[2].partition("<h2>")[0]
    rows = {row[0]: row for row in re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td class=\"n\">([\d.]+)</td>", page)}
    assert len(rows) == 1 + 3 * len(demo.chips)
    for chip in demo.chips:
        programs = {"as is": chip.program, "fine-tuned": chip.loop.program}
        for state, comparison in (("as is", chip.before), ("calibrated", chip.trimmed), ("fine-tuned", chip.after)):
            assert chip.costs[state].samples == len(demo.task.test)
            assert float(rows[f"{chip.name} {state}"][2]) == pytest.approx(
                chip.costs[state].operations.effective / len(demo.task.test), rel=1e-3
            )
            if state in programs:
                plain = counted(comparison.measured, ways_of_program(programs[state]))
                assert chip.costs[state].operations.effective == sum(part.effective for part in plain)
                assert chip.costs[state].operations.updates == sum(part.updates for part in plain)
    assert page.count("Counts only for emulator/bss2: no published energy") == 1
    assert "Energy (simulation): " in page
    assert "Horowitz" in page


def test_the_report_says_what_calibrating_did_and_why_where_it_lowers_an_accuracy(demo: DemoResult) -> None:
    for chip in demo.chips:
        assert (chip.effect.before, chip.effect.after) == (chip.as_is.accuracy, chip.calibrated.accuracy)
    better = [replace(chip, effect=replace(chip.effect, before=0.5, after=0.6, error=0.01)) for chip in demo.chips]
    page = demo_report(replace(demo, chips=tuple(better))).html()
    assert page.count("Calibrating lowered no chip&#39;s accuracy.") == 2  # in short, and in its section
    lower = replace(
        better[1], effect=replace(better[1].effect, before=0.6, after=0.5, error=0.2, worse=("gain spreads",))
    )
    page = demo_report(replace(demo, chips=(better[0], lower))).html()
    in_short = page.partition("<h2>In short</h2>")[2].partition("<h2>")[0]
    samples = lower.effect.samples
    assert f"on emulator:1/bss2 by 10.0 points, within the sampling error ({samples} test samples)" in in_short
    section = page.partition("<h2>Calibrating</h2>")[2].partition("<h2>")[0]
    assert "Calibrating emulator:1/bss2 lowered its accuracy by 10.0 points" in section
    assert "What got worse: gain spreads." in section
    assert "Calibrating emulator:0/bss2 raised its accuracy by 10.0 points" in section.partition("<details>")[2]


def test_spikes_of_hardware_are_not_called_emulated(demo: DemoResult, capsys: pytest.CaptureFixture[str]) -> None:
    demo_command._demo_table(demo)
    assert "all chips are emulated" in capsys.readouterr().out
    chips = tuple(
        replace(
            chip, **{name: replace(getattr(chip, name), ran_on="hardware") for name in ("as_is", "calibrated", "tuned")}
        )
        for chip in demo.chips
    )
    board = replace(demo, chips=chips, noise_only=None)
    demo_command._demo_table(board)
    assert "emulat" not in re.sub(r"emulator:\d\S*", "", capsys.readouterr().out)
    page = demo_report(board).html()
    assert f"on {len(chips)} analog chips" in page
    assert "emulated; no hardware" not in page
    assert "right (hardware)" in page
    assert "right (emulator)" not in page
    assert "The chips ran on hardware, as they say" in page


def test_the_command_writes_report_and_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Experiment:
        assert name == "demo-quick"
        return TINY

    monkeypatch.setattr(Experiment, "load", load)
    result = CliRunner().invoke(app, ["demo", "--quick", "--seed", "5", "--jobs", "1", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    for said in ("training tiny", "calibrating 25 neurons", "epoch 4 of 4", "emulator:2"):
        assert said in result.stderr
    summary: dict[str, Any] = read_summary(tmp_path / "out")
    assert (summary["kind"], summary["status"], summary["seed"]) == ("demo", "finished", 5)
    assert len(summary["chips"]) == 3
    assert all(row["ran_on"] in ("simulator", "emulator") for row in summary["results"])
    assert {row["program_digest"] != "" for row in summary["results"] if row["ran_on"] == "emulator"} == {True}
    printed = result.stdout
    assert len(re.findall(r"emulator:\d/bss2/[0-9a-f]{8} +emulator +[\d.]+ % +[\d.]+ % +[\d.]+ %", printed)) == 3
    assert f"report: {tmp_path / 'out' / 'report.html'}" in printed.replace("\n", "")


#: What the table of effects calls a thing, and what the sentences do.
SAID = {
    "drift_ou": "drift that fluctuates", "temperature": "temperature coefficients", "trim_crosstalk": "crosstalk",
    "link_rate": "bandwidth of the event link", "settling": "time for trim cells to settle",
}  # fmt: skip


def test_the_report_calls_nothing_not_emulated_that_its_table_lists(demo: DemoResult) -> None:
    page = demo_report(demo).html()
    emulated, not_emulated = (re.search(rf"<p>{name}: (.*?)</p>", page, re.S) for name in ("Emulated", "Not emulated"))
    assert emulated is not None
    assert not_emulated is not None
    listed = {name for name, _, _ in demo.chips[0].effects}
    for name, words in SAID.items():
        assert name in listed  # bss2 has them all
        assert words in emulated[1]
        assert words not in not_emulated[1]
    assert "stuck neurons" in not_emulated[1]
    assert "stuck" not in listed


def test_what_is_emulated_follows_the_preset(demo: DemoResult) -> None:
    ideal = replace(demo.chips[0], emulated=[], not_emulated=["jitter of spikes"], effects=[])
    page = demo_report(replace(demo, chips=(ideal, *demo.chips[1:]))).html()
    assert "Emulated: nothing." in page
    assert "Not emulated: jitter of spikes." in page


def test_chips_side_by_side_come_out_as_one_by_one(demo: DemoResult) -> None:
    said: list[str] = []
    side = run_demo(TINY, ("emulator:0", "emulator:1"), runs=2, jobs=2, on_stage=said.append)
    assert side.results == demo.results
    assert [without_clock(chip.loop.history) for chip in side.chips] == [
        without_clock(chip.loop.history) for chip in demo.chips
    ]
    assert without_clock(side.training.history) == without_clock(demo.training.history)
    assert any("epoch 4 of 4" in line for line in said)  # of a process that is not this one


def without_clock(history: Sequence[Any]) -> list[Any]:
    return [replace(epoch, seconds=0.0) for epoch in history]


def test_an_unknown_chip_or_preset_is_refused() -> None:
    with pytest.raises(TargetError, match="unknown target 'nochip:0'; available"):
        run_demo(TINY, ("nochip:0",), progress=False)
    with pytest.raises(OptionError, match="unknown preset 'bss9'"):
        run_demo(TINY.changed(target={"preset": "bss9"}), progress=False)
