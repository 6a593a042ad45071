"""Factors (``Scale``) in networks in steps: the same network with the factors in its weights, forward and gradient.

What a stage is with its factors is taken from the maps' own lists of synapses, written out as one Dense a stage; a gradient of
that Dense comes back to the weights by torch. Weights and factors are dyadic, so that sums are exact and counts equal.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hwloop as hl
from hwloop import rules
from hwloop.network.composition import Composition
from hwloop.rules.spide.adjoint import spiking_adjoint, step_by_step
from hwloop.rules.spide.rule import equilibrium
from hwloop.rules.spikegrad.events import backward_events, forward_events, update_events
from hwloop.rules.steps.integrate_fire import ternary
from hwloop.rules.steps.synapse_lists import synapses

SOURCES, TARGETS = [0, 3, 3, 7, 11, 5], [1, 0, 2, 2, 1, 1]
#: Dyadic, none 1; one is negative and one 0.
FACTORS = torch.tensor([2.0, 0.5, -0.25, 1.5, 0.0, 0.75], dtype=torch.float64)

Build = Callable[[], rules.Neurons]


def factors(n: int, seed: int = 0) -> hl.Scale:
    """A factor of every unit."""
    return hl.Scale(n, FACTORS[torch.randint(0, 6, (n,), generator=torch.Generator().manual_seed(seed))])


def of_channels(channels: int, area: int, seed: int = 0) -> hl.Scale:
    """A factor of every channel."""
    return hl.Scale(channels * area, factors(channels, seed).factor.repeat_interleave(area))


#: Maps of the three stages, and the shape of the inputs.
NETS: dict[str, Callable[[], tuple[list[list[nn.Module]], tuple[int, ...]]]] = {
    "dense": lambda: (
        [[factors(8), hl.Dense(8, 9)], [hl.Scale(9, 0.5), hl.Dense(9, 6), factors(6, 1)], [hl.Dense(6, 4), hl.Scale(4, 2.0)]],
        (8,),
    ),
    "convolutions and pools": lambda: (
        [
            [hl.Conv2d(1, 3, 3, padding=1), of_channels(3, 64)],
            [hl.SumPool2d(2), of_channels(3, 16, 2), hl.Conv2d(3, 2, 2, stride=2), factors(8, 3)],
            [of_channels(2, 4, 4), hl.AvgPool2d(2), hl.Scale(2, 1.5), hl.Dense(2, 4)],
        ],
        (1, 8, 8),
    ),
    "unlike factors in a window": lambda: (
        [
            [factors(36), hl.Conv2d(1, 2, 3)],
            [factors(32, 2), hl.AvgPool2d(2), factors(8, 3), hl.Conv2d(2, 3, 2), hl.Scale(3, 2.0)],
            [hl.Scale(3, 0.5), hl.Flatten(), hl.Dense(3, 4)],
        ],
        (1, 6, 6),
    ),
    "pooled synapses one by one": lambda: (
        [
            [hl.Dense(5, 48)],
            [factors(48, 1), hl.Sparse(48, 12, list(range(48)), [k % 12 for k in range(48)], 1.0), factors(12)],
            [factors(12, 2), hl.Sparse(12, 3, SOURCES, TARGETS, 1.0), hl.Scale(3, 4.0)],
        ],
        (5,),
    ),
}  # fmt: skip

NEURONS: dict[str, Build] = {
    "na": rules.TracedNeurons,
    "spikegrad": lambda: rules.SignedNeurons(0.5, theta_bp=0.25, levels=4),
    "spide": rules.RateNeurons,
    "hm2bp": lambda: rules.LeakyNeurons(0.3, tau_m=16.0, tau_s=4.0),
}
RULES: dict[str, rules.Rule] = {
    "na": rules.NA(),
    "spikegrad": rules.SpikeGrad(samples=1, alpha=8.0),
    "spide": rules.Spide(steps_back=40),
    "hm2bp": rules.HM2BP(teacher=6, rate=0.8),
}

every_net = pytest.mark.parametrize("kind", NETS)
every_rule = pytest.mark.parametrize("rule", NEURONS)


def scaled(kind: str, neurons: Build) -> rules.StepNetwork:
    stages, in_shape = NETS[kind]()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for maps in stages:
            for layer in maps:
                for weight in layer.parameters():
                    drawn = torch.randint(-2, 6, weight.shape, generator=generator) / 8
                    weight.data = drawn.to(torch.float64)
    layers = [layer for maps in stages for layer in (*maps, neurons())]
    return rules.StepNetwork(layers, in_shape=in_shape, steps=40).double()


def matrix(stage: rules.Stage) -> Tensor:
    """``[n_out, n_in]`` of a stage, differentiable in its weight, by its maps' lists of synapses."""
    whole = Composition([*stage.before, stage.connection, *stage.after], stage.in_shape, stage.name)
    place = torch.from_numpy(whole.paths.targets), torch.from_numpy(whole.paths.sources)
    return torch.zeros(whole.n_out, whole.n_in, dtype=torch.float64).index_put(place, whole.weight(), accumulate=True)


def folded(net: rules.StepNetwork, neurons: Build) -> rules.StepNetwork:
    """The same network of Dense alone, the factors in its weights."""
    layers: list[nn.Module] = []
    for stage in net.stages:
        dense = hl.Dense(stage.n_in, stage.n_out).double()
        with torch.no_grad():
            dense.weight.copy_(matrix(stage))
        layers += [dense, neurons()]
    return rules.StepNetwork(layers, in_shape=net.n_in, steps=net.steps).double()


def values(net: rules.StepNetwork, batch: int = 6) -> rules.Values:
    drawn = torch.randint(0, 9, (batch, net.n_in), generator=torch.Generator().manual_seed(1)).double() / 8
    return rules.Values(drawn, torch.arange(batch))


def grad_of(readout: Tensor) -> Tensor:
    return torch.randint(-8, 9, readout.shape, generator=torch.Generator().manual_seed(2)).double() / 64


@every_net
def test_a_stage_is_the_matrix_of_its_maps_and_gives_its_weights_the_chain_rule(kind: str) -> None:
    for stage in scaled(kind, rules.TracedNeurons).stages:
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(3, 2, stage.n_in, generator=generator, dtype=torch.float64)
        y = torch.randn(3, 2, stage.n_out, generator=generator, dtype=torch.float64)
        wanted = matrix(stage)
        # sums of at most 50 numbers near 1 in another order
        torch.testing.assert_close(stage.drive(x), x @ wanted.t(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(stage.adjoint(y), y @ wanted, rtol=1e-12, atol=1e-12)
        (by_torch,) = torch.autograd.grad((x @ wanted.t() * y).sum(), stage.connection.weight)
        torch.testing.assert_close(stage.weight_gradient(x, y).detach(), by_torch, rtol=1e-11, atol=1e-12)
        listed, found = synapses(stage), np.zeros(wanted.shape)
        for one, transposed in ((listed, False), (listed.transposed(stage.n_out), True)):
            found[:] = 0.0
            sources = np.repeat(np.arange(len(one.starts) - 1), np.diff(one.starts))
            ends = (sources, one.targets) if transposed else (one.targets, sources)
            np.add.at(found, ends, one.weights(stage))
            np.testing.assert_array_equal(found, wanted.detach().numpy())


@every_rule
@every_net
def test_a_network_with_factors_is_the_one_with_the_factors_in_its_weights(kind: str, rule: str) -> None:
    net = scaled(kind, NEURONS[rule])
    plain, method, given = folded(net, NEURONS[rule]), RULES[rule], values(net)
    found, wanted = method.forward(net, given), method.forward(plain, given)
    for mine, its in zip(found.counts, wanted.counts, strict=True):  # type: ignore[attr-defined]
        assert torch.equal(mine, its)
    assert any(bool(mine.any()) for mine in found.counts[:2])  # type: ignore[attr-defined]
    torch.testing.assert_close(found.readout, wanted.readout, rtol=1e-12, atol=1e-12)

    grad = grad_of(method.readout(found))
    mine, its = method.gradients(net, found, grad), method.gradients(plain, wanted, grad)
    moved = 0
    for stage, dense in zip(net.stages, plain.stages, strict=True):
        of_matrix = its[plain.parameter_name(dense.connection.weight)]
        (by_chain_rule,) = torch.autograd.grad((matrix(stage) * of_matrix).sum(), stage.connection.weight)
        gradient = mine[net.parameter_name(stage.connection.weight)]
        # the same sums in another order: some 1e3 roundings of 1e-16 of the largest term
        most = max(1e-9, float(by_chain_rule.abs().max()))
        torch.testing.assert_close(gradient, by_chain_rule, rtol=0, atol=1e-12 * most)
        moved += bool(gradient.any())
        if stage.neurons.bias is not None:
            names = (net.parameter_name(stage.neurons.bias), plain.parameter_name(dense.neurons.bias))
            ours, theirs = mine[names[0]], its[names[1]]
            torch.testing.assert_close(ours, theirs.reshape(len(ours), -1).sum(1), rtol=0, atol=1e-11)
    assert moved >= 2


@every_rule
def test_every_rule_trains_behind_factors(rule: str) -> None:
    generator = torch.Generator().manual_seed(0)
    neurons = {**NEURONS, "hm2bp": lambda: rules.LeakyNeurons(0.5), "spikegrad": rules.SignedNeurons}[rule]
    net = rules.StepNetwork(
        [
            hl.Scale(64, 2.0), hl.Conv2d(1, 4, 3, stride=2, padding=1).init_normal_(0.15, 0.25, generator), neurons(),
            hl.SumPool2d(2), hl.Scale(16, 0.5), hl.Dense(16, 2).init_normal_(0.1, 0.2, generator), hl.Scale(2, 2.0), neurons(),
        ],
        in_shape=(1, 8, 8),
        steps=40,
    )  # fmt: skip
    pixels = torch.randint(0, 120, (60, 64), generator=generator, dtype=torch.uint8)
    labels = torch.arange(60) % 2
    pixels[labels == 1, :32] += 120
    data = rules.ValueSet(pixels, labels)
    hl.fit(
        net, rules.ValueTask("halves", data, data, data, 64, 2), rules.ReadoutCrossEntropy(), rule=rule, epochs=6,
        batch_size=10, lr=2e-2,
    )  # fmt: skip
    assert hl.evaluate(net, data).accuracy >= 0.9


# -- what single rules do with a stage beside that ------------------------------------------------


@every_net
def test_error_spikes_one_by_one_are_those_of_products(kind: str) -> None:
    net, rule = scaled(kind, rules.RateNeurons), rules.Spide()
    record = rule.forward(net, values(net))
    loop = rule.loop(net, record)
    source = grad_of(torch.zeros(6, net.stages[-2].n_out))
    found, _ = spiking_adjoint(loop, source, 30)
    wanted, _ = step_by_step(loop, source, 30, ternary(1.0))
    for mine, its in zip(found, wanted, strict=True):
        assert torch.equal(mine, its)
    assert any(bool(mine.any()) for mine in found[:-1])


def test_gradients_at_an_equilibrium_are_finite_differences_of_its_loss() -> None:
    generator = torch.Generator().manual_seed(2)
    layers = [
        hl.Scale(16, 0.7), hl.Conv2d(1, 3, 2), of_channels(3, 9), rules.RateNeurons(),
        factors(27, 1), hl.Dense(27, 6), hl.Scale(6, 1.3), rules.RateNeurons(), hl.Scale(6, 2.0), hl.Dense(6, 3), rules.RateNeurons(),
    ]  # fmt: skip
    net = rules.StepNetwork(layers, in_shape=(1, 4, 4), steps=10, feedback=hl.Dense(6, 27)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0.02, 0.15, generator=generator)
        for stage in net.stages:
            stage.neurons.bias += 0.8
        net.feedback.weight.mul_(0.8 / net.feedback.weight.norm())  # type: ignore[union-attr]
    given, rule = values(net, 3), rules.Spide(solver="implicit", loss_scale=1.0)
    pull = grad_of(torch.zeros(3, 3))
    inside = [(rate > 0) & (rate < 1) for rate in equilibrium(net, given)]
    assert all(float(part.double().mean()) > 0.5 for part in inside)

    def loss() -> float:
        with torch.no_grad():
            return float((net.stages[-1].drive(equilibrium(net, given)[-1]) * pull).sum())

    rates = equilibrium(net, given)
    measured = rules.StepRecord(None, pull, given, net.dt, counts=tuple(10 * rate for rate in rates))
    gradients = rule.gradients(net, rule.forward(net, given, measured), pull)
    step, compared = 1e-5, 0
    for stage in net.stages:
        weight = stage.connection.weight
        found = gradients[net.parameter_name(weight)]
        place = tuple(int(k) for k in np.unravel_index(int(found.abs().argmax()), found.shape))
        with torch.no_grad():
            weight[place] += step
            above = loss()
            weight[place] -= 2 * step
            below = loss()
            weight[place] += step
        # a clipped rate that the step moves across its bound would show here; central differences: 1e-10 of curvature
        assert float(found[place]) == pytest.approx((above - below) / (2 * step), rel=1e-6)
        compared += bool(found.any())
    assert compared == 3


@every_net
@pytest.mark.parametrize("discharge", ["layerwise", "asynchronous"])
def test_additions_alone_do_what_spikegrad_does_with_factors(kind: str, discharge: str) -> None:
    net = scaled(kind, NEURONS["spikegrad"])
    rule = rules.SpikeGrad(discharge=discharge, samples=1, alpha=8.0)  # type: ignore[arg-type]
    given = values(net)
    record = rule.forward(net, given)
    grad = grad_of(record.readout)
    by_events, _ = forward_events(net, given, discharge=discharge, order="random")  # type: ignore[arg-type]
    assert all(map(torch.equal, by_events.counts, record.counts))
    errors, _ = backward_events(net, record, grad, rule=rule, order="lifo")
    assert all(map(torch.equal, errors, rule.error_spikes(net, record, grad)))
    updates, operations = update_events(net, record, errors, rule=rule)
    wanted = rule.gradients(net, record, grad)
    assert updates.keys() == wanted.keys()
    for name, update in updates.items():
        torch.testing.assert_close(update, wanted[name], rtol=1e-12, atol=1e-12)
    assert operations.synaptic > 0


def test_factors_are_kept_with_the_network_and_follow_its_dtype() -> None:
    net = scaled("dense", rules.TracedNeurons)
    assert [name for name in net.state_dict() if name.endswith("factor")] == [
        "layers.0.factor", "layers.3.factor", "layers.5.factor", "layers.8.factor",
    ]  # fmt: skip
    assert not any(name.endswith("factor") for name, _ in net.named_parameters())
    given, single = values(net), deepcopy(net).float()
    assert single.stages[0].drive(given.real(torch.float32)).dtype == torch.float32
    assert single.stages[0].gain is not None
    assert single.stages[0].gain.dtype == torch.float32
    assert all(map(torch.equal, rules.NA().forward(single, given).counts, rules.NA().forward(net, given).counts))


# -- targets ---------------------------------------------------------------------------------------


def on_target(net: rules.StepNetwork, plain: rules.StepNetwork, spikes: str | None) -> None:
    given = values(net, 20)
    with (
        rules.open_network(net, "loihi", spikes=spikes) as chip,  # type: ignore[arg-type]
        rules.open_network(plain, "loihi", spikes=spikes) as other,  # type: ignore[arg-type]
    ):
        found, wanted = chip.run(given), other.run(given)
        mine, its = chip.device.expected(given), other.device.expected(given)
    assert all(map(torch.equal, found.counts, wanted.counts))
    assert all(map(torch.equal, mine.counts, its.counts))
    assert any(bool(count.any()) for count in found.counts)


CHIP_NEURONS: dict[str, Build] = {
    "na": lambda: rules.TracedNeurons(tau_m=4.0),
    "hm2bp": lambda: rules.LeakyNeurons(2.0, tau_m=16.0, tau_s=4.0, t_ref=0),
    "spikegrad": NEURONS["spikegrad"],
}


@every_net
@pytest.mark.parametrize("rule", CHIP_NEURONS)
def test_a_target_holds_the_codes_of_the_factors_in_the_weights(kind: str, rule: str) -> None:
    net = scaled(kind, CHIP_NEURONS[rule])
    on_target(net, folded(net, CHIP_NEURONS[rule]), "signed" if rule == "spikegrad" else None)


def test_spide_on_a_target_takes_the_factors_of_its_host() -> None:
    layers = [factors(8), hl.Dense(8, 9), hl.Scale(9, 0.5), rules.RateNeurons(), factors(9, 1), hl.Dense(9, 4), rules.RateNeurons()]  # fmt: skip
    net = rules.StepNetwork(layers, in_shape=8, steps=20).double()
    on_target(net, folded(net, rules.RateNeurons), None)


def test_two_synapses_of_one_pair_add_up_on_a_target() -> None:
    sparse = hl.Sparse(2, 2, [0, 0, 1], [1, 1, 0], torch.tensor([0.5, 0.25, 0.75]))
    neurons = NEURONS["spikegrad"]
    net = rules.StepNetwork([sparse, neurons(), hl.Dense(2, 2), neurons()], in_shape=2, steps=4).double()
    on_target(net, folded(net, neurons), "signed")
