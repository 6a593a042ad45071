"""A yield study: rows are functions of plain data, run anywhere, once, and add up to a report."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hwloop as hl
from hwloop.errors import DataError, InputError, OptionError, TargetError
from hwloop.experiment import Experiment
from hwloop_calibration.yield_ import study as yield_study
from hwloop_calibration.yield_.plan import Row, RowResult, YieldPlan
from hwloop_calibration.yield_.report import Group, YieldReport
from hwloop_calibration.yield_.strategies import STRATEGIES, Setting, apply_strategy, averaged_accuracy
from hwloop_calibration.yield_.study import prepare, run_study
from hwloop_emulator import Preset

from ..browser.looking import browser, faults

SMALL: dict[str, Any] = {
    "network": {"hidden": [20]},
    "training": {"epochs": 10, "lr_decay": 0.8, "averaging": 0.0},
    "finetune": {"epochs": 2, "averaging": 0.0},
}


@pytest.fixture(scope="module")
def small() -> tuple[Experiment, hl.Network]:
    experiment = Experiment.load("yin-yang").changed(**SMALL)
    experiment = experiment.changed(task={"train": 800, "test": 200})
    net = experiment.build_network()
    task = experiment.build_task()
    hl.fit(net, task, experiment.build_loss(), **experiment.fit_options(), progress=False)
    return experiment, net


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yield_study, "HARDEN_EPOCHS", 2)
        patch.setattr(yield_study, "RANDOM_EPOCHS", 2)
        yield


def plan(**changes: Any) -> YieldPlan:
    return YieldPlan.of(
        **{"chips": [0, 3], "strategies": ["as-is", "hardened", "loop"], "ceilings": 1, "runs": 2, **changes}
    )


@pytest.fixture(scope="module")
def made(
    small: tuple[Experiment, hl.Network], tmp_path_factory: pytest.TempPathFactory, quick: None
) -> tuple[YieldPlan, list[RowResult], Path]:
    """A finished study and its folder; tests work on copies of the folder."""
    experiment, net = small
    chosen, folder = plan(), tmp_path_factory.mktemp("study")
    nets = prepare(experiment, net, chosen, folder)
    return chosen, run_study(chosen, experiment, nets, folder, jobs=1), folder


@pytest.fixture
def finished(made: tuple[YieldPlan, list[RowResult], Path], tmp_path: Path) -> tuple[YieldPlan, list[RowResult]]:
    chosen, results, folder = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return chosen, results


def test_rows_are_each_chip_with_each_strategy_and_the_ceilings() -> None:
    rows = plan().rows()
    assert [row.name for row in rows[:4]] == [
        "ceiling-as-is-effort-1-chip-0",
        "ceiling-loop-effort-1-chip-0",
        "ceiling-hardened-effort-1-chip-0",
        "ceiling-hardened-loop-effort-1-chip-0",
    ]
    assert len(rows) == 4 + 2 * 3
    assert len({row.name for row in rows}) == len(rows)


def test_what_spends_nothing_is_not_repeated_for_smaller_efforts() -> None:
    rows = [row for row in plan(efforts=[0.5, 1.0]).rows() if row.mismatch]
    assert [row.effort for row in rows if row.strategy == "as-is"] == [1.0, 1.0]
    assert sorted(row.effort for row in rows if row.strategy == "loop") == [0.5, 0.5, 1.0, 1.0]


def test_a_study_adds_up_to_its_report(finished: tuple[YieldPlan, list[RowResult]], tmp_path: Path) -> None:
    chosen, results = finished
    report = YieldReport(chosen, tuple(results))
    groups = {group.label: group for group in report.groups()}
    assert list(groups)[:2] == ["no mismatch, as-is", "no mismatch, loop"]
    loop = [r for r in results if r.row == Row(0, "loop", 1.0, True) or r.row == Row(3, "loop", 1.0, True)]
    assert groups["loop"].mean == pytest.approx(sum(r.accuracy for r in loop) / 2)
    assert groups["loop"].worst == min(r.accuracy for r in loop)
    assert groups["loop"].samples > groups["as-is"].samples > 0
    assert groups["loop"].cells > groups["as-is"].cells > 0
    assert {r.ran_on for r in results} == {"emulator"}
    report.to_html(tmp_path / "report.html")
    report.to_json(tmp_path / "yield.json")
    with browser() as opened:
        assert faults(opened, tmp_path / "report.html") == []
    check_data(report, groups)
    page = (tmp_path / "report.html").read_text()
    assert "no mismatch, hardened" in page
    assert "<svg" in page
    assert "mathdefault" not in page  # labels of a logarithmic axis are plain numbers
    assert len(json.loads((tmp_path / "yield.json").read_text())["rows"]) == len(results)
    text = report.to_text()
    assert "2 chips of bss2, test accuracy (emulator)" in text
    assert len({len(line) for line in text.splitlines()[1 : 2 + len(groups)]}) == 1


def check_data(report: YieldReport, groups: dict[str, Group]) -> None:
    """What is saved of accuracy against samples is what is drawn: a dot for the mean, a bar for the worst chip."""
    (figure,) = (figure for stem, figure in report.page().plots() if stem == "02-accuracy-against-samples")
    rows = list(csv.DictReader(io.StringIO(figure.data.csv())))
    assert [row["strategy"] for row in rows] == [label for label, group in groups.items() if group.mismatch]
    assert figure.drawing is not None
    lines = figure.drawing.figure.axes[0].get_lines()
    for column, marker in (("mean test accuracy (%)", "o"), ("worst test accuracy (%)", "_")):
        drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines if line.get_marker() == marker]
        assert [(float(row["samples run on a chip"]), float(row[column])) for row in rows] == drawn
        assert drawn


def test_a_finished_study_is_read_and_not_run_again(
    small: tuple[Experiment, hl.Network],
    finished: tuple[YieldPlan, list[RowResult]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen, results = finished
    experiment, net = small

    def never(*given: Any) -> None:
        raise RuntimeError("a row or a hardening ran again")

    monkeypatch.setattr(yield_study, "run_row", never)
    monkeypatch.setattr(yield_study, "harden", never)
    nets = prepare(experiment, net, chosen, tmp_path)
    assert run_study(chosen, experiment, nets, tmp_path, jobs=1) == results


def test_a_row_does_not_depend_on_the_others(
    small: tuple[Experiment, hl.Network], finished: tuple[YieldPlan, list[RowResult]], tmp_path: Path
) -> None:
    chosen, results = finished
    experiment, net = small
    alone = plan(chips=[3], strategies=["loop"], ceilings=0)
    nets = prepare(experiment, net, chosen, tmp_path)
    (again,) = run_study(alone, experiment, nets, tmp_path / "alone", jobs=1)
    before = next(r for r in results if r.row == again.row)
    assert (again.accuracy, again.averaged, again.program_digest) == (
        before.accuracy,
        before.averaged,
        before.program_digest,
    )


def test_a_chip_that_fails_is_a_row_with_its_reason(
    small: tuple[Experiment, hl.Network], tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, net = small

    def broken(setting: Setting) -> None:
        raise TargetError("the chip answers with noise")

    monkeypatch.setitem(STRATEGIES, "loop", broken)  # type: ignore[misc]
    chosen = plan(strategies=["loop"], ceilings=0)
    results = run_study(chosen, experiment, prepare(experiment, net, chosen, tmp_path), tmp_path, jobs=1)
    assert [r.accuracy for r in results] == [0.0, 0.0]
    assert "loop-effort-1-chip-0: the chip answers with noise" in YieldReport(chosen, tuple(results)).to_text()


def test_averaging_over_runs_helps_against_trial_noise(small: tuple[Experiment, hl.Network]) -> None:
    experiment, net = small
    task = experiment.build_task()
    noisy = Preset.load("bss2").without_mismatch().with_effect("threshold_sample", 0.06)
    with hl.open("emulator:0", preset=noisy) as chip:
        hl.deploy(net, chip, validation=task.validation)
        single, averaged = averaged_accuracy(chip, task.validation, 9, "first")
    # nine runs leave a third of the noise; on 1,000 samples the difference is known to about 1.5 points
    assert averaged > single + 0.03


@pytest.mark.slow
def test_rows_run_on_processes_and_on_a_dask_cluster_alike(
    small: tuple[Experiment, hl.Network], finished: tuple[YieldPlan, list[RowResult]], tmp_path: Path
) -> None:
    from distributed import LocalCluster

    chosen, results = finished
    experiment, net = small
    nets = prepare(experiment, net, chosen, tmp_path)
    processes = run_study(chosen, experiment, nets, tmp_path / "processes", jobs=2)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        spread = run_study(chosen, experiment, nets, tmp_path / "dask", dask=cluster.scheduler_address)
    for other in (processes, spread):
        assert [(r.row, r.accuracy, r.program_digest) for r in other] == [
            (r.row, r.accuracy, r.program_digest) for r in results
        ]


@pytest.mark.slow
def test_every_strategy_leaves_a_chip_better_than_as_it_was(small: tuple[Experiment, hl.Network]) -> None:
    experiment, net = small
    task = experiment.build_task()
    found = {}
    chosen = plan()
    for name in STRATEGIES:
        with hl.open("emulator:1", preset="bss2", session=1) as chip:
            noise = chosen.noise(chip.capabilities.time_step * chip.capabilities.speedup)
            nets = {"software": net, "hardened": net, "random": net}
            outcome = apply_strategy(name, Setting(experiment, task, nets, chip, noise))
            assert outcome.program.digest == chip.program.digest  # type: ignore[attr-defined]
            found[name] = hl.measure(chip, task.validation, repeats=2).accuracy
    assert min(found[name] for name in ("trimmed", "twin", "loop", "twin-loop", "gradient-free")) > found["as-is"]


@pytest.mark.parametrize(
    "changes, kind, message",
    [
        ({"chips": []}, InputError, "chips = "),
        ({"chips": [1, 1]}, OptionError, "chips names one of them twice"),
        ({"strategies": ["luck"]}, OptionError, "strategy 'luck'; known: as-is, hardened"),
        ({"efforts": [0.0]}, InputError, r"efforts\.0 = 0\.0"),
        ({"runz": 3}, OptionError, "runz"),
    ],
)
def test_plans_that_make_no_sense_are_refused(changes: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        plan(**changes)


def test_rows_of_another_study_and_damaged_rows_are_refused(
    small: tuple[Experiment, hl.Network], finished: tuple[YieldPlan, list[RowResult]], tmp_path: Path
) -> None:
    chosen, _ = finished
    experiment, net = small
    nets = prepare(experiment, net, chosen, tmp_path)
    with pytest.raises(DataError, match="is of another study"):
        run_study(plan(runs=3), experiment, nets, tmp_path, jobs=1)
    path = tmp_path / f"{chosen.rows()[0].name}.json"
    document = json.loads(path.read_text())
    del document["result"]["accuracy"]
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match="holds no row of a yield study"):
        run_study(chosen, experiment, nets, tmp_path, jobs=1)
    with pytest.raises(InputError, match="jobs = 0"):
        run_study(chosen, experiment, nets, tmp_path, jobs=0)


def test_a_cluster_that_is_not_there_is_refused(
    small: tuple[Experiment, hl.Network], tmp_path: Path, quick: None
) -> None:
    experiment, net = small
    with pytest.raises(TargetError, match="no Dask scheduler answers at nowhere"):
        run_study(plan(), experiment, {"software": net}, tmp_path, dask="nowhere")


def test_an_unknown_strategy_and_effort_are_refused(small: tuple[Experiment, hl.Network]) -> None:
    experiment, net = small
    task = experiment.build_task()
    with hl.open("emulator:0", preset="bss2") as chip:
        setting = Setting(experiment, task, {"software": net}, chip, plan().noise(0.0))
        with pytest.raises(OptionError, match="strategy 'luck'; known"):
            apply_strategy("luck", setting)
        with pytest.raises(InputError, match="no network called 'hardened'"):
            apply_strategy("hardened", setting)
