"""Hardening makes a network survive the noise that it was trained with, and keeps to the codes of its program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.datasets import Task, subset, yin_yang
from hwloop.device.base import repeat
from hwloop.errors import InputError
from hwloop.experiment import Experiment
from hwloop.losses import FirstSpike, Loss
from hwloop.mapping import Program
from hwloop.record import Record
from hwloop.training import evaluate
from hwloop.training.harden import NoisyRunner, harden
from hwloop.training.noise import NoiseModel, NoisyForward

#: The magnitudes of bss2, in model seconds.
NOISE = NoiseModel(threshold=0.015, jitter=1e-4, time_step=1e-4, event_loss=1e-3)


@pytest.fixture(scope="module")
def trained() -> tuple[Task, hl.Network, Loss, Program]:
    experiment = Experiment.load("yin-yang").changed(training={"epochs": 6, "lr_decay": 0.7}, network={"hidden": [60]})
    task = yin_yang(sizes=(1500, 500, 500))
    net = experiment.build_network()
    hl.fit(net, task, experiment.build_loss(), **experiment.fit_options(), progress=False)
    with hl.open("emulator:0", preset="bss2", mismatch=False) as chip:
        return task, net, experiment.build_finetune_loss(), hl.compile(net, chip)


def copied(net: hl.Network) -> hl.Network:
    other = Experiment.load("yin-yang").changed(network={"hidden": [60]}).build_network()
    other.load_state_dict(net.state_dict())
    return other


def test_a_hardened_network_does_better_on_the_chip_it_never_saw(
    trained: tuple[Task, hl.Network, Loss, Program],
) -> None:
    task, net, loss, program = trained
    hard = copied(net)
    result = harden(hard, program, task, loss, NOISE, epochs=6, lr_decay=0.7, seed=1, progress=False)
    found = []
    with hl.open("emulator:0", preset="bss2", mismatch=False, session=1) as chip:
        for loaded in (program, result.program):
            chip.load(loaded)
            found.append(hl.measure(chip, task.test, repeats=3).accuracy)
    # standard error of a difference on 500 samples: about 1.5 points; hardening brings several times that
    assert found[1] > found[0] + 0.03
    # what validation under imagined noise said holds on the chip
    assert found[1] == pytest.approx(result.best_validation.accuracy, abs=0.06)


def test_weights_stay_in_the_codes_and_the_program_holds_them(trained: tuple[Task, hl.Network, Loss, Program]) -> None:
    task, net, loss, program = trained
    hard = copied(net)
    small = subset(task, 100, 50, 50)
    result = harden(hard, program, small, loss, NOISE, epochs=2, progress=False)
    for (dense, _), layer in zip(hard.blocks, result.program.layers, strict=True):
        assert layer.max_code == 31
        assert float(dense.weight.detach().abs().max()) <= layer.scale * 31.5 * (1 + 1e-6)
        assert np.array_equal(layer.codes, np.clip(np.rint(dense.weight.detach().numpy() / layer.scale), -31, 31))
    # of equal accuracies the lower loss counts
    ranked = [(e.validation.accuracy, -(e.validation.loss or 0.0)) for e in result.history]
    assert result.best_validation == result.history[ranked.index(max(ranked))].validation


def test_equal_seeds_harden_equally(trained: tuple[Task, hl.Network, Loss, Program]) -> None:
    task, net, loss, program = trained
    small = subset(task, 100, 50, 50)
    a, b = copied(net), copied(net)
    for hard in (a, b):
        harden(hard, program, small, loss, NOISE, epochs=1, seed=3, progress=False)
    assert torch.equal(a.blocks[0][0].weight, b.blocks[0][0].weight)


def test_a_noisy_runner_scores_as_a_device_does(trained: tuple[Task, hl.Network, Loss, Program]) -> None:
    task, net, _, program = trained
    imagined = evaluate(NoisyRunner(net, NOISE, program, 1), task.test).accuracy
    with hl.open("emulator:0", preset="bss2", mismatch=False) as chip:
        chip.load(program)
        real = hl.measure(chip, task.test, repeats=2).accuracy
    # two estimates from 500 samples each: standard error of the difference below 2 points
    assert imagined == pytest.approx(real, abs=0.07)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs = 0; allowed: a whole number >= 1"),
        ({"averaging": 1.0}, "averaging = 1.0"),
        ({"batch_size": 0}, "batch_size = 0"),
    ],
)
def test_options_out_of_range_are_refused(
    trained: tuple[Task, hl.Network, Loss, Program], options: dict[str, Any], message: str
) -> None:
    task, net, loss, program = trained
    with pytest.raises(InputError, match=message):
        harden(copied(net), program, task, loss, NOISE, progress=False, **options)


def test_a_program_of_another_network_is_refused(trained: tuple[Task, hl.Network, Loss, Program]) -> None:
    task, _, loss, program = trained
    other = Experiment.load("yin-yang").changed(network={"hidden": [61]}).build_network()
    with pytest.raises(InputError, match="compile this network"):
        harden(other, program, task, loss, NOISE, progress=False)


def small(seed: int = 0) -> hl.Network:
    g = torch.Generator().manual_seed(seed)
    first, second = hl.Dense(5, 8).init_normal_(1.5, 1.0, g), hl.Dense(8, 3).init_normal_(1.0, 0.5, g)
    return hl.Network([first, hl.LIF(8, 10e-3, 5e-3), second, hl.LIF(3, 10e-3, 5e-3)]).double()


def stepped(noise: NoiseModel, repeats: int | None) -> tuple[hl.Network, Any]:
    """A network after one step of plain descent on a batch, and what hardening said of it."""
    net = small()
    task = yin_yang(sizes=(12, 10, 10), dtype=torch.float64)
    with hl.open("emulator:0", preset="bss2", mismatch=False) as chip:
        program = hl.compile(net, chip)
    options = {} if repeats is None else {"repeats": repeats}
    result = harden(
        net, program, task, FirstSpike(1e-3), noise, epochs=1, batch_size=12, lr=1e-3, averaging=0.0, clip_norm=1e9, seed=3,
        optimizer=torch.optim.SGD, progress=False, **options,
    )  # fmt: skip
    return net, result


def weights(net: hl.Network) -> list[torch.Tensor]:
    return [dense.weight.detach() for dense, _ in net.blocks]


def test_several_draws_of_no_noise_are_one() -> None:
    (plain, one), (single, _), (three, result) = (stepped(NoiseModel(), repeats) for repeats in (None, 1, 3))
    before = weights(small())
    for a, b, c, d in zip(weights(plain), weights(single), weights(three), before, strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a, c, rtol=0, atol=1e-12)  # a mean of three equal gradients
        assert not torch.equal(a, d)
    assert (result.history[0].accuracy, result.history[0].silent) == (one.history[0].accuracy, one.history[0].silent)


def test_a_step_averages_the_gradients_of_its_draws() -> None:
    noise = NoiseModel(threshold=0.02, jitter=1e-4)
    moved, _ = stepped(noise, 3)
    net = small()
    data = yin_yang(sizes=(12, 10, 10), dtype=torch.float64).train
    with hl.open("emulator:0", preset="bss2", mismatch=False) as chip:
        forward = NoisyForward(noise, program=hl.compile(net, chip), seed=3)
    (inputs, labels), *_ = data.batches(12, np.random.default_rng([3, 1]))
    record = forward(net, repeat(inputs, 3))
    gradients = []
    for k in range(3):
        part = slice(12 * k, 12 * (k + 1))
        cut = Record(tuple(population[part] for population in record.populations), inputs)
        net.zero_grad(set_to_none=True)
        FirstSpike(1e-3)(net, cut, labels).backward(retain_graph=True)  # type: ignore[no-untyped-call]
        gradients.append([dense.weight.grad.clone() for dense, _ in net.blocks])  # type: ignore[union-attr]
    for weight, after, *each in zip(weights(small()), weights(moved), *gradients, strict=True):
        mean = sum(each) / 3
        assert float((each[0] - mean).abs().max()) > 1e-6  # the draws differ
        assert torch.allclose(after, weight - 1e-3 * mean, rtol=0, atol=1e-12)
