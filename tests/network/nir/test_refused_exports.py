"""What no NIR graph can hold is refused when a network is exported, with what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import InputError, Network
from hwloop.network import LIF, Dense, Flatten, Input, Projection, SumPool2d

from .random_networks import recurrent


def test_synaptic_delays_are_refused() -> None:
    net = Network([Dense(3, 2, delay=torch.tensor([[1e-3, 1e-3, 1e-3], [1e-3, 2e-3, 1e-3]])), LIF(2, 10e-3, 5e-3)])
    with pytest.raises(
        InputError, match=r"delays that differ between synapses of one source, .*allowed: one delay a source"
    ):
        net.to_nir()
    equal = Network([Dense(3, 2, delay=torch.tensor([[1e-3, 2e-3, 3e-3]] * 2)), LIF(2, 10e-3, 5e-3)])
    np.testing.assert_allclose(equal.to_nir().nodes["delay_0"].delay, [1e-3, 2e-3, 3e-3])


def test_parameters_out_of_bounds_are_refused_by_layer_or_population() -> None:
    net = Network([Dense(2, 2), LIF(2, 10e-3, 5e-3)])
    net.blocks[0][1].tau_mem[1] = -1.0
    with pytest.raises(InputError, match="layer 1 .*neuron 1.*tau_mem"):
        net.to_nir()
    graph = recurrent(1)
    graph.structure.nodes["first"].tau_mem[1] = -1.0  # type: ignore[union-attr, operator, index]
    with pytest.raises(InputError, match="population 'first'.*neuron 1.*tau_mem"):
        graph.to_nir()


def test_a_bias_that_maps_cannot_carry_is_refused() -> None:
    tau = torch.tensor([5e-3] * 4 + [6e-3] * 4)
    biased = [Flatten(), Dense(16, 16, bias=True)]
    with torch.no_grad():
        biased[1].bias.fill_(0.5)  # type: ignore[union-attr]
    nodes = {"in": Input((1, 4, 4)), "n": LIF(8, 10e-3, tau)}
    net = Network.graph(nodes, [Projection("in", "n", [*biased, Dense(16, 8)])])
    # the last weights take it all
    found = net.to_nir()
    expected = (net.structure.links[0].composition.offset() / tau).detach()  # type: ignore[operator]
    np.testing.assert_allclose(found.nodes["in_n_dense_2"].bias, expected, rtol=1e-6)
    conv = hl.network.Conv2d(1, 2, 1, bias=True)
    with torch.no_grad():
        conv.bias.fill_(0.5)  # type: ignore[union-attr]
    mixed = torch.tensor([5e-3, 6e-3] * 4)
    pooled = Network.graph(
        {"in": Input((1, 4, 4)), "n": LIF((2, 2, 2), 10e-3, mixed)}, [Projection("in", "n", [conv, SumPool2d(2)])]
    )
    with pytest.raises(
        InputError, match="a bias before SumPool2d, .*allowed: equal time constants, or the bias in the last"
    ):
        pooled.to_nir()
    within = Network.graph({"in": Input((1, 2, 2)), "n": LIF((2, 2, 2), 10e-3, mixed)}, [Projection("in", "n", [conv])])
    with pytest.raises(
        InputError, match="a convolution's bias, one a channel, .*allowed: equal time constants in a channel"
    ):
        within.to_nir()
