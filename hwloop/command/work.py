"""What each command does, once its options are read. Nothing is written before all input has been found good."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ..compare import Comparison, compare
from ..compare.source import Source
from ..cost import Cost, cost_of
from ..datasets import Dataset
from ..device.deploy import deploy, run_on
from ..device.registry import Device, StepChoice, Target, choose_dt
from ..device.registry import compile as compile_for
from ..experiment import Experiment
from ..experiment_own_data import OWN
from ..losses import Decision
from ..mapping import Program
from ..network import Network
from ..own_data import class_counts
from ..ranks import ALONE, Ranks
from ..results import Result, measured, read_summary, simulated, summary_of
from ..spikes import Spikes
from ..training import fit
from ..training.evaluate import where_it_is
from ..training.loop import LoopResult, finetune
from . import data_provenance, pages, terminal
from .answer import Answer
from .averaging import note_slow
from .calibrations import keep_calibration, put_calibration
from .folder import RunFolder, Trained, refuse_other, stored_experiment
from .target_choice import TargetChoice

#: Validation samples on which ``--dt auto`` compares steps.
STEP_SAMPLES = 300
#: Test samples on which a deployment counts what an answer costs.
COST_SAMPLES = 100


# -- train ----------------------------------------------------------------------------------------


def train(experiment: Experiment, folder: RunFolder, ranks: Ranks = ALONE, *, counts: bool = True) -> Answer:
    """Train in software, as the first of ``ranks``, and save the network; ``counts`` of classes are printed of one's own data."""
    if folder.resumed and (stored := stored_experiment(folder.path)) is not None:
        refuse_other(stored, experiment, folder.path, free={"training.epochs"})
    task, net, loss = experiment.build_task(), experiment.build_network(), experiment.build_loss()
    if counts and experiment.task.name in OWN:
        data_provenance.say_counts(task, getattr(experiment.task, "names", ()))
    note_slow(experiment, "training", len(task.train))
    folder.begin(experiment)
    with folder.resumable():
        done = fit(
            net, task, loss, checkpoint_dir=folder.checkpoints, resume=folder.resumed, ranks=ranks,
            **experiment.fit_options(),
        )  # fmt: skip
    folder.save_network(net, done.best_epoch)
    folder.log_epochs(done.history)
    results = [
        simulated("software", net, data, name, experiment.decision)
        for name, data in (("validation", task.validation), ("test", task.test))
    ]
    cost = simulated_cost(net, task.test, experiment.decision)
    folder.write_report(pages.train_page(experiment, done, results, cost))
    history = {
        "best_epoch": done.best_epoch,
        "history": [asdict(epoch) for epoch in done.history],
        "costs": costs_document({"software": cost}),
    }

    def words() -> None:
        terminal.results(results)
        terminal.say(f"best epoch on validation data: {done.best_epoch} of {len(done.history)}")
        terminal.say(f"network and report: {folder.path}")

    summary = folder.finish(experiment, results, **history)
    return Answer(summary | {"samples": class_counts(task), "folder": folder.path}, words)


# -- deploy ---------------------------------------------------------------------------------------


def deploy_run(trained: Trained, choice: TargetChoice, runs: int, folder: RunFolder | None) -> Answer:
    """Compile a trained network, load it as it is, and measure what it does."""
    experiment, device, chosen = open_chosen(trained, choice)
    task = experiment.build_task()
    with device:
        program = load_on(trained, experiment, device, task.validation)
        parts = (("validation", task.validation), ("test", task.test))
        results = [simulated(origin(trained), trained.net, data, name, experiment.decision) for name, data in parts]
        results += [
            measured(state_on(trained, device), device, program, data, name, decision=experiment.decision, runs=runs)
            for name, data in parts
        ]
        cost = cost_on(device, program, task.test.inputs[: min(COST_SAMPLES, len(task.test))], experiment.decision)
    if folder is not None:
        folder.begin(experiment)
        page = pages.deploy_page(experiment, program, results, cost)
        pages.note_calibration(page, device)
        folder.write_report(page)

    def words() -> None:
        terminal.say(str(program.report()))
        terminal.results(results)

    costs = costs_document({results[-1].network: cost})
    content = {"program": program.report().to_dict(), "cost": cost.to_dict(), "costs": costs, **chosen}
    return run_answer("deploy", folder, experiment, results, content, words)


def simulated_cost(net: Network, data: Dataset, decision: Decision) -> Cost:
    """What the answers of ``net`` to the first samples of ``data`` cost in simulation."""
    with torch.no_grad():
        return cost_of(net(where_it_is(net, data.inputs[: min(COST_SAMPLES, len(data))])), net, decision=decision)


def costs_document(costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Costs by the name of what ran, as plain values."""
    return {name: cost.to_dict() for name, cost in costs.items()}


def cost_on(device: Device, program: Program, inputs: Spikes, decision: Decision) -> Cost:
    """What the answers of the loaded ``program`` to ``inputs`` cost."""
    return cost_of(run_on(device, inputs), program, decision=decision)


def open_chosen(
    trained: Trained, choice: TargetChoice, resumed: Experiment | None = None
) -> tuple[Experiment, Device, dict[str, Any]]:
    """The experiment on the chosen target, the device, and how ``--dt auto`` was decided, for the summary.

    The network is compiled first, since that may be refused. A run that is ``resumed`` keeps the step that it chose.
    """
    experiment = choice.in_experiment(trained.experiment)
    target = choice.find(experiment)
    chosen: dict[str, Any] = {}
    if choice.automatic:
        if resumed is None or resumed.target.dt is None:
            found = _choose_dt(trained, experiment, target)
            terminal.say(str(found))
            chosen, dt = {"dt_choice": found.to_dict()}, found.dt
        else:
            dt = resumed.target.dt
        experiment = experiment.changed(target={"dt": dt})
        target = choice.find(experiment)
    compile_for(trained.net, target, mask=experiment.target.mask)
    terminal.status(f"opening {target.name}")
    device = target.open()
    if choice.calibration is not None:
        try:
            put_calibration(device, choice.calibration)
        except BaseException:
            device.close()
            raise
    return experiment, device, chosen


def _choose_dt(trained: Trained, experiment: Experiment, target: Target) -> StepChoice:
    """The step of ``target`` that keeps the network's spikes closest on the first validation samples."""
    validation = experiment.build_task().validation
    samples = validation.inputs[: min(STEP_SAMPLES, len(validation))]
    terminal.status(f"choosing the step of {target.name} on {len(samples)} validation samples")
    return choose_dt(target, trained.net, samples, decision=experiment.decision)


def load_on(trained: Trained, experiment: Experiment, device: Device, validation: Any) -> Program:
    """Load the network: as it was fine-tuned on this very device, with the calibration it had then; else by the experiment's rule."""
    if trained.scales and trained.device_id == device.device_id:
        if trained.calibration is not None and getattr(device, "calibration", None) is None:
            put_calibration(device, trained.calibration)
        return deploy(trained.net, device, weight_scale=list(trained.scales), mask=trained.mask)
    target = experiment.target
    return deploy(
        trained.net, device, validation=validation, weight_scale=target.weight_scale, mask=target.mask, decision=experiment.decision
    )  # fmt: skip


def origin(trained: Trained) -> str:
    """What a network is called in simulation."""
    return "software" if not trained.scales else f"fine-tuned on {trained.device_id.partition('/')[0]}"


def state_on(trained: Trained, device: Device) -> str:
    """What a network is called on ``device``."""
    if not trained.scales:
        return _named("as is", device)
    return _named("fine-tuned", device) if trained.device_id == device.device_id else origin(trained)


def _named(state: str, device: Device) -> str:
    """``state`` on a device that may be calibrated."""
    if getattr(device, "calibration", None) is None:
        return state
    return "calibrated" if state == "as is" else f"calibrated, {state}"


def run_answer(
    kind: str,
    folder: RunFolder | None,
    experiment: Experiment,
    results: list[Result],
    content: dict[str, Any],
    words: Callable[[], None],
    *,
    besides: Mapping[str, Any] = MappingProxyType({}),
) -> Answer:
    """The answer of a finished run: its summary, which is written into ``folder`` where there is one.

    ``words`` says it, before where its report is; ``besides`` is in the answer and not in the summary.
    """
    if folder is None:
        document = summary_of(kind, status="finished", seed=experiment.seed, results=results, **content)
        return Answer({**document, **besides, "folder": None}, words)
    document = folder.finish(experiment, results, **content)

    def said() -> None:
        words()
        terminal.say(f"report: {folder.path / 'report.html'}")

    return Answer({**document, **besides, "folder": folder.path}, said)


# -- compare --------------------------------------------------------------------------------------


def compare_run(trained: Trained, choice: TargetChoice, samples: int | None, folder: RunFolder | None) -> Answer:
    """Compare simulated and measured spikes on test samples."""
    from ..compare import html

    experiment, device, chosen = open_chosen(trained, choice)
    task = experiment.build_task()
    data = task.test if samples is None else task.test.select(slice(0, samples))
    with device:
        program = load_on(trained, experiment, device, task.validation)
        terminal.status(f"running {len(data)} samples on {device.device_id}")
        recording = run_on(device, data.inputs)
        results = [
            simulated(origin(trained), trained.net, data, "test", experiment.decision),
            measured(state_on(trained, device), device, program, data, "test", decision=experiment.decision, runs=1),
        ]
    with torch.no_grad():
        reference = trained.net(data.inputs)
    comparison = compare(reference, recording, net=trained.net, labels=data.labels, decision=experiment.decision)
    cost = cost_of(recording, program, decision=experiment.decision)
    if folder is not None:
        folder.begin(experiment)
        page = html.comparison_report(comparison)
        costed = {results[-1].network: pages.Costed(cost, Source.of(recording))}
        folder.write_report(pages.add_costs(page, costed))
        comparison.to_json(folder.path / "comparison.json")
    first = comparison.divergences.summary()
    content = {
        "first_divergence": first,
        "layers": layers(comparison),
        "cost": cost.to_dict(),
        "costs": costs_document({results[-1].network: cost}),
        **chosen,
    }

    def words() -> None:
        terminal.say(comparison.to_text(width=terminal.width()).rstrip())

    besides = {"comparison": comparison.to_dict()}
    return run_answer("compare", folder, experiment, results, content, words, besides=besides)


def layers(comparison: Comparison) -> list[dict[str, Any]]:
    """What a summary says about each population."""
    return [population.summary() for population in comparison.populations]


# -- finetune -------------------------------------------------------------------------------------


def finetune_run(
    trained: Trained, choice: TargetChoice, runs: int, folder: RunFolder, log: Path | None = None
) -> Answer:
    """Fine-tune a trained network in the loop with a device, and save it; the session is recorded into ``log``."""
    stored = stored_experiment(folder.path) if folder.resumed else None
    experiment, device, chosen = open_chosen(trained, choice, stored)
    device = recorded(device, log)
    if stored is not None:
        refuse_other(stored, experiment, folder.path, free={"finetune.epochs"})
    task, loss, decision = experiment.build_task(), experiment.build_finetune_loss(), experiment.decision
    note_slow(experiment, "finetune", len(task.train))
    net = copy.deepcopy(trained.net)
    options = experiment.finetune_options()
    with device:
        begun = _begun(folder)
        if not begun:
            program = load_on(trained, experiment, device, task.validation)
            begun = [
                simulated(origin(trained), trained.net, task.test, "test", decision),
                measured(state_on(trained, device), device, program, task.test, "test", decision=decision, runs=runs),
            ]
            options |= {"weight_scale": list(program.scales)}
        folder.begin(experiment, begun)
        keep_calibration(folder, device)
        with folder.resumable():
            done = finetune(
                net, device, task, loss, checkpoint_dir=folder.checkpoints, resume=folder.resumed, **options
            )
        tuned = measured(
            _named("fine-tuned", device), device, done.program, task.test, "test", decision=decision, runs=runs
        )
        cost = cost_on(device, done.program, task.test.inputs[: min(COST_SAMPLES, len(task.test))], decision)
    folder.save_network(net, done.best_epoch, done.program, device.device_id)
    folder.log_epochs(done.history)
    results = [*begun, tuned]
    costs = {begun[0].network: simulated_cost(trained.net, task.test, decision), tuned.network: cost}
    sources = (Source("simulator"), tuned.source)
    costed = {name: pages.Costed(found, where) for (name, found), where in zip(costs.items(), sources, strict=True)}
    page = pages.finetune_page(experiment, done, results, costed)
    pages.note_calibration(page, device)
    folder.write_report(page)

    def words() -> None:
        terminal.results(results)
        terminal.say(f"kept epoch {done.best_epoch} of {len(done.history)}; {loop_line(done)}")

    content = {**loop_document(done), "costs": costs_document(costs), **chosen}
    return run_answer("finetune", folder, experiment, results, content, words)


def recorded(device: Device, log: Path | None) -> Device:
    """``device``, its session recorded into ``log`` where one is named."""
    if log is None:
        return device
    from ..session_log import record_session

    try:
        return record_session(device, log)
    except BaseException:
        device.close()
        raise


def _begun(folder: RunFolder) -> list[Result]:
    """Results that an interrupted run had measured before it went into the loop."""
    if not folder.resumed or not folder.checkpoints.is_dir():
        return []
    return [Result(**entry) for entry in read_summary(folder.path)["results"][:2]]


def loop_line(done: LoopResult) -> str:
    """Writes and gradient health of a fine-tuning in one line."""
    health = done.history[-1].health
    writes = sum(epoch.writes for epoch in done.history)
    shares = (100 * health.below_floor, 100 * health.missing, 100 * health.extra)
    floored, missing, extra = (f"{share:.1f} %" for share in shares)
    return f"{writes} cells written; last epoch: {floored} of spikes floored, {missing} missing, {extra} extra against the model"


def loop_document(done: LoopResult) -> dict[str, Any]:
    """A fine-tuning as plain values."""
    return {
        "best_epoch": done.best_epoch,
        "validation_as_is": asdict(done.as_is),
        "validation_best": asdict(done.best_validation),
        "history": [asdict(epoch) for epoch in done.history],
        "program": done.program.report().to_dict(),
    }
