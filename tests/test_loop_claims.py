"""What ``finetune`` promises, option by option, on chips of which every step can be retraced."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import datasets, losses
from hwloop.checkpoint import newest_manifest
from hwloop.datasets import Task
from hwloop.device.deploy import measure
from hwloop.mapping import Program
from hwloop.rules import Exact
from hwloop.training.loop import LOOP_FLOOR
from hwloop.training.options import resolved, used

from .loop_runs import LOSS, SAMPLES, VALIDATION, Watch, chip, network, retraced, tuned, weights_of


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(sizes=(SAMPLES, VALIDATION, 20))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": 1e-2},
        {"clip_norm": 1e6, "lr": 1e-3},
        {"lr_decay": 0.5},
        {"lr_decay": 1.0, "seed": 3},
        {"batch_size": SAMPLES},
        {"averaging": 0.75},
        {"averaging": 0.5, "clip_norm": 0.1, "lr_decay": 0.25},
        {"repeats": 3},
    ],
    ids=str,
)
def test_on_an_ideal_chip_every_step_is_the_one_that_the_options_say(task: Task, options: dict[str, Any]) -> None:
    net = network()
    with chip() as device:
        watch = Watch(device, net)
        result = tuned(net, device, task, epochs=2, on_epoch=watch, **options)
    expected, found = retraced(task, 2, **{name: value for name, value in options.items() if name != "repeats"})
    rate, decay = options.get("lr", 0.05), options.get("lr_decay", 0.9)
    for k, epoch in enumerate(result.history):
        assert (epoch.number, epoch.lr) == (k + 1, pytest.approx(rate * decay**k, rel=1e-15))
        assert epoch.loss == pytest.approx(found[k], rel=1e-9)
        # what is validated is the average; a few thousand roundings of the model's arithmetic
        for mine, theirs in zip(watch.held[k], expected[k], strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-9, atol=1e-9)


def test_the_optimiser_gets_the_weights_and_each_epochs_rate(task: Task) -> None:
    made: list[torch.optim.Optimizer] = []

    def build(parameters: Any, lr: float) -> torch.optim.Optimizer:
        assert lr == 0.02
        made.append(torch.optim.SGD(parameters, lr=lr))
        return made[0]

    net, rates = network(), []
    with chip() as device:
        tuned(
            net, device, task, epochs=3, lr=0.02, lr_decay=0.5, optimizer=build,
            on_epoch=lambda epoch: rates.append(made[0].param_groups[0]["lr"]),
        )  # fmt: skip
    assert rates == [0.02, 0.01, 0.005]
    assert [id(p) for p in made[0].param_groups[0]["params"]] == [id(dense.weight) for dense, _ in net.blocks]


def test_without_a_word_the_loop_runs_25_epochs_of_25_samples_with_adam() -> None:
    signature = inspect.signature(hl.finetune).parameters
    defaults = {name: parameter.default for name, parameter in signature.items()}
    expected = {
        "rule": "exact", "epochs": 25, "batch_size": 25, "lr": 2e-3, "lr_decay": 0.9, "repeats": 1, "floor": None,
        "policy": None, "clip_norm": 1.0, "averaging": 0.0, "weight_scale": "auto", "mask": (), "seed": 0, "decision": None,
        "validation_repeats": 2, "optimizer": torch.optim.Adam, "checkpoint_dir": None, "resume": False, "progress": None,
        "on_epoch": None,
    }  # fmt: skip
    assert {name: defaults[name] for name in expected} == expected
    # None: the loop's own
    assert used(Exact(floor=LOOP_FLOOR), None, None, LOOP_FLOOR) == {"floor": 0.1, "policy": "clip"}
    assert resolved("exact", None, None, LOOP_FLOOR) == Exact(floor=0.1, policy="clip")


# -- what is kept ---------------------------------------------------------------------------------


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("preset", ["ideal", "bss2"])
def test_network_and_device_are_left_with_the_best_epoch(task: Task, preset: str, averaging: float) -> None:
    net = network()
    with chip(preset) as device:
        before = hl.compile(net, device)
        watch = Watch(device, net)
        result = tuned(net, device, task, epochs=4, lr=0.3, averaging=averaging, on_epoch=watch)
        accuracies = [result.as_is.accuracy, *(epoch.validation.accuracy for epoch in result.history)]
        assert len(set(accuracies)) > 1
        assert result.best_validation.accuracy == max(accuracies) == accuracies[result.best_epoch]
        digests = [before.digest, *watch.digests]
        assert len(set(digests)) == 5
        assert device.program.digest == result.program.digest
        assert hl.compile(net, device, like=result.program).digest == result.program.digest
        assert result.program.weights()[0].tolist() == (
            before.weights()[0].tolist() if result.best_epoch == 0 else watch.held[result.best_epoch - 1][0].tolist()
        )
        assert (result.ran_on, result.device_id) == ("emulator", device.device_id)
    assert result.history == tuple(watch.epochs)


def test_an_epoch_that_is_no_better_does_not_replace_the_one_before(task: Task) -> None:
    net = network()
    before = weights_of(net)
    with chip() as device:
        result = tuned(net, device, task, epochs=3, lr=1e-12)  # nothing changes: all epochs are alike
    assert len({epoch.validation.accuracy for epoch in result.history} | {result.as_is.accuracy}) == 1
    assert result.best_validation.accuracy == result.as_is.accuracy
    for mine, theirs in zip(weights_of(net), before, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_epoch_0_is_the_network_as_deployed(task: Task) -> None:
    with chip() as device:
        device.load(hl.compile(network(gain=2.0), device))
        counted = measure(device, task.validation, decision="count")
        first = measure(device, task.validation)
        assert counted.accuracy != first.accuracy
        assert replace(tuned(network(gain=2.0), device, task).as_is, loss=None) == first
        assert replace(tuned(network(gain=2.0), device, task, decision="count").as_is, loss=None) == counted


def test_weights_move_between_epochs_and_the_step_starts_from_the_shadow_not_the_average(task: Task) -> None:
    net = network()
    with chip() as device:
        watch = Watch(device, net)
        tuned(net, device, task, epochs=2, averaging=0.99, on_epoch=watch)
    for shadow, held in zip(watch.shadow[0], watch.held[0], strict=True):
        assert np.abs(shadow.numpy() - held).max() > 1e-3  # the average lags behind


def test_a_silent_network_costs_ln_n_is_counted_and_left_as_it_is(task: Task) -> None:
    net = network(gain=1e-3)
    before = weights_of(net)
    with chip() as device:
        result = tuned(net, device, task, epochs=1, repeats=2)
    (epoch,) = result.history
    assert result.best_epoch == 0  # the epoch after was as good in every figure: the earlier one is kept
    assert (epoch.silent, epoch.accuracy, epoch.health.spikes) == (SAMPLES, 0.0, 0)
    assert (epoch.health.below_floor, epoch.health.missing, epoch.health.extra) == (0.0, 0.0, 0.0)
    assert epoch.loss == pytest.approx(math.log(3), rel=1e-12)
    assert (epoch.validation.silent, epoch.validation.samples, result.as_is.silent) == (
        VALIDATION,
        VALIDATION,
        VALIDATION,
    )
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(weights_of(net), before, strict=True))


def shuffled(task: Task, size: int) -> list[tuple[Any, torch.Tensor]]:
    """The batches of the first epoch of seed 0."""
    return list(task.train.batches(size, np.random.default_rng([0, 1])))


def test_an_epochs_figures_add_up_over_its_batches(task: Task) -> None:
    net = network()
    with chip("worst") as device:
        watch = Watch(device, net)
        result = tuned(net, device, task, batch_size=16, repeats=2, validation_repeats=3)
    (epoch,) = result.history
    trained = [run for run in watch.runs if len(run.output) in (2 * 16, 2 * (SAMPLES - 32))]
    assert [len(run.output) for run in trained] == [32, 32, 16]
    assert epoch.lost_events == sum(run.lost_events for run in trained) > 0
    assert epoch.late_events == sum(run.late_events for run in trained)
    assert epoch.silent == sum(run.silent_samples for run in trained) // 2
    labels = [labels.repeat(2) for _, labels in shuffled(task, 16)]
    right = sum(int((losses.predict(run) == wanted).sum()) for run, wanted in zip(trained, labels, strict=True))
    assert epoch.accuracy == pytest.approx(right / (2 * SAMPLES), rel=1e-12)
    # validation: three times 20 samples, before and after
    assert [len(run.output) for run in watch.runs].count(3 * VALIDATION) == 2
    assert epoch.validation.accuracy * 3 * VALIDATION == pytest.approx(
        round(epoch.validation.accuracy * 3 * VALIDATION)
    )
    assert 0 < epoch.seconds < 600


def test_writes_are_those_of_the_batches(task: Task) -> None:
    net = network()
    with chip() as device:
        watch = Watch(device, net)
        result = tuned(net, device, task)
    assert len(watch.writes) == 6  # deployed, three batches, validated, left with the best
    assert result.history[0].writes == sum(watch.writes[1:4]) > 0


def test_the_gradient_is_that_of_the_codes_and_the_step_that_of_the_shadow(task: Task) -> None:
    net, model = network(), network()
    before = weights_of(net)
    with chip("bss2") as device:
        watch = Watch(device, net)
        result = tuned(net, device, task, batch_size=SAMPLES, weight_scale=[0.2, 0.1], clip_norm=1e9, on_epoch=watch)
        codes = device.program.with_weights(network()).weights()
    (run,) = [run for run in watch.runs if len(run.output) == SAMPLES]
    ((_, labels),) = shuffled(task, SAMPLES)
    with torch.no_grad():
        for (dense, _), weight in zip(model.blocks, codes, strict=True):
            dense.weight.copy_(torch.as_tensor(weight))
    value = LOSS(model, model(run.inputs, measured=run, floor=0.1), labels)
    value.backward()  # type: ignore[no-untyped-call]
    assert result.history[0].loss == pytest.approx(float(value.detach()), rel=1e-12)
    for (dense, _), start, found, layer in zip(
        model.blocks, before, watch.shadow[0], result.program.layers, strict=True
    ):
        assert dense.weight.grad is not None
        limit = float(np.ravel(layer.largest_weight())[0])
        expected = (start - 0.05 * dense.weight.grad).clamp(-limit, limit)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_health_is_the_models_own_over_the_epoch_and_compared_on_its_first_four_batches(task: Task) -> None:
    net = network()
    with torch.no_grad():
        for dense, _ in net.blocks:
            dense.weight.copy_(torch.round(dense.weight / 0.1) * 0.1)  # what the codes hold
    model = network()
    model.load_state_dict(net.state_dict())
    with chip("bss2") as device:
        watch = Watch(device, net)
        result = tuned(net, device, task, batch_size=5, lr=1e-15, weight_scale=0.1)
    runs = [run for run in watch.runs if len(run.output) == 5]
    assert len(runs) == 8
    healths = [
        record.health for run in runs if (record := model(run.inputs, measured=run, floor=0.1)).health is not None
    ]
    used, floored = (
        sum(getattr(layer, name) for h in healths for layer in h.layers) for name in ("used", "below_floor")
    )
    compared = sum(layer.used for h in healths[:4] for layer in h.layers)
    health = result.history[0].health
    assert health.spikes == used
    assert health.below_floor == pytest.approx(floored / used, rel=1e-12)
    for name in ("missing", "extra"):
        first, rest = (sum(sum(getattr(h, name)) for h in part) for part in (healths[:4], healths[4:]))
        assert first > 0
        assert rest > 0
        assert getattr(health, name) == pytest.approx(first / compared, rel=1e-12)


def test_shadow_weights_stay_where_the_codes_can_follow(task: Task) -> None:
    net = network()
    with chip("bss2") as device:
        watch = Watch(device, net)
        result = tuned(net, device, task, epochs=2, lr=20.0, clip_norm=1e9, on_epoch=watch)
    reached = False
    for shadow in watch.shadow:
        for weight, layer in zip(shadow, result.program.layers, strict=True):
            limit = float(np.ravel(layer.largest_weight())[0])
            assert limit == pytest.approx(layer.scale * 31.5)
            assert float(weight.abs().max()) <= limit * (1 + 1e-12)
            reached |= bool((weight.abs() >= limit * (1 - 1e-12)).any())
    assert reached


def test_scales_and_mask_hold_for_the_whole_run(task: Task) -> None:
    net = network()
    with chip("bss2") as device:
        result = tuned(net, device, task, epochs=2, weight_scale=[0.1, 0.05], mask=[0, 4])
    assert result.program.scales == (0.1, 0.05)
    used = np.concatenate([layer.neurons for layer in result.program.layers])
    assert not {0, 4} & set(used.tolist())


# -- on_epoch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [([20, 21, 22, 23, 24, 25], [7, 8, 9]), ([0, 1, 2, 3, 4, 5], [8, 7, 6])], ids=str)
def test_a_program_returned_after_an_epoch_moves_the_network(
    task: Task, tmp_path: Path, last: tuple[list[int], ...]
) -> None:
    net = network()
    places = {2: [np.arange(100, 106), np.arange(50, 53)], 3: [np.array(part) for part in last]}
    seen: list[tuple[int, list[list[int]]]] = []
    shadow: list[torch.Tensor] = []
    with chip() as device:

        def move(epoch: Any) -> Program | None:
            seen.append((epoch.number, [layer.neurons.tolist() for layer in device.program.layers]))
            manifest = newest_manifest(tmp_path)
            assert manifest is not None
            assert manifest.name == f"step-{epoch.number:08d}.json"  # its checkpoint is safe
            shadow[:] = weights_of(net)
            return device.program.placed(places[epoch.number]) if epoch.number in places else None

        result = tuned(net, device, task, epochs=3, averaging=0.9, on_epoch=move, checkpoint_dir=tmp_path)
        there = [part.tolist() for part in places[3]]
        assert seen == [(1, seen[0][1]), (2, seen[0][1]), (3, [part.tolist() for part in places[2]])]
        assert [layer.neurons.tolist() for layer in result.program.layers] == there
        assert device.program.digest == result.program.digest
        device.load(result.program)
        # what was best elsewhere no longer counts: the weights at hand do, as they are measured where they now stand
        assert result.best_epoch == 3
        assert replace(result.best_validation, loss=None) == measure(device, task.validation)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(weights_of(net), shadow, strict=True))
    again = network(seed=1)
    with chip() as device:
        resumed = tuned(again, device, task, epochs=3, averaging=0.9, checkpoint_dir=tmp_path, resume=True)
    assert resumed.program.digest == result.program.digest
    assert (resumed.history, resumed.best_validation) == (result.history, result.best_validation)
