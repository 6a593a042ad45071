"""The same option means, and is refused, the same in every training loop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hwloop as hl
from hwloop import datasets, losses
from hwloop.datasets import Task
from hwloop.errors import CheckpointError, GradientError, InputError
from hwloop.losses import Loss
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.rules import Exact
from hwloop.training import NoiseModel, harden
from hwloop_calibration import Upkeep

LOSS = losses.FirstSpike(1e-3) + 3 * losses.SilentHinge(-1, 0.3, only_label=True)
#: Runs a loop for an epoch on (net, task, loss) with options.
Loop = Callable[..., Any]


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(sizes=(30, 20, 10))


def network(seed: int = 0) -> Network:
    g = torch.Generator().manual_seed(seed)
    first, second = Dense(5, 8).init_normal_(1.2, 1.2, g), Dense(8, 3).init_normal_(0.6, 0.6, g)
    return Network([first, LIF(8, 10e-3, 5e-3), second, LIF(3, 10e-3, 5e-3)])


def chip(preset: str = "ideal") -> hl.Device:
    return hl.open("emulator:3", preset=preset, session=5)


def fit(net: Network, task: Task, loss: Any, **options: Any) -> Any:
    return hl.fit(net, task, loss, **{"epochs": 1, "batch_size": 10, "progress": False, **options})


def finetune(net: Network, task: Task, loss: Any, **options: Any) -> Any:
    with chip() as device:
        return hl.finetune(net, device, task, loss, **{"epochs": 1, "batch_size": 10, "progress": False, **options})


def hardened(net: Network, task: Task, loss: Any, **options: Any) -> Any:
    with chip("bss2") as device:
        program = hl.compile(net, device)
    options = {"epochs": 1, "batch_size": 10, "progress": False, **options}
    return harden(net, program, task, loss, NoiseModel(jitter=1e-5), **options)


def upkept(net: Network, task: Task, loss: Any, **options: Any) -> Any:
    with chip() as device:
        upkeep = Upkeep(net, device, hl.compile(net, device), task, loss, **{"epochs": 1, "batch_size": 10, **options})
        upkeep._train([upkeep._validated()])
        return upkeep


LOOPS = pytest.mark.parametrize("loop", [fit, finetune, hardened, upkept])
WITH_CHECKPOINTS = pytest.mark.parametrize("loop", [fit, finetune, hardened])


@LOOPS
@pytest.mark.parametrize(
    "option",
    [
        {"clip_norm": -1.0}, {"clip_norm": 0}, {"clip_norm": math.nan}, {"lr": math.nan}, {"lr": 0.0}, {"lr": "fast"},
        {"lr_decay": 0.0}, {"lr_decay": 1.1}, {"epochs": 0}, {"epochs": True}, {"epochs": 2.0}, {"batch_size": 0}, {"seed": -1},
    ],
    ids=str,
)  # fmt: skip
def test_an_option_out_of_range_is_refused_by_name(loop: Loop, task: Task, option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        loop(network(), task, LOSS, **option)


@WITH_CHECKPOINTS
@pytest.mark.parametrize("option", [{"averaging": 1.0}, {"averaging": -0.1}, {"floor": -1.0}, {"lr_min": 1.0}], ids=str)
def test_an_option_of_simulated_and_measured_training_is_refused_by_name(
    loop: Loop, task: Task, option: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        loop(network(), task, LOSS, **option)


@pytest.mark.parametrize("loop", [finetune, hardened])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_repeats_that_are_no_number_of_runs_are_refused(loop: Loop, task: Task, value: Any) -> None:
    with pytest.raises(InputError, match="repeats = "):
        loop(network(), task, LOSS, repeats=value)


@LOOPS
def test_output_neurons_that_fit_neither_task_nor_loss_are_refused(loop: Loop, task: Task) -> None:
    pooled = losses.FirstSpike(1e-3, neurons=2)
    with pytest.raises(InputError, match=r"(needs 5 and 6 \(3 classes of 2|5 inputs and 6 outputs)"):
        loop(network(), task, pooled, decision="mean:2")
    with pytest.raises(InputError, match="the loss is of 2 output neurons a class, decision = 'first' of 1"):
        loop(network(), task, pooled + LOSS, decision="first")


@LOOPS
def test_numbers_of_numpy_are_numbers(loop: Loop, task: Task) -> None:
    plain, numpy = network(), network()
    loop(plain, task, LOSS, epochs=1, batch_size=15, seed=3, lr=0.0078125)
    loop(numpy, task, LOSS, epochs=np.int64(1), batch_size=np.int32(15), seed=np.uint8(3), lr=np.float32(0.0078125))
    assert torch.equal(plain.blocks[0][0].weight, numpy.blocks[0][0].weight)


# -- gradients that are no numbers ----------------------------------------------------------------


class NanGradient(Loss):
    """A finite loss whose gradient is NaN from its second call with gradients on."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        self.calls += torch.is_grad_enabled()
        weight = net.blocks[0][0].weight
        broken = (weight.detach() - weight).abs().sqrt().sum() if self.calls > 1 else 0.0  # 0 with the slope 0/0
        return LOSS(net, record, labels) + broken


@LOOPS
def test_a_nan_gradient_names_the_batch_and_leaves_weights_and_optimiser_as_before_it(loop: Loop, task: Task) -> None:
    def stopped_after_one_step(net: Network) -> list[Tensor]:
        return [weight.detach().clone() for weight in net.parameters()]

    seen: list[torch.optim.Optimizer] = []
    before: list[Tensor] = []

    class Watched(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            super().step(closure)
            seen.append(self)
            before[:] = [parameter.detach().clone() for group in self.param_groups for parameter in group["params"]]

    net = network()
    options = {} if loop is upkept else {"optimizer": Watched}
    with pytest.raises(GradientError, match=r"batch 1: gradient of layers\.0\.weight is NaN or infinite"):
        loop(net, task, NanGradient(), **options)
    if loop is not upkept:
        assert len(seen) == 1
        assert all(int(state["step"]) == 1 for state in seen[0].state.values())
        for weight, then in zip(net.parameters(), before, strict=True):
            assert torch.equal(weight, then)
    assert all(bool(torch.isfinite(weight).all()) for weight in net.parameters())


@LOOPS
def test_a_loss_that_is_nan_is_named_though_it_passes_no_gradient(loop: Loop, task: Task) -> None:
    def nan(net: Network, record: Record, labels: Tensor) -> Tensor:
        return torch.tensor(math.nan if torch.is_grad_enabled() else 1.0)

    with pytest.raises(GradientError, match=r"batch 0: loss \(nan\)"):
        loop(network(), task, nan)


# -- losses ---------------------------------------------------------------------------------------


def two_arguments(record: Record, labels: Tensor) -> Tensor:
    return record.output.times.sum()


@LOOPS
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (two_arguments, r"two_arguments\(record.*labels.*cannot take \(net, record, labels\)"),
        (torch.nn.CrossEntropyLoss(), r"CrossEntropyLoss.*cannot take \(net, record, labels\)"),
        (losses.FirstSpike, "loss is the class FirstSpike"),
        ("first", "loss is 'first'"),
    ],
)
def test_a_loss_of_other_arguments_is_refused_before_anything_runs(
    loop: Loop, task: Task, loss: Any, message: str
) -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(InputError, match=message) as caught:
        loop(net, task, loss)
    assert "expected loss(net, record, labels)" in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_loss_for_each_sample_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match=r"the loss returned a tensor of shape \(10,\); expected a scalar"):
        fit(network(), task, lambda net, record, labels: record.output.counts.double())


@pytest.mark.parametrize("loop", [fit, finetune, hardened])
def test_what_is_no_task_is_refused_with_what_is_expected(loop: Loop, task: Task) -> None:
    with pytest.raises(InputError, match=r"task is a Dataset; expected a hwloop\.Task"):
        loop(network(), task.train, LOSS)


# -- the exact rule's floor -----------------------------------------------------------------------


def recorded(folder: Path) -> dict[str, Any]:
    from hwloop.checkpoint import load_checkpoint

    found = load_checkpoint(folder, network())
    assert found is not None
    return dict(found.state["options"])


@pytest.mark.parametrize("loop", [fit, finetune])
def test_the_exact_rule_means_the_same_by_name_and_as_an_object(loop: Loop, task: Task, tmp_path: Path) -> None:
    found = {}
    for name, options in {
        "name": {"rule": "exact", "floor": 0.5},
        "object": {"rule": Exact(), "floor": 0.5},
        "own": {"rule": Exact(floor=0.5)},
        "twice": {"rule": Exact(floor=0.5), "floor": 0.5},
    }.items():
        net = network()
        loop(net, task, LOSS, checkpoint_dir=tmp_path / name, **options)
        found[name] = net.blocks[0][0].weight.detach()
        assert recorded(tmp_path / name)["floor"] == 0.5
    usual = network()
    loop(usual, task, LOSS)
    assert not torch.equal(usual.blocks[0][0].weight, found["name"])
    for weight in found.values():
        assert torch.equal(weight, found["name"])


@pytest.mark.parametrize("loop", [fit, finetune])
def test_two_floors_are_refused(loop: Loop, task: Task) -> None:
    with pytest.raises(InputError, match=r"floor = 0\.5 beside rule = Exact\(floor=0\.1"):
        loop(network(), task, LOSS, rule=Exact(floor=0.1), floor=0.5)
    with pytest.raises(InputError, match="floor = -1"):
        Exact(floor=-1)


# -- resume ---------------------------------------------------------------------------------------


@WITH_CHECKPOINTS
@pytest.mark.parametrize(
    "changed",
    [{"optimizer": torch.optim.SGD}, {"lr": 1e-3}, {"clip_norm": 2.0}, {"seed": 4}, {"averaging": 0.5}],
    ids=str,
)
def test_a_run_is_resumed_with_the_options_it_began_with(
    loop: Loop, task: Task, tmp_path: Path, changed: dict[str, Any]
) -> None:
    loop(network(), task, LOSS, checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match=f"made with {next(iter(changed))} = "):
        loop(network(), task, LOSS, epochs=2, checkpoint_dir=tmp_path, resume=True, **changed)


@WITH_CHECKPOINTS
@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    loop: Loop, task: Task, tmp_path: Path, averaging: float
) -> None:
    whole, first, resumed = network(), network(), network()
    at_once = loop(whole, task, LOSS, epochs=3, averaging=averaging, clip_norm=math.inf)
    options = {"averaging": averaging, "clip_norm": math.inf, "checkpoint_dir": tmp_path}
    loop(first, task, LOSS, epochs=1, **options)
    in_two = loop(resumed, task, LOSS, epochs=3, resume=True, **options)
    assert [epoch.loss for epoch in at_once.history] == [epoch.loss for epoch in in_two.history]
    assert [epoch.validation for epoch in at_once.history] == [epoch.validation for epoch in in_two.history]
    assert in_two.best_epoch == at_once.best_epoch
    assert torch.equal(whole.blocks[0][0].weight, resumed.blocks[0][0].weight)


@WITH_CHECKPOINTS
def test_a_loss_that_is_a_function_is_the_same_in_the_next_process(loop: Loop, task: Task, tmp_path: Path) -> None:
    def made() -> Callable[..., Tensor]:
        return lambda net, record, labels: LOSS(net, record, labels)

    first, second = made(), made()
    assert repr(first) != repr(second)
    loop(network(), task, first, checkpoint_dir=tmp_path)
    assert len(loop(network(), task, second, epochs=2, checkpoint_dir=tmp_path, resume=True).history) == 2


@pytest.mark.parametrize("changed", [{"mask": [3]}, {"repeats": 2}, {"validation_repeats": 3}], ids=str)
def test_a_run_in_the_loop_is_resumed_where_it_began(task: Task, tmp_path: Path, changed: dict[str, Any]) -> None:
    finetune(network(), task, LOSS, weight_scale="max", checkpoint_dir=tmp_path)
    options = {"weight_scale": "max", "checkpoint_dir": tmp_path, "resume": True, "epochs": 2, **changed}
    with pytest.raises(CheckpointError, match=f"made with {next(iter(changed))} = "):
        finetune(network(), task, LOSS, **options)


def test_a_checkpoint_of_another_loop_is_refused(task: Task, tmp_path: Path) -> None:
    fit(network(), task, LOSS, checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match="one of fit, this is finetune"):
        finetune(network(), task, LOSS, checkpoint_dir=tmp_path, resume=True)


# -- the best epoch -------------------------------------------------------------------------------


@WITH_CHECKPOINTS
def test_of_equal_accuracies_the_lower_validation_loss_is_kept(loop: Loop, task: Task) -> None:
    def loss(net: Network, record: Record, labels: Tensor) -> Tensor:
        value = LOSS(net, record, labels)
        # an accuracy that stays as it is, and a validation loss that falls with the weights
        return value if torch.is_grad_enabled() else net.blocks[0][0].weight.detach().abs().sum()

    class Shrinking(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.data.mul_(1 - 1e-5)

    result = loop(network(), task, loss, epochs=3, optimizer=Shrinking, averaging=0.0)
    assert [epoch.validation.accuracy for epoch in result.history].count(result.best_validation.accuracy) == 3
    assert result.best_epoch == 3
