"""``hwloop run FILE.toml``: everything that an experiment says, step by step, each in a folder of its own that is a run itself.

    experiment.toml  data.json  summary.json  report.html
    train/  deploy/  compare/  finetune/

Where it was interrupted, it goes on: finished steps are not done again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from ..device.registry import compile as compile_for
from ..errors import CompileWarning, DataError
from ..experiment import Experiment, Step
from ..own_data import class_counts
from ..results import Result, read_summary
from . import data_provenance, pages, terminal, work
from .answer import Answer
from .folder import RunFolder, load_trained, opened, refuse_other, stored_experiment
from .target_choice import TargetChoice

#: Runs on the device that accuracies are averaged over.
RUNS = 5


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
    pages.run_page(experiment, results).write(folder.path / "report.html")

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


def _compare(experiment: Experiment, choice: TargetChoice, trained: Path, folder: RunFolder) -> Answer:
    return work.compare_run(load_trained(trained, experiment), choice, None, folder)


def _finetune(experiment: Experiment, choice: TargetChoice, trained: Path, folder: RunFolder) -> Answer:
    return work.finetune_run(load_trained(trained, experiment), choice, RUNS, folder)


_WORK: dict[Step, Callable[[Experiment, TargetChoice, Path, RunFolder], Answer]] = {
    "train": _train, "deploy": _deploy, "compare": _compare, "finetune": _finetune
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
