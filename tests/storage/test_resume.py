"""Stopped at a random step and resumed, a training comes out as if nothing had happened, to the last bit."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.datasets import Dataset
from hwloop.experiment import Experiment

from .counts import cases

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml").changed(
    task={"train": 60, "validation": 20, "test": 20},
    training={"epochs": 4},
    finetune={"epochs": 3, "validation_repeats": 1},
)
SEEDS = range(cases(5, 50))


class Stop(BaseException):
    """What kills a run at a step."""


class Stopping:
    """A data set that ends the process's work at batch number ``after``."""

    def __init__(self, after: int) -> None:
        self.left = after

    def batches(self, real: Any) -> Any:
        def wrapped(data: Dataset, *args: Any, **kwargs: Any) -> Any:
            for batch in real(data, *args, **kwargs):
                if self.left == 0:
                    raise Stop
                self.left -= 1
                yield batch

        return wrapped


def sha256(net: hl.Network) -> str:
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def fitted(seed: int, folder: Path | None, resume: bool) -> str:
    net = TINY.build_network(seed)
    options = {
        **TINY.fit_options(),
        "seed": seed,
        "averaging": 0.5 * (seed % 2),
        "input_dropout": 0.1 * (seed % 3 == 0),
    }
    hl.fit(net, TINY.build_task(), TINY.build_loss(), progress=False, checkpoint_dir=folder, resume=resume, **options)
    return sha256(net)


def tuned(seed: int, folder: Path | None, resume: bool) -> str:
    net = TINY.build_network(seed)
    options = {**TINY.finetune_options(), "seed": seed, "averaging": 0.5 * (seed % 2)}
    with hl.open(f"emulator:{seed}", session=seed) as device:
        hl.finetune(
            net,
            device,
            TINY.build_task(),
            TINY.build_finetune_loss(),
            progress=False,
            checkpoint_dir=folder,
            resume=resume,
            **options,
        )
    return sha256(net)


@pytest.mark.parametrize("train", [fitted, tuned], ids=["fit", "finetune"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_training_stopped_at_random_steps_comes_out_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, train: Any
) -> None:
    torch.manual_seed(seed)
    whole = train(seed, None, False)
    chance, stops = random.Random(seed), 0
    for number in range(3):
        torch.manual_seed(seed if number == 0 else 1234 + number)  # what a new process begins with
        with monkeypatch.context() as patch:
            patch.setattr(Dataset, "batches", Stopping(chance.randrange(3, 14)).batches(Dataset.batches))
            try:
                train(seed, tmp_path, number > 0)
            except Stop:
                stops += 1
    assert stops > 0
    assert train(seed, tmp_path, True) == whole
