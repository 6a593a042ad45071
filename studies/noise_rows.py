"""Rows of the study ``noise``: a network that is made for the noise of ``bss2``, on ten chips, by single runs and by repeats.

The recipe was chosen on generated data and on chips from 100 on; the test set is looked at once, by rows on chips 0 to 9.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from study_rows import experiment_of, network_folder
from torch import Tensor

import hwloop as hl
from hwloop import storage
from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.device.registry import find, repetitions
from hwloop.device.repeats import lead_of, sure_on
from hwloop.drawing.plotting import grid, style
from hwloop.experiment import Experiment
from hwloop.losses import accuracy, predict
from hwloop.training import NoiseModel, harden

CHIPS = range(10)
#: The noise of ``bss2``, model seconds: what its preset states.
NOISE = NoiseModel(threshold=0.015, jitter=1e-4, time_step=1e-4, event_loss=1e-3)
#: Of sequential repeats: the stated error rate, and the runs on average that are to be spent, each a rule of its own.
ERROR, MEAN_RUNS = 0.003, 1.9
#: Runs at most, and runs of the test set from which the curves are replayed.
MOST, RUNS = 10, 10
#: Of the shares of a run's vote (s): that of the loss, whose probabilities they are.
TEMPERATURE = 0.4e-3
#: Leads (votes) of the curve.
LEADS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.2, 1.5, 2.0, 3.0, 5.0)


#: What the experiment ``yin-yang`` is changed to: twice the hidden neurons, three output neurons a class.
RECIPE: dict[str, Any] = {
    "network": {"hidden": [240], "init_mean": [0.8, 0.1], "init_std": [1.2, 0.21]},
    "loss": {"neurons": 3, "label_hinge": 10.0},
    "training": {"epochs": 30, "lr_decay": 0.92},
    "finetune": {
        "epochs": 16, "batch_size": 50, "lr": 4e-3, "lr_decay": 0.83, "validation_repeats": 4,  # one run picks a lucky epoch
        "loss": {
            "decision": "first", "neurons": 3, "temperature": 0.4e-3, "label_hinge": 10.0, "label_margin": 1.0, "dead_hinge": 0.1,
        },
    },
}  # fmt: skip
#: Hardening after training, in two rounds, for a chip without mismatch, of which nothing is known but its codes.
HARDEN: tuple[dict[str, Any], ...] = ({"epochs": 12, "lr_decay": 0.8}, {"epochs": 15, "lr_decay": 0.85})


def prepared(experiment: Experiment) -> Experiment:
    """The experiment with what the noise asks for."""
    return experiment.changed("the recipe for noise", **RECIPE)


def train(row: dict[str, Any], out: Path, data: str | None) -> dict[str, Any]:
    """The network that all chips start from: trained, then hardened; its folder keeps it."""
    experiment = prepared(experiment_of(row["experiment"], data, row["seed"]))
    task, net, decision = experiment.build_task(), experiment.build_network(), experiment.decision
    kept = {"resume": True, "progress": False}
    hl.fit(
        net, task, experiment.build_loss(), **experiment.fit_options(), **kept,
        checkpoint_dir=network_folder(out, "noise-software", row["seed"]),
    )  # fmt: skip
    software = hl.evaluate(net, task.validation, decision=decision).accuracy
    target = find("emulator:100", preset="bss2", mismatch=False)
    for number, options in enumerate(HARDEN):
        result = harden(
            net, hl.compile(net, target), task, experiment.build_finetune_loss(), NOISE, seed=row["seed"] + number,
            decision=decision, **options, **kept,
            checkpoint_dir=network_folder(out, f"noise-hardened-{number}", row["seed"]),
        )  # fmt: skip
    save_checkpoint(network_folder(out, "noise", row["seed"]), net, {"weights": dict(net.state_dict())}, step=0)
    return {
        "ran_on": "simulator", "validation_software": software, "validation_noisy": result.best_validation.accuracy,
        "curve": [epoch.validation.accuracy for epoch in result.history],
    }  # fmt: skip


def on_chip_row(row: dict[str, Any], out: Path, data: str | None) -> dict[str, Any]:
    """One chip."""
    experiment = prepared(experiment_of(row["experiment"], data, row["seed"]))
    net = experiment.build_network()
    found = load_checkpoint(network_folder(out, "noise", row["seed"]), net)
    if found is None:
        raise SystemExit("no hardened network; run the rows of the study noise in their order")
    net.load_state_dict(found.state["weights"])
    return on_chip(experiment, net, row["chip"])


def on_chip(experiment: Experiment, net: hl.Network, number: int) -> dict[str, Any]:
    """Tune ``net`` in the loop on chip ``number``, choose the lead on validation data; then look at the test set."""
    task, decision = experiment.build_task(), experiment.decision
    with hl.open(f"emulator:{number}", preset="bss2", session=1) as chip:
        result = hl.finetune(
            net, chip, task, experiment.build_finetune_loss(), **experiment.finetune_options(), progress=False
        )
        spent = chip.samples_run
        options: dict[str, Any] = {"decision": decision, "most": MOST, "temperature": TEMPERATURE}
        rule = sure_on(chip, task.validation, ERROR, **options)
        sure = hl.measure(chip, task.test, decision=decision, repeats=rule)
        budget = sure_on(chip, task.validation, mean_runs=MEAN_RUNS, **options)
        spent_on = hl.measure(chip, task.test, decision=decision, repeats=budget)
        recording = chip.run(task.test.inputs, repeats=RUNS)
    scores = torch.stack([rule.scores(part, decision) for part in repetitions(recording, RUNS)])
    labels = task.test.labels
    fixed = [accuracy(total.argmax(1), labels) for total in scores.cumsum(0)]
    return {
        "ran_on": chip.ran_on, "device": chip.device_id, "samples": spent, "validation_as_is": result.as_is.accuracy,
        "validation": result.best_validation.accuracy, "best_epoch": result.best_epoch,
        "single": accuracy(predict(recording, decision), labels.repeat(RUNS)), "averaged": fixed,
        "lead": rule.lead, "sequential": sure.accuracy, "mean_runs": sure.mean_runs, "unsure": sure.unsure,
        "budget_lead": budget.lead, "budget_error": budget.error, "budget": spent_on.accuracy,
        "budget_runs": spent_on.mean_runs, "curve": [replayed(scores, labels, lead) for lead in LEADS],
    }  # fmt: skip


def replayed(scores: Tensor, labels: Tensor, lead: float) -> tuple[float, float]:
    """``(mean runs, accuracy)`` of runs with ``scores [runs, n, classes]`` that end at ``lead``."""
    total = scores.cumsum(0)
    sure = lead_of(total) >= lead
    stop = torch.where(sure.any(0), sure.to(torch.uint8).argmax(0), len(total) - 1)
    decided = total.argmax(2).gather(0, stop[None])[0]
    return float((stop + 1).double().mean()), accuracy(decided, labels)


def report(out: Path) -> str | None:
    """The table of the rows that are there, and the plot ``out/noise.svg``; None where there are none."""
    found = [
        storage.read_json(path, kind="hwloop-study", version=1)["found"]
        for path in sorted(out.glob("*-noise-seed-*-chip-*.json"))
    ]
    if not found:
        return None
    plot(found, out / "noise.svg")
    lines = [
        f"{'Yin-Yang on emulated bss2, test set':40s} {'runs':>6s} {'mean':>6s} {'worst':>6s}  ({len(found)} chips)"
    ]

    def line(name: str, runs: float, values: list[float]) -> None:
        lines.append(f"{name:40s} {runs:6.2f} {100 * statistics.mean(values):6.2f} {100 * min(values):6.2f}")

    line("single runs", 1, [row["single"] for row in found])
    runs = statistics.mean(row["mean_runs"] for row in found)
    line(f"until sure, error {ERROR:g}, at most {MOST}", runs, [row["sequential"] for row in found])
    runs = statistics.mean(row["budget_runs"] for row in found)
    line(f"until sure, {MEAN_RUNS:g} runs on average", runs, [row["budget"] for row in found])
    for k in (2, 3, 5, 10):
        line(f"mean of {k} runs", k, [row["averaged"][k - 1] for row in found])
    return "\n".join(lines)


def plot(found: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against runs a sample: mean and worst chip, of repeats until sure and of as many for every sample."""
    with style():
        figure, axes = grid(1, 1, 3.4)
        axis = axes[0][0]
        curves = [[row["curve"][k] for row in found] for k in range(len(LEADS))]
        steady = [[row["averaged"][k] for row in found] for k in range(RUNS)]
        for pick, dashes, what in ((statistics.mean, "-", "mean"), (min, "--", "worst chip")):
            of_sure = [(statistics.mean(runs for runs, _ in each), 100 * pick([a for _, a in each])) for each in curves]
            axis.plot(*zip(*of_sure, strict=True), dashes, color="C0", label=f"until sure, {what}")
            of_all = [100 * pick(each) for each in steady]
            axis.plot(range(1, RUNS + 1), of_all, dashes, color="C1", label=f"every sample as often, {what}")
        runs, right = (
            statistics.mean(r["mean_runs"] for r in found),
            100 * statistics.mean(r["sequential"] for r in found),
        )
        axis.plot([runs], [right], "o", color="C0", label=f"measured, stated error {100 * ERROR:g} %")
        axis.set_xscale("log")
        ticks = (1, 1.5, 2, 3, 5, 10)
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel("runs a sample, mean")
        axis.set_ylabel("accuracy on the test set, %")
        axis.grid(True)
        axis.legend()
        figure.savefig(path)
