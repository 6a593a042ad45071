"""SpikeGrad's equivalent network: published integers, the straight-through limit, and the contract of a rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import InputError, OptionError
from hwloop.rules.spikegrad.rule import SignedNeurons, SpikeGrad, choose_alpha, input_counts, neurons_of

from .spikegrad_support import conv_net, dense_net, loss_gradient, values

NETS = {"dense": dense_net, "conv": conv_net}
every_net = pytest.mark.parametrize("build", NETS.values(), ids=NETS.keys())
both = pytest.mark.parametrize("discharge", ["layerwise", "asynchronous"])


def _plain(net: rules.StepNetwork, x: np.ndarray, grad: np.ndarray, alpha: float, rounded: bool):
    """The published equations, sample by sample in NumPy, for dense networks with theta = theta_bp = 1."""
    weights = [stage.connection.weight.detach().numpy() for stage in net.stages]
    biases = [stage.neurons.bias.detach().numpy() for stage in net.stages]
    updates = [np.zeros_like(w) for w in weights]
    for sample, g in zip(x, grad, strict=True):
        n, currents = [sample], []
        for w, b in zip(weights, biases, strict=True):
            currents.append(w @ n[-1] + b)
            n.append(np.array([max(0, int(i)) for i in currents[-1]]))
        u = alpha * len(x) * g
        for k in range(len(weights) - 1, -1, -1):
            z = np.array([math.floor(i + 0.5) if rounded else int(i) for i in u])
            if k < len(weights) - 1:
                z = z * (currents[k] > 0)
            updates[k] += np.outer(z, n[k]) / (alpha * len(x))
            u = weights[k].T @ z
    return updates


@both
def test_the_rule_is_the_published_integers(discharge: str) -> None:
    net, batch = dense_net(), 8
    inputs, grad, rule = values(net, batch), loss_gradient(batch), SpikeGrad(alpha=32.0, discharge=discharge)
    found = rule.gradients(net, rule.forward(net, inputs), grad)
    expected = _plain(net, inputs.values.numpy(), grad.numpy(), 32.0, discharge == "asynchronous")
    for stage, update in zip(net.stages, expected, strict=True):
        # dyadic numbers: exact
        assert np.array_equal(found[net.parameter_name(stage.connection.weight)].numpy(), update)


def _straight_through(net: rules.StepNetwork, inputs: rules.Values, grad: torch.Tensor) -> dict[str, torch.Tensor]:
    """Autograd through the quantised network, every staircase replaced by a ReLU of slope 1 in the backward pass."""
    levels = neurons_of(net.stages[0]).levels
    x = input_counts(inputs, levels, torch.float64) / levels
    for k, stage in enumerate(net.stages):
        current = stage.drive(x) + stage.neurons.bias_current()
        if k < len(net.stages) - 1:
            theta = neurons_of(stage).theta
            relu = torch.relu(current)
            x = relu + (theta * torch.floor(relu / theta) - relu).detach()
    names = [name for name, _ in net.named_parameters()]
    return dict(zip(names, torch.autograd.grad(current, list(net.parameters()), grad), strict=True))


@every_net
@both
def test_error_of_the_gradient_falls_as_one_over_alpha(build, discharge: str) -> None:
    """Z / alpha tends to the straight-through gradient: slope -1, and within the bound that rounding allows."""
    net = build()
    inputs, grad = values(net, 32), torch.randn(32, 5, generator=torch.Generator().manual_seed(5)).double() / 32
    exact = _straight_through(net, inputs, grad)
    alphas, errors = [2.0**k for k in range(2, 15, 3)], []
    for alpha in alphas:
        rule = SpikeGrad(alpha=alpha, discharge=discharge)
        found = rule.gradients(net, rule.forward(net, inputs), grad)
        assert found.keys() == exact.keys()
        errors.append(sum(float((found[name] - exact[name]).abs().sum()) for name in exact))
    slope = np.polyfit(np.log(alphas), np.log(errors), 1)[0]
    # the signs of rounding errors are as good as random: single points lie within a factor 2 of the line
    assert -1.1 < slope < -0.9
    assert errors[-1] < 1e-3 * sum(float(g.abs().sum()) for g in exact.values())


def test_rounded_error_spikes_are_closer_than_truncated_ones() -> None:
    net = dense_net()
    inputs, grad = values(net, 200), torch.randn(200, 5, generator=torch.Generator().manual_seed(5)).double() / 200
    exact = _straight_through(net, inputs, grad)
    found = {}
    for how in ("layerwise", "asynchronous"):
        rule = SpikeGrad(alpha=8.0, discharge=how)
        gradients = rule.gradients(net, rule.forward(net, inputs), grad)
        found[how] = sum(float((gradients[name] - exact[name]).square().sum()) for name in exact)
    # the mean square of one quantisation error is 1/12 where rounded and 1/3 where truncated; of several in a row, at
    # least half of that advantage is left
    assert found["asynchronous"] < found["layerwise"] / 2


@every_net
def test_samples_are_quantised_one_by_one_before_the_average(build) -> None:
    net, rule = build(), SpikeGrad(alpha=32.0)
    inputs, grad = values(net, 8), loss_gradient(8)
    together = rule.gradients(net, rule.forward(net, inputs), grad)
    alone = [rule.gradients(net, rule.forward(net, inputs[k]), 8 * grad[k : k + 1]) for k in range(8)]
    for name, value in together.items():
        # dyadic numbers: exact
        assert torch.equal(value, sum(g[name] for g in alone) / 8)


def test_a_summed_loss_adds_up_over_batches() -> None:
    net, rule = dense_net(), SpikeGrad(alpha=64.0, samples=1)
    inputs, grad = values(net, 8), loss_gradient(8)
    whole = rule.gradients(net, rule.forward(net, inputs), grad)
    first = rule.gradients(net, rule.forward(net, inputs[:3]), grad[:3])
    rest = rule.gradients(net, rule.forward(net, inputs[3:]), grad[3:])
    assert all(torch.equal(whole[name], first[name] + rest[name]) for name in whole)


@every_net
@both
def test_no_error_sends_no_spike(build, discharge: str) -> None:
    net, rule = build(), SpikeGrad(discharge=discharge)
    record = rule.forward(net, values(net, 4))
    assert not any(bool(g.any()) for g in rule.gradients(net, record, torch.zeros(4, 5).double()).values())


def test_measured_counts_of_an_ideal_chip_give_the_same_gradients() -> None:
    net, rule = dense_net(), SpikeGrad(alpha=32.0)
    inputs, grad = values(net, 8), loss_gradient(8)
    record = rule.forward(net, inputs)
    measured = rules.StepRecord(None, record.readout, inputs, net.dt, counts=tuple(n.float() for n in record.counts))
    replayed = rule.forward(net, inputs, measured)
    assert torch.equal(replayed.readout, record.readout)
    expected, found = rule.gradients(net, record, grad), rule.gradients(net, replayed, grad)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_measured_count_moves_everything_behind_it() -> None:
    net, rule = dense_net(), SpikeGrad(alpha=32.0)
    inputs = values(net, 2)
    record = rule.forward(net, inputs)
    counts = [n.clone() for n in record.counts]
    counts[1][:, 0] += 3
    measured = rules.StepRecord(None, record.readout, inputs, net.dt, counts=tuple(counts))
    replayed = rule.forward(net, inputs, measured)
    moved = replayed.readout - record.readout
    assert torch.equal(moved, (3 * net.stages[2].connection.weight[:, 0]).expand(2, -1))


def test_alpha_is_chosen_so_that_output_errors_are_several_thresholds() -> None:
    grad = torch.tensor([[0.5, -0.25], [0.1, 0.0]])
    assert choose_alpha(grad, spikes=8.0) == 32.0  # mean of .5 and .1: 8 / .3 = 26.7, the nearest power of two
    assert choose_alpha(grad, theta_bp=4.0, spikes=8.0) == 128.0
    with pytest.raises(InputError, match="finite and > 0"):
        choose_alpha(torch.zeros(2, 3))


def test_bytes_and_real_inputs_become_the_same_counts() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)[None]
    for levels in (1, 4, 16, 255):
        whole = input_counts(rules.Values(pixels, torch.zeros(1, dtype=torch.int64)), levels, torch.float64)
        real = torch.floor(levels * (pixels.double() / 255) + 0.5)
        assert int(whole.min()) == 0
        assert int(whole.max()) == levels
        # 255 is odd and 2 levels p is even: no pixel lies on a tie
        assert torch.equal(whole, real)


def test_fit_trains_with_spikes_and_keeps_the_rule_in_its_checkpoints(tmp_path) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(300, 6, generator=generator)
    labels = (x[:, :3].sum(1) > x[:, 3:].sum(1)).long()
    part = rules.ValueSet(x, labels)
    task = rules.ValueTask("sums", part, part.select(slice(0, 100)), part, 6, 2)
    layers = [hl.Dense(6, 16, generator=generator), SignedNeurons(0.25), hl.Dense(16, 2, generator=generator)]
    net = rules.StepNetwork([*layers, SignedNeurons()], in_shape=6, steps=1)
    for stage in net.stages:
        stage.connection.init_normal_(0.0, stage.connection.n_in**-0.5, generator)
    options = {"epochs": 20, "batch_size": 20, "lr": 1e-2, "progress": False, "checkpoint_dir": tmp_path}
    result = hl.fit(net, task, rules.ReadoutCrossEntropy(), rule=SpikeGrad(alpha=64.0), **options)
    assert result.best_validation.accuracy > 0.9
    with pytest.raises(hl.CheckpointError, match="SpikeGrad"):
        hl.fit(net, task, rules.ReadoutCrossEntropy(), rule=SpikeGrad(alpha=32.0), resume=True, **options)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": math.nan}, {"samples": 0}])
def test_options_out_of_range_are_refused(options) -> None:
    with pytest.raises(InputError, match="allowed"):
        SpikeGrad(**options)


def test_unknown_discharge_thresholds_and_levels_are_refused() -> None:
    with pytest.raises(OptionError, match="'layerwise', 'asynchronous'"):
        SpikeGrad(discharge="symmetric")
    for options in ({"theta": 0.0}, {"theta_bp": -1.0}, {"levels": 0}):
        with pytest.raises(InputError, match="allowed"):
            SignedNeurons(**options)


def test_networks_and_measurements_of_another_kind_are_refused() -> None:
    rule, net = SpikeGrad(), dense_net()
    with pytest.raises(InputError, match="not a Network"):
        rule.check(hl.Network([hl.Dense(2, 2), hl.LIF(2, 1e-2, 5e-3)]))
    layers = [hl.Dense(4, 4), SignedNeurons(), hl.Dense(4, 2), SignedNeurons()]
    with pytest.raises(InputError, match="leave the feedback out"):
        rule.check(rules.StepNetwork(layers, in_shape=4, steps=1, feedback=hl.Dense(4, 4)))
    inputs = values(net, 2)
    record = rule.forward(net, inputs)
    with pytest.raises(InputError, match="measure every hidden population"):
        rule.forward(net, inputs, rules.StepRecord(None, record.readout, inputs, 1e-3, counts=record.counts[:1]))
    with pytest.raises(InputError, match="counts of population 0"):
        rule.forward(net, inputs, rules.StepRecord(None, record.readout, inputs, 1e-3, counts=record.counts[1:]))
