"""Checkpoints of version 0.1.0, which laid averages and best weights out in another way, are gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop import datasets, losses
from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.datasets import Task
from hwloop.network import LIF, Dense, Network

LOSS = losses.FirstSpike(1e-3)
NAMES = ["layers.0.weight", "layers.2.weight"]


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(sizes=(30, 20, 10))


def network(seed: int = 0) -> Network:
    g = torch.Generator().manual_seed(seed)
    first, second = Dense(5, 8).init_normal_(1.2, 1.2, g), Dense(8, 3).init_normal_(0.6, 0.6, g)
    return Network([first, LIF(8, 10e-3, 5e-3), second, LIF(3, 10e-3, 5e-3)])


def rewritten(folder: Path, to: Path, change: Any) -> None:
    """The checkpoint in ``folder`` with its state changed, saved in ``to``."""
    found = load_checkpoint(folder, network())
    assert found is not None
    state = found.state
    del state["loop"]
    change(state)
    save_checkpoint(to, network(), state, step=found.step)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_fit_goes_on_from_a_checkpoint_of_the_first_version(task: Task, tmp_path: Path, averaging: float) -> None:
    options: dict[str, Any] = {"batch_size": 10, "averaging": averaging, "progress": False}
    whole, net = network(), network(seed=5)
    hl.fit(whole, task, LOSS, epochs=2, **options)
    hl.fit(network(), task, LOSS, epochs=1, **options, checkpoint_dir=tmp_path / "new")

    def old(state: dict[str, Any]) -> None:
        del state["best_validation"]
        if averaging:
            mean = state["average"]
            state["average"] = {"n_averaged": torch.tensor(3), **{f"module.{name}": mean[name] for name in NAMES}}

    rewritten(tmp_path / "new", tmp_path / "old", old)
    result = hl.fit(net, task, LOSS, epochs=2, **options, checkpoint_dir=tmp_path / "old", resume=True)
    assert len(result.history) == 2
    for name in NAMES:
        assert torch.equal(net.state_dict()[name], whole.state_dict()[name])


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_finetune_goes_on_from_a_checkpoint_of_the_first_version(task: Task, tmp_path: Path, averaging: float) -> None:
    def tuned(net: Network, **options: Any) -> Any:
        with hl.open("emulator:3", preset="bss2", session=5) as chip:
            shared: dict[str, Any] = {
                "batch_size": 10,
                "averaging": averaging,
                "progress": False,
                "weight_scale": "max",
            }
            return hl.finetune(net, chip, task, LOSS, **shared, **options)

    whole, net = network(), network(seed=5)
    at_once = tuned(whole, epochs=2)
    tuned(network(), epochs=1, checkpoint_dir=tmp_path / "new")

    def old(state: dict[str, Any]) -> None:
        del state["torch_rng"]
        for option in ("optimizer", "lr_min"):
            del state["options"][option]
        state["best"]["weights"] = [state["best"]["weights"][name] for name in NAMES]
        mean = state["network"] if state["average"] is None else state["average"]
        state["average"] = [mean[name] for name in NAMES]

    rewritten(tmp_path / "new", tmp_path / "old", old)
    result = tuned(net, epochs=2, checkpoint_dir=tmp_path / "old", resume=True)
    assert [epoch.loss for epoch in result.history] == [epoch.loss for epoch in at_once.history]
    assert result.program.digest == at_once.program.digest
