"""One trainer for all rules: training, resuming bit for bit, averaging, the loop on chips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop import datasets, rules
from hwloop.errors import CheckpointError, InputError
from hwloop.training import FitResult


def task() -> rules.ValueTask:
    """Three classes of noisy patterns."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(3, 12, generator=generator)
    labels = torch.arange(150) % 3
    noisy = (centres[labels] + 0.25 * torch.randn(150, 12, generator=generator)).clamp(0, 1)
    parts = [rules.ValueSet(noisy[a:b], labels[a:b]) for a, b in ((0, 90), (90, 120), (120, 150))]
    return rules.ValueTask("patterns", *parts, n_in=12, n_out=3)


def dense(n_in: int, n_out: int, seed: int, std: float) -> hl.Dense:
    return hl.Dense(n_in, n_out).init_normal_(0.0, std, torch.Generator().manual_seed(seed))


def network(name: str, seed: int = 0) -> rules.StepNetwork:
    neurons: dict[str, Any] = {
        "hm2bp": lambda: rules.LeakyNeurons(2.0, t_ref=0),
        "na": rules.TracedNeurons,
        "spikegrad": lambda: rules.SignedNeurons(0.125),
        "spide": rules.RateNeurons,
    }
    layers = [dense(12, 20, seed, 0.7), neurons[name](), dense(20, 3, seed + 1, 0.4), neurons[name]()]
    return rules.StepNetwork(layers, in_shape=12, steps={"na": 5, "hm2bp": 60}.get(name, 20))


LOSSES: dict[str, hl.losses.Loss] = {"hm2bp": rules.ReadoutError(8.0, 1.0), "na": rules.TraceError()}
RULES: dict[str, rules.Rule] = {"hm2bp": rules.HM2BP(teacher=8), "na": rules.NA()}
every_step_rule = pytest.mark.parametrize("name", [name for name in rules.names() if name != "exact"])


def fitted(name: str, net: rules.StepNetwork, **options: Any) -> FitResult:
    loss, rule = LOSSES.get(name, rules.ReadoutCrossEntropy()), RULES.get(name, name)
    options = {"epochs": 4, "batch_size": 10, "lr": 5e-3, "progress": False, **options}
    return hl.fit(net, task(), loss, rule=rule, **options)


@every_step_rule
def test_training_learns(name: str) -> None:
    net = network(name)
    result = fitted(name, net, epochs=12)
    assert result.history[-1].loss < result.history[0].loss
    # chance is a third, its standard error on 30 samples .086: four of them above
    assert result.best_validation.accuracy > 0.68
    assert hl.evaluate(net, task().validation, rule=RULES.get(name, name)).accuracy == result.best_validation.accuracy


@every_step_rule
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(name: str, tmp_path: Path) -> None:
    options = {"averaging": 0.9, "input_dropout": 0.1, "lr_decay": 0.9}
    whole_net, net = network(name), network(name, seed=5)
    whole = fitted(name, whole_net, **options)
    fitted(name, network(name), epochs=2, checkpoint_dir=tmp_path, **options)
    torch.manual_seed(12345)  # whatever a new process brings
    resumed = fitted(name, net, checkpoint_dir=tmp_path, resume=True, **options)
    for key, value in whole_net.state_dict().items():
        assert torch.equal(value, net.state_dict()[key])
    clocks = [[replace(epoch, seconds=0.0) for epoch in result.history] for result in (whole, resumed)]
    assert clocks[0] == clocks[1]


def test_a_checkpoint_of_another_rule_or_other_options_of_it_is_refused(tmp_path: Path) -> None:
    net = network("na")
    hl.fit(net, task(), rules.TraceError(), rule=rules.NA(), epochs=1, checkpoint_dir=tmp_path, progress=False)
    with pytest.raises(CheckpointError, match="rule = \"NA\\(credit='e'.*this run has \"NA\\(credit='g'"):
        hl.fit(
            network("na"), task(), rules.TraceError(), rule=rules.NA(credit="g"), epochs=2, checkpoint_dir=tmp_path,
            resume=True, progress=False,
        )  # fmt: skip


def test_a_record_in_the_place_of_the_simulated_one_trains_too() -> None:
    def replay(net: rules.StepNetwork, values: rules.Values) -> rules.StepRecord:
        return rules.NA().forward(net, values)

    plain, replayed = network("na"), network("na")
    fitted("na", plain)
    fitted("na", replayed, forward=replay)
    for a, b in zip(plain.parameters(), replayed.parameters(), strict=True):
        assert torch.equal(a, b)


# -- HM2-BP in continuous time, and in the loop ---------------------------------------------------


def counting(seed: int = 0) -> hl.Network:
    generator = torch.Generator().manual_seed(seed)
    first = hl.Dense(5, 30).init_normal_(1.5, 2.5, generator)
    last = hl.Dense(30, 3).init_normal_(0.3, 0.4, generator)
    return hl.Network([first, hl.LIF(30, 10e-3, 5e-3), last, hl.LIF(3, 10e-3, 5e-3)])


COUNTS, RULE = rules.ReadoutError(8.0, 2.0), rules.HM2BP(teacher=8)


def test_spike_trains_in_continuous_time_are_trained_by_counts() -> None:
    yin_yang = datasets.yin_yang(sizes=(300, 100, 50))
    net = counting()
    result = hl.fit(net, yin_yang, COUNTS, rule=RULE, epochs=10, batch_size=10, lr=1e-2, lr_decay=0.9, progress=False)
    # chance is a third, its standard error on 100 samples .047: five of them above
    assert result.best_validation.accuracy > 0.57
    assert hl.evaluate(net, yin_yang.validation, decision="count").accuracy == result.best_validation.accuracy


def test_on_an_ideal_chip_a_step_of_the_loop_is_a_step_of_training() -> None:
    yin_yang = datasets.yin_yang(sizes=(60, 30, 30))
    in_loop, software = counting(), counting()
    with hl.open("emulator:1", preset="ideal") as chip:
        looped = hl.finetune(
            in_loop, chip, yin_yang, COUNTS, rule=RULE, epochs=1, batch_size=10, lr=1e-3, weight_scale="max",
            validation_repeats=1, progress=False,
        )  # fmt: skip
    trained = hl.fit(software, yin_yang, COUNTS, rule=RULE, epochs=1, batch_size=10, lr=1e-3, clip_norm=1.0)
    assert looped.history[0].loss == trained.history[0].loss


def test_a_rule_in_steps_is_refused_in_the_loop_of_continuous_time() -> None:
    with (
        hl.open("emulator:1", preset="ideal") as chip,
        pytest.raises(InputError, match="StepNetwork of TracedNeurons"),
    ):
        hl.finetune(counting(), chip, datasets.yin_yang(sizes=(10, 5, 5)), COUNTS, rule="na", progress=False)
