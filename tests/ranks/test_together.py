"""Several ranks train as one process does: the same weights, whatever the options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.checkpoint import newest_manifest
from hwloop.datasets import Dataset, Task
from hwloop.errors import CheckpointError, GradientError, InputError, RankError
from hwloop.losses import DeadHinge, FirstSpike
from hwloop.ranks import JoinedRanks
from hwloop.training import Epoch, evaluate

from .networks import LOSS, fit, network, task, values
from .threads import together

#: Sums of some 50 gradients in another order differ by some 1e-15 of their size; some steps of Adam carry that on.
SAME = {"rtol": 0.0, "atol": 1e-12}
#: 52 samples in batches of 25: the last batch has 2, of which a third rank gets none.
DATA = task()


def mostly_silent(data: Task) -> Task:
    """Of every four samples three without an event: shares of a batch in which nothing spikes, and so no gradient is."""
    samples = [data.train.inputs[k] for k in range(len(data.train))]
    events = [
        (s.times[0, : s.counts[0]], s.units[0, : s.counts[0]]) if k % 4 == 0 else ([], [])
        for k, s in enumerate(samples)
    ]
    spikes = hl.Spikes.from_events(events, n_units=5, t_stop=data.t_stop, dtype=torch.float64)
    return replace(data, train=Dataset(spikes, data.train.labels))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped": {"clip_norm": 0.3},
    "averaged": {"averaging": 0.9},
    "thinned": {"input_dropout": 0.2},
    "plain descent": {"optimizer": torch.optim.SGD, "lr": 0.05},
    "mostly silent": {"data": mostly_silent(DATA), "loss": FirstSpike(1e-3), "batch_size": 4},
    "rates": {"rule": "hm2bp", "loss": rules.ReadoutError(6.0, 1.0)},
}


def without_clock(history: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in history]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_find_the_weights_of_one_process(size: int, options: dict[str, Any]) -> None:
    options = dict(options)
    data, loss = options.pop("data", DATA), options.pop("loss", LOSS)
    options["batch_size"] = max(size, options.get("batch_size", 25))
    alone = network()
    found = fit(alone, data, loss, **options)
    assert float((values(alone) - values(network())).abs().max()) > 1e-3  # it has moved

    def work(ranks: JoinedRanks) -> Any:
        net = network(seed=ranks.rank)  # the first rank's weights count
        done = fit(net, data, loss, ranks=ranks, **options)
        return values(net), done

    (first, _), *_ = results = together(size, work)
    for weights, done in results:
        assert torch.equal(weights, first)
        torch.testing.assert_close(weights, values(alone), **SAME)
        assert done.best_epoch == found.best_epoch
        for ours, its in zip(done.history, found.history, strict=True):
            assert (ours.accuracy, ours.silent) == (its.accuracy, its.silent)
            assert ours.validation.accuracy == its.validation.accuracy
            assert ours.loss == pytest.approx(its.loss, rel=1e-12)
            assert ours.validation.loss == pytest.approx(its.validation.loss, rel=1e-12)


def test_a_loss_that_looks_at_the_whole_batch_needs_the_other_shares() -> None:
    # what the dead hinge of LOSS would do with the shares alone: the equality above has to fail for it
    net, (inputs, labels) = network(), DATA.train[:24]
    whole = float(DeadHinge(margin=0.2)(net, net(inputs), labels).detach())
    parts = [
        float(DeadHinge(margin=0.2)(net, net(inputs[k : k + 2]), labels[k : k + 2]).detach()) for k in range(0, 24, 2)
    ]
    assert abs(sum(parts) / 12 - whole) > 1e-3


def test_ranks_train_networks_in_steps_with_augmentation_and_dropout_as_one_process_does() -> None:
    generator = torch.Generator().manual_seed(3)
    data = rules.ValueSet(torch.rand(30, 9, generator=generator, dtype=torch.float64), torch.arange(30) % 3)
    steps = rules.ValueTask("small", data, data, data, 9, 3)

    def trained(ranks: Any) -> torch.Tensor:
        net = step_network()
        hl.fit(
            net, steps, rules.ReadoutCrossEntropy(), rule=rules.find("spide", dropout=0.3), epochs=2, batch_size=7, lr=0.01,
            augment=rules.RandomAffine(), input_dropout=0.1, progress=False, ranks=ranks,
        )  # fmt: skip
        return values(net)

    alone = trained(hl.ranks.ALONE)
    assert float((alone - values(step_network())).abs().max()) > 1e-3
    for weights in together(2, trained):
        torch.testing.assert_close(weights, alone, **SAME)


def step_network() -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(5)
    layers = [
        hl.Dense(9, 8, generator=generator),
        rules.RateNeurons(),
        hl.Dense(8, 3, generator=generator),
        rules.RateNeurons(),
    ]
    return rules.StepNetwork(layers, in_shape=9, steps=8).double()


def test_a_run_is_resumed_by_another_number_of_ranks(tmp_path: Path) -> None:
    alone = network()
    fit(alone, DATA, epochs=3, averaging=0.5)
    folder = tmp_path / "run"

    def work(epochs: int) -> Any:
        def one(ranks: Any) -> torch.Tensor:
            net = network(seed=ranks.rank)
            # only the first rank has the folder
            place = folder if ranks.first else tmp_path / "elsewhere"
            fit(net, DATA, epochs=epochs, averaging=0.5, checkpoint_dir=place, resume=True, ranks=ranks)
            return values(net)

        return one

    together(2, work(1))
    together(3, work(2))
    torch.testing.assert_close(work(3)(hl.ranks.ALONE), values(alone), **SAME)
    assert not (tmp_path / "elsewhere").exists()


def test_the_first_rank_alone_calls_back_and_saves(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def work(ranks: JoinedRanks) -> None:
        def told(epoch: Epoch) -> None:
            assert newest_manifest(tmp_path) is not None
            seen.append((ranks.rank, epoch.number))

        fit(network(), DATA, checkpoint_dir=tmp_path, ranks=ranks, on_epoch=told)

    assert together(2, work) == [None, None]
    assert seen == [(0, 1), (0, 2)]


def test_a_loss_that_is_not_finite_on_one_share_is_refused_on_every_rank_alike() -> None:
    class Bad(hl.losses.Loss):
        def __call__(self, net: Any, record: Any, labels: torch.Tensor) -> torch.Tensor:
            bad = record.inputs.times[0, 0] == float(DATA.train.inputs.times[7, 0])
            return record.output.times[record.output.valid].mean() * (float("nan") if bad else 1.0)

    found = together(2, lambda ranks: fit(network(), DATA, Bad(), ranks=ranks, batch_size=2))
    assert all(isinstance(one, GradientError) for one in found), found
    assert len({str(one) for one in found}) == 1


def test_an_error_on_one_rank_ends_the_others_with_its_name() -> None:
    def work(ranks: JoinedRanks) -> None:
        def told(epoch: Epoch) -> None:
            raise OSError("no space left on the device")

        fit(network(), DATA, ranks=ranks, on_epoch=told)

    first, second = together(2, work)
    assert isinstance(first, OSError)
    assert isinstance(second, RankError)
    assert "rank 0 (process" in str(second)
    assert "has failed: OSError: no space left on the device" in str(second)
    assert "checkpoint_dir" in str(second)  # how it could be resumed


def test_a_folder_in_use_ends_all_ranks(tmp_path: Path) -> None:
    fit(network(), DATA, checkpoint_dir=tmp_path)
    first, second = together(2, lambda ranks: fit(network(), DATA, checkpoint_dir=tmp_path, ranks=ranks))
    assert isinstance(first, CheckpointError)
    assert isinstance(second, RankError)
    assert "resume=True" in str(second)


@pytest.mark.parametrize(
    "options, names",
    [
        ({"lr": 0.02}, "lr"),
        ({"seed": 3}, "seed"),
        ({"net": network(hidden=9)}, "network"),
        ({"data": task(60)}, "training data"),
    ],
    ids=["lr", "seed", "network", "data"],
)
def test_ranks_that_were_given_different_things_are_refused_by_name(options: dict[str, Any], names: str) -> None:
    def work(ranks: JoinedRanks) -> None:
        own = {} if ranks.first else dict(options)
        net, data = own.pop("net", network()), own.pop("data", DATA)
        fit(net, data, ranks=ranks, **own)

    for error in together(2, work):
        assert isinstance(error, InputError), error
        assert "rank 1 of 2 differs from rank 0 in " in str(error)
        assert names in str(error)


def test_more_ranks_than_samples_in_a_batch_are_refused() -> None:
    for error in together(3, lambda ranks: fit(network(), DATA, batch_size=2, ranks=ranks)):
        assert isinstance(error, InputError)
        assert "batch_size = 2 for 3 ranks" in str(error)


def test_ranks_share_an_evaluation_and_a_loader_is_left_to_the_first() -> None:
    net = network()
    expected = evaluate(net, DATA.validation, loss=LOSS, batch_size=7)
    loader = list(DATA.validation.batches(7))

    def work(ranks: JoinedRanks) -> Any:
        shared = evaluate(net, DATA.validation, loss=LOSS, batch_size=7, ranks=ranks)
        return shared, evaluate(net, loader if ranks.first else [], loss=LOSS, ranks=ranks)

    for shared, loaded in together(3, work):
        assert loaded == expected
        assert replace(shared, loss=None) == replace(expected, loss=None)
        assert shared.loss == pytest.approx(expected.loss, rel=1e-12)
