"""What ``finetune`` refuses before the device is touched."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from hwloop import datasets
from hwloop.datasets import Task
from hwloop.errors import GradientError, InputError, OptionError
from hwloop.network import LIF, Dense, Network

from .loop_runs import SAMPLES, VALIDATION, chip, network, tuned, weights_of


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(sizes=(SAMPLES, VALIDATION, 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs = 0; allowed: a whole number >= 1"),
        ({"epochs": 1.5}, "epochs = 1.5; allowed"),
        ({"batch_size": 0}, "batch_size = 0; allowed: a whole number >= 1"),
        ({"repeats": -1}, "repeats = -1; allowed: a whole number >= 1"),
        ({"validation_repeats": 0}, "validation_repeats = 0; allowed: a whole number >= 1"),
        ({"lr": 0.0}, "lr = 0.0"),
        ({"lr": math.inf}, "lr = inf"),
        ({"lr": math.nan}, "lr = nan"),
        ({"lr_decay": 0.0}, "lr_decay = 0.0"),
        ({"lr_decay": 1.001}, "lr_decay = 1.001"),
        ({"averaging": 1.0}, r"averaging = 1.0; allowed: 0 .*averaging < 1"),
        ({"averaging": -0.1}, "averaging = -0.1"),
        ({"averaging": math.nan}, "averaging = nan"),
        ({"resume": True}, "resume=True without checkpoint_dir"),
    ],
)
def test_an_option_out_of_range_is_refused_before_the_device_is_touched(
    task: Task, options: dict[str, Any], message: str
) -> None:
    net = network()
    before = weights_of(net)
    with chip() as device, pytest.raises(InputError, match=message):
        tuned(net, device, task, **options)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(weights_of(net), before, strict=True))


def test_unknown_rules_decisions_and_gradients_that_the_policy_refuses_are_refused(task: Task) -> None:
    with chip() as device:
        with pytest.raises(OptionError, match="backprop"):
            tuned(network(), device, task, rule="backprop")
        with pytest.raises(OptionError, match="decision = 'vote'"):
            tuned(network(), device, task, decision="vote")
        with pytest.raises(GradientError):
            tuned(network(), device, task, floor=1e6, policy="raise")


def sized(n_in: int, n_out: int) -> Callable[[], Network]:
    return lambda: Network([Dense(n_in, n_out), LIF(n_out, 10e-3, 5e-3)])


@pytest.mark.parametrize(("n_in", "n_out"), [(4, 3), (5, 4), (3, 5)])
def test_a_network_of_another_size_than_the_task_is_refused(task: Task, n_in: int, n_out: int) -> None:
    message = f"the network has {n_in} inputs and {n_out} outputs; task .* needs 5 and 3"
    with chip() as device, pytest.raises(InputError, match=message):
        tuned(sized(n_in, n_out)(), device, task)
