"""What a device holds of each weight of a graph, read back from its matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop.errors import InputError
from hwloop.mapping.held import held_values, largest_weight, places_of, shapes_of

TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}


def graph() -> hl.Network:
    """A skip connection; a Scale before a Dense, whose factors stand in the device's codes."""
    g = torch.Generator().manual_seed(0)
    return hl.Network.graph(
        {"in": hl.Input(3), "a": hl.LIF(4, **TAUS), "b": hl.LIF(2, **TAUS)},
        [
            hl.Projection(
                "in", "a", [hl.Scale(3, torch.tensor([1.0, 2.0, 0.5])), hl.Dense(3, 4).init_normal_(0.5, 0.5, g)]
            ),
            hl.Projection("a", "b", hl.Dense(4, 2).init_normal_(0.5, 0.5, g)),
            hl.Projection("in", "b", hl.Dense(3, 2).init_normal_(0.5, 0.5, g)),
        ],
    )


def test_held_weights_are_those_of_the_codes_without_the_factors_of_other_maps() -> None:
    net = graph()
    program = hl.compile(net, find("emulator:1", preset="bss2"))
    matrices, found = program.weights(), held_values(net, program)
    factors = np.array([1.0, 2.0, 0.5])
    np.testing.assert_allclose(found[0][1], matrices[0] / factors, rtol=1e-6)
    np.testing.assert_allclose(found[1][1], matrices[1][:, :4], rtol=1e-6)
    np.testing.assert_allclose(found[2][1], matrices[1][:, 4:], rtol=1e-6)
    for tensor, value in found:
        assert 0 < float((tensor - value).detach().abs().max()) < 0.1  # rounded, in its place


def test_the_largest_weight_of_a_map_is_what_its_largest_factor_leaves() -> None:
    net = graph()
    program = hl.compile(net, find("emulator:1", preset="bss2"))
    (_, scaled), (_, plain), _ = places_of(net)
    assert largest_weight(scaled, program.layers[0]) == pytest.approx(
        float(np.min(program.layers[0].largest_weight())) / 2
    )
    assert largest_weight(plain, program.layers[1]) == pytest.approx(float(np.min(program.layers[1].largest_weight())))


def test_shapes_are_those_of_the_programs_layers() -> None:
    net = graph()
    program = hl.compile(net, find("emulator:1", preset="bss2"))
    assert shapes_of(net) == [layer.codes.shape for layer in program.layers] == [(4, 3), (2, 7)]


def test_parameters_that_went_out_of_bounds_are_refused_at_compilation() -> None:
    net = graph()
    with torch.no_grad():
        net.structure.nodes["a"].tau_mem.fill_(-1.0)  # type: ignore[union-attr,operator]
    with pytest.raises(InputError, match="population 'a'.*tau_mem"):
        hl.compile(net, find("emulator:1", preset="bss2"))
