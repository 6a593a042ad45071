"""Networks in steps take the maps of networks in continuous time: any convolution, both pools, single synapses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.network.composition import Composition
from hwloop.rules.steps.synapse_lists import backward_synapses, synapses

SOURCES, TARGETS = [0, 3, 3, 7, 11, 5], [1, 0, 2, 2, 1, 1]

MAPS = {
    "strided": ([hl.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1)], (2, 6, 5)),
    "dilated groups": ([hl.Conv2d(4, 4, 2, dilation=2, groups=2)], (4, 5, 5)),
    "stride that leaves a row over": ([hl.Conv2d(1, 2, 2, stride=2)], (1, 5, 5)),
    "sum pool": ([hl.SumPool2d(2), hl.Conv2d(2, 3, 2)], (2, 4, 6)),
    "wide mean pool": ([hl.AvgPool2d((1, 3)), hl.Flatten(), hl.Dense(8, 3)], (1, 4, 6)),
    "both pools": ([hl.SumPool2d((2, 1)), hl.AvgPool2d(2), hl.Dense(2, 3)], (1, 4, 4)),
    "single synapses": ([hl.Sparse(12, 3, SOURCES, TARGETS, torch.linspace(0.5, 1.0, 6))], (12,)),
    "pooled single synapses": ([hl.AvgPool2d(2), hl.Sparse(12, 3, SOURCES, TARGETS, torch.ones(6))], (3, 4, 4)),
}


def stage(name: str) -> rules.Stage:
    maps, in_shape = MAPS[name]
    return rules.StepNetwork([*maps, rules.TracedNeurons()], in_shape=in_shape, steps=2).double().stages[0]


def matrix(name: str) -> torch.Tensor:
    """``[n_out, n_in]`` by the maps' own lists of synapses, one after the other."""
    maps, in_shape = MAPS[name]
    whole = Composition([layer.double() for layer in maps], in_shape, name)
    found = torch.zeros(whole.n_out, whole.n_in, dtype=torch.float64)
    paths = whole.paths
    place = torch.from_numpy(paths.targets), torch.from_numpy(paths.sources)
    return found.index_put(place, whole.weight().detach(), accumulate=True)


@pytest.mark.parametrize("name", MAPS)
def test_the_three_functions_of_a_stage_are_those_of_its_matrix(name: str) -> None:
    of, wanted = stage(name), matrix(name)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, of.n_in, generator=generator, dtype=torch.float64)
    y = torch.randn(3, 2, of.n_out, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        # sums of at most 50 numbers near 1 in another order
        torch.testing.assert_close(of.drive(x), x @ wanted.t(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(of.adjoint(y), y @ wanted, rtol=1e-12, atol=1e-12)
    weight = of.connection.weight
    (by_torch,) = torch.autograd.grad((of.drive(x) * y).sum(), weight)
    torch.testing.assert_close(of.weight_gradient(x, y).detach(), by_torch, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", MAPS)
def test_the_events_of_a_stage_reach_what_its_matrix_says(name: str) -> None:
    of, wanted = stage(name), matrix(name).numpy()
    listed = synapses(of)
    found = np.zeros_like(wanted)
    sources = np.repeat(np.arange(of.n_in), np.diff(listed.starts))
    np.add.at(found, (listed.targets, sources), listed.weights(of))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in MAPS if "pool" not in name])
def test_backward_synapses_are_those_of_the_matrix(name: str) -> None:
    of = stage(name)
    starts, sources, parameters = backward_synapses(of.connection, of.in_shape)  # type: ignore[arg-type]
    found = np.zeros((of.n_out, of.n_in))
    targets = np.repeat(np.arange(of.n_out), np.diff(starts))
    weight = of.connection.weight.detach().numpy().reshape(-1)
    np.add.at(found, (targets, sources), weight[parameters])
    np.testing.assert_allclose(found, matrix(name).numpy(), rtol=1e-12)


NEURONS = {
    "na": rules.TracedNeurons,
    "spikegrad": rules.SignedNeurons,
    "spide": rules.RateNeurons,
    "hm2bp": lambda: rules.LeakyNeurons(0.5),
}


@pytest.mark.parametrize("rule", NEURONS)
def test_every_rule_in_steps_trains_such_a_network(rule: str) -> None:
    generator = torch.Generator().manual_seed(0)
    neurons = NEURONS[rule]
    net = rules.StepNetwork(
        [
            hl.Conv2d(1, 4, 3, stride=2, padding=1).init_normal_(0.3, 0.5, generator), neurons(),
            hl.SumPool2d(2), hl.Flatten(), hl.Dense(16, 2).init_normal_(0.1, 0.2, generator), neurons(),
        ],
        in_shape=(1, 8, 8),
        steps=40,
    )  # fmt: skip
    pixels = torch.randint(0, 120, (60, 64), generator=generator, dtype=torch.uint8)
    labels = torch.arange(60) % 2
    pixels[labels == 1, :32] += 120
    data = rules.ValueSet(pixels, labels)
    task = rules.ValueTask("halves", data, data, data, 64, 2)
    hl.fit(net, task, rules.ReadoutCrossEntropy(), rule=rule, epochs=6, batch_size=10, lr=2e-2)
    assert hl.evaluate(net, data).accuracy >= 0.9
