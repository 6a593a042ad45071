"""What ``finetune`` promises of its checkpoints: a run that goes on is the run that was never interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hwloop import datasets
from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.datasets import Task
from hwloop.errors import CheckpointError
from hwloop.network import Network

from .loop_runs import LOSS, SAMPLES, VALIDATION, chip, network, tuned, weights_of


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(sizes=(SAMPLES, VALIDATION, 20))


@pytest.fixture(scope="module")
def saved(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    with chip() as device:
        tuned(network(), device, task, epochs=2, checkpoint_dir=folder)
    return folder


def resumed(folder: Path, task: Task, **options: Any) -> Any:
    with chip() as device:
        return tuned(
            network(seed=8), device, task, **{"epochs": 2, "checkpoint_dir": folder, "resume": True, **options}
        )


def test_a_finished_run_is_resumed_without_a_step(saved: Path, task: Task) -> None:
    found = load_checkpoint(saved, network())
    assert found is not None
    assert found.step == 2
    result = resumed(saved, task)
    assert [epoch.number for epoch in result.history] == [1, 2]
    expected = found.state["best"]["weights"]
    net = network(seed=8)
    with chip() as device:
        tuned(net, device, task, epochs=2, checkpoint_dir=saved, resume=True)
    assert {name: value.tolist() for name, value in net.state_dict().items()} == {
        name: value.tolist() for name, value in expected.items()
    }


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 16), ("lr", 0.06), ("lr_decay", 0.8), ("repeats", 2), ("floor", 0.2), ("policy", "skip"),
        ("clip_norm", 2.0), ("seed", 1), ("decision", "count"), ("validation_repeats", 2), ("averaging", 0.5),
    ],
)  # fmt: skip
def test_a_run_is_resumed_with_its_own_options(saved: Path, task: Task, option: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=rf"made with {option} = .*, this run has {value!r}"):
        resumed(saved, task, **{option: value})


def test_a_run_is_resumed_with_its_own_loss_rule_data_and_length(saved: Path, task: Task) -> None:
    with chip() as device, pytest.raises(CheckpointError, match="made with loss = "):
        tuned(network(), device, task, 2 * LOSS, epochs=2, checkpoint_dir=saved, resume=True)
    with pytest.raises(CheckpointError, match="made with rule = "):
        resumed(saved, task, rule="hm2bp")
    with pytest.raises(CheckpointError, match=f"made with samples = {SAMPLES}, this run has 50"):
        resumed(saved, datasets.yin_yang(sizes=(50, VALIDATION, 20)))
    with pytest.raises(CheckpointError, match="holds 2 epochs, this run asks for 1; pass epochs=2 or more"):
        resumed(saved, task, epochs=1)


def test_a_checkpoint_of_something_else_is_refused(task: Task, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, network(), {"weights": 1}, step=1)
    with pytest.raises(CheckpointError, match="is no checkpoint of finetune"):
        resumed(tmp_path, task)


@pytest.mark.parametrize(
    "change",
    [
        {"network": {}}, {"optimizer": {"state": {}, "param_groups": []}}, {"history": [{"number": 1}]},
        {"as_is": {"share": 1.0}}, {"best": {"weights": []}}, {"neurons": []},
        {"device": 3},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_state_that_the_loop_did_not_write_is_refused(
    saved: Path, task: Task, tmp_path: Path, change: dict[str, Any]
) -> None:
    found = load_checkpoint(saved, network())
    assert found is not None
    save_checkpoint(tmp_path, network(), {**found.state, **change}, step=2)
    with pytest.raises(CheckpointError, match="is no checkpoint of finetune"):
        resumed(tmp_path, task)


def test_resuming_where_nothing_was_saved_starts_anew(task: Task, tmp_path: Path) -> None:
    result = resumed(tmp_path, task, epochs=1)
    assert len(result.history) == 1
    found = load_checkpoint(tmp_path, network())
    assert found is not None
    assert found.step == 1


@pytest.mark.parametrize("preset", ["ideal", "bss2"])
def test_a_resumed_run_goes_on_where_it_stood_mask_and_noise_included(task: Task, tmp_path: Path, preset: str) -> None:
    options: dict[str, Any] = {
        "mask": [1, 7],
        "averaging": 0.5,
        "optimizer": torch.optim.Adam,
        "weight_scale": "quantile:0.99",
    }

    def run(net: Network, **more: Any) -> Any:
        with chip(preset) as device:
            return tuned(net, device, task, **options, **more)

    whole_net, net = network(), network(seed=4)
    whole = run(whole_net, epochs=3)
    run(network(), epochs=2, checkpoint_dir=tmp_path)
    again = run(net, epochs=3, checkpoint_dir=tmp_path, resume=True)

    def figures(result: Any) -> list[dict[str, Any]]:
        return [{**vars(epoch), "seconds": 0.0} for epoch in result.history]

    assert figures(again) == figures(whole)
    assert (again.best_epoch, again.best_validation, again.as_is) == (
        whole.best_epoch,
        whole.best_validation,
        whole.as_is,
    )
    assert again.program.digest == whole.program.digest
    assert all(torch.equal(a, b) for a, b in zip(weights_of(net), weights_of(whole_net), strict=True))


def test_a_folder_with_a_checkpoint_is_not_overwritten_by_a_new_run(saved: Path, task: Task) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir() if path.suffix != ".lock"}
    with (
        chip() as device,
        pytest.raises(CheckpointError, match="is there already; pass resume=True, or name another folder"),
    ):
        tuned(network(), device, task, checkpoint_dir=saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir() if path.suffix != ".lock"} == before
