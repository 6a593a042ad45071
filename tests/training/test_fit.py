from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hwloop import datasets, training
from hwloop.datasets import Task
from hwloop.errors import CheckpointError, GradientError, InputError, OptionError
from hwloop.losses import FirstSpike, Loss, SilentHinge
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.spikes import Spikes
from hwloop.training import Best, Epoch, Evaluation, FitResult, evaluate, fit
from hwloop.training.step import Descent

TAU = 5e-3
LOSS = FirstSpike(0.2 * TAU) + 5 * SilentHinge(only_label=True)


def network(hidden: int = 12, seed: int = 0) -> Network:
    generator = torch.Generator().manual_seed(seed)
    return Network(
        [
            Dense(5, hidden, generator=generator),
            LIF(hidden, 2 * TAU, TAU),
            Dense(hidden, 3, generator=generator),
            LIF(3, 2 * TAU, TAU),
        ]
    )


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(seed=1, sizes=(150, 60, 60))


def run(task: Task, net: Network | None = None, **options: Any) -> tuple[Network, FitResult]:
    net = network() if net is None else net
    result = fit(net, task, LOSS, **{"epochs": 4, "batch_size": 25, "lr": 0.01, "progress": False, **options})
    return net, result


def same_weights(a: Network, b: Network) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def without_clock(history: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in history]


# -- fit ------------------------------------------------------------------------------------------


def test_training_learns(task: Task) -> None:
    _, result = run(task, epochs=30)
    assert result.history[-1].loss < result.history[0].loss
    # chance is a third, its standard error on 60 samples 0.061: five of them above
    assert result.best_validation.accuracy > 0.64


def test_same_seed_same_weights_and_another_seed_others(task: Task) -> None:
    (a, first), (b, again), (c, _) = run(task), run(task), run(task, seed=1)
    assert same_weights(a, b)
    assert without_clock(first.history) == without_clock(again.history)
    assert not same_weights(a, c)


def test_the_best_epoch_is_the_best_on_validation_and_its_weights_are_restored(task: Task) -> None:
    net, result = run(task, epochs=6, lr=0.1)  # large steps: the last epoch is rarely the best
    ranks = [(e.validation.accuracy, -(e.validation.loss or 0.0), -e.number) for e in result.history]
    assert result.best_epoch == -max(ranks)[2]
    assert evaluate(net, task.validation, loss=LOSS) == result.best_validation


def test_the_floor_of_the_derivative_reaches_training(task: Task) -> None:
    (a, _), (b, _) = run(task), run(task, floor=1.0)
    assert not same_weights(a, b)
    with pytest.raises(GradientError):
        run(task, floor=1.0, policy="raise")


def test_the_test_set_is_never_looked_at(task: Task) -> None:
    other_test = replace(task, test=task.train.select(slice(0, 5)))
    (a, first), (b, second) = run(task), run(other_test)
    assert same_weights(a, b)
    assert without_clock(first.history) == without_clock(second.history)


def test_learning_rate_decays_to_its_minimum(task: Task) -> None:
    _, result = run(task, lr=0.01, lr_decay=0.5, lr_min=2e-3)
    assert [epoch.lr for epoch in result.history] == [0.01, 0.005, 0.0025, 0.002]


def test_a_clipped_step_of_plain_descent_is_never_longer_than_lr_times_the_norm(task: Task) -> None:
    net = network()
    before = torch.cat([p.detach().flatten() for p in net.parameters()])
    run(task, net, epochs=1, batch_size=150, lr=1.0, clip_norm=1e-2, optimizer=torch.optim.SGD)
    moved = torch.cat([p.detach().flatten() for p in net.parameters()]) - before
    # one batch, one step; float32 rounding of weights up to about 4
    assert float(moved.norm()) == pytest.approx(1e-2, rel=1e-3)


def test_forward_may_be_replaced_and_replaying_own_spikes_changes_nothing(task: Task) -> None:
    def replay(net: Network, inputs: Spikes) -> Record:
        with torch.no_grad():
            measured = net(inputs)
        return net(inputs, measured=measured)

    (a, _), (b, _) = run(task, epochs=2), run(task, epochs=2, forward=replay)
    assert same_weights(a, b)


def test_on_epoch_is_called_once_an_epoch_in_order(task: Task) -> None:
    seen: list[int] = []
    run(task, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen == [1, 2, 3, 4]


def test_a_silent_network_makes_no_step_and_is_counted(task: Task) -> None:
    net = network()
    with torch.no_grad():
        net.blocks[1][0].weight.zero_()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    result = fit(net, task, FirstSpike(TAU), epochs=1, progress=False)
    assert result.history[0].silent == len(task.train)
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_a_step_tells_whether_weights_moved(task: Task) -> None:
    net = network()
    descent = Descent(net, FirstSpike(TAU), torch.optim.Adam(net.parameters()), 1.0)
    inputs, labels = task.train[:10]
    descent.differentiate(net(inputs), labels, 0)
    assert descent.step()
    with torch.no_grad():
        net.blocks[1][0].weight.zero_()
    descent.differentiate(net(inputs), labels, 1)
    assert not descent.step()


def test_progress_is_quiet_in_a_pipe_and_shown_when_asked(task: Task, capfd: pytest.CaptureFixture[str]) -> None:
    run(task, epochs=1, progress=None)
    assert capfd.readouterr() == ("", "")
    run(task, epochs=1, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1/1" in err


# -- resume ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(task: Task, tmp_path: Path, stop: int) -> None:
    whole_net, whole = run(task, epochs=5, lr_decay=0.9)

    class Killed(Exception):
        pass

    def kill(epoch: Epoch) -> None:
        if epoch.number == stop:
            raise Killed

    with pytest.raises(Killed):
        run(task, epochs=5, lr_decay=0.9, checkpoint_dir=tmp_path, on_epoch=kill)
    torch.manual_seed(12345)  # whatever a new process brings
    net, resumed = run(task, network(seed=9), epochs=5, lr_decay=0.9, checkpoint_dir=tmp_path, resume=True)
    assert same_weights(net, whole_net)
    assert without_clock(resumed.history) == without_clock(whole.history)
    assert (resumed.best_epoch, resumed.best_validation) == (whole.best_epoch, whole.best_validation)


def test_resume_without_a_checkpoint_starts_anew_and_a_finished_run_is_handed_back(task: Task, tmp_path: Path) -> None:
    net, first = run(task, epochs=2, checkpoint_dir=tmp_path, resume=True)
    again_net, again = run(task, network(seed=3), epochs=2, checkpoint_dir=tmp_path, resume=True)
    assert first == again
    assert same_weights(net, again_net)


def test_a_folder_with_a_checkpoint_is_not_written_over(task: Task, tmp_path: Path) -> None:
    run(task, epochs=1, checkpoint_dir=tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match="resume=True, or name another folder"):
        run(task, epochs=2, checkpoint_dir=tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_checkpoint_of_another_network_or_other_options_is_refused(task: Task, tmp_path: Path) -> None:
    run(task, epochs=1, checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match="another network"):
        run(task, network(hidden=13), checkpoint_dir=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"batch_size = 25, this run has 10"):
        run(task, batch_size=10, checkpoint_dir=tmp_path, resume=True)


# -- evaluation -----------------------------------------------------------------------------------


def test_batch_size_of_an_evaluation_changes_nothing(task: Task) -> None:
    net = network()
    assert evaluate(net, task.test) == evaluate(net, task.test, batch_size=7)


def test_a_device_is_evaluated_like_a_network(task: Task) -> None:
    net = network()

    class Chip:
        def run(self, spikes: Spikes) -> Record:
            return net(spikes)

    assert evaluate(Chip(), task.test) == evaluate(net, task.test)
    with pytest.raises(InputError, match="loss of a device"):
        evaluate(Chip(), task.test, loss=LOSS)


def test_evaluation_counts_silent_samples_as_wrong(task: Task) -> None:
    net = network()
    with torch.no_grad():
        net.blocks[1][0].weight.zero_()
    assert evaluate(net, task.test) == Evaluation(0.0, 60, 60)


def test_best_prefers_accuracy_then_loss_then_the_earlier_epoch() -> None:
    best, net = Best(), network()
    offers = [(0.5, 1.0), (0.5, 1.0), (0.5, 0.9), (0.4, 0.1), (0.6, 2.0)]
    taken = [best.offer(i, Evaluation(a, 1, 0, loss), net) for i, (a, loss) in enumerate(offers)]
    assert taken == [True, False, True, False, True]


# -- refusals -------------------------------------------------------------------------------------


def test_an_unknown_rule_is_refused_with_those_available(task: Task) -> None:
    with pytest.raises(OptionError, match="rule = 'magic'; available: 'exact'"):
        run(task, rule="magic")


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr_decay": 1.5},
        {"lr_min": 1.0},
        {"clip_norm": 0.0},
        {"resume": True},
    ],
)
def test_options_out_of_range_are_refused(task: Task, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        run(task, **options)


def test_a_task_that_does_not_fit_the_network_is_refused(task: Task) -> None:
    net = Network([Dense(4, 3), LIF(3, 2 * TAU, TAU)])
    with pytest.raises(InputError, match="the network has 4 inputs and 3 outputs; task yin-yang needs 5 and 3"):
        run(task, net)


def test_a_network_with_nothing_to_train_is_refused(task: Task) -> None:
    net = network()
    net.requires_grad_(False)
    with pytest.raises(InputError, match="no trainable parameter"):
        run(task, net)


def test_a_diverging_loss_stops_before_the_step(task: Task) -> None:
    class Bad(Loss):
        def __call__(self, net: Network, record: Record, labels: torch.Tensor) -> torch.Tensor:
            return net.blocks[0][0].weight.sum() * float("nan")

    net = network()
    before = net.blocks[0][0].weight.detach().clone()
    with pytest.raises(GradientError, match="batch 0.*lower lr"):
        fit(net, task, Bad(), epochs=1, progress=False)
    assert torch.equal(before, net.blocks[0][0].weight)


@pytest.mark.slow
def test_yin_yang_reaches_90_percent_within_twelve_epochs() -> None:
    task = datasets.yin_yang(seed=0)
    net, generator = network(hidden=120), torch.Generator().manual_seed(0)
    net.blocks[0][0].init_normal_(0.8, 1.2, generator)
    net.blocks[1][0].init_normal_(0.2, 0.3, generator)
    loss = FirstSpike(0.2 * TAU) + 30 * SilentHinge(only_label=True)
    fit(net, task, loss, epochs=12, batch_size=25, lr=4e-3, lr_decay=0.95, progress=False)
    assert evaluate(net, task.test).accuracy > 0.9


def test_averaged_weights_are_validated_kept_and_resumed_bit_for_bit(task: Task, tmp_path: Path) -> None:
    whole_net, whole = run(task, epochs=4, averaging=0.9, input_dropout=0.1)
    run(task, epochs=2, averaging=0.9, input_dropout=0.1, checkpoint_dir=tmp_path)
    net, resumed = run(
        task, network(seed=9), epochs=4, averaging=0.9, input_dropout=0.1, checkpoint_dir=tmp_path, resume=True
    )
    assert without_clock(resumed.history) == without_clock(whole.history)
    for name, value in whole_net.state_dict().items():
        assert torch.equal(value, net.state_dict()[name])
    best = whole.history[whole.best_epoch - 1].validation
    assert training.evaluate(net, task.validation).accuracy == best.accuracy
    plain, _ = run(task, epochs=4, input_dropout=0.1)
    assert not torch.equal(plain.blocks[0][0].weight, net.blocks[0][0].weight)


def test_averaging_without_end_is_refused(task: Task) -> None:
    with pytest.raises(InputError, match=r"averaging = 1.0; allowed: 0 \(none\) <= averaging < 1"):
        run(task, epochs=1, averaging=1.0)
