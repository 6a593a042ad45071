"""SPIDE against the linear-solve oracle, finite differences of the equilibrium's loss, and the contract of a rule."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import GradientError, InputError, OptionError
from hwloop.rules.spide.adjoint import Feedback, Loop, implicit_adjoint, spiking_adjoint, step_by_step
from hwloop.rules.spide.rule import RateNeurons, Spide, equilibrium, firing, limited, quantum_of, simulate
from hwloop.rules.steps.integrate_fire import IntegrateFire, ternary

T_BACK = (25, 80, 250, 800, 4000)


def dense_net(
    hidden: tuple[int, ...] = (24,), *, seed: int = 0, steps: int = 30, gain: float = 1.0, norm: float = 1.5
) -> rules.StepNetwork:
    """12 inputs, hidden populations in a ring, 5 outputs; float64."""
    generator = torch.Generator().manual_seed(seed)
    sizes, layers = (12, *hidden, 5), []
    for n_in, n_out in pairwise(sizes):
        connection = hl.Dense(n_in, n_out).init_normal_(0.0, gain / math.sqrt(n_in), generator)
        layers += [connection, RateNeurons()]
    feedback = hl.Dense(hidden[-1], hidden[0]).init_normal_(0.0, 1.0, generator)
    net = rules.StepNetwork(layers, in_shape=12, steps=steps, feedback=feedback).double()
    with torch.no_grad():
        feedback.weight.mul_(norm / feedback.weight.norm())
        for stage in net.stages:
            stage.neurons.bias.normal_(0.6, 0.3, generator=generator)
    return net


def conv_net(seed: int = 0, steps: int = 30) -> rules.StepNetwork:
    """3C3 on 1 x 6 x 6, 4C3, pooled, 5 outputs; feedback from the second population to the first."""
    generator = torch.Generator().manual_seed(seed)
    layers = [rules.Conv2d(1, 3, 3), RateNeurons(), rules.Conv2d(3, 4, 3), RateNeurons()]
    net = rules.StepNetwork(
        [*layers, rules.AvgPool(2), hl.Dense(4, 5), RateNeurons()],
        in_shape=(1, 6, 6),
        steps=steps,
        feedback=hl.Dense(16, 48),
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.2, 0.3, generator=generator)
        net.feedback.weight.mul_(1.0 / net.feedback.weight.norm())
    return net


def values(net: rules.StepNetwork, batch: int, seed: int = 1) -> rules.Values:
    generator = torch.Generator().manual_seed(seed)
    return rules.Values(torch.rand(batch, net.n_in, generator=generator).double(), torch.arange(batch))


def source(loop: Loop, batch: int, size: float = 0.3, seed: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * (2 * torch.rand(batch, loop.stages[-1].n_out, generator=generator).double() - 1)


def oracle(net: rules.StepNetwork, loop: Loop, g: torch.Tensor) -> list[np.ndarray]:
    """``beta`` of all hidden populations from one dense linear system a sample, built from unit vectors."""
    sizes = [stage.n_out for stage in net.stages[:-1]]
    edges, total = np.cumsum([0, *sizes]), sum(sizes)
    result = np.zeros((len(g), total))
    for b in range(len(g)):
        matrix = np.eye(total)
        for k in range(len(sizes)):
            following = 0 if k == len(sizes) - 1 else k + 1
            units = torch.diag(loop.gates[following][b] / loop.quantum)
            with torch.no_grad():
                rows = units @ net.feedback.weight if k == len(sizes) - 1 else net.stages[k + 1].adjoint(units)
            matrix[edges[k] : edges[k + 1], edges[following] : edges[following + 1]] -= rows.numpy().T
        right = np.zeros(total)
        right[edges[-2] :] = g[b].numpy()
        result[b] = np.linalg.solve(matrix, right)
    return np.split(result, edges[1:-1], axis=1)


def linearised(net: rules.StepNetwork, batch: int) -> Loop:
    rule = Spide()
    return rule.loop(net, rule.forward(net, values(net, batch)))


NETS = {"400 x 400 in small": dense_net, "ring of two": lambda: dense_net((14, 20)), "conv": conv_net}
every_net = pytest.mark.parametrize("build", NETS.values(), ids=NETS.keys())


def _errors(loop: Loop, g: torch.Tensor, exact: list[np.ndarray], neuron: IntegrateFire) -> list[float]:
    found = [spiking_adjoint(loop, g, steps, neuron)[0] for steps in T_BACK]
    return [
        steps * max(float(np.abs(b.numpy() - e).max()) for b, e in zip(betas, exact, strict=True))
        for steps, betas in zip(T_BACK, found, strict=True)
    ]


def test_error_of_the_spiking_solver_is_less_than_three_quarters_of_a_spike() -> None:
    """``T_B max |beta - beta*| < .75`` and slope -1 over T_B 25..4000; a threshold of the whole quantum is twice as bad."""
    net = dense_net()
    loop = linearised(net, 16)
    g = source(loop, 16)
    exact = oracle(net, loop, g)
    spikes = _errors(loop, g, exact, ternary(1.0))
    assert max(spikes) < 0.75
    slope = np.polyfit(np.log(T_BACK), np.log(np.array(spikes) / T_BACK), 1)[0]
    assert -1.1 < slope < -0.9
    # the negative control: a residual of up to one quantum instead of half of one
    floored = _errors(loop, g, exact, IntegrateFire(1.0, 1.0, -1.0, at_lower=True))
    assert all(1.5 < worse / good < 3.0 for worse, good in zip(floored, spikes, strict=True))


def pooled_net(feedback: bool = True) -> rules.StepNetwork:
    """Pools inside the ring: 2C3 on 1 x 6 x 6, pooled, 3C2, 7 dense, 5 outputs."""
    generator = torch.Generator().manual_seed(5)
    layers = [rules.Conv2d(1, 2, 3), RateNeurons(), rules.AvgPool(2), rules.Conv2d(2, 3, 2), RateNeurons()]
    net = rules.StepNetwork(
        [*layers, hl.Dense(3, 7), RateNeurons(), hl.Dense(7, 5), RateNeurons()],
        in_shape=(1, 6, 6),
        steps=30,
        feedback=hl.Dense(7, 32) if feedback else None,
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.2, 0.4, generator=generator)
    return net


RINGS = {**NETS, "pools in the ring": pooled_net, "no feedback": lambda: pooled_net(False)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("build", RINGS.values(), ids=RINGS.keys())
def test_following_spikes_one_by_one_is_the_step_by_step_path(
    build: Callable[[], rules.StepNetwork], dtype: torch.dtype, dropout: float
) -> None:
    """Dyadic numbers: every sum is exact in any order, so the two are equal in whole numbers.

    The path by products runs in float64: libraries may transform convolutions in float32, and round.
    """
    rule, loops, errors = Spide(dropout=dropout), [], []
    for kind in (dtype, torch.float64):
        net = _dyadic(build()).to(kind)
        loops.append(rule.loop(net, rule.training_forward(net, values(net, 8))))
        errors.append(torch.round(source(loops[-1], 8) * 64).to(kind) / 64)
    for neuron in (ternary(1.0), IntegrateFire(1.0, 1.0, -1.0, at_lower=True)):
        found, statistics = spiking_adjoint(loops[0], errors[0], 256, neuron)
        expected, wanted = step_by_step(loops[1], errors[1], 256, neuron)
        assert all(torch.equal(a.double(), b) for a, b in zip(found, expected, strict=True))
        assert all(beta.any() for beta in found)
        assert statistics.firing == pytest.approx(wanted.firing)
        assert (statistics.largest, statistics.saturated) == (wanted.largest, wanted.saturated)


@pytest.mark.slow
def test_the_bound_holds_at_the_size_of_mnist() -> None:
    """400 x 400 feedback at its largest norm, as the network of the study has it."""
    net = dense_net((400,), norm=2.0)
    loop = linearised(net, 4)
    g = source(loop, 4)
    exact = oracle(net, loop, g)
    assert max(_errors(loop, g, exact, ternary(1.0))) < 0.75


@every_net
def test_spikes_and_iteration_find_the_solution_of_the_linear_system(build) -> None:
    net = build()
    loop = linearised(net, 4)
    g = source(loop, 4)
    exact = oracle(net, loop, g)
    implicit, statistics = implicit_adjoint(loop, g)
    for beta, expected in zip(implicit, exact, strict=True):
        # last change below 16 roundings, at a loop gain below .8: five times that, and the oracle's own error
        np.testing.assert_allclose(beta.numpy(), expected, rtol=0, atol=1e-13)
    assert statistics.steps < 200
    assert math.isnan(statistics.firing)
    first, second = (_deviation(spiking_adjoint(loop, g, steps)[0], exact) for steps in (100, 1600))
    assert second < first / 8
    # in a ring of G populations the roundings of one are the input of the next: half a spike each
    assert second < 0.75 * len(exact) / 1600


def _deviation(betas: list[torch.Tensor], exact: list[np.ndarray]) -> float:
    return max(float(np.abs(b.numpy() - e).max()) for b, e in zip(betas, exact, strict=True))


def test_a_loss_scale_beyond_the_range_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    net = dense_net()
    record = Spide().forward(net, values(net, 4))
    grad = torch.ones(4, 5).double()
    Spide(loss_scale=0.01).gradients(net, record, grad)
    assert not caplog.records
    Spide(loss_scale=100.0).gradients(net, record, grad)
    assert "lower loss_scale (now 100)" in caplog.text
    assert record.traces["backward"].saturated > 0.5


def test_a_source_beyond_the_quantum_never_converges_and_is_reported() -> None:
    """The negative control of the range: a neuron fires at most once a step."""
    net = dense_net()
    loop = linearised(net, 4)
    g = source(loop, 4)
    g[:, 0] = 1.5
    exact = oracle(net, loop, g)
    for steps in (100, 1600):
        betas, statistics = spiking_adjoint(loop, g, steps)
        assert _deviation(betas, exact) > 0.3
        assert statistics.saturated >= 1 / 24
        assert statistics.largest >= 0.99
    healthy = spiking_adjoint(loop, source(loop, 4), 100)[1]
    assert healthy.saturated == 0
    assert healthy.largest < 1
    assert 0 < healthy.firing < 0.3


def _dyadic(net: rules.StepNetwork) -> rules.StepNetwork:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.round(parameter * 64) / 64)
    return net


@every_net
def test_forward_potentials_hold_all_input_less_all_spikes_at_every_step(build) -> None:
    """``R sum s = (all input) - u``; dyadic numbers, so exactly."""
    net = _dyadic(build())
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
    net = _dyadic(build())
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
