"""SPIDE against the linear-solve oracle, finite differences of the equilibrium's loss, and the contract of a rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import GradientError, InputError, OptionError
from hwloop.rules.spide.adjoint import Feedback, spiking_adjoint
from hwloop.rules.spide.rule import RateNeurons, Spide, equilibrium, firing, limited, quantum_of, simulate

from .spide_support import (
    dense_net,
    dyadic,
    every_net,
    linearised,
    source,
    values,
)


@every_net
def test_forward_potentials_hold_all_input_less_all_spikes_at_every_step(build) -> None:
    """``R sum s = (all input) - u``; dyadic numbers, so exactly."""
    net = dyadic(build())
    x = torch.round(values(net, 3).values * 16) / 16
    stages, feedback = net.stages[:-1], Feedback(net.feedback.weight.detach())
    before = [torch.zeros(3, stage.n_out).double() for stage in stages]
    for steps in range(1, 25):
        with torch.no_grad():
            current = stages[0].drive(x) + stages[0].neurons.bias_current()
        counts, potentials = simulate(stages, feedback, current, steps, [None] * len(stages))
        for k, stage in enumerate(stages):
            with torch.no_grad():
                # the first population hears feedback of the step before, the others spikes of the same step
                received = steps * (stage.neurons.bias_current() + (0 if k else stage.drive(x)))
                received = received + (stage.drive(counts[k - 1]) if k else feedback.drive(before[-1]))
            assert torch.equal(2.0 * counts[k], received - potentials[k])
        before = counts


@every_net
def test_error_potentials_hold_all_input_less_all_spikes_at_every_step(build) -> None:
    """What is left of ``T_B g + (1/R) W^T (m sum s) - sum s`` is a potential at rest: within half a quantum."""
    net = dyadic(build())
    loop = linearised(net, 3)
    g = torch.round(source(loop, 3) * 64) / 64
    last = len(loop.stages) - 1
    before = [torch.zeros(3, stage.n_out).double() for stage in loop.stages]
    for steps in range(1, 40):
        counts = [torch.round(steps * beta) for beta in spiking_adjoint(loop, g, steps)[0]]
        for k in range(last, -1, -1):
            received = loop.back(k, before[0] if k == last else counts[k + 1]) + (steps * g if k == last else 0)
            potential = received.detach() - counts[k]
            assert bool(((potential >= -0.5) & (potential < 0.5)).all())
        before = counts


@every_net
def test_rates_tend_to_the_equilibrium(build) -> None:
    net = build()
    exact = equilibrium(net, values(net, 4))
    errors = []
    for steps in (50, 800):
        net.steps = steps
        record = Spide().forward(net, values(net, 4))
        errors.append(max(float((a - e).abs().max()) for a, e in zip(record.traces["rates"], exact, strict=True)))
    assert errors[1] < errors[0] / 4
    assert errors[1] < 10 / 800  # a few spikes' worth of transient


def _loss(net: rules.StepNetwork, inputs: rules.Values, weight: torch.Tensor) -> float:
    """A loss on the readout of the true equilibrium."""
    rates, last = equilibrium(net, inputs, tolerance=1e-14), net.stages[-1]
    with torch.no_grad():
        return float((weight * (last.drive(rates[-1]) + last.neurons.bias_current())).sum())


@every_net
def test_implicit_gradients_are_finite_differences_of_the_loss_at_the_equilibrium(build) -> None:
    net = build()
    inputs, rule = values(net, 3), Spide(solver="implicit")
    weight = torch.randn(3, 5, generator=torch.Generator().manual_seed(8)).double()
    exact = equilibrium(net, inputs, tolerance=1e-14)
    record = rule.forward(net, inputs)
    record.traces["rates"] = exact
    found = rule.gradients(net, record, weight)
    generator, step = np.random.default_rng(3), 1e-6
    for name, parameter in net.named_parameters():
        flat = parameter.detach().view(-1) if parameter.is_contiguous() else parameter.detach().t().reshape(-1)
        for index in generator.choice(flat.numel(), size=min(6, flat.numel()), replace=False):
            place = np.unravel_index(index, tuple(parameter.shape))
            with torch.no_grad():
                parameter[place] += step
                up = _loss(net, inputs, weight)
                parameter[place] -= 2 * step
                down = _loss(net, inputs, weight)
                parameter[place] += step
            # central differences: rounding 1e-14 / 1e-6, curvature none (piecewise linear, but for the loop: step^2)
            assert (up - down) / (2 * step) == pytest.approx(float(found[name][place]), rel=1e-5, abs=1e-7)


@every_net
def test_spiking_gradients_tend_to_the_implicit_ones(build) -> None:
    net = build()
    inputs, grad = values(net, 6), torch.randn(6, 5, generator=torch.Generator().manual_seed(8)).double() / 12
    record = Spide().forward(net, inputs)
    exact = Spide(solver="implicit").gradients(net, record, grad)
    errors = []
    for steps in (50, 500):
        found = Spide(steps_back=steps, loss_scale=0.5).gradients(net, record, grad)
        assert found.keys() == exact.keys() == dict(net.named_parameters()).keys()
        errors.append(max(float((found[name] - exact[name]).abs().max()) for name in exact))
    assert errors[1] < errors[0] / 4
    # the loss scale uses the range of the error neurons: ten times the scale is ten times the resolution
    finer = Spide(steps_back=50, loss_scale=5.0).gradients(net, record, grad)
    assert max(float((finer[name] - exact[name]).abs().max()) for name in exact) < errors[0] / 4


@pytest.mark.parametrize("solver", ["spikes", "implicit"])
def test_no_error_gives_no_gradient(solver: str) -> None:
    net, rule = dense_net(), Spide(solver=solver)
    record = rule.forward(net, values(net, 4))
    assert not any(bool(g.any()) for g in rule.gradients(net, record, torch.zeros(4, 5).double()).values())


@pytest.mark.parametrize("solver", ["spikes", "implicit"])
def test_batches_add_up(solver: str) -> None:
    net, rule = dense_net(), Spide(solver=solver, loss_scale=1.0)
    inputs, grad = values(net, 6), torch.randn(6, 5, generator=torch.Generator().manual_seed(8)).double() / 10
    whole = rule.gradients(net, rule.forward(net, inputs), grad)
    first = rule.gradients(net, rule.forward(net, inputs[:2]), grad[:2])
    rest = rule.gradients(net, rule.forward(net, inputs[2:]), grad[2:])
    for name, value in whole.items():
        # whole numbers of spikes times rates; products of another blocking differ by roundings
        torch.testing.assert_close(value, first[name] + rest[name], rtol=1e-9, atol=1e-12)


def test_gradients_follow_a_permutation_of_the_hidden_neurons() -> None:
    net, rule = dense_net(), Spide(loss_scale=1.0)
    inputs, grad = values(net, 6), torch.randn(6, 5, generator=torch.Generator().manual_seed(8)).double() / 10
    before = rule.gradients(net, rule.forward(net, inputs), grad)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2))
    first, last = net.stages
    with torch.no_grad():
        first.connection.weight.copy_(first.connection.weight[order].clone())
        first.neurons.bias.copy_(first.neurons.bias[order].clone())
        last.connection.weight.copy_(last.connection.weight[:, order].clone())
        net.feedback.weight.copy_(net.feedback.weight[order][:, order].clone())
    after = rule.gradients(net, rule.forward(net, inputs), grad)
    torch.testing.assert_close(
        after["feedback.weight"], before["feedback.weight"][order][:, order], rtol=1e-9, atol=1e-12
    )
    name = net.parameter_name(first.connection.weight)
    torch.testing.assert_close(after[name], before[name][order], rtol=1e-9, atol=1e-12)


def test_measured_counts_of_an_ideal_chip_give_the_same_gradients() -> None:
    net, rule = dense_net((14, 20)), Spide(loss_scale=1.0)
    inputs, grad = values(net, 6), torch.randn(6, 5, generator=torch.Generator().manual_seed(8)).double() / 10
    record = rule.forward(net, inputs)
    measured = rules.StepRecord(None, record.readout, inputs, net.dt, counts=tuple(n.float() for n in record.counts))
    replayed = rule.forward(net, inputs, measured)
    expected, found = rule.gradients(net, record, grad), rule.gradients(net, replayed, grad)
    assert torch.equal(replayed.readout, record.readout)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_dropout_mask_is_one_for_all_steps_and_depends_on_the_sample_alone() -> None:
    net, rule = dense_net((14, 20)), Spide(dropout=0.4)
    inputs = values(net, 300)
    record = rule.training_forward(net, inputs)
    masks = record.traces["masks"]
    assert [tuple(mask.shape) for mask in masks] == [(300, 14), (300, 20)]
    kept = torch.cat([mask > 0 for mask in masks], 1)
    # 10,200 draws: five deviations are .025
    assert float(kept.double().mean()) == pytest.approx(0.6, abs=0.025)
    assert {round(float(v), 12) for mask in masks for v in mask.unique()} == {0.0, round(1 / 0.6, 12)}
    part = rule.training_forward(net, inputs[100:120])
    assert torch.equal(part.traces["masks"][1], masks[1][100:120])
    # a dropped neuron acts on nothing: no gradient reaches what it feeds
    gradients = rule.gradients(net, record, torch.ones(300, 5).double() / 300)
    dead = record.traces["masks"][1][0] == 0
    alone = rule.gradients(net, rule.training_forward(net, inputs[:1]), torch.ones(1, 5).double())
    assert not bool(alone[net.parameter_name(net.stages[-1].connection.weight)][:, dead].any())
    assert bool(gradients["feedback.weight"].any())
    assert rule.forward(net, inputs).traces["masks"] == [None, None]


def test_feedback_beyond_its_norm_is_scaled_back() -> None:
    net, rule = dense_net(norm=6.0), Spide()
    limited_net = dense_net(norm=2.0)
    inputs = values(net, 4)
    assert torch.allclose(rule.forward(net, inputs).readout, rule.forward(limited_net, inputs).readout, atol=1e-12)
    assert float(net.feedback.weight.detach().norm()) == pytest.approx(6.0)
    rule.training_forward(net, inputs)
    assert float(net.feedback.weight.detach().norm()) == pytest.approx(2.0)
    weight = torch.ones(2, 2)
    assert limited(weight, 2.0) is weight
    assert quantum_of(net) == 2.0


def test_a_network_without_feedback_is_its_feed_forward_case() -> None:
    generator = torch.Generator().manual_seed(3)
    layers = [hl.Dense(12, 8).init_normal_(0.0, 0.5, generator), RateNeurons()]
    layers += [hl.Dense(8, 5).init_normal_(0.0, 0.5, generator), RateNeurons()]
    net = rules.StepNetwork(layers, in_shape=12, steps=20).double()
    rule, inputs = Spide(solver="implicit", loss_scale=1.0), values(net, 4)
    record = rule.forward(net, inputs)
    grad = torch.randn(4, 5, generator=torch.Generator().manual_seed(8)).double() / 4
    found = rule.gradients(net, record, grad)
    with torch.no_grad():
        delta = net.stages[1].adjoint(grad) * record.traces["rates"][0].gt(0) * record.traces["rates"][0].lt(1) / 2
    torch.testing.assert_close(found["layers.0.weight"], delta.t() @ inputs.values)
    assert 0 < firing(record, 20) < 1


def test_fit_trains_a_feedback_network() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(200, 6, generator=generator)
    part = rules.ValueSet(x, (x[:, :3].sum(1) > x[:, 3:].sum(1)).long())
    task = rules.ValueTask("sums", part, part.select(slice(0, 100)), part, 6, 2)
    feedback = hl.Dense(16, 16).init_normal_(0.0, 0.05, generator)
    layers = [hl.Dense(6, 16).init_normal_(0.0, 1.0, generator), RateNeurons()]
    layers += [hl.Dense(16, 2).init_normal_(0.0, 0.25, generator), RateNeurons()]
    net = rules.StepNetwork(layers, in_shape=6, steps=15, feedback=feedback)
    result = hl.fit(
        net, task, rules.ReadoutCrossEntropy(), rule=Spide(steps_back=25, loss_scale=20.0, dropout=0.1), epochs=8,
        batch_size=20, lr=2e-2, progress=False,
    )  # fmt: skip
    assert result.best_validation.accuracy > 0.9


def test_feedback_without_an_equilibrium_is_refused() -> None:
    """All neurons drive each other with a loop gain above 1 between their limits."""
    net = dense_net()
    with torch.no_grad():
        net.feedback.weight.copy_(-3.0 * torch.eye(24))
        net.stages[0].connection.weight.zero_()
        net.stages[0].neurons.bias.fill_(1.5)
    inputs = values(net, 2)
    with pytest.raises(InputError, match="such as feedback_norm="):
        equilibrium(net, inputs, feedback_norm=100.0)
    rule = Spide(solver="implicit", feedback_norm=100.0)
    record = rule.forward(net, inputs)
    record.traces["rates"] = [torch.full((2, 24), 0.5).double()]
    with pytest.raises(GradientError, match="with feedback_norm="):
        rule.gradients(net, record, torch.ones(2, 5).double())


@pytest.mark.parametrize(
    "options",
    [{"steps_back": 0}, {"loss_scale": 0.0}, {"feedback_norm": math.inf}, {"dropout": 1.0}],
)
def test_options_out_of_range_are_refused(options) -> None:
    with pytest.raises(InputError, match="allowed"):
        Spide(**options)


def test_networks_and_measurements_of_another_kind_are_refused() -> None:
    rule, net = Spide(), dense_net()
    with pytest.raises(OptionError, match="'spikes', 'implicit'"):
        Spide(solver="broyden")
    with pytest.raises(InputError, match="quantum = 0"):
        RateNeurons(0.0)
    with pytest.raises(InputError, match="not a Network"):
        rule.check(hl.Network([hl.Dense(2, 2), hl.LIF(2, 1e-2, 5e-3)]))
    with pytest.raises(InputError, match="the last one is the readout"):
        rule.check(rules.StepNetwork([hl.Dense(4, 2), RateNeurons()], in_shape=4, steps=5))
    several = [hl.Dense(4, 4), RateNeurons(1.0), hl.Dense(4, 4), RateNeurons(), hl.Dense(4, 2), RateNeurons()]
    with pytest.raises(InputError, match="several quanta"):
        rule.check(rules.StepNetwork(several, in_shape=4, steps=5))
    inputs = values(net, 2)
    record = rule.forward(net, inputs)
    with pytest.raises(InputError, match="counts of population 0"):
        rule.forward(net, inputs, rules.StepRecord(None, record.readout, inputs, 1e-3, counts=(torch.zeros(2, 5),)))
