"""Several output neurons a class: pooled decisions and losses in closed form."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop import datasets, losses
from hwloop.class_scores import class_scores, class_times, decision_of, reading
from hwloop.compare import compare_decisions
from hwloop.errors import InputError, OptionError
from hwloop.experiment import Experiment
from hwloop.losses import FirstSpike, SilentHinge, SpikeCount, predict
from hwloop.margin_losses import FirstSpikeMargin
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.spikes import Spikes

TAU = 5e-3
NET = Network([Dense(3, 6), LIF(6, 2 * TAU, TAU)])


def output(*samples: tuple[list[float], list[int]], n: int = 6) -> Spikes:
    return Spikes.from_events(list(samples), n, 1.0, torch.float64)


#: Two classes of three neurons: class 0 has the earliest spike, class 1 the earlier mean and more spikes.
SPLIT = output(([0.1, 0.2, 0.25, 0.3, 0.5], [0, 3, 4, 5, 5]))


def test_each_pool_decides_by_what_it_says() -> None:
    assert [int(predict(SPLIT, d)) for d in ("first", "first:3", "mean:3", "count:3", "count")] == [0, 0, 1, 1, 5]
    assert class_times(SPLIT, 3)[0].tolist() == pytest.approx([(0.1 + 1 + 1) / 3, 0.25])
    assert class_times(SPLIT, 3, "first")[0].tolist() == pytest.approx([0.1, 0.2])
    assert class_scores(SPLIT, "count:3")[0].tolist() == [1, 4]
    assert class_scores(SPLIT, "mean:3")[0].tolist() == pytest.approx([-0.7, -0.25])


@pytest.mark.parametrize("decision", ["first", "mean", "count"])
def test_one_neuron_a_class_is_the_decision_without_a_number(decision: str) -> None:
    g = torch.Generator().manual_seed(0)
    times = torch.rand(200, 4, generator=g, dtype=torch.float64).mul(8).round().div(8).sort(1).values  # many ties
    units = torch.randint(0, 3, (200, 4), generator=g)
    some = Spikes.from_events(
        [(t.tolist(), u.tolist()) for t, u in zip(times, units, strict=True)], 3, 1.0, torch.float64
    )
    assert torch.equal(predict(some, decision), predict(some, f"{decision}:1"))
    if decision == "first":  # a silent neuron is as late as can be, so the mean of one is the first
        assert torch.equal(predict(some, "mean"), predict(some, "first"))


def test_ties_go_to_the_class_that_spiked_first_then_to_the_lowest() -> None:
    counts = output(([0.1, 0.2], [4, 1]), ([0.1, 0.1], [0, 3]), ([0.2, 0.3, 0.4], [5, 0, 1]))
    assert predict(counts, "count:3").tolist() == [1, 0, 0]
    assert predict(output(([0.3, 0.3], [1, 4])), "mean:3").tolist() == [0]
    assert predict(output(([], [])), "mean:3").tolist() == [losses.UNDECIDED]


def test_pooled_first_spikes_have_the_gradient_of_their_mean() -> None:
    record = Record((output(([0.1, 0.2, 0.3], [0, 1, 4])),))
    times = record.output.times.requires_grad_(True)
    value = FirstSpike(0.5, neurons=3)(NET, record, torch.tensor([0]))
    value.backward()  # type: ignore[no-untyped-call]
    mean = [(0.1 + 0.2 + 1) / 3, (1 + 0.3 + 1) / 3]
    shares = torch.softmax(torch.tensor([-m / 0.5 for m in mean], dtype=torch.float64), 0)
    assert float(value.detach()) == pytest.approx(-math.log(shares[0]), rel=1e-12)
    each = [(1 - float(shares[0])) / 0.5 / 3] * 2 + [-float(shares[1]) / 0.5 / 3]
    assert times.grad is not None
    assert times.grad[0].tolist() == pytest.approx(each, rel=1e-12)


def test_the_earliest_of_a_class_alone_gets_the_gradient_of_the_pool_first() -> None:
    record = Record((output(([0.1, 0.2, 0.3], [0, 1, 4])),))
    times = record.output.times.requires_grad_(True)
    FirstSpike(0.5, neurons=3, pool="first")(NET, record, torch.tensor([1])).backward()  # type: ignore[no-untyped-call]
    assert times.grad is not None
    assert times.grad[0, 1] == 0
    assert times.grad[0, 0] < 0 < times.grad[0, 2]


def test_every_neuron_of_the_label_is_to_have_the_wanted_count() -> None:
    record = Record((output(([0.1, 0.2, 0.3], [0, 1, 4])),))
    # counts 1 1 0 | 0 1 0, wanted 2 of the label's, 0 of the others
    assert float(SpikeCount(2.0, 0.0, neurons=3)(NET, record, torch.tensor([0]))) == pytest.approx((1 + 1 + 4 + 1) / 2)
    assert float(SpikeCount(2.0, 0.0, neurons=3)(NET, record, torch.tensor([1]))) == pytest.approx(
        (1 + 1 + 4 + 1 + 4) / 2
    )


def test_the_hinge_pulls_every_silent_neuron_of_the_label() -> None:
    inputs = Spikes.from_events([([0.1], [0])], 3, 1.0)
    record = Record((output(([0.2], [0])),), inputs)
    hinge = SilentHinge(margin=0.1, only_label=True, neurons=3)
    silent = torch.zeros(1, 6, dtype=torch.bool)
    silent[0, 1:3] = True
    expected = losses.silent_hinge(NET, record, 0, 0.1, silent)
    assert torch.equal(hinge(NET, record, torch.tensor([0])), expected)
    assert bool(expected > 0)


def test_the_margin_is_asked_for_in_units_of_the_noise() -> None:
    three = output(([0.1, 0.2, 0.4], [0, 1, 2]), ([0.1, 0.4], [0, 1]), n=3)
    # leads of the label over the next: .1, and -.3
    for margin, expected in ((1.0, (0.0 + 4.0) / 2), (4.0, (3.0 + 7.0) / 2)):
        loss = FirstSpikeMargin(margin, 0.1)
        assert float(loss(NET, Record((three,)), torch.tensor([0, 1]))) == pytest.approx(expected)
    times = three.times.requires_grad_(True)
    FirstSpikeMargin(1.0, 0.1)(NET, Record((three,)), torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
    assert times.grad is not None
    assert times.grad[0].tolist() == [0, 0, 0]  # it leads by enough: nothing is asked of it
    assert times.grad[1, :2].tolist() == pytest.approx([-5.0, 5.0])
    pooled = FirstSpikeMargin(2.0, 0.1, neurons=3)(NET, Record((SPLIT,)), torch.tensor([0]))
    assert float(pooled) == pytest.approx(2 + 0.45 / 0.1)


def test_a_comparison_counts_classes_and_not_neurons() -> None:
    found = compare_decisions(SPLIT, SPLIT, torch.tensor([1]), "mean:3")
    assert (found.n_classes, found.accuracy_measured) == (2, 1.0)
    with pytest.raises(InputError, match="label 2"):
        compare_decisions(SPLIT, SPLIT, torch.tensor([2]), "mean:3")


@pytest.mark.parametrize("decision", ["mean:0", "mean:", "mean:x", "median:3", "maximum:3", "first:-1", "first:3:3"])
def test_a_decision_that_is_none_is_refused(decision: str) -> None:
    with pytest.raises(OptionError, match=r"decision = .*allowed: 'first', 'count'"):
        predict(SPLIT, decision)


def test_neurons_that_do_not_divide_the_output_and_unknown_pools_are_refused() -> None:
    with pytest.raises(InputError, match="4 output neurons a class, and the output has 6"):
        predict(SPLIT, "mean:4")
    with pytest.raises(InputError, match="labels 2..2; allowed: 0..1"):
        FirstSpike(1.0, neurons=3)(NET, Record((SPLIT,)), torch.tensor([2]))
    with pytest.raises(InputError, match="neurons = 0"):
        FirstSpike(1.0, neurons=0)
    with pytest.raises(OptionError, match="pool = 'median'; allowed: 'mean', 'first'"):
        FirstSpike(1.0, neurons=3, pool="median")  # type: ignore[arg-type]
    for bad in ({"margin": 0.0, "noise": 1e-3}, {"margin": 1.0, "noise": math.inf}):
        with pytest.raises(InputError, match="allowed: finite and > 0"):
            FirstSpikeMargin(**bad)


def test_losses_of_one_neuron_a_class_are_called_as_before_in_checkpoints() -> None:
    assert repr(FirstSpike(1e-3)) == "FirstSpike(temperature=0.001)"
    assert repr(SpikeCount()) == "SpikeCount(wanted=15.0, others=3.0)"
    assert repr(SilentHinge(only_label=True)) == "SilentHinge(layer=-1, margin=0.0, only_label=True)"
    assert repr(FirstSpike(1e-3, 3, "first")) == "FirstSpike(temperature=0.001, neurons=3, pool='first')"


def test_the_parts_of_a_decision_and_back() -> None:
    for text in ("first", "count", "mean:3", "maximum"):
        assert decision_of(*reading(text)) == text


def pooled_network() -> Network:
    g = torch.Generator().manual_seed(0)
    first, second = Dense(5, 30).init_normal_(0.8, 1.2, g), Dense(30, 6).init_normal_(0.8, 0.6, g)
    return Network([first, LIF(30, 10e-3, 5e-3), second, LIF(6, 10e-3, 5e-3)])


def test_a_network_of_two_neurons_a_class_trains_hardens_and_is_tuned_on_a_chip() -> None:
    task: Any = datasets.yin_yang(sizes=(200, 100, 60))
    loss = FirstSpike(1e-3, neurons=2) + 3 * SilentHinge(margin=0.3, only_label=True, neurons=2)
    options: dict[str, Any] = {"batch_size": 20, "progress": False, "decision": "mean:2"}
    net = pooled_network()
    before = hl.evaluate(net, task.train, decision="mean:2", loss=loss)
    fitted = hl.fit(net, task, loss, epochs=5, lr=1e-2, **options)
    after = hl.evaluate(net, task.train, decision="mean:2", loss=loss)
    assert (after.loss or 0) < 0.8 * (before.loss or 0)
    assert fitted.best_validation.accuracy > 0.45
    with hl.open("emulator:3", preset="bss2", session=1) as chip:
        hl.training.harden(
            net, hl.compile(net, chip), task, loss, hl.training.NoiseModel(jitter=1e-4), epochs=1, **options
        )
        result = hl.finetune(net, chip, task, loss, epochs=2, **options)
        assert result.best_validation.accuracy >= result.as_is.accuracy
        measured = hl.measure(chip, task.validation, decision="mean:2", repeats=3).accuracy
        # 300 answers of either
        assert measured == pytest.approx(result.best_validation.accuracy, abs=4 * math.sqrt(0.25 / 200))


def test_an_experiment_of_several_neurons_a_class_builds_its_network_and_losses() -> None:
    section = {"decision": "first", "temperature": 1e-3, "neurons": 3, "label_hinge": 10.0}
    experiment = Experiment.load("demo-quick").changed(
        loss={"neurons": 3, "lead_hinge": 0.5, "lead": 2.0, "noise": 1e-4}, finetune={"loss": section}
    )
    net = experiment.build_network()
    assert (net.n_in, net.n_out, experiment.decision) == (5, 9, "mean:3")
    assert experiment.fit_options()["decision"] == experiment.finetune_options()["decision"] == "mean:3"
    terms: Any = experiment.build_loss()
    kinds = {type(term): (weight, term) for weight, term in terms.terms}
    assert kinds[FirstSpikeMargin] == (0.5, FirstSpikeMargin(2.0, 1e-4, 3))
    assert kinds[FirstSpike][1] == FirstSpike(1e-3, 3)
    assert kinds[SilentHinge][1].neurons == 3
    assert losses.neurons_of(terms) == losses.neurons_of(experiment.build_finetune_loss()) == {3}
    assert Experiment.from_dict(tomllib.loads(experiment.to_toml()), "again") == experiment
    earliest = experiment.changed(loss={"pool": "first"}, finetune={"loss": {**section, "pool": "first"}})
    assert earliest.decision == "first:3"
    counted = {"decision": "count", "neurons": 2}
    document = Experiment.load("demo-quick").to_dict()
    document |= {"loss": counted, "finetune": document["finetune"] | {"loss": counted}}
    assert Experiment.from_dict(document, "counted").build_network().n_out == 6
