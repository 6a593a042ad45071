"""Files in which a spike is one thing for neurons with a current and another for those without, as norse and rockpool write them."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import torch

from hwloop import InputError, Network, OptionError

from .made import cuba, graph, li, linear, row, weight

DT = 1e-4
#: A current that jumps by w, and a readout whose membrane takes a pulse of one step.
MIXED = {"r": 1.0, "w_in": 1.0}


def mixed(**more: float) -> nir.NIRGraph:
    return row(linear(), cuba(**MIXED), linear(2, 2), li(r=1.0, **more), bare=True, time_unit="s")


def test_jumps_of_currents_and_membranes_at_once_are_refused_with_the_pairs_that_may_be_meant() -> None:
    with pytest.raises(InputError, match=r"'n1' with a current and 'n3' \(LI\) without: .*spike=\('jump', dt\)"):
        Network.from_nir(mixed(), spike="jump")
    with pytest.raises(InputError, match=r"not evident: .*spike=\('jump', dt\) .*: weights x 0\.09516\.\.1;"):
        Network.from_nir(mixed())


def test_a_pair_gives_each_its_own_meaning() -> None:
    net = Network.from_nir(mixed(), spike=("jump", DT))
    np.testing.assert_array_equal(weight(net, "n1"), 1.0)
    # a pulse of height 1 and one step leaves the membrane at 1 - exp(-dt / tau)
    np.testing.assert_allclose(weight(net, "n3"), -np.expm1(-DT / 10e-3), rtol=1e-12)
    assert "jumps by the weight times the gains" in net.nir_evidence
    assert "where there is no current pulses of 0.0001 s" in net.nir_evidence
    both = Network.from_nir(mixed(), spike=("jump", "jump"))
    np.testing.assert_array_equal(weight(both, "n3"), 1.0)


def test_a_bias_has_a_size_where_the_step_is_told() -> None:
    """Added to the current in every step it settles at ``b tau_syn / dt``."""
    biased = row(nir.Affine(np.ones((2, 3)), np.full(2, 0.25)), cuba(**MIXED), bare=True, time_unit="s")
    with pytest.raises(InputError, match=r"Pass spike=\('jump', dt\) with that step in seconds"):
        Network.from_nir(biased, spike="jump")
    net = Network.from_nir(biased, spike=("jump", DT))
    (dense,) = next(iter(net.structure.links)).composition.maps
    np.testing.assert_allclose(dense.bias.detach(), 0.25 * 5e-3 / DT, rtol=1e-12)
    np.testing.assert_array_equal(dense.weight.detach(), 1.0)


def test_a_pair_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match="or a pair: of neurons with a current, and of those without"):
        Network.from_nir(mixed(), spike=("jump", DT, DT))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="spike = 'soft'; allowed: 'jump', 'delta'"):
        Network.from_nir(mixed(), spike=("jump", "soft"))


def test_a_graph_whose_values_are_tensors_is_refused_as_one_of_arrays_is() -> None:
    """As the packages' exporters hand it over, before it is a file."""
    held = {
        key: torch.full((2,), value)
        for key, value in {"tau_mem": 1e-2, "tau_syn": 5e-3, "r": 1.0, "v_leak": 0.0}.items()
    }
    node = nir.CubaLIF(**held, v_threshold=torch.ones(2))
    nodes = {"in": nir.Input(np.array([3])), "w": linear(), "n": node, "out": nir.Output(np.array([2]))}
    made = graph(nodes, [("in", "w"), ("w", "n"), ("n", "out")], time_unit="s")
    with pytest.raises(InputError, match="not evident: all gains are 1"):
        Network.from_nir(made)
    assert Network.from_nir(made, spike="jump").nir_evidence
