"""``hwloop demo``: the main job on Yin-Yang, with its report."""

from __future__ import annotations

from dataclasses import asdict

from ..demo import CHIPS, RUNS, DemoResult, run_demo
from ..demo_report import demo_report, lowered
from ..experiment import Experiment
from . import terminal
from .answer import Answer
from .folder import RunFolder
from .target_choice import TargetChoice
from .work import costs_document, layers, loop_document, run_answer


def demo_run(experiment: Experiment, targets: list[str], jobs: int, folder: RunFolder) -> Answer:
    """The main job on Yin-Yang, on ``targets``; on the emulated chips of the demonstration where none are named."""
    if targets:
        experiment = TargetChoice(targets[0]).in_experiment(experiment)
    done = run_demo(experiment, targets or CHIPS, runs=RUNS, jobs=jobs, on_stage=terminal.status)
    folder.begin(experiment)
    terminal.status("writing the report")
    folder.write_report(demo_report(done))
    chips = [
        {
            "device_id": chip.device_id,
            **loop_document(chip.loop),
            "first_divergence_as_is": chip.before.divergences.summary(),
            "first_divergence_fine_tuned": chip.after.divergences.summary(),
            "effect_of_calibrating": chip.effect.to_dict(),
            "costs": costs_document(chip.costs),
            "layers_as_is": layers(chip.before),
            "layers_calibrated": layers(chip.trimmed),
            "layers_fine_tuned": layers(chip.after),
            "seconds": chip.seconds,
        }
        for chip in done.chips
    ]
    training = {"best_epoch": done.training.best_epoch, "history": [asdict(epoch) for epoch in done.training.history]}
    content = {"experiment": experiment.to_dict(), "training": training, "chips": chips, "seconds": done.seconds}
    return run_answer("demo", folder, experiment, done.results, content, lambda: _demo_table(done))


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
    kind = "; all chips are emulated" if done.emulated else ""
    terminal.say(f"accuracy on {len(done.task.test)} test samples{kind} ({done.seconds:.0f} s)")
    terminal.table(columns, rows, columns[2:])
    terminal.say(lowered(done))
    if done.noise_only is None:
        return
    noise_only = f"{100 * done.noise_only.accuracy:.1f} %"
    terminal.say(f"for comparison, as is on a chip of the same noise without mismatch (emulator): {noise_only}")
