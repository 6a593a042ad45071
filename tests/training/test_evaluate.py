"""What evaluation takes for data, and what it counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import hwloop as hl
from hwloop import datasets, losses
from hwloop.datasets import Dataset, Task
from hwloop.errors import InputError
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.spikes import Spikes
from hwloop.training import Evaluation, evaluate

LOSS = losses.FirstSpike(1e-3)


@pytest.fixture(scope="module")
def task() -> Task:
    return datasets.yin_yang(sizes=(30, 23, 10))


def network() -> Network:
    g = torch.Generator().manual_seed(0)
    first, second = Dense(5, 8).init_normal_(1.2, 1.2, g), Dense(8, 3).init_normal_(0.6, 0.6, g)
    return Network([first, LIF(8, 10e-3, 5e-3), second, LIF(3, 10e-3, 5e-3)])


def test_a_data_loader_is_evaluated_as_its_data_set(task: Task) -> None:
    net = network()
    loader: Any = DataLoader(task.validation, batch_size=10, collate_fn=datasets.collate)  # type: ignore[arg-type]
    whole, loaded = evaluate(net, task.validation, loss=LOSS), evaluate(net, loader, loss=LOSS)
    assert (loaded.accuracy, loaded.samples, loaded.silent) == (whole.accuracy, 23, whole.silent)
    assert loaded.loss == pytest.approx(whole.loss, rel=1e-6)


def test_a_data_loader_validates_a_fit(task: Task) -> None:
    loader: Any = DataLoader(task.validation, batch_size=10, collate_fn=datasets.collate)  # type: ignore[arg-type]
    options: dict[str, Any] = {"epochs": 2, "batch_size": 10, "progress": False}
    usual = hl.fit(network(), task, LOSS, **options)
    loaded = hl.fit(network(), task, LOSS, validation=loader, **options)
    assert [e.validation.accuracy for e in loaded.history] == [e.validation.accuracy for e in usual.history]


def test_batches_of_a_generator_with_numpy_labels_are_evaluated(task: Task) -> None:
    def batches() -> Iterator[tuple[Spikes, np.ndarray[Any, Any]]]:
        for inputs, labels in task.validation.batches(7):
            yield inputs, labels.numpy().astype(np.int32)

    assert evaluate(network(), batches()) == evaluate(network(), task.validation)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no samples to evaluate"),
        (3, "data are a int; expected a data set, or batches"),
        ([torch.zeros(2)], r"a batch is a Tensor; expected \(inputs, labels\)"),
    ],
)
def test_what_holds_no_batches_is_refused(data: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(network(), data)


def test_labels_of_nan_are_refused_by_an_evaluation_without_a_loss(task: Task) -> None:
    with pytest.raises(InputError, match="labels are torch.float32"):
        evaluate(network(), [(task.validation.inputs, torch.full((23,), float("nan")))])


def test_weights_that_are_no_numbers_are_named(task: Task) -> None:
    net = network()
    with torch.no_grad():
        net.blocks[1][0].weight[2, 3] = float("inf")
    for run in (lambda: evaluate(net, task.test), lambda: hl.fit(net, task, LOSS, epochs=1, progress=False)):
        with pytest.raises(
            InputError, match=r"layer 3 \(LIF\): weight of input unit 3 to neuron 2 = inf; allowed: finite"
        ):
            run()


def test_huge_weights_train_where_a_refractory_time_bounds_the_spikes(task: Task) -> None:
    net = Network([Dense(5, 3, generator=torch.Generator().manual_seed(0)), LIF(3, 10e-3, 5e-3, t_ref=5e-3)])
    with torch.no_grad():
        net.blocks[0][0].weight.mul_(1e18)
    result = hl.fit(net, task, LOSS, epochs=1, batch_size=10, progress=False)
    assert np.isfinite(result.history[0].loss)


def test_samples_count_alike_whatever_the_batches(task: Task) -> None:
    def record_of(inputs: Spikes) -> Record:
        return network()(inputs)

    class Chip:
        def run(self, spikes: Spikes) -> Record:
            return record_of(spikes)

    found = {evaluate(Chip(), task.validation, batch_size=size) for size in (1, 5, 23, np.int64(7))}
    assert len(found) == 1
    assert isinstance(next(iter(found)), Evaluation)


def test_a_loss_that_falls_silent_counts_every_sample(task: Task) -> None:
    def one(net: Network, record: Record, labels: Tensor) -> Tensor:
        return torch.tensor(1.0)

    assert evaluate(network(), task.validation, loss=one, batch_size=10).loss == 1.0  # type: ignore[arg-type]


def test_a_network_of_many_neurons_is_evaluated_in_smaller_batches() -> None:
    """15 x 24 x 24 maps of a thousand samples at once had no room (67,108,864 spikes at most)."""
    generator = torch.Generator().manual_seed(0)
    maps = hl.Conv2d(1, 15, 5).init_normal_(0.3, 0.6, generator)
    net = hl.Network(
        [maps, hl.LIF((15, 24, 24), 1e-2, 5e-3), hl.Dense(8640, 2), hl.LIF(2, 1e-2, 5e-3)], in_shape=(1, 28, 28)
    )
    asked: list[int] = []
    net.register_forward_hook(lambda _, given, __: asked.append(len(given[0])))
    data = Dataset(
        hl.Spikes.from_first_times(torch.full((500, 784), torch.inf), 4e-2), torch.zeros(500, dtype=torch.long)
    )
    assert hl.evaluate(net, data).samples == 500
    assert sum(asked) == 500
    assert max(asked) * (8640 + 2) <= 4_000_000
