"""Rows of the study ``rules``: networks trained by each rule, and put on a target."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from rule_facts import facts
from rule_recipes import (
    CONVOLUTIONAL,
    COUNTING_FINETUNE,
    COUNTING_FIT,
    COUNTING_LOSS,
    COUNTING_RULE,
    RECIPES,
    Recipe,
    counting_network,
    counting_task,
)  # fmt: skip
from study_rows import TEST_REPEATS, Row, name_of, network_folder

import hwloop as hl
from hwloop import rules
from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.losses import predict


def train(row: Row, out: Path, data: str | None) -> Row:
    """Train a network by one of the training rules in steps; keep it for the rows that deploy it."""
    recipe = _recipe(row)
    task, net = rules.mnist_values(data), recipe.network(row["seed"])
    kept = {"checkpoint_dir": out / "checkpoints" / name_of(row), "resume": True}  # an interrupted row goes on
    result = hl.fit(net, task, recipe.loss, rule=recipe.rule, seed=row["seed"], progress=False, **kept, **recipe.fit)
    save_checkpoint(network_folder(out, name_of(row), row["seed"]), net, {"weights": dict(net.state_dict())}, step=0)
    test = hl.evaluate(net, task.test, rule=recipe.rule)
    with torch.no_grad():
        record = recipe.rule.forward(net, task.test.inputs[:1000])
    return {
        "ran_on": "simulator", "validation": result.best_validation.accuracy, "test": test.accuracy,
        "best_epoch": result.best_epoch, "curve": [epoch.validation.accuracy for epoch in result.history],
        "training_seconds": round(sum(epoch.seconds for epoch in result.history), 1),
        "spikes_a_sample": [round(float(count.abs().sum(1).double().mean()), 1) for count in record.counts],
        **facts(recipe.rule, net, task, recipe.loss, recipe.fit["batch_size"]),
    }  # fmt: skip


def _recipe(row: Row) -> Recipe:
    return (CONVOLUTIONAL if row["experiment"].startswith("mnist-conv") else RECIPES)[row["recipe"]]


def on_target(row: Row, out: Path, data: str | None) -> Row:
    """Put a network that a rule has trained on a target: test samples, before and after training samples in the loop."""
    recipe, task = _recipe(row), rules.mnist_values(data)
    net = recipe.network(row["seed"])
    trained = name_of({**row, "study": "rule", "target": ""})
    kept = load_checkpoint(network_folder(out, trained, row["seed"]), net)
    if kept is None:
        raise SystemExit(f"no network for {name_of(row)}; run the row {trained} first")
    net.load_state_dict(kept.state["weights"])
    test = task.test.select(slice(0, row["samples"]))
    simulated = hl.evaluate(net, test, rule=recipe.rule).accuracy
    with rules.open_network(net, row["target"]) as chip:
        start = time.perf_counter()
        measured = chip.run(test.inputs)
        seconds = time.perf_counter() - start
        found: Row = {
            "ran_on": chip.device.ran_on, "device": chip.device.device_id, "simulated": simulated,
            "as_is": _share_right(measured, test.labels), "seconds_a_sample": round(seconds / len(test), 6),
            "agreement": rules.agreement(measured, chip.device.expected(test.inputs)),
        }  # fmt: skip
        if row.get("looped"):
            part = task.subset(row["looped"], len(task.validation), len(task.test))
            options = {**recipe.fit, "epochs": 1, "lr": 0.1 * recipe.fit["lr"], "progress": False}
            hl.fit(net, part, recipe.loss, rule=recipe.rule, forward=chip.forward, **options)
            chip.device.write(net)
            found["tuned"] = _share_right(chip.run(test.inputs), test.labels)
    return found


def train_counting(row: Row, out: Path, data: str | None) -> Row:
    """Train by HM2-BP in continuous time; keep the network for the chips."""
    task, net = counting_task(data), counting_network(row["seed"])
    kept = {"checkpoint_dir": out / "checkpoints" / name_of(row), "resume": True}
    result = hl.fit(
        net, task, COUNTING_LOSS, rule=COUNTING_RULE, seed=row["seed"], progress=False, **kept, **COUNTING_FIT
    )  # fmt: skip
    save_checkpoint(
        network_folder(out, row["experiment"], row["seed"]), net, {"weights": dict(net.state_dict())}, step=0
    )
    test = hl.evaluate(net, task.test, decision="count").accuracy
    curve = [epoch.validation.accuracy for epoch in result.history]
    return {"ran_on": "simulator", "validation": result.best_validation.accuracy, "test": test, "curve": curve}


def counting_on_chip(row: Row, out: Path, data: str | None) -> Row:
    """Fine-tune that network in the loop, by HM2-BP from measured spikes."""
    task, net = counting_task(data), counting_network(row["seed"])
    kept = load_checkpoint(network_folder(out, row["experiment"], row["seed"]), net)
    if kept is None:
        raise SystemExit(f"no base network for {name_of(row)}; run its software row first")
    net.load_state_dict(kept.state["weights"])
    with hl.open(f"emulator:{row['chip']}", session=1, preset="bss2", **row["variant"]) as chip:
        hl.deploy(net, chip, validation=task.validation, decision="count")
        as_is = hl.measure(chip, task.test, decision="count", repeats=TEST_REPEATS)
        result = hl.finetune(
            net, chip, task, COUNTING_LOSS, rule=COUNTING_RULE, seed=row["seed"], progress=False, **COUNTING_FINETUNE
        )  # fmt: skip
        tuned = hl.measure(chip, task.test, decision="count", repeats=TEST_REPEATS)
    return {
        "ran_on": result.ran_on, "device": result.device_id, "as_is": as_is.accuracy, "tuned": tuned.accuracy,
        "validation": result.best_validation.accuracy, "best_epoch": result.best_epoch,
    }  # fmt: skip


def _share_right(record: rules.StepRecord, labels: torch.Tensor) -> float:
    return float((predict(record, "readout") == labels).double().mean())
