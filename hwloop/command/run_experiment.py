"""``hwloop run FILE.toml``: everything that an experiment says, step by step, each in a folder of its own that is a run itself.

    experiment.toml  data.json  summary.json  report.html  plots/
    train/  deploy/  calibrate/  compare/  finetune/

Where it was interrupted, it goes on: finished steps are not done again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from json import dumps
from pathlib import Path

from ..device.registry import compile as compile_for
from ..device.trim import Trimmable
from ..errors import CompileWarning, DataError, OptionError
from ..experiment import Experiment, Step
from ..own_data import class_counts
from ..results import Result, read_summary
from . import data_provenance, terminal, work
from .answer import Answer
from .calibrate_command import HowMuch, calibrate_run
from .calibrations import kept_calibration
from .folder import RunFolder, load_trained, opened, refuse_other, stored_experiment
from .run_page import run_page
from .target_choice import TargetChoice

#: Runs on the device that accuracies are averaged over, and of every stimulus of a calibration.
RUNS, REPEATS = 5, 16


def run_experiment(experiment: Experiment, folder: RunFolder) -> Answer:
    """Every step of ``experiment``, in ``folder``."""
    if folder.resumed and (stored := stored_experiment(folder.path)) is not None:
        refuse_other(stored, experiment, folder.path, free=())
    choice = TargetChoice()
    _refuse_what_does_not_fit(experiment, choice)
    task = experiment.build_task()
    data_provenance.say_counts(task, getattr(experiment.task, "names", ()))
    folder.begin(experiment)
    with folder.resumable():
        for step in experiment.steps:
            _step(step, experiment, choice, folder.path)
    results = _results(experiment, folder.path)
    folder.write_report(run_page(experiment, folder.path, results))

    def words() -> None:
        terminal.say("")
        terminal.say(f"{experiment.name}: {', '.join(experiment.steps)}", "bold")
        terminal.results(results)

    content = {"steps": list(experiment.steps)}
    besides = {
        "samples": class_counts(task),
        "summaries": {step: read_summary(folder.path / step) for step in experiment.steps},
    }
    return work.run_answer("run", folder, experiment, results, content, words, besides=besides)


def _refuse_what_does_not_fit(experiment: Experiment, choice: TargetChoice) -> None:
    """Refuse a target that is not there, or cannot carry the network, before anything is trained."""
    if len(experiment.steps) == 1:
        return
    target = choice.find(experiment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)  # what first weights lose says nothing about those to come
        compile_for(experiment.build_network(), target, mask=experiment.target.mask)
    if "calibrate" in experiment.steps:
        with target.open() as device:
            if not (isinstance(device, Trimmable) and device.trim_ranges):
                others = dumps([step for step in experiment.steps if step != "calibrate"])
                raise OptionError(
                    f"steps has 'calibrate', and {device.device_id} has no trim cells; leave it out: --set 'steps={others}'"
                )


def _step(step: Step, experiment: Experiment, choice: TargetChoice, path: Path) -> None:
    """One step, unless it is done; training and fine-tuning go on where they were interrupted, the others begin anew."""
    inside = path / step
    begun = inside.exists() and any(inside.iterdir())
    if begun and _finished(inside):
        terminal.status(f"{step}: done before")
        return
    lasting = step in ("train", "finetune")
    terminal.status(f"{step}: in {inside}")
    with opened(inside, step, resume=begun and lasting, force=begun and not lasting) as folder:
        _WORK[step](experiment, choice, path / "train", folder).words()


def _train(experiment: Experiment, choice: TargetChoice, trained: Path, folder: RunFolder) -> Answer:
    return work.train(experiment, folder, counts=False)


def _deploy(experiment: Experiment, choice: TargetChoice, trained: Path, folder: RunFolder) -> Answer:
    return work.deploy_run(load_trained(trained, experiment), choice, RUNS, folder)


def _calibrate(experiment: Experiment, choice: TargetChoice, trained: Path, folder: RunFolder) -> Answer:
    return calibrate_run(load_trained(trained, experiment), choice, RUNS, HowMuch(True, REPEATS, False), None, folder)


def _compare(experiment: Experiment, choice: TargetChoice, trained: Path, folder: RunFolder) -> Answer:
    return work.compare_run(load_trained(trained, experiment), _calibrated(choice, trained), None, folder)


def _finetune(experiment: Experiment, choice: TargetChoice, trained: Path, folder: RunFolder) -> Answer:
    return work.finetune_run(load_trained(trained, experiment), _calibrated(choice, trained), RUNS, folder)


def _calibrated(choice: TargetChoice, trained: Path) -> TargetChoice:
    """The target with the calibration of the step before, where the experiment has one."""
    return replace(choice, calibration=kept_calibration(trained.parent / "calibrate"))


_WORK: dict[Step, Callable[[Experiment, TargetChoice, Path, RunFolder], Answer]] = {
    "train": _train, "deploy": _deploy, "calibrate": _calibrate, "compare": _compare, "finetune": _finetune
}  # fmt: skip


def _finished(path: Path) -> bool:
    try:
        return bool(read_summary(path).get("status") == "finished")
    except DataError:
        return False


def _results(experiment: Experiment, path: Path) -> list[Result]:
    """What every step found; the comparison runs a sample once and says nothing new about accuracy."""
    found: dict[tuple[str, str, str], Result] = {}
    for step in experiment.steps:
        for entry in [] if step == "compare" else read_summary(path / step)["results"]:
            result = Result(**entry)
            found.setdefault((result.network, result.ran_on, result.data), result)
    return list(found.values())
