"""Killed at any step, a command leaves the results that were there or its own, whole; the same command can be given again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import hwloop as hl
from hwloop import storage
from hwloop.command import calibrate_command, demo_command, work, yield_command
from hwloop.command.calibrate_command import HowMuch
from hwloop.command.folder import RunFolder, Trained, opened
from hwloop.command.replaced import KEPT
from hwloop.command.target_choice import TargetChoice
from hwloop.compare import html as compare_html
from hwloop.compare.report import Figure, Report, Source
from hwloop.drawing.plot_data import PlotData
from hwloop.experiment import Experiment
from hwloop.network import Network
from hwloop.results import Result, read_summary
from hwloop_calibration import Store
from hwloop_calibration.yield_ import study as yield_study
from hwloop_calibration.yield_.plan import RowResult, YieldPlan
from hwloop_calibration.yield_.report import YieldReport

from .killed import fresh_copies, kills

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml").changed(task={"train": 10, "validation": 5, "test": 5})
CHOICE = TargetChoice(None, None)

Folder = Mapping[str, bytes]


class Runs:
    """Two runs of a command, ``old`` and ``new``: each heavy step is taken once for each, and remembered from then on."""

    def __init__(self) -> None:
        self.current = "old"
        self._known: dict[Any, Any] = {}

    @property
    def trained(self) -> Trained:
        experiment = TINY.changed(seed=int(self.current == "new"))
        return Trained(Path(self.current), experiment, experiment.build_network())

    def remembered(self, heavy: Callable[..., Any]) -> Callable[..., Any]:
        def light(*args: Any, **kwargs: Any) -> Any:
            key = (self.current, heavy.__name__, *(value for value in args if isinstance(value, str)))
            if key not in self._known:
                self._known[key] = heavy(*args, **kwargs)
            return self._known[key]

        return light

    def page(self, *_: Any) -> Report:
        data = PlotData((self.current,))
        return Report(self.current).add_section(
            "s", figures=[Figure(self.current, "", Source("simulator"), "plot", data)]
        )


def opened_chip(trained: Trained, *_: Any) -> tuple[Experiment, Any, dict[str, Any]]:
    device = hl.open("emulator:0", session=0)
    for check in ("close", "_check_open"):  # it is used again, and in forked processes, where all its answers are known
        setattr(device, check, lambda: None)
    return trained.experiment, device, {}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    for module, name, heavy in [
        (work, "load_on", work.load_on), (work, "simulated", work.simulated),
        (work, "measured", work.measured), (work, "run_on", work.run_on), (work, "compare", work.compare),
        (work, "cost_of", work.cost_of),
        (calibrate_command, "simulated", calibrate_command.simulated), (calibrate_command, "_measured", calibrate_command._measured),
        (calibrate_command, "_calibrated", few_calibrated),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, made.remembered(heavy))
    # a forked process has one thread once it simulates, and summaries name their number
    monkeypatch.setattr("hwloop.results.torch.get_num_threads", lambda: 1)
    monkeypatch.setattr(work, "open_chosen", made.remembered(opened_chip))
    monkeypatch.setattr(
        work, "state_on", lambda *_: "as is"
    )  # the chip that is remembered is calibrated from its first run on
    monkeypatch.setattr(Report, "html", lambda report: f"page of the {report.title} run")
    for module, name in [
        (work.pages, "deploy_page"), (compare_html, "comparison_report"), (work.pages, "calibrate_page"),
        (YieldReport, "page"), (demo_command, "demo_report"),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, made.page)
    monkeypatch.setattr(Network, "with_twin", lambda net, *_: net)
    monkeypatch.setattr(demo_command, "_demo_table", lambda done: None)
    monkeypatch.setattr(demo_command, "run_demo", lambda experiment, targets, **_: demonstrated(made.current))
    monkeypatch.setattr(yield_study, "prepare", lambda experiment, net, *_, **__: {"software": net})
    monkeypatch.setattr(yield_study, "run_study", lambda plan, *args, **_: studied(plan, args[2], made.current))
    return made


def few_calibrated(net: Network, mask: list[int], device: Any, program: Any, how_much: HowMuch) -> Any:
    other = (
        1 + int(1e6 * float(net.blocks[0][0].weight.detach()[0, 0].abs())) % 7
    )  # the two runs calibrate other neurons
    few = {"neurons": [0, other], "trim": False, "synapses": False, "repeats": 4}
    return hl.calibrate(device, program, **few), program


def demonstrated(which: str) -> Any:
    results = [Result(which, "test", 0.5, 5, 0, "simulator")]
    return SimpleNamespace(
        chips=(), training=SimpleNamespace(best_epoch=1, history=()), seconds=1.0 + len(which), results=results
    )


def studied(plan: YieldPlan, rows: Path, which: str) -> list[RowResult]:
    found = []
    for row in plan.rows():
        storage.write_bytes(rows / f"{row.name}.json", f"row of the {which} run".encode())
        accuracy = 0.5 if which == "old" else 0.6
        found.append(RowResult(row, "emulator:0", "emulator", accuracy, accuracy, 1, 5, 1, 1.0, 1.0, "digest"))
    return found


PLAN = YieldPlan.of(chips=[0, 1], strategies=["as-is"], ceilings=0, runs=1)
COMMANDS: dict[str, Callable[[Runs, RunFolder], None]] = {
    "deploy": lambda runs, folder: work.deploy_run(runs.trained, CHOICE, 1, folder),
    "compare": lambda runs, folder: work.compare_run(runs.trained, CHOICE, None, folder),
    "calibrate": lambda runs, folder: calibrate_command.calibrate_run(
        runs.trained, CHOICE, 1, HowMuch(False, 4, False), Store(folder.path.parent / "store"), folder
    ),
    "yield": lambda runs, folder: yield_command.yield_run(runs.trained, PLAN, 1, None, folder),
    "demo": lambda runs, folder: demo_command.demo_run(runs.trained.experiment, [], 1, folder),
}
#: What each leaves.
FILES = {
    "deploy": [], "compare": ["comparison.json"], "calibrate": ["calibration.json"],
    "yield": ["yield.json"], "demo": [],
}  # fmt: skip


def content(folder: Path) -> Folder:
    """What a user sees of a folder; nothing hidden."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    seen = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in seen}


def kept(folder: Path) -> Folder:
    """What a run under way keeps of the one that it replaces: set aside, or in its place still."""
    return {**content(folder), **content(folder / KEPT)}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_killed_leaves_the_old_results_or_its_own(tmp_path: Path, runs: Runs, command: str) -> None:
    def job(folder: Path) -> None:
        with opened(folder, command, force=folder.exists()) as run:
            COMMANDS[command](runs, run)

    whole: dict[str, Folder] = {}
    for runs.current in ("old", "new"):
        job(tmp_path / runs.current)
        whole[runs.current] = content(tmp_path / runs.current)
    assert {"experiment.toml", "summary.json", "report.html", "plots/01-plot.csv", *FILES[command]} <= set(whole["old"])
    assert all(whole["old"][name] != whole["new"][name] for name in whole["old"])
    found = []
    for number, folder in enumerate(kills(job, fresh_copies(tmp_path / "old", tmp_path / "killed"))):
        if read_summary(folder)["status"] == "finished":
            found.append("old" if content(folder) == whole["old"] else "new")
            assert content(folder) == whole[found[-1]]
        else:
            found.append("under way")
            there = kept(folder)
            assert {name: there.get(name) for name in whole["old"]} == whole["old"]
        if number % 3:
            continue
        job(folder)  # what the user does next
        assert content(folder) == whole["new"]
        assert not (folder / KEPT).exists()
    assert set(found) == {"old", "under way", "new"}
    assert len(found) > 10
