"""The parts that every training loop is made of, each by itself: options and a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import GradientError, InputError
from hwloop.evaluation import Evaluation
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.rules import Exact, find
from hwloop.spikes import Spikes
from hwloop.training.options import Schedule, check_loss, check_task, made, real, resolved, used, without_address
from hwloop.training.step import Descent, set_lr, train_epoch


def network() -> Network:
    net = Network([Dense(2, 3), LIF(3, 1e-2, 5e-3)]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.arange(6.0).reshape(3, 2))
    return net


def record(*counts: int) -> Record:
    """One output neuron of three that fires so often in each sample."""
    samples = [([0.1 * (k + 1) for k in range(n)], [1] * n) for n in counts]
    return Record((Spikes.from_events(samples, 3, 1.0, torch.float64),))


# -- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("lr", [5e-324, 1e300], [0.0, -1.0, math.inf, math.nan]),
        ("lr_decay", [5e-324, 1.0], [0.0, 1.0 + 1e-9, math.nan]),
        ("lr_min", [0.0, 1e300], [-5e-324, math.inf, math.nan]),
        ("clip_norm", [5e-324, math.inf], [0.0, -1.0, math.nan]),
        ("averaging", [0.0, 1 - 1e-9], [-1e-9, 1.0, math.nan]),
        ("input_dropout", [0.0, 1 - 1e-9], [-1e-9, 1.0, math.nan]),
        ("margin", [0.0, 1 - 1e-9], [-1e-9, 1.0, math.nan]),
        ("floor", [0.0, 1e300], [-5e-324, math.inf, math.nan]),
    ],
)
def test_every_option_has_its_range(name: str, inside: list[float], outside: list[float]) -> None:
    assert [real(name, value) for value in inside] == inside
    for value in outside:
        with pytest.raises(InputError, match=f"^{name} = .*; allowed: "):
            real(name, value)


def test_numbers_of_numpy_and_torch_are_numbers_and_truth_and_text_are_none() -> None:
    for value in (np.float32(0.5), torch.tensor(0.5), np.array(0.5)[()]):
        assert (real("lr", value), type(real("lr", value))) == (0.5, float)
    for bad in (True, np.True_, torch.tensor(True), "0.5", None, torch.ones(2), 1j):
        with pytest.raises(InputError, match="lr = .*; allowed: finite and > 0"):
            real("lr", bad)


def test_the_rate_falls_by_its_decay_every_epoch_down_to_the_least() -> None:
    schedule = Schedule(5, 10, 0.8, lr_decay=0.5, lr_min=0.15)
    assert [schedule.rate(k) for k in range(1, 6)] == [0.8, 0.4, 0.2, 0.15, 0.15]
    assert Schedule(1, 1, 0.1, lr_min=0.1).rate(9) == 0.1
    with pytest.raises(InputError, match="lr_min = 0.2, lr = 0.1; allowed: 0 <= lr_min <= lr"):
        Schedule(1, 1, 0.1, lr_min=0.2)


def test_a_schedule_without_a_word_neither_decays_nor_clips_nor_averages() -> None:
    assert Schedule(1, 2, 3.0) == Schedule(1, 2, 3.0, 1.0, 0.0, math.inf, 0.0, 0)
    assert Schedule(1, 2, 3.0).recorded() == {
        "batch_size": 2, "lr": 3.0, "lr_decay": 1.0, "lr_min": 0.0, "averaging": 0.0, "seed": 0, "clip_norm": None,
    }  # fmt: skip
    assert Schedule(1, 2, 3.0, clip_norm=4.0).recorded()["clip_norm"] == 4.0
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
        whole = {"epochs": 1, "batch_size": 1, "lr": 1.0}
        assert getattr(Schedule(**{**whole, name: least}), name) == least  # type: ignore[arg-type]
        with pytest.raises(InputError, match=name):
            Schedule(**{**whole, name: least - 1})  # type: ignore[arg-type]


def test_the_fused_optimiser_is_made_of_plain_tensors_alone() -> None:
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, dtype=torch.float64))]
    assert made(torch.optim.Adam, iter(weights), 0.5).defaults["fused"] is True
    groups = made(torch.optim.AdamW, [{"params": weights[:1]}, {"params": weights[1:]}], 0.5)
    assert (groups.defaults["fused"], groups.defaults["lr"], len(groups.param_groups)) == (True, 0.5, 2)
    half = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    assert not made(torch.optim.Adam, [*weights, half], 0.5).defaults["fused"]
    assert not made(torch.optim.Adam, [{"params": [half]}], 0.5).defaults["fused"]


def test_floor_and_policy_are_the_rules_own_else_the_callers_else_the_loops() -> None:
    assert resolved("exact", None, None, 0.3) == Exact(floor=0.3, policy="clip")
    assert resolved("exact", 0.0, "skip", 0.3) == Exact(floor=0.0, policy="skip")
    assert resolved(Exact(floor=0.0, policy="skip"), None, None, 0.3) == Exact(floor=0.0, policy="skip")
    assert resolved(Exact(policy="skip"), 0.2, "skip", 0.3) == Exact(floor=0.2, policy="skip")
    with pytest.raises(InputError, match=r"policy = 'clip' beside rule = Exact\(.*; allowed: one of the two, or twice"):
        resolved(Exact(policy="skip"), None, "clip", 0.3)
    assert resolved("hm2bp", None, None, 0.3) == find("hm2bp")
    assert used(Exact(floor=0.2), 0.7, None, 0.3) == {"floor": 0.2, "policy": "clip"}
    assert used(Exact(floor=0.2, policy="skip"), None, None, 0.3) == {"floor": 0.2, "policy": "skip"}
    assert used(find("hm2bp"), 0.0, "skip", 0.3) == {"floor": 0.0, "policy": "skip"}


@dataclass
class Task:
    n_in: int = 2
    n_out: int = 3
    name: str = "toy"
    train: Any = None
    validation: Any = None


def test_a_task_has_as_many_inputs_and_outputs_as_the_network() -> None:
    check_task(network(), Task())
    for task in (Task(n_in=3), Task(n_out=2)):
        with pytest.raises(
            InputError, match=f"has 2 inputs and 3 outputs; task toy needs {task.n_in} and {task.n_out}"
        ):
            check_task(network(), task)
    for name in ("name", "train", "validation", "n_in", "n_out"):
        lacking = type("Lacking", (), {key: value for key, value in vars(Task()).items() if key != name})()
        with pytest.raises(InputError, match="task is a Lacking; expected a hwloop.Task"):
            check_task(network(), lacking)


def test_a_loss_is_called_with_three_arguments_however_it_takes_them() -> None:
    class Module(nn.Module):
        def forward(self, net: Any, record: Any, labels: Any) -> None: ...

    for loss in (Module(), lambda *arguments: 0, lambda net, record, labels, more=1: 0, max):
        check_loss(loss)
    for loss in (lambda net, record: 0, lambda net, record, labels, more: 0, lambda net, record, labels, *, more: 0):
        with pytest.raises(
            InputError, match=r"the loss <lambda>\(.*cannot take \(net, record, labels\); expected loss"
        ):
            check_loss(loss)


def test_addresses_are_taken_out_of_names_and_nothing_else() -> None:
    assert without_address("<f at 0x7fAB09> and <g at 0x1>") == "<f> and <g>"
    assert without_address("look at 0y7f") == "look at 0y7f"


# -- a step ---------------------------------------------------------------------------------------


def descent(clip_norm: float = math.inf, kind: Any = torch.optim.SGD, **options: Any) -> tuple[Descent, Network, Any]:
    """Steps of plain descent at a rate of 1 on the loss ``labels . weights`` of a network of six weights."""
    net = network()
    optimizer = kind(net.parameters(), lr=1.0, **options)
    return Descent(net, lambda net, record, labels: (net.blocks[0][0].weight * labels).sum(), optimizer, clip_norm), net, optimizer  # type: ignore[arg-type, return-value]  # fmt: skip


def test_a_gradient_longer_than_the_clip_is_shortened_to_it_and_another_left() -> None:
    gradient = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    for clip, share in ((math.inf, 1.0), (5.1, 1.0), (5.0, 5 / (5 + 1e-6)), (1.0, 1 / (5 + 1e-6))):
        step, net, _ = descent(clip)
        before = net.blocks[0][0].weight.detach().clone()
        assert step.differentiate(record(1), gradient, 0) == pytest.approx(float((before * gradient).sum()))
        assert step.step()
        torch.testing.assert_close(before - net.blocks[0][0].weight, share * gradient, rtol=1e-12, atol=0)


def test_a_batch_without_a_gradient_moves_nothing_and_memory_of_earlier_ones_neither() -> None:
    step, net, _ = descent(momentum=0.9)
    assert not step.step()  # none was taken yet
    step.differentiate(record(1), torch.ones(3, 2), 0)
    assert step.step()
    before = net.blocks[0][0].weight.detach().clone()
    step.differentiate(record(1), torch.zeros(3, 2), 1)
    assert not step.step()
    assert torch.equal(net.blocks[0][0].weight, before)


def test_gradients_whose_squares_overflow_are_clipped_and_infinite_ones_refused() -> None:
    net = network().float()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    step = Descent(net, lambda net, record, labels: (net.blocks[0][0].weight * labels).sum(), optimizer, 1.0)  # type: ignore[arg-type, return-value]
    before = net.blocks[0][0].weight.detach().clone()
    step.differentiate(record(1), torch.tensor([[3e30, 0.0], [4e30, 0.0], [0.0, 0.0]]), 0)
    assert step.step()
    moved = (before - net.blocks[0][0].weight.detach())[:, 0].tolist()
    assert moved == pytest.approx([0.6, 0.8, 0.0], rel=1e-6)
    held = net.blocks[0][0].weight.detach().clone()
    for bad in (math.inf, math.nan):
        with pytest.raises(GradientError, match=r"batch 7: gradient of layers.0.weight is NaN or infinite; lower lr"):
            step.differentiate(record(1), torch.tensor([[bad, 0.0]] * 3), 7)
    assert torch.equal(net.blocks[0][0].weight, held)


def test_a_loss_that_is_no_number_is_named_with_its_value() -> None:
    for bad in (math.inf, math.nan):
        step = Descent(network(), lambda *_: torch.tensor(bad), torch.optim.SGD(network().parameters(), lr=1.0))  # type: ignore[arg-type]  # noqa: B023
        with pytest.raises(GradientError, match=rf"batch 3: loss \({bad}\) is NaN or infinite"):
            step.differentiate(record(1), torch.zeros(1), 3)
    for value, what in ((torch.zeros(2), r"a tensor of shape \(2,\)"), (1.0, "float")):
        step = Descent(network(), lambda *_: value, torch.optim.SGD(network().parameters(), lr=1.0))  # type: ignore[arg-type, return-value]  # noqa: B023
        with pytest.raises(InputError, match=f"the loss returned {what}; expected a scalar tensor, the mean over"):
            step.differentiate(record(1), torch.zeros(1), 0)


def test_gradients_begin_anew_with_every_batch_also_of_what_the_optimiser_does_not_move() -> None:
    net, outside = network(), nn.Parameter(torch.ones(1, dtype=torch.float64))
    net.blocks[0][1].tau_mem = nn.Parameter(net.blocks[0][1].tau_mem.clone())  # of the network, not of the optimiser
    optimizer = torch.optim.SGD([net.blocks[0][0].weight, outside], lr=0.0)

    def loss(net: Any, record: Any, labels: Any) -> Tensor:
        value: Tensor = net.blocks[0][0].weight.sum() + 2 * outside.sum() + 3 * net.blocks[0][1].tau_mem.sum()
        return value

    step = Descent(net, loss, optimizer)  # type: ignore[arg-type]
    for _ in range(2):
        step.differentiate(record(1), torch.zeros(1), 0)
        assert outside.grad is not None
        grads = [net.blocks[0][0].weight.grad, outside.grad, net.blocks[0][1].tau_mem.grad]
        assert [float(g.max()) for g in grads if g is not None] == [1.0, 2.0, 3.0]
    outside.data.fill_(math.nan)
    wrong = Descent(net, lambda *_: (outside * outside).sum() * 0 + 1.0 * 0, optimizer)  # type: ignore[arg-type, return-value]
    with pytest.raises(GradientError, match="batch 0: gradient of a parameter is NaN"):
        wrong.differentiate(record(1), torch.zeros(1), 0)


def test_the_rate_of_a_group_of_times_is_one_of_their_unit() -> None:
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:], "time_unit": 5e-3}], lr=1.0)
    set_lr(optimizer, 0.2)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, pytest.approx(1e-3)]


def test_an_epoch_counts_samples_not_batches_and_calls_back_after_each_step() -> None:
    net, seen = network(), list[Any]()
    batches = [(record(1, 0, 2).output, torch.tensor([1, 1, 0])), (record(0).output, torch.tensor([1]))]
    held = [net.blocks[0][0].weight.detach().clone()]

    class Data:
        def batches(self, size: int, generator: Any) -> Any:
            seen.append((size, generator))
            return iter(batches)

    def loss(net: Any, record: Any, labels: Tensor) -> Tensor:
        value: Tensor = (
            net.blocks[0][0].weight.sum() * 0.25 + len(labels) - (net.blocks[0][0].weight.sum() * 0.25).detach()
        )
        return value

    generator = np.random.default_rng(0)
    found = train_epoch(
        net, Data(), loss, torch.optim.SGD(net.parameters(), lr=1.0), batch_size=3, generator=generator,  # type: ignore[arg-type]
        forward=lambda net, inputs: Record((inputs,)), on_batch=seen.append,
        on_step=lambda: held.append(net.blocks[0][0].weight.detach().clone()),
    )  # fmt: skip
    assert seen == [(3, generator), 3, 1]
    # losses of 3 and 1 of three samples and one; two of four right at most, one of them silent
    assert found == Evaluation(1 / 4, 4, 2, (3 * 3 + 1) / 4)
    assert [float((a - b).sum()) for a, b in pairwise(held)] == [1.5, 1.5]
