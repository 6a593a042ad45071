from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hwloop import losses
from hwloop.errors import InputError, OptionError
from hwloop.losses import CountBounds, DeadHinge, FirstSpike, Loss, SilentHinge, SpikeCount, predict
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.spikes import Spikes

TAU = 5e-3


def network(*sizes: int, scale: float = 1.0, seed: int = 0) -> Network:
    generator = torch.Generator().manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        dense = Dense(n_in, n_out, generator=generator)
        with torch.no_grad():
            dense.weight.mul_(scale)
        layers += [dense, LIF(n_out, 2 * TAU, TAU)]
    return Network(layers).double()


def inputs(batch: int = 6, n: int = 5, seed: int = 1) -> Spikes:
    generator = torch.Generator().manual_seed(seed)
    return Spikes.from_first_times(4 * TAU * torch.rand(batch, n, dtype=torch.float64, generator=generator), 10 * TAU)


def record_of(*samples: tuple[list[float], list[int]], n: int = 3, t_stop: float = 1.0) -> Record:
    return Record((Spikes.from_events(list(samples), n, t_stop, torch.float64),))


NET = network(5, 3)  # for losses that do not look at the network


def weight_gradients_agree(net: Network, spikes: Spikes, labels: Tensor, loss: Loss) -> None:
    """Compare d loss / d weight with central differences wherever no spike count changes."""
    value = loss(net, net(spikes), labels)
    value.backward()
    counts = [population.unit_counts() for population in net(spikes).populations]
    checked = 0
    for dense, _ in net.blocks:
        gradient = dense.weight.grad
        assert gradient is not None
        for index in [(i % dense.n_out, (3 * i) % dense.n_in) for i in range(8)]:
            results = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    dense.weight[index] += step
                    record = net(spikes)
                    same = all(torch.equal(c, p.unit_counts()) for c, p in zip(counts, record.populations, strict=True))
                    results.append(float(loss(net, record, labels).detach()) if same else math.nan)
                    dense.weight[index] -= step
            slope = (results[0] - results[1]) / 2e-6
            if math.isfinite(slope):
                checked += 1
                # truncation of the difference ~ 1e-12 / tau-scale curvature, rounding ~ 1e-16 / 1e-6
                assert slope == pytest.approx(float(gradient[index]), rel=1e-5, abs=1e-7)
    assert checked >= 8


# -- first spike ----------------------------------------------------------------------------------


def test_first_spike_is_cross_entropy_of_minus_time_over_temperature() -> None:
    record = record_of(([0.1, 0.2, 0.3], [1, 0, 1]))
    expected = -math.log(math.exp(-0.2 / 0.5) / sum(math.exp(-t / 0.5) for t in (0.2, 0.1, 1.0)))
    assert float(FirstSpike(0.5)(NET, record, torch.tensor([0]))) == pytest.approx(expected, rel=1e-14)


def test_first_spike_gradients_agree_with_finite_differences() -> None:
    net = network(5, 8, 3)
    weight_gradients_agree(net, inputs(), torch.arange(6) % 3, FirstSpike(TAU))


def test_a_silent_sample_costs_ln_n_has_zero_gradient_and_is_counted() -> None:
    spikes = Spikes.from_events([([], []), ([0.1], [0])], 3, 1.0, torch.float64)
    spikes.times.requires_grad_(True)
    record = Record((spikes,))
    value = FirstSpike(0.5)(NET, record, torch.tensor([0, 0]))
    value.backward()
    only_second = FirstSpike(0.5)(NET, record_of(([0.1], [0])), torch.tensor([0]))
    assert float(value.detach()) == pytest.approx((math.log(3) + float(only_second)) / 2, rel=1e-14)
    assert spikes.times.grad is not None
    assert bool(torch.isfinite(spikes.times.grad).all())
    assert spikes.times.grad[0].tolist() == [0.0]
    assert losses.silent_samples(record) == 1


def test_later_spikes_of_a_neuron_get_no_first_spike_gradient() -> None:
    spikes = Spikes.from_events([([0.1, 0.2, 0.3], [0, 0, 1])], 3, 1.0, torch.float64)
    spikes.times.requires_grad_(True)
    FirstSpike(0.5)(NET, Record((spikes,)), torch.tensor([0])).backward()
    assert spikes.times.grad is not None
    assert spikes.times.grad[0, 1] == 0
    assert spikes.times.grad[0, 0] > 0 > spikes.times.grad[0, 2]


# -- counts ---------------------------------------------------------------------------------------


def test_spike_count_and_its_convention_for_the_gradient() -> None:
    spikes = Spikes.from_events([([0.1, 0.2, 0.3], [0, 0, 1]), ([], [])], 3, 1.0, torch.float64)
    spikes.times.requires_grad_(True)
    value = SpikeCount(wanted=4, others=0)(NET, Record((spikes,)), torch.tensor([0, 1]))
    value.backward()
    # counts (2, 1, 0) and silence against (4, 0, 0) and (0, 4, 0)
    assert float(value.detach()) == 0.5 * ((4 + 1) + 16) / 2
    assert spikes.times.grad is not None
    # dL/dT = (target - count) / batch at every spike of the neuron, nothing where padded
    assert spikes.times.grad.tolist() == [[1.0, 1.0, -0.5], [0.0, 0.0, 0.0]]


def test_count_gradient_upstream_of_the_convention_is_exact() -> None:
    net, spikes = network(5, 4, scale=3.0), inputs()
    labels = torch.arange(6) % 4
    record = net(spikes)
    counts = record.output.unit_counts().double()
    assert counts.max() > 1
    target = torch.full_like(counts, 1.0).scatter(1, labels[:, None], 5.0)
    upstream = torch.where(record.output.valid, torch.gather(target - counts, 1, record.output.units) / 6, 0.0)
    weight = net.blocks[0][0].weight
    (expected,) = torch.autograd.grad(record.output.times, weight, upstream, retain_graph=True)
    (found,) = torch.autograd.grad(SpikeCount(5, 1)(net, record, labels), weight)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_count_bounds_are_zero_inside_and_quadratic_outside() -> None:
    record = record_of(([0.1, 0.2, 0.3], [0, 0, 1]))
    labels = torch.tensor([0])
    assert float(CountBounds(0, 0, 2)(NET, record, labels)) == 0
    assert float(CountBounds(0, 0, 1)(NET, record, labels)) == 0.5
    assert float(CountBounds(0, 2, 3)(NET, record, labels)) == 0.5 * (1 + 4)


# -- silent neurons -------------------------------------------------------------------------------


def test_hinge_gradients_agree_with_finite_differences() -> None:
    net = network(5, 6, 3, scale=0.5)
    assert losses.silent_samples(net(inputs())) > 0
    weight_gradients_agree(net, inputs(), torch.arange(6) % 3, SilentHinge(-1, 0.1) + 0.5 * SilentHinge(0, 0.2))


def test_hinge_is_the_lack_of_the_membrane_of_silent_neurons() -> None:
    net = Network([Dense(1, 2), LIF(2, 2 * TAU, TAU)]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.tensor([[2.0], [6.0]]))
    spikes = Spikes.from_events([([0.0], [0])], 1, 20 * TAU, torch.float64)
    record = net(spikes)
    assert record.output.unit_counts().tolist() == [[0, 1]]
    # the response of tau_mem = 2 tau_syn peaks at w / 4; the second neuron spiked and is left alone
    assert float(losses.silent_hinge(net, record, 0, 0.25).detach()) == pytest.approx(1.25 - 0.5, rel=1e-12)


def test_hinge_revives_a_dead_network() -> None:
    net, spikes, labels = network(5, 3, scale=0.2), inputs(), torch.arange(6) % 3
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    assert int(net(spikes).output.counts.sum()) == 0
    for _ in range(60):
        optimizer.zero_grad()
        value = SilentHinge(margin=0.1)(net, net(spikes), labels)
        if value.requires_grad:
            value.backward()
            optimizer.step()
    assert int((net(spikes).output.unit_counts() == 0).sum()) == 0


def test_only_label_leaves_other_neurons_alone() -> None:
    net, spikes = network(5, 3, scale=0.2), inputs()
    labels = torch.zeros(6, dtype=torch.int64)
    SilentHinge(only_label=True)(net, net(spikes), labels).backward()
    gradient = net.blocks[0][0].weight.grad
    assert gradient is not None
    assert gradient[0].abs().max() > 0
    assert gradient[1:].abs().max() == 0


def test_dead_hinge_pulls_only_neurons_that_no_sample_fired() -> None:
    net = network(5, 4, 3, scale=1.2)
    spikes, labels = inputs(), torch.tensor([0, 1, 2, 0, 1, 2])
    record = net(spikes)
    fired = record[0].unit_counts() > 0
    # one neuron fires in some samples only, one in none
    assert fired.sum(0).tolist() == [3, 6, 0, 6]
    value = DeadHinge(layer=0, margin=0.25)(net, record, labels)
    everywhere = (~fired.any(0)).expand(6, -1)
    assert torch.equal(value, losses.silent_hinge(net, record, 0, 0.25, everywhere))
    (gradient,) = torch.autograd.grad(value, net.blocks[0][0].weight)
    assert (gradient.abs().sum(1) > 0).tolist() == [False, False, True, False]


def test_dead_hinge_refuses_a_negative_margin_and_a_layer_that_does_not_exist() -> None:
    with pytest.raises(InputError, match=r"margin = -1; allowed"):
        DeadHinge(margin=-1)
    with pytest.raises(InputError, match=r"layer 4; the record has 1"):
        DeadHinge(layer=4)(NET, NET(inputs()), torch.zeros(6, dtype=torch.int64))


def test_hinge_is_zero_where_nothing_is_silent() -> None:
    net, spikes = network(5, 3, scale=4.0), inputs()
    with torch.no_grad():
        net.blocks[0][0].weight.abs_()
    assert int((net(spikes).output.unit_counts() == 0).sum()) == 0
    assert float(SilentHinge(margin=0.5)(net, net(spikes), torch.zeros(6, dtype=torch.int64))) == 0


# -- combination ----------------------------------------------------------------------------------


def test_losses_add_and_multiply() -> None:
    net, spikes, labels = network(5, 3, scale=0.7), inputs(), torch.arange(6) % 3
    record = net(spikes)
    a, b = FirstSpike(TAU), SilentHinge(margin=0.1)
    both = 2 * (a + 30 * b) + a
    expected = 3 * float(a(net, record, labels).detach()) + 60 * float(b(net, record, labels).detach())
    assert float(both(net, record, labels).detach()) == pytest.approx(expected, rel=1e-12)
    assert repr(both) == repr(2 * (a + 30 * b) + a)


# -- decisions ------------------------------------------------------------------------------------


def test_the_earliest_spike_wins_and_ties_go_to_the_lowest_unit() -> None:
    record = record_of(([0.1, 0.2, 0.3], [2, 0, 0]), ([0.1, 0.1], [2, 1]), ([], []))
    assert predict(record).tolist() == [2, 1, losses.UNDECIDED]


def test_the_largest_count_wins_and_ties_go_to_the_earlier_spike() -> None:
    record = record_of(([0.1, 0.2, 0.3], [2, 0, 0]), ([0.1, 0.2], [1, 0]), ([0.1, 0.1], [2, 1]), ([], []))
    assert predict(record, "count").tolist() == [0, 1, 1, losses.UNDECIDED]


@pytest.mark.parametrize("seed", range(5))
def test_the_first_spike_decides_as_the_earliest_of_all_units_does(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # few different times: many ties, in any order of units; some samples are silent
    samples = []
    for n in torch.randint(0, 6, (40,), generator=generator).tolist():
        times = (torch.randint(1, 4, (n,), generator=generator) / 4).sort().values
        samples.append((times.tolist(), torch.randint(0, 3, (n,), generator=generator).tolist()))
    record = record_of(*samples)
    first = record.output.first_times()
    expected = torch.where(torch.isinf(first).all(1), losses.UNDECIDED, torch.argmin(first, 1))
    assert torch.equal(predict(record, "first"), expected)
    assert torch.equal(predict(record_of(([], []), ([], [])), "first"), torch.tensor([-1, -1]))


def test_an_undecided_sample_is_wrong() -> None:
    assert losses.accuracy(torch.tensor([losses.UNDECIDED, 1]), torch.tensor([0, 1])) == 0.5


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, -1e-3, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        FirstSpike(temperature)


@pytest.mark.parametrize("labels", [torch.tensor([3]), torch.tensor([-1]), torch.tensor([0, 1]), torch.tensor([0.0])])
def test_labels_that_do_not_fit_are_refused(labels: Tensor) -> None:
    with pytest.raises(InputError, match="labels"):
        FirstSpike(0.1)(NET, record_of(([0.1], [0])), labels)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([2]),
        np.array([2], np.int32),
        np.array([2], np.uint8),
        [2],
        [np.int64(2)],
        torch.tensor([2], dtype=torch.int16),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "loss", [FirstSpike(0.1), SpikeCount(2, 1), SilentHinge(margin=0.1, only_label=True)], ids=repr
)
def test_labels_are_whole_numbers_whoever_holds_them(loss: Loss, labels: Any) -> None:
    record = record_of(([0.1, 0.2], [0, 2]))
    assert loss(NET, record, labels) == loss(NET, record, torch.tensor([2]))
    assert losses.accuracy(torch.tensor([2]), labels) == 1.0


@pytest.mark.parametrize("labels", [np.array([math.nan]), np.array([1.0]), np.array([True]), [math.nan]], ids=repr)
def test_labels_that_are_no_whole_numbers_are_refused(labels: Any) -> None:
    with pytest.raises(InputError, match="expected whole numbers, one for each of 1 samples"):
        FirstSpike(0.1)(NET, record_of(([0.1], [0])), labels)


@pytest.mark.parametrize(
    "build",
    [
        lambda: SpikeCount(-1, 0),
        lambda: CountBounds(0, 3, 2),
        lambda: SilentHinge(margin=-0.1),
        lambda: FirstSpike(1.0) * math.nan,
    ],
)
def test_settings_out_of_range_are_refused(build: Callable[[], Loss]) -> None:
    with pytest.raises(InputError, match="allowed"):
        build()


def test_a_layer_or_mask_or_decision_that_does_not_exist_is_refused() -> None:
    net = network(5, 3, scale=0.2)
    record = net(inputs())
    with pytest.raises(InputError, match="layer 1; the record has 1"):
        losses.silent_hinge(net, record, 1, 0.0)
    with pytest.raises(InputError, match="mask"):
        losses.silent_hinge(net, record, 0, 0.0, torch.ones(6, 2, dtype=torch.bool))
    with pytest.raises(InputError, match="no inputs"):
        losses.silent_hinge(net, Record(record.populations), 0, 0.0)
    with pytest.raises(OptionError, match="'first', 'count'"):
        predict(record, "vote")  # type: ignore[arg-type]
