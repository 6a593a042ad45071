"""Training, fine-tuning and hardening: their options, checkpoints, and gradients that are not finite."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.checkpoint import save_checkpoint
from hwloop.datasets import Stimulus, yin_yang
from hwloop.losses import FirstSpike, Loss, SilentHinge
from hwloop.spikes import Spikes
from hwloop.training import evaluate, train_epoch
from hwloop.training.harden import harden
from hwloop.training.noise import NoiseModel

from .support import Case, Said, option, refused

TASK = yin_yang(sizes=(20, 10, 10))
LOSS = FirstSpike(1e-3) + 5 * SilentHinge(only_label=True)


def network(n_in: int = 5, hidden: int = 4) -> hl.Network:
    generator = torch.Generator().manual_seed(0)
    first = hl.Dense(n_in, hidden).init_normal_(1.2, 1.2, generator)
    second = hl.Dense(hidden, 3).init_normal_(2.0, 0.4, generator)
    return hl.Network([first, hl.LIF(hidden, 10e-3, 5e-3), second, hl.LIF(3, 10e-3, 5e-3)])


def frozen(requires_grad: bool) -> hl.Network:
    net = network()
    for parameter in net.parameters():
        parameter.requires_grad_(requires_grad)
    return net


def fit(net: hl.Network | None = None, **options: Any) -> Any:
    return hl.fit(
        network() if net is None else net, TASK, LOSS, **{"epochs": 1, "batch_size": 10, "progress": False, **options}
    )


def chip() -> hl.Device:
    return hl.open("emulator:3", preset="bss2", session=5)


def finetune(net: hl.Network | None = None, **options: Any) -> Any:
    chosen = {
        "epochs": 1,
        "batch_size": 10,
        "progress": False,
        "weight_scale": "max",
        "validation_repeats": 1,
        **options,
    }
    with chip() as device:
        return hl.finetune(network() if net is None else net, device, TASK, LOSS, **chosen)


def hardened(net: hl.Network | None = None, compiled: hl.Network | None = None, **options: Any) -> Any:
    net = network() if net is None else net
    with chip() as device:
        program = hl.compile(net if compiled is None else compiled, device)
    chosen = {"epochs": 1, "batch_size": 10, "progress": False, "validation_repeats": 1, **options}
    return harden(net, program, TASK, LOSS, NoiseModel(), **chosen)


def shifted(batch: rules.Values, generator: torch.Generator) -> rules.Values:
    return batch


def values_task() -> rules.ValueTask:
    data = rules.ValueSet(torch.rand(4, 5), torch.tensor([0, 1, 2, 0]))
    return rules.ValueTask("small", data, data, data, 5, 3)


def augmented() -> Any:
    net = rules.StepNetwork([hl.Dense(5, 3), rules.TracedNeurons()], in_shape=5, steps=3)
    hl.fit(net, values_task(), rules.ReadoutError(), rule="na", epochs=1, augment=shifted, progress=False)
    images = replace(TASK, images=Stimulus(0.0, TASK.t_stop, TASK.t_stop))
    return hl.fit(network(), images, LOSS, epochs=1, batch_size=10, augment=shifted, progress=False)


UNTIL_1 = math.nextafter(1, 0)


def of_lr(lr_min: float) -> Any:
    return fit(lr=1e-3, lr_min=lr_min)


def measured(data: Any) -> Any:
    return evaluate(network(), data)


def two(loss: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return loss.sum()


def three(net: hl.Network, record: hl.Record, labels: torch.Tensor) -> torch.Tensor:
    return record.output.times.isfinite().sum() * net.blocks[0][0].weight.sum()


def per_sample(net: hl.Network, record: hl.Record, labels: torch.Tensor) -> torch.Tensor:
    return three(net, record, labels) * torch.ones(len(labels))


def trained_by(loss: Any) -> Any:
    return hl.fit(network(), TASK, loss, epochs=1, batch_size=10, progress=False)


BATCH = (TASK.test.inputs, TASK.test.labels)

OPTIONS = [
    option("options.real", "{} = {}; allowed: {}", fit, "input_dropout", 1.0, 0.0, 0.99),
    option("options.real", "allowed: {}", fit, "averaging", 1.0, 0.0, UNTIL_1),
    option("options.real", "{} = {}; allowed", fit, "clip_norm", -1.0, 1e-9, math.inf),
    option("options.real", "{} = {}", fit, "lr", 0.0, 1e-9),
    option("options.real", "; allowed: {}", finetune, "lr_decay", 1.5, 1.0, 0.1),
    option("options.real", "= {}; allowed: {}", hardened, "averaging", 1.0, 0.0, UNTIL_1),
    option("options.real", "= {}; allowed", fit, "floor", -0.1, 0.0),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", fit, "batch_size", 0, 1),
    option("arguments.whole", "allowed: a whole number >= {}", finetune, "repeats", 0, 1),
    option("arguments.whole", "= {}; allowed: a whole number >= {}", hardened, "epochs", 0, 1),
    option("Schedule.__post_init__", "allowed: 0 <= lr_min <= lr", of_lr, "lr_min", 1e-2, 0.0, 1e-3),
    option("_agreed", "allowed: one of the two, or twice the same", lambda rule: fit(rule=rule, floor=0.1), "rule", rules.Exact(floor=0.2), rules.Exact(), rules.Exact(floor=0.1)),
    Case("check_augment", "augment changes pixels", lambda: fit(augment=shifted), augmented),
    Case("check_trainable", "make some an nn.Parameter that requires a gradient", lambda: fit(frozen(False)), lambda: fit(frozen(True))),
    Case("finetune", "call requires_grad_(True) on those to be trained", lambda: finetune(frozen(False)), lambda: finetune(frozen(True))),
    Case("_check_program", "compile this network", lambda: hardened(compiled=network(hidden=5)), lambda: hardened()),
    Case("evaluate", "give the network, or leave loss out", lambda: on_chip(loss=LOSS),
         (lambda: on_chip(), lambda: evaluate(network(), TASK.test, loss=LOSS))),
    Case("evaluate", "leave rule out, a device runs as it does", lambda: on_chip(rule="exact"), lambda: on_chip()),
    option("evaluate.score", "give a data set", measured, "data", iter([]), TASK.test),
    option("batches_of", "expected a data set, or batches of (Spikes, labels)", measured, "data", 3, TASK.test, [BATCH]),
    option("batches_of", "expected (inputs, labels), inputs being Spikes", measured, "data", [TASK.test.inputs], [BATCH]),
    option("count_right", "expected whole numbers, one for each of {} samples", measured, "data", [(BATCH[0], BATCH[1][:2])], [BATCH]),
    option("check_loss", "loss is {}; {}", trained_by, "loss", FirstSpike, FirstSpike(1e-3)),
    option("check_loss", "write a function: def loss(net, record, labels): ...", trained_by, "loss", two, three),
    option("Descent.differentiate", "expected a scalar tensor, the mean over the batch", trained_by, "loss", per_sample, lambda *given: per_sample(*given).mean()),
]  # fmt: skip


@pytest.mark.parametrize("train", [fit, finetune, hardened], ids=lambda train: train.__name__)
def test_the_task_and_the_network_fit_each_other(train: Any) -> None:
    refused("check_task", "task {} needs {} and {}", lambda: train(network(n_in=4)))
    train(network(n_in=5))


def test_a_loader_is_evaluated_and_a_task_is_trained_on() -> None:
    loader = [BATCH]
    message = "A DataLoader is taken by evaluate, and as validation= of fit"
    refused("check_task", message, lambda: hl.fit(network(), loader, LOSS, epochs=1, progress=False))
    evaluate(network(), loader)
    fit(validation=loader)


def on_chip(**options: Any) -> Any:
    with chip() as device:
        device.load(hl.compile(network(), device))
        return evaluate(device, TASK.test, **options)


@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_what_training_asks_for_is_accepted(case: Case) -> None:
    case.follow()


# -- checkpoints ----------------------------------------------------------------------------------

#: Of fit and of finetune: each error by the function that raises it.
NO_FOLDER = [
    (fit, Said("Run.resumed", "resume=True without checkpoint_dir; name the folder that holds the checkpoints")),
    (finetune, Said("Run.resumed", "resume=True without checkpoint_dir; name the folder that holds the checkpoints")),
]
NOT_RESUMED = [
    (fit, Said("Run.resumed", "is there already; pass resume=True, or name another folder")),
    (finetune, Said("Run.resumed", "is there already; pass resume=True, or name another folder")),
]
TOO_MANY = [
    (fit, Said("Run.resumed", "holds {} epochs, this run asks for {}; pass epochs={} or more, or name another folder")),
    (
        finetune,
        Said("Run.resumed", "holds {} epochs, this run asks for {}; pass epochs={} or more, or name another folder"),
    ),
]
OTHER_OPTIONS = [
    (
        fit,
        Said("Run._check_same", "was made with {} = {}, this run has {}; use the same options, or name another folder"),
    ),
    (
        finetune,
        Said("Run._check_same", "was made with {} = {}, this run has {}; use the same options, or name another folder"),
    ),
]
FOREIGN = [
    (fit, Said("Run.resumed", "is no checkpoint of {} ({}: {}); name another folder")),
    (finetune, Said("Run.resumed", "is no checkpoint of {} ({}: {}); name another folder")),
]
NAMES = {"ids": lambda value: getattr(value, "text", getattr(value, "__name__", None))}


@pytest.mark.parametrize(("train", "error"), NO_FOLDER, **NAMES)
def test_a_run_with_a_folder_is_resumed(train: Any, error: Said, tmp_path: Path) -> None:
    refused(*error, lambda: train(resume=True))
    train(checkpoint_dir=tmp_path)
    train(checkpoint_dir=tmp_path, resume=True)


@pytest.mark.parametrize(("train", "error"), NOT_RESUMED, **NAMES)
def test_a_folder_of_checkpoints_is_resumed_or_left_for_another(train: Any, error: Said, tmp_path: Path) -> None:
    train(checkpoint_dir=tmp_path)
    refused(*error, lambda: train(checkpoint_dir=tmp_path))
    train(checkpoint_dir=tmp_path, resume=True)
    train(checkpoint_dir=tmp_path / "another")


@pytest.mark.parametrize(("train", "error"), TOO_MANY, **NAMES)
def test_the_epochs_that_are_printed_are_enough(train: Any, error: Said, tmp_path: Path) -> None:
    train(checkpoint_dir=tmp_path, epochs=2)
    said = refused(*error, lambda: train(checkpoint_dir=tmp_path, resume=True, epochs=1))
    epochs = int(said.split("pass epochs=")[1].split()[0])
    train(checkpoint_dir=tmp_path, resume=True, epochs=epochs)
    train(checkpoint_dir=tmp_path / "another", resume=True, epochs=1)


@pytest.mark.parametrize(("train", "error"), OTHER_OPTIONS, **NAMES)
def test_a_run_with_the_same_options_is_resumed(train: Any, error: Said, tmp_path: Path) -> None:
    train(checkpoint_dir=tmp_path, seed=1)
    refused(*error, lambda: train(checkpoint_dir=tmp_path, resume=True, seed=2))
    train(checkpoint_dir=tmp_path, resume=True, seed=1)
    train(checkpoint_dir=tmp_path / "another", resume=True, seed=2)


@pytest.mark.parametrize(("train", "error"), FOREIGN, **NAMES)
def test_checkpoints_of_something_else_are_left_for_another_folder(train: Any, error: Said, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, network(), {"something": "else"}, step=1)
    refused(*error, lambda: train(checkpoint_dir=tmp_path, resume=True))
    train(checkpoint_dir=tmp_path / "another", resume=True)


def test_a_checkpoint_of_another_loop_is_left_for_another_folder(tmp_path: Path) -> None:
    fit(checkpoint_dir=tmp_path)
    message = "the checkpoint is one of {}, this is {}; name another folder"
    refused("Run._check_same", message, lambda: finetune(checkpoint_dir=tmp_path, resume=True))
    finetune(checkpoint_dir=tmp_path / "another", resume=True)


# -- gradients that are not finite ----------------------------------------------------------------


class Decay(Loss):
    """The squared weights: a step that is too large makes them larger."""

    def __call__(self, net: hl.Network, record: hl.Record, labels: torch.Tensor) -> torch.Tensor:
        return net.blocks[0][0].weight.square().sum()


def test_training_that_diverged_goes_on_with_a_lower_lr() -> None:
    def run(lr: float) -> None:
        net = network()
        net.blocks[0][0].init_normal_(1.0, 0.0)
        hl.fit(net, TASK, Decay(), epochs=1, batch_size=10, lr=lr, optimizer=torch.optim.SGD, progress=False)

    refused("Descent._check", "is NaN or infinite; lower lr, or raise the floor of the derivative", lambda: run(1e30))
    run(1e-3)


def test_a_spike_at_the_top_of_its_membrane_has_a_gradient_with_a_higher_floor() -> None:
    spikes = Spikes.from_events([([0.0], [0])], 1, 0.05, torch.float64)
    dense = hl.Dense(1, 1).init_normal_(5.0, 0.0)
    net = hl.Network([dense, hl.LIF(1, 10e-3, 5e-3)]).double()
    late = hl.Record((Spikes.from_events([([0.03], [0])], 1, 0.05, torch.float64),))  # where the membrane falls
    data = hl.Dataset(spikes, torch.tensor([0]))

    def run(floor: float) -> None:
        train_epoch(
            net, data, FirstSpike(1e-3) + SpikeTime(), torch.optim.SGD(net.parameters(), lr=1e-9), batch_size=1,
            generator=np.random.default_rng(0), forward=lambda net, inputs: net(inputs, late, floor=floor),
        )  # fmt: skip

    refused("Descent._check", "raise the floor of the derivative", lambda: run(1e-310))
    run(1e-3)


class SpikeTime(Loss):
    """The sum of all output spike times."""

    def __call__(self, net: hl.Network, record: hl.Record, labels: torch.Tensor) -> torch.Tensor:
        return record.output.times.sum()
