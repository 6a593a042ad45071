"""What a device holds of each weight of a graph, read back from its matrices."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop.errors import InputError
from hwloop.mapping.held import codes_of, held_values, largest_weight, places_of, shapes_of

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


def test_the_sign_of_a_factor_does_not_matter_to_the_largest_weight() -> None:
    net = graph()
    scale = net.structure.links[0].composition.maps[0]
    with torch.no_grad():
        scale.factor.copy_(torch.tensor([1.0, -4.0, 0.5]))  # type: ignore[union-attr,operator]
    program = hl.compile(net, find("emulator:1", preset="bss2"))
    (_, scaled), _, _ = places_of(net)
    assert largest_weight(scaled, program.layers[0]) == pytest.approx(
        float(np.min(program.layers[0].largest_weight())) / 4
    )


def test_what_saturates_in_no_neuron_is_what_the_one_with_the_finest_codes_holds() -> None:
    _, (_, plain), _ = places_of(graph())
    assert largest_weight(plain, SimpleNamespace(largest_weight=lambda: np.array([3.0, 2.0]))) == 2.0  # type: ignore[arg-type]


def test_one_code_of_a_weight_moves_each_of_its_synapses_and_the_largest_saturates_none() -> None:
    factors = torch.tensor([1.0, -2.0, 0.5, 1.0, 4.0, 1.0, 0.25, 1.0, 0.0])
    conv = hl.Conv2d(1, 2, 2).init_normal_(1.0, 0.3, torch.Generator().manual_seed(0))
    net = hl.Network.graph(
        {"in": hl.Input((1, 3, 3)), "maps": hl.LIF((2, 2, 2), **TAUS), "out": hl.LIF(2, **TAUS)},
        [
            hl.Projection("in", "maps", [hl.Scale(9, factors), conv]),
            hl.Projection(
                "maps", "out", [hl.Flatten(), hl.Dense(8, 2).init_normal_(0.5, 0.5), hl.Scale(2, [2.0, 0.0])]
            ),
        ],
    )
    program = hl.compile(net, find("emulator:1", preset="bss2"))
    (_, shared, most_shared), (_, single, most) = codes_of(net, program)
    of_maps, of_out = (
        np.broadcast_to(np.asarray(layer.lsb()).reshape(-1, 1), (layer.n_out, 1))[:, 0] for layer in program.layers
    )
    limit = float(program.layers[0].max_code or 0)
    # the synapses of a weight of the kernel, one by one
    image = np.abs(factors.numpy().reshape(3, 3))
    for channel in range(2):
        for i in range(2):
            for j in range(2):
                behind = image[i : i + 2, j : j + 2].reshape(-1)
                units = (of_maps[4 * channel : 4 * channel + 4] / np.where(behind, behind, np.nan))[behind > 0]
                assert float(shared[channel, 0, i, j]) == pytest.approx(units.max(), rel=1e-6)
                assert float(most_shared[channel, 0, i, j]) == pytest.approx(
                    limit * units.min() / units.max(), rel=1e-6
                )
    np.testing.assert_allclose(single[0], np.full(8, of_out[0] / 2), rtol=1e-6)
    np.testing.assert_allclose(single[1], np.full(8, of_out.max()), rtol=1e-6)  # behind a factor of 0
    np.testing.assert_allclose(most, limit, rtol=1e-6)


def test_weights_that_share_synapses_have_the_code_of_their_median() -> None:
    first, second = (hl.Dense(3, 3).init_normal_(0.5, 0.2) for _ in range(2))
    net = hl.Network.graph({"in": hl.Input(3), "n": hl.LIF(3, **TAUS)}, [hl.Projection("in", "n", [first, second])])
    program = hl.compile(net, find("emulator:1", preset="bss2"))
    (_, unit, most), (_, other, _) = codes_of(net, program)
    lsb = float(np.max(program.layers[0].lsb()))
    for found, behind in ((unit, second), (other, first)):
        assert float(found) == pytest.approx(lsb / float(behind.weight.detach().abs().median()), rel=0.5)
    assert float(most) == program.layers[0].max_code


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
