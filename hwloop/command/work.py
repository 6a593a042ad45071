"""What each command does, once its options are read. Nothing is written before all input has been found good."""

from __future__ import annotations

import copy
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..compare import Comparison, compare
from ..demo import RUNS, DemoResult, run_demo
from ..demo_report import demo_report
from ..deployment import deploy, run_on
from ..experiment import Experiment
from ..mapping import Program
from ..results import Result, measured, read_summary, simulated, write_summary
from ..target import Device, StepChoice, Target, choose_dt
from ..target import compile as compile_for
from ..training import fit
from ..training.loop import LoopResult, finetune
from . import pages, terminal
from .folder import RunFolder, Trained, load_trained, prepare, refuse_other, stored_experiment
from .target_choice import TargetChoice

#: Validation samples on which ``--dt auto`` compares steps.
STEP_SAMPLES = 300


@dataclass(frozen=True)
class Output:
    """Where a run goes: ``--out``, ``--resume``, ``--force``."""

    path: Path
    resume: bool = False
    force: bool = False

    def prepare(self, kind: str) -> RunFolder:
        """See :func:`hwloop.command.folder.prepare`."""
        return prepare(self.path, kind, resume=self.resume, force=self.force)


# -- train ----------------------------------------------------------------------------------------


def train(experiment: Experiment, output: Output) -> None:
    """Train in software and save the network."""
    folder = output.prepare("train")
    if folder.resumed and (stored := stored_experiment(folder.path)) is not None:
        refuse_other(stored, experiment, folder.path, free={"training.epochs"})
    task, net, loss = experiment.build_task(), experiment.build_network(), experiment.build_loss()
    folder.begin(experiment)
    write_summary(folder.path, "train", status="running", seed=experiment.seed)
    with folder.resumable():
        done = fit(
            net, task, loss, checkpoint_dir=folder.checkpoints, resume=folder.resumed, **experiment.fit_options()
        )
    folder.save_network(net, done.best_epoch)
    results = [
        simulated("software", net, data, name, experiment.decision)
        for name, data in (("validation", task.validation), ("test", task.test))
    ]
    pages.train_page(experiment, done, results).write(folder.path / "report.html")
    history = {"best_epoch": done.best_epoch, "history": [asdict(epoch) for epoch in done.history]}
    write_summary(folder.path, "train", status="finished", seed=experiment.seed, results=results, **history)
    terminal.results(results)
    terminal.say(f"best epoch on validation data: {done.best_epoch} of {len(done.history)}")
    terminal.say(f"network and report: {folder.path}")


# -- deploy ---------------------------------------------------------------------------------------


def deploy_run(trained: Trained, choice: TargetChoice, runs: int, output: Output | None) -> None:
    """Compile a trained network, load it as it is, and measure what it does."""
    folder = None if output is None else output.prepare("deploy")
    experiment, device, chosen = _open(trained, choice)
    task = experiment.build_task()
    with device:
        program = _deploy(trained, experiment, device, task.validation)
        parts = (("validation", task.validation), ("test", task.test))
        results = [simulated(_origin(trained), trained.net, data, name, experiment.decision) for name, data in parts]
        results += [
            measured(_state(trained, device), device, program, data, name, decision=experiment.decision, runs=runs)
            for name, data in parts
        ]
    terminal.say(str(program.report()))
    terminal.results(results)
    if folder is not None:
        folder.begin(experiment)
        pages.deploy_page(experiment, program, results).write(folder.path / "report.html")
        _summarise(folder, experiment, results, {"program": program.report().to_dict(), **chosen})


def _open(
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
    return experiment, target.open(), chosen


def _choose_dt(trained: Trained, experiment: Experiment, target: Target) -> StepChoice:
    """The step of ``target`` that keeps the network's spikes closest on the first validation samples."""
    validation = experiment.build_task().validation
    samples = validation.inputs[: min(STEP_SAMPLES, len(validation))]
    terminal.status(f"choosing the step of {target.name} on {len(samples)} validation samples")
    return choose_dt(target, trained.net, samples, decision=experiment.decision)


def _deploy(trained: Trained, experiment: Experiment, device: Device, validation: Any) -> Program:
    """Load the network: as it was fine-tuned on this very device, else by the experiment's rule."""
    if trained.scales and trained.device_id == device.device_id:
        return deploy(trained.net, device, weight_scale=list(trained.scales), mask=trained.mask)
    target = experiment.target
    return deploy(
        trained.net, device, validation=validation, weight_scale=target.weight_scale, mask=target.mask, decision=experiment.decision
    )  # fmt: skip


def _origin(trained: Trained) -> str:
    """What a network is called in simulation."""
    return "software" if not trained.scales else f"fine-tuned on {trained.device_id.partition('/')[0]}"


def _state(trained: Trained, device: Device) -> str:
    """What a network is called on ``device``."""
    if not trained.scales:
        return "as is"
    return "fine-tuned" if trained.device_id == device.device_id else _origin(trained)


def _summarise(folder: RunFolder, experiment: Experiment, results: list[Result], content: dict[str, Any]) -> None:
    write_summary(folder.path, folder.kind, status="finished", seed=experiment.seed, results=results, **content)
    terminal.say(f"report: {folder.path / 'report.html'}")


# -- compare --------------------------------------------------------------------------------------


def compare_run(trained: Trained, choice: TargetChoice, samples: int | None, output: Output | None) -> None:
    """Compare simulated and measured spikes on test samples."""
    folder = None if output is None else output.prepare("compare")
    experiment, device, chosen = _open(trained, choice)
    task = experiment.build_task()
    data = task.test if samples is None else task.test.select(slice(0, samples))
    with device:
        program = _deploy(trained, experiment, device, task.validation)
        terminal.status(f"running {len(data)} samples on {device.device_id}")
        recording = run_on(device, data.inputs)
        results = [
            simulated(_origin(trained), trained.net, data, "test", experiment.decision),
            measured(_state(trained, device), device, program, data, "test", decision=experiment.decision, runs=1),
        ]
    with torch.no_grad():
        reference = trained.net(data.inputs)
    comparison = compare(reference, recording, net=trained.net, labels=data.labels, decision=experiment.decision)
    terminal.say(comparison.to_text(width=terminal.width()).rstrip())
    if folder is not None:
        folder.begin(experiment)
        comparison.to_html(folder.path / "report.html")
        comparison.to_json(folder.path / "comparison.json")
        first = comparison.divergences.summary()
        _summarise(folder, experiment, results, {"first_divergence": first, "layers": _layers(comparison), **chosen})


def _layers(comparison: Comparison) -> list[dict[str, Any]]:
    return [population.summary() for population in comparison.populations]


# -- finetune -------------------------------------------------------------------------------------


def finetune_run(trained: Trained, choice: TargetChoice, runs: int, output: Output) -> None:
    """Fine-tune a trained network in the loop with a device, and save it."""
    folder = output.prepare("finetune")
    stored = stored_experiment(folder.path) if folder.resumed else None
    experiment, device, chosen = _open(trained, choice, stored)
    if stored is not None:
        refuse_other(stored, experiment, folder.path, free={"finetune.epochs"})
    task, loss, decision = experiment.build_task(), experiment.build_finetune_loss(), experiment.decision
    net = copy.deepcopy(trained.net)
    options = experiment.finetune_options()
    with device:
        begun = _begun(folder)
        if not begun:
            program = _deploy(trained, experiment, device, task.validation)
            begun = [
                simulated(_origin(trained), trained.net, task.test, "test", decision),
                measured(_state(trained, device), device, program, task.test, "test", decision=decision, runs=runs),
            ]
            options |= {"weight_scale": list(program.scales)}
        folder.begin(experiment)
        write_summary(folder.path, "finetune", status="running", seed=experiment.seed, results=begun)
        with folder.resumable():
            done = finetune(
                net, device, task, loss, checkpoint_dir=folder.checkpoints, resume=folder.resumed, **options
            )
        tuned = measured("fine-tuned", device, done.program, task.test, "test", decision=decision, runs=runs)
    folder.save_network(net, done.best_epoch, done.program, device.device_id)
    results = [*begun, tuned]
    pages.finetune_page(experiment, done, results).write(folder.path / "report.html")
    terminal.results(results)
    terminal.say(f"kept epoch {done.best_epoch} of {len(done.history)}; {loop_line(done)}")
    _summarise(folder, experiment, results, {**loop_document(done), **chosen})


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


# -- demo -----------------------------------------------------------------------------------------


def demo(experiment: Experiment, output: Output) -> None:
    """The main job on Yin-Yang."""
    folder = output.prepare("demo")
    done = run_demo(experiment, runs=RUNS, on_stage=terminal.status)
    folder.begin(experiment)
    terminal.status("writing the report")
    demo_report(done).write(folder.path / "report.html")
    _demo_table(done)
    chips = [
        {
            "device_id": chip.device_id,
            **loop_document(chip.loop),
            "first_divergence_as_is": chip.before.divergences.summary(),
            "first_divergence_fine_tuned": chip.after.divergences.summary(),
            "layers_as_is": _layers(chip.before),
            "layers_fine_tuned": _layers(chip.after),
            "seconds": chip.seconds,
        }
        for chip in done.chips
    ]
    training = {"best_epoch": done.training.best_epoch, "history": [asdict(epoch) for epoch in done.training.history]}
    content = {"experiment": experiment.to_dict(), "training": training, "chips": chips, "seconds": done.seconds}
    _summarise(folder, experiment, done.results, content)


def _demo_table(done: DemoResult) -> None:
    rows = [
        (
            chip.device_id,
            chip.tuned.ran_on,
            *(f"{100 * r.accuracy:.1f} %" for r in (done.software, chip.as_is, chip.calibrated, chip.tuned)),
        )
        for chip in done.chips
    ]
    columns = ("chip", "ran on", "software (simulator)", "as is", "calibrated", "fine-tuned in the loop")
    terminal.say(f"accuracy on {len(done.task.test)} test samples; all chips are emulated ({done.seconds:.0f} s)")
    terminal.table(columns, rows, columns[2:])
    noise_only = f"{100 * done.noise_only.accuracy:.1f} %"
    terminal.say(f"for comparison, as is on a chip of the same noise without mismatch (emulator): {noise_only}")


# -- reading what the options name ----------------------------------------------------------------


def experiment_of(name: str | None, resumed: Path | None) -> Experiment:
    """The experiment called ``name``; without a name that of the run in ``resumed``, else Yin-Yang."""
    if name is None and resumed is not None and (stored := stored_experiment(resumed)) is not None:
        return stored
    return Experiment.load(name or "yin-yang")


def with_options(experiment: Experiment, seed: int | None, data: str | None, changes: dict[str, Any]) -> Experiment:
    """``experiment`` with ``--seed`` and ``--data`` where given, and ``changes`` to its sections."""
    said = dict(changes)
    if seed is not None:
        said["seed"] = seed
    if data is not None:
        # absolute: the run may be used from another folder
        said["task"] = {"data": str(Path(data).expanduser().absolute())}
    return experiment.changed(**said) if said else experiment


def load(
    path: Path,
    experiment: str | None,
    data: str | None,
    seed: int | None = None,
    changes: dict[str, Any] | None = None,
) -> Trained:
    """The network in ``path`` and its experiment, with options as in :func:`with_options`."""
    trained = load_trained(path, None if experiment is None else Experiment.load(experiment))
    return replace(trained, experiment=with_options(trained.experiment, seed, data, changes or {}))


def beside(run: Path, target: str) -> Path:
    """A folder beside ``run`` for what was fine-tuned on ``target``."""
    run = run.resolve()
    return run.with_name(f"{run.name}-{re.sub('[^A-Za-z0-9]+', '-', target).strip('-')}")
