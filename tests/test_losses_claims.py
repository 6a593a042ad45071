"""Losses and decisions in closed form: exact values, both sides of every bound, what each option does."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hwloop import losses
from hwloop.errors import InputError, OptionError
from hwloop.losses import CountBounds, DeadHinge, FirstSpike, Loss, SilentHinge, SpikeCount, accuracy, predict
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.spikes import Spikes

TAU = 5e-3
NET = Network([Dense(3, 3), LIF(3, 2 * TAU, TAU)])  # for losses that do not look at the network


def spikes_of(*samples: tuple[list[float], list[int]], n: int = 3, dtype: torch.dtype = torch.float64) -> Spikes:
    return Spikes.from_events(list(samples), n, 1.0, dtype)


def value_and_gradient(loss: Loss, record: Record, labels: list[int]) -> tuple[float, list[list[float]]]:
    times = record.output.times.requires_grad_(True)
    value = loss(NET, record, torch.tensor(labels))
    value.backward()  # type: ignore[no-untyped-call]
    assert times.grad is not None
    return float(value.detach()), times.grad.tolist()


# -- first spike ----------------------------------------------------------------------------------


def test_the_first_spike_gradient_is_that_of_a_softmax_over_minus_time_by_temperature() -> None:
    record = Record((spikes_of(([0.1, 0.2], [1, 0]), ([0.3], [2])),))
    value, gradient = value_and_gradient(FirstSpike(0.25), record, [0, 2])
    shares, costs = [], []
    for first, label in (([0.2, 0.1, 1.0], 0), ([1.0, 1.0, 0.3], 2)):
        e = [math.exp(-t / 0.25) for t in first]
        shares.append([x / sum(e) for x in e])
        costs.append(-math.log(shares[-1][label]))
    assert value == pytest.approx(sum(costs) / 2, rel=1e-14)
    # d loss / d t = (1{label} - p) / temperature, mean over two samples; padding gets none
    expected = [[-shares[0][1] / 0.25 / 2, (1 - shares[0][0]) / 0.25 / 2], [(1 - shares[1][2]) / 0.25 / 2, 0.0]]
    assert gradient[0] == pytest.approx(expected[0], rel=1e-13)
    assert gradient[1] == pytest.approx(expected[1], rel=1e-13)


def test_a_missing_spike_counts_as_one_at_the_end_of_the_window() -> None:
    silent, late = spikes_of(([0.5], [0]), n=2), spikes_of(([0.5, 1.0], [0, 1]), n=2)
    costs = [FirstSpike(0.5)(NET, Record((spikes,)), torch.tensor([1])) for spikes in (silent, late)]
    assert float(costs[0]) == float(costs[1])


# -- counts ---------------------------------------------------------------------------------------


def test_the_count_loss_asks_for_15_spikes_of_the_label_and_3_of_the_others_unless_told() -> None:
    assert SpikeCount() == SpikeCount(wanted=15.0, others=3.0)
    record = Record((spikes_of(([0.1, 0.2], [0, 0])),))
    # counts (2, 0, 0) against (15, 3, 3)
    assert float(SpikeCount()(NET, record, torch.tensor([0]))) == 0.5 * (13**2 + 3**2 + 3**2)
    assert float(SpikeCount(2, 0)(NET, record, torch.tensor([0]))) == 0.0
    assert float(SpikeCount(0, 2)(NET, record, torch.tensor([1]))) == 0.5 * 4


def test_counts_keep_the_dtype_of_the_times_and_pass_minus_one() -> None:
    for dtype in (torch.float32, torch.float64):
        spikes = spikes_of(([0.1, 0.2, 0.3], [2, 0, 2]), ([0.5], [1]), dtype=dtype)
        spikes.times.requires_grad_(True)
        counts = losses.differentiable_counts(spikes)
        assert counts.dtype == dtype
        assert counts.tolist() == [[1, 0, 2], [0, 1, 0]]
        (counts * torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=dtype)).sum().backward()
        assert spikes.times.grad is not None
        assert spikes.times.grad.tolist() == [[-3.0, -1.0, -3.0], [-5.0, 0.0, 0.0]]


def test_bounds_on_counts_push_spikes_out_and_pull_them_in() -> None:
    record = Record((spikes_of(([0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1]), ([], [])),))
    value, gradient = value_and_gradient(CountBounds(0, 2, 2), record, [0, 0])
    # counts (3, 1, 0) and (0, 0, 0) against 2: excess 1; lack 1, 2; lack 2, 2, 2; mean over two samples
    assert value == 0.5 * (1 + 1 + 4 + 3 * 4) / 2
    # dL/dT = (target - count) / batch: later out of the window for too many, earlier for too few
    assert gradient == [[-0.5, -0.5, -0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]


def test_bounds_on_counts_are_open_unless_told_and_look_at_the_layer_named() -> None:
    assert CountBounds() == CountBounds(layer=0, lower=0.0, upper=math.inf)
    few, many = spikes_of(([0.1], [0])), spikes_of(([0.1, 0.2, 0.3], [0, 0, 0]))
    labels = torch.tensor([0])
    assert float(CountBounds()(NET, Record((many, few)), labels)) == 0
    assert float(CountBounds(upper=1)(NET, Record((many, few)), labels)) == 0.5 * 4
    for layer in (1, -1):
        assert float(CountBounds(layer, upper=1)(NET, Record((many, few)), labels)) == 0
    assert float(CountBounds(-2, upper=1)(NET, Record((many, few)), labels)) == 0.5 * 4


# -- silent neurons -------------------------------------------------------------------------------


def one_input(*weights: float, v_leak: float = 0.0, delay: float | None = None) -> Network:
    """One input unit onto ``tau_mem = 2 tau_syn`` neurons: a spike of weight w lifts the membrane by w / 4."""
    n = len(weights)
    leak = torch.full((n,), v_leak, dtype=torch.float64)
    net = Network([Dense(1, n, delay=delay), LIF(n, 2 * TAU, TAU, v_leak=leak, v_reset=leak)]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.tensor(weights)[:, None])
    return net


ONCE = Spikes.from_events([([0.0], [0]), ([], [])], 1, 20 * TAU, torch.float64)


def test_the_hinge_sums_over_neurons_and_is_a_mean_over_samples() -> None:
    net = one_input(2.0, 1.0, 6.0)
    record = net(ONCE)
    assert record.output.unit_counts().tolist() == [[0, 0, 1], [0, 0, 0]]
    # the first sample lacks .5 and .75, the second all of it three times; a margin is added for each silent neuron
    expected = ((1.0 - 0.5) + (1.0 - 0.25) + 3 * 1.0) / 2
    assert float(losses.silent_hinge(net, record, 0, 0.0).detach()) == pytest.approx(expected, rel=1e-12)
    assert float(losses.silent_hinge(net, record, -1, 0.25).detach()) == pytest.approx(
        expected + 5 * 0.25 / 2, rel=1e-12
    )
    assert float(SilentHinge()(net, record, torch.tensor([0, 0])).detach()) == pytest.approx(expected, rel=1e-12)


def test_the_hinge_measures_from_the_leak_potential() -> None:
    net = one_input(2.0, v_leak=0.25)
    # from .25, where the membrane rests, up by .5
    assert float(losses.silent_hinge(net, net(ONCE), 0, 0.0).detach()) == pytest.approx((0.25 + 0.75) / 2, rel=1e-12)


def test_a_neuron_whose_silence_the_model_does_not_explain_costs_nothing() -> None:
    # a device did not fire where the model rises to 1.5 and, the second neuron, to .5
    net, silence = one_input(6.0, 2.0), Spikes.from_events([([], []), ([], [])], 2, 20 * TAU, torch.float64)
    cost = losses.silent_hinge(net, Record((silence,), ONCE), 0, 0.25)
    assert float(cost.detach()) == pytest.approx((0.75 + 2 * 1.25) / 2, rel=1e-12)


def test_the_hinge_of_a_masked_neuron_is_left_out() -> None:
    net = one_input(2.0, 1.0)
    mask = torch.tensor([[True, False], [False, False]])
    found = float(losses.silent_hinge(net, net(ONCE), 0, 0.0, mask).detach())
    assert found == pytest.approx(0.5 / 2, rel=1e-12)
    nothing = losses.silent_hinge(net, net(ONCE), 0, 0.0, torch.zeros(2, 2, dtype=torch.bool))
    assert (float(nothing), nothing.dtype, nothing.requires_grad) == (0.0, torch.float64, False)


def test_only_label_asks_for_the_labels_neuron_of_each_sample() -> None:
    net = one_input(2.0, 1.0)
    loss, record = SilentHinge(margin=0.125, only_label=True), net(ONCE)
    for labels, lack in (([0, 0], 0.5 + 1.0), ([1, 0], 0.75 + 1.0)):
        assert float(loss(net, record, torch.tensor(labels)).detach()) == pytest.approx(lack / 2 + 0.125, rel=1e-12)
    with pytest.raises(InputError, match=r"labels 0..2; allowed: 0..1"):
        loss(net, record, torch.tensor([0, 2]))
    with pytest.raises(InputError, match="labels are torch.float32"):
        loss(net, record, torch.tensor([0.0, 1.0]))


def test_a_delayed_input_lifts_the_membrane_within_the_window_alone() -> None:
    late = one_input(2.0, delay=21 * TAU)  # arrives after the end
    assert float(losses.silent_hinge(late, late(ONCE), 0, 0.0).detach()) == 1.0
    soon = one_input(2.0, delay=2 * TAU)
    assert float(losses.silent_hinge(soon, soon(ONCE), 0, 0.0).detach()) == pytest.approx(1.5 / 2, rel=1e-12)


def test_the_hinge_of_a_later_layer_is_driven_by_the_layer_before() -> None:
    first = one_input(6.0)
    net = Network([*first.layers, Dense(1, 1), LIF(1, 2 * TAU, TAU)]).double()
    with torch.no_grad():
        net.blocks[1][0].weight.fill_(2.0)
    record = net(ONCE)
    assert record[0].unit_counts().tolist() == [[1], [0]]
    for layer in (1, -1):
        found = float(losses.silent_hinge(net, record, layer, 0.0).detach())
        assert found == pytest.approx((0.5 + 1.0) / 2, rel=1e-12)
    # it needs no inputs of the record, the first layer does
    bare = Record(record.populations)
    assert float(losses.silent_hinge(net, bare, 1, 0.0).detach()) == pytest.approx(0.75, rel=1e-12)
    with pytest.raises(InputError, match="holds no inputs, which the first layer's membrane needs"):
        losses.silent_hinge(net, bare, -2, 0.0)


def test_the_dead_hinge_looks_at_the_first_layer_with_a_margin_of_a_twentieth_unless_told() -> None:
    assert DeadHinge() == DeadHinge(layer=0, margin=0.05)
    net = one_input(2.0, 6.0)
    # neuron 1 fires in one sample of two, which is what it is for
    assert float(DeadHinge()(net, net(ONCE), torch.tensor([0, 0])).detach()) == pytest.approx((0.55 + 1.05) / 2)
    assert float(DeadHinge(margin=0)(net, net(ONCE), torch.tensor([0, 0])).detach()) == pytest.approx((0.5 + 1.0) / 2)


# -- sums -----------------------------------------------------------------------------------------


class One(Loss):
    def __call__(self, net: Network, record: Record, labels: Tensor) -> Tensor:
        return torch.ones((), dtype=record.output.times.dtype)


def test_sums_and_multiples_keep_order_weight_and_dtype() -> None:
    for dtype in (torch.float32, torch.float64):
        record = Record((spikes_of(([0.1], [0]), dtype=dtype),))
        for loss, value in (
            (One() + One(), 2.0),
            (-2 * One(), -2.0),
            (One() * 0.0, 0.0),
            (0.5 * (One() * 3 + One()), 2.0),
        ):
            found = loss(NET, record, torch.tensor([0]))
            assert (float(found), found.dtype) == (value, dtype)
    assert (One() + SpikeCount(1, 0) * 2).terms[1] == (2.0, SpikeCount(1, 0))  # type: ignore[attr-defined]


def test_a_loss_says_how_many_neurons_a_class_has_where_they_are_several_alone() -> None:
    # checkpoints compare this text, those of before there could be several included
    assert repr(FirstSpike(1e-3)) == "FirstSpike(temperature=0.001)"
    assert "neurons=3" in repr(FirstSpike(1e-3, neurons=3))
    assert "pool='mean'" in repr(FirstSpike(1e-3, neurons=3, pool="mean"))


def test_a_loss_without_a_formula_says_so() -> None:
    with pytest.raises(TypeError, match="Loss does not define what it computes"):
        Loss()(NET, Record((spikes_of(([0.1], [0])),)), torch.tensor([0]))


# -- decisions ------------------------------------------------------------------------------------


def test_a_readout_is_decided_by_its_largest_entry_over_all_steps() -> None:
    spikes = spikes_of(([0.1], [0]), ([0.1], [0]))
    flat = Record((spikes,), readout=torch.tensor([[0.0, 2.0, 2.0], [-1.0, -3.0, -2.0]]))
    assert predict(flat, "readout").tolist() == [1, 0]
    steps = torch.tensor([[[3.0, 0.0], [0.0, 2.0], [0.0, 2.0]], [[0.0, 0.0], [1.0, 0.0], [0.0, 0.5]]])
    assert predict(Record((spikes,), readout=steps), "readout").tolist() == [1, 0]


def test_a_readout_is_refused_where_there_is_none() -> None:
    spikes = spikes_of(([0.1], [0]))
    for output in (spikes, Record((spikes,))):
        with pytest.raises(
            InputError, match='decision = "readout" of spikes without one; allowed for them: "first", "count"'
        ):
            predict(output, "readout")
    with pytest.raises(OptionError, match="decision = 'last'; allowed: 'first', 'count', 'readout'"):
        predict(spikes, "last")  # type: ignore[arg-type]


def test_spikes_and_records_are_decided_alike_by_the_output_layer() -> None:
    hidden, output = spikes_of(([0.1, 0.2], [0, 0])), spikes_of(([0.3, 0.4, 0.5], [2, 1, 1]))
    record = Record((hidden, output))
    assert (predict(output).item(), predict(record).item()) == (2, 2)
    assert (predict(output, "count").item(), predict(record, "count").item()) == (1, 1)
    assert predict(record).dtype == torch.int64
    silent = spikes_of(([], []))
    assert (predict(silent).item(), predict(silent, "count").item(), losses.UNDECIDED) == (-1, -1, -1)


def test_silent_samples_are_those_without_any_output_spike() -> None:
    silent, firing = spikes_of(([], []), ([0.1], [0]), ([], [])), spikes_of(([0.1], [0]), ([], []), ([0.1], [0]))
    assert losses.silent_samples(silent) == 2
    assert losses.silent_samples(Record((firing, silent))) == 2
    assert losses.silent_samples(Record((silent, firing))) == 1


def test_accuracy_is_the_share_of_equal_labels() -> None:
    assert accuracy(torch.tensor([0, 1, 2, -1]), torch.tensor([0, 1, 1, 1])) == 0.5
    assert accuracy(torch.tensor([2]), torch.tensor([2])) == 1.0
    for predicted, labels in (([0, 1], [0]), ([], []), ([[0]], [[0]])):
        with pytest.raises(InputError, match=r"predictions .*, labels .*; expected \[n >= 1\] twice"):
            accuracy(torch.tensor(predicted), torch.tensor(labels))


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FirstSpike(0.0), r"temperature = 0.0 s; allowed: finite and > 0"),
        (lambda: SpikeCount(math.inf, 0), "wanted = inf spikes; allowed: finite and >= 0"),
        (lambda: SpikeCount(1, math.nan), "others = nan spikes; allowed: finite and >= 0"),
        (lambda: SpikeCount(1, -0.5), "others = -0.5 spikes"),
        (lambda: CountBounds(lower=-0.5), "lower = -0.5, upper = inf spikes; allowed: 0 <= lower <= upper"),
        (lambda: CountBounds(lower=math.nan), "lower = nan"),
        (lambda: CountBounds(lower=2, upper=1.5), "lower = 2, upper = 1.5"),
        (lambda: SilentHinge(margin=math.inf), r"margin = inf; allowed: finite and >= 0 \(membrane units\)"),
        (lambda: SilentHinge(margin=math.nan), "margin = nan"),
        (lambda: DeadHinge(margin=math.inf), r"margin = inf; allowed: finite and >= 0 \(membrane units\)"),
        (lambda: FirstSpike(1.0) * math.inf, "weight inf of a loss; allowed: finite numbers"),
        (lambda: -math.inf * FirstSpike(1.0), "weight -inf of a loss"),
    ],
)
def test_settings_beyond_a_bound_are_refused(build: Callable[[], Loss], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def test_settings_on_a_bound_are_taken() -> None:
    assert SpikeCount(0, 0).wanted == 0
    assert CountBounds(0, 0, 0).upper == 0
    assert SilentHinge(margin=0) == SilentHinge(layer=-1, margin=0.0, only_label=False)
    assert DeadHinge(margin=0).margin == 0
    assert FirstSpike(5e-324).temperature > 0


@pytest.mark.parametrize("loss", [FirstSpike(0.1), SpikeCount()])
def test_labels_are_whole_numbers_of_an_output_each(loss: Loss) -> None:
    record = Record((spikes_of(([0.1], [0]), ([0.2], [1])),))
    loss(NET, record, torch.tensor([0, 2]))
    for labels, message in (
        (torch.tensor([0, 3]), r"labels 0..3; allowed: 0..2"),
        (torch.tensor([-1, 1]), r"labels -1..1; allowed: 0..2"),
        (torch.tensor([0]), r"labels are torch.int64 \(1,\); expected whole numbers, one for each of 2"),
        (torch.tensor([[0, 1]]), r"labels are torch.int64 \(1, 2\)"),
        (torch.tensor([0.0, 1.0]), "labels are torch.float32"),
        (torch.tensor([0j, 1j]), "labels are torch.complex64"),
    ):
        with pytest.raises(InputError, match=message):
            loss(NET, record, labels)


def test_layers_count_from_both_ends_and_no_further() -> None:
    record = Record((spikes_of(([0.1], [0])), spikes_of(([0.1, 0.2], [0, 0]))))
    costs = [float(CountBounds(layer, upper=0)(NET, record, torch.tensor([0]))) for layer in (-2, -1, 0, 1)]
    assert costs == [0.5, 2.0, 0.5, 2.0]
    for layer in (-3, 2):
        with pytest.raises(InputError, match=rf"layer {layer}; the record has 2: allowed -2..1"):
            CountBounds(layer)(NET, record, torch.tensor([0]))


def test_a_mask_has_the_shape_of_the_layer_and_is_bool() -> None:
    net = one_input(2.0)
    for mask in (torch.ones(2, 2, dtype=torch.bool), torch.ones(2, 1)):
        with pytest.raises(InputError, match=r"mask is \(2, .\) torch\..*; expected \(2, 1\) bool"):
            losses.silent_hinge(net, net(ONCE), 0, 0.0, mask)
