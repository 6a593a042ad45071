"""What ``finetune`` promises, option by option, on chips of which every step can be retraced."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import datasets, losses
from hwloop.checkpoint import load_checkpoint, newest_manifest, save_checkpoint
from hwloop.datasets import Task
from hwloop.device.deploy import measure
from hwloop.errors import CheckpointError, GradientError, InputError, OptionError
from hwloop.mapping import Program
from hwloop.network import LIF, Dense, Network
from hwloop.rules import Exact
from hwloop.training.loop import LOOP_FLOOR
from hwloop.training.options import resolved, used

LOSS = losses.FirstSpike(1e-3)
SAMPLES, VALIDATION = 40, 20


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(sizes=(SAMPLES, VALIDATION, 20))


def network(gain: float = 1.0, seed: int = 0) -> Network:
    generator = torch.Generator().manual_seed(seed)
    return Network(
        [
            Dense(5, 6).init_normal_(1.5 * gain, 1.0 * gain, generator),
            LIF(6, 10e-3, 5e-3),
            Dense(6, 3).init_normal_(1.0 * gain, 0.5 * gain, generator),
            LIF(3, 10e-3, 5e-3),
        ]
    ).double()


def chip(preset: str = "ideal", number: int = 3) -> Any:
    return hl.open(f"emulator:{number}", preset=preset, session=5)


def tuned(net: Network, device: Any, task: Task, loss: losses.Loss = LOSS, **options: Any) -> Any:
    plain = {
        "epochs": 1, "batch_size": 15, "lr": 0.05, "progress": False, "weight_scale": "max", "validation_repeats": 1,
        "optimizer": torch.optim.SGD,
    }  # fmt: skip
    return hl.finetune(net, device, task, loss, **{**plain, **options})


def weights_of(net: Network) -> list[torch.Tensor]:
    return [dense.weight.detach().clone() for dense, _ in net.blocks]


class Watch:
    """What the device ran and held, epoch by epoch; as ``on_epoch``."""

    def __init__(self, device: Any, net: Network) -> None:
        self.device, self.net = device, net
        self.epochs: list[Any] = []
        self.held: list[list[np.ndarray]] = []
        self.shadow: list[list[torch.Tensor]] = []
        self.digests: list[str] = []
        self.runs: list[Any] = []
        self.writes: list[int] = []
        run, load = device.run, device.load

        def watched_run(spikes: Any, **options: Any) -> Any:
            self.runs.append(run(spikes, **options))
            self.runs[-1].late_events = len(self.runs)  # as if the link had been slow
            return self.runs[-1]

        def watched_load(program: Program) -> None:
            load(program)
            self.writes.append(device.writes.last)

        device.run, device.load = watched_run, watched_load

    def __call__(self, epoch: Any) -> None:
        self.epochs.append(epoch)
        self.held.append([weight.copy() for weight in self.device.program.weights()])
        self.shadow.append(weights_of(self.net))
        self.digests.append(self.device.program.digest)


def retraced(
    task: Task, epochs: int, averaging: float = 0.0, **options: Any
) -> tuple[list[list[torch.Tensor]], list[float]]:
    """Averaged weights and losses of each epoch by the text of ``finetune``, for an ideal chip."""
    settings = {"lr": 0.05, "lr_decay": 0.9, "batch_size": 15, "clip_norm": 1.0, "seed": 0, **options}
    net = network()
    average, kept, found = weights_of(net), [], []
    for number in range(1, epochs + 1):
        total = 0.0
        for inputs, labels in task.train.batches(
            settings["batch_size"], np.random.default_rng([settings["seed"], number])
        ):
            net.zero_grad(set_to_none=True)
            value = LOSS(net, net(inputs, floor=0.1), labels)
            value.backward()  # type: ignore[no-untyped-call]
            total += float(value.detach()) * len(labels) / SAMPLES
            gradients = [dense.weight.grad for dense, _ in net.blocks]
            norm = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
            rate = (
                settings["lr"] * settings["lr_decay"] ** (number - 1) * min(1.0, settings["clip_norm"] / (norm + 1e-6))
            )
            with torch.no_grad():
                for (dense, _), gradient, mean in zip(net.blocks, gradients, average, strict=True):
                    dense.weight -= rate * gradient  # type: ignore[operator]
                    mean.mul_(averaging).add_(dense.weight, alpha=1 - averaging)
        kept.append([mean.clone() for mean in average])
        found.append(total)
    return kept, found


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


# -- checkpoints ----------------------------------------------------------------------------------


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


# -- refusals -------------------------------------------------------------------------------------


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


def test_a_folder_with_a_checkpoint_is_not_overwritten_by_a_new_run(saved: Path, task: Task) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir() if path.suffix != ".lock"}
    with (
        chip() as device,
        pytest.raises(CheckpointError, match="is there already; pass resume=True, or name another folder"),
    ):
        tuned(network(), device, task, checkpoint_dir=saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir() if path.suffix != ".lock"} == before
