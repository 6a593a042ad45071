"""The check of a NIR graph: its stimulus, its figures on spikes that are known, and what it lists of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import InputError
from hwloop.network.nir import check
from hwloop.network.nir.check import RoundTrip, round_trips, rows_of, stimulus_of
from hwloop.record import Record

TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}


def network(n_in: int = 2, **taus: float) -> hl.Network:
    return hl.Network([hl.Dense(n_in, 2), hl.LIF(2, **{**TAUS, **taus})])


def two_inputs() -> hl.Network:
    return hl.Network.graph(
        {"a": hl.Input(2), "b": hl.Input((1, 2, 2)), "z": hl.LIF(2, **TAUS), "out": hl.LI(1, 2e-2)},
        [
            hl.Projection("a", "z", hl.Dense(2, 2)),
            hl.Projection("b", "z", [hl.Flatten(), hl.Dense(4, 2)]),
            hl.Projection("z", "z", []),
            hl.Projection("z", "out", hl.Dense(2, 1)),
        ],
    )


# -- the stimulus ---------------------------------------------------------------------------------


def test_the_stimulus_is_ten_spikes_an_input_in_the_first_half_of_ten_time_constants() -> None:
    assert (check.SPIKES_OF_A_UNIT, check.MOST_SPIKES, check.WINDOW, check.TIMELESS_WINDOW) == (10, 2_000, 10.0, 0.1)
    assert check.STEPS == (None, 1e-4)
    for taus, longest in (({}, 1e-2), ({"tau_syn": 4e-2}, 4e-2)):
        spikes = stimulus_of(network(3, **taus))
        assert isinstance(spikes, hl.Spikes)
        assert (spikes.t_stop, spikes.n_units, len(spikes)) == (pytest.approx(10 * longest), 3, 1)
        assert (spikes.counts.tolist(), spikes.times.dtype) == ([30], torch.float64)
        assert 0.5 * spikes.t_stop > spikes.times.max() > 0.4 * spikes.t_stop
        assert set(spikes.units.ravel().tolist()) == {0, 1, 2}
    again = stimulus_of(network(3))
    assert isinstance(again, hl.Spikes)
    assert torch.equal(again.times, stimulus_of(network(3)).times)  # type: ignore[union-attr]


def test_many_inputs_share_two_thousand_spikes() -> None:
    for n, count in ((200, 2000), (201, 2000), (199, 1990)):
        spikes = stimulus_of(network(n))
        assert isinstance(spikes, hl.Spikes)
        assert spikes.counts.tolist() == [count]


def test_a_network_without_time_constants_has_a_tenth_of_a_second() -> None:
    spikes = stimulus_of(hl.Network([hl.Dense(1, 1), hl.IF(1)], in_shape=1))
    assert isinstance(spikes, hl.Spikes)
    assert spikes.t_stop == 0.1


def test_every_input_has_a_stimulus_of_its_own_within_one_window() -> None:
    found = stimulus_of(two_inputs())
    assert isinstance(found, dict)
    assert {name: (spikes.n_units, spikes.counts.tolist()) for name, spikes in found.items()} == {
        "a": (2, [20]), "b": (4, [40]),
    }  # fmt: skip
    for spikes in found.values():
        assert spikes.t_stop == pytest.approx(10 * 2e-2)  # of the readout, which is the slowest


# -- the figures ----------------------------------------------------------------------------------


def record(*trains: list[tuple[float, int]]) -> Record:
    """A record of populations of two units each."""
    return Record(
        tuple(hl.Spikes.from_events([([t for t, _ in train], [u for _, u in train])], 2, 1.0, torch.float64) for train in trains)
    )  # fmt: skip


def figures(monkeypatch: pytest.MonkeyPatch, before: Record, after: Record) -> RoundTrip:
    """Of a network that spiked as ``before`` and, when it came back, as ``after``."""
    net = network()
    monkeypatch.setattr(hl.Network, "forward", lambda self, spikes, **options: after)
    return check._round_trip(net, stimulus_of(net), before, None)


def test_the_shift_is_the_largest_of_neurons_that_spike_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    before = record([(0.1, 0), (0.2, 1), (0.5, 0), (0.6, 1)])
    after = record([(0.1, 0), (0.25, 1), (0.53, 0), (0.6, 1)])
    found = figures(monkeypatch, before, after)
    assert (found.spikes, found.shift, found.changed, found.refused) == (4, pytest.approx(0.05), 0, None)
    assert str(found) == "to_nir(): 4 spikes, moved by 0.05 s at most, 0 more or fewer"


def test_spikes_that_came_or_went_are_counted_and_their_neurons_not_shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    before = record([(0.1, 0), (0.2, 1), (0.5, 0), (0.6, 1)])
    after = record([(0.21, 1), (0.3, 0), (0.6, 1)])
    found = figures(monkeypatch, before, after)
    assert (found.spikes, found.shift, found.changed) == (4, pytest.approx(0.01), 1)
    more = figures(monkeypatch, after, before)
    assert (more.spikes, more.changed) == (3, 1)
    assert figures(monkeypatch, record([]), record([])) == RoundTrip(None)
    assert figures(monkeypatch, record([(0.1, 0)]), record([(0.1, 1)])).changed == 2


def test_populations_are_compared_by_name_whatever_order_a_file_holds_them_in() -> None:
    net = hl.Network.graph(
        {"in": hl.Input(1), "z": hl.LIF(2, **TAUS), "a": hl.LIF(2, **TAUS)},
        [hl.Projection("in", "z", hl.Dense(1, 2)), hl.Projection("z", "a", hl.Dense(2, 2))],
    )
    assert net.structure.populations == ("z", "a")
    first, second = record([(0.1, 0)], [(0.2, 0)]).populations
    assert check._in_order(net, Record((first, second))) == [second, first]
    chain = hl.Network([hl.Dense(1, 2), hl.LIF(2, **TAUS), hl.Dense(2, 2), hl.LIF(2, **TAUS)])
    assert check._in_order(chain, Record((first, second))) == [first, second]
    trains = check._trains(record([(0.1, 1), (0.3, 1)]).populations[0])
    assert [train.tolist() for train in trains] == [[], [0.1, 0.3]]


def test_a_refusal_is_told_with_the_step_that_was_tried() -> None:
    late = torch.tensor([[1e-3, 2e-3], [3e-3, 4e-3]])
    net = hl.Network([hl.Dense(2, 2, delay=late), hl.LIF(2, **TAUS)])
    literal, stepped = round_trips(net, (None, 1e-4))
    assert str(literal).startswith("to_nir(): refused: ")
    assert "delays that differ between synapses" in str(literal)
    assert str(stepped).startswith("to_nir(dt=0.0001): refused: ")
    assert (literal.spikes, literal.shift, literal.changed) == (0, 0.0, 0)
    assert (
        str(RoundTrip(2e-3, 7, 1.25e-9, 3))
        == "to_nir(dt=0.002): 7 spikes, moved by 1.25e-09 s at most, 3 more or fewer"
    )


def test_what_comes_back_is_driven_as_before_input_by_input() -> None:
    literal, stepped = round_trips(two_inputs())
    assert (literal.dt, literal.shift, literal.changed) == (None, 0.0, 0)
    assert (stepped.dt, stepped.changed) == (1e-4, 0)
    assert literal.spikes == stepped.spikes


# -- the list of nodes ----------------------------------------------------------------------------


def test_nodes_are_listed_with_kind_shape_and_what_leads_into_them() -> None:
    assert rows_of(two_inputs()) == [
        ("a", "input", "2", "-"),
        ("b", "input", "1 x 2 x 2", "-"),
        ("z", "LIF", "2", "a: Dense; b: Flatten Dense; z: directly"),
        ("out", "LI", "1", "z: Dense"),
    ]


# -- what reading refuses -------------------------------------------------------------------------


def read(nodes: dict[str, Any], edges: list[tuple[str, str]], **metadata: Any) -> hl.Network:
    from hwloop.network.nir.read import from_nir

    from .made import graph

    return from_nir(graph(nodes, edges, **metadata))


def test_neurons_of_which_nothing_says_how_many_are_listed_in_order() -> None:
    import nir

    from .made import cuba, ends

    nodes = {**ends(), "w": nir.Linear(np.ones((2, 2))), "n": cuba(), "b": cuba(1), "a": cuba(1)}
    edges = [("in", "w"), ("w", "n"), ("n", "out"), ("b", "a"), ("a", "b")]
    with pytest.raises(InputError, match="neurons 'a', 'b' hold single numbers, and nothing says how many they are"):
        read(nodes, edges)


def test_maps_at_the_end_are_refused_by_the_last_of_them() -> None:
    import nir

    from .made import cuba, linear, row

    with pytest.raises(InputError, match=r"the graph ends in 'n3' \(Scale\), after which no neurons come"):
        hl.Network.from_nir(row(linear(), cuba(), linear(2, 2), nir.Scale(np.ones(2)), n_out=2))


def test_only_time_constants_a_thousand_times_too_short_look_like_norse_s() -> None:
    from .made import cuba, linear, row

    def refused(tau_mem: Any, tau_syn: Any) -> str:
        node = cuba(tau_mem=tau_mem, tau_syn=tau_syn, w_in=1.0)
        with pytest.raises(InputError) as caught:
            hl.Network.from_nir(row(linear(), node, spike="jump"))
        return str(caught.value)

    assert refused(10e-6, [5e-6, 7e-6]).startswith("time constants of 5e-06..1e-05 s with r = 1 and w_in = 1, as norse")
    assert "as norse writes them" in refused(1e-3, 1e-7 * (1 + 1e-9))  # 1 s and 1e-4 s once a thousand times as long
    for tau_mem, tau_syn in ((1.1e-3, 5e-6), (10e-6, 0.9e-7)):
        assert "fit none of s, ms, us" in refused(tau_mem, tau_syn)


def test_a_bias_of_which_some_are_zero_is_named_too() -> None:
    import nir

    from .made import cuba, linear, row

    biased = nir.Affine(np.ones((2, 3)), np.array([0.0, 1.0]))
    for nodes, name in (((biased, cuba(w_in=1.0)), "n0"), ((linear(3, 3), biased, cuba(w_in=1.0)), "n1")):
        with pytest.raises(InputError, match=f"node '{name}' has a bias, which has no size where spikes are jumps"):
            hl.Network.from_nir(row(*nodes, time_unit="s", spike="jump"))


def test_a_bias_that_was_changed_in_the_file_counts_and_not_what_its_metadata_said() -> None:
    net = hl.Network([hl.Dense(2, 2, bias=True), hl.LIF(2, **TAUS)])
    with torch.no_grad():
        net.layers[0].bias.copy_(torch.tensor([0.3, -0.7]))  # type: ignore[union-attr, operator]
    graph = net.to_nir()
    assert hl.Network.from_nir(graph).layers[0].bias.tolist() == net.layers[0].bias.tolist()  # type: ignore[union-attr, operator]
    graph.nodes["dense_0"].bias = 2 * graph.nodes["dense_0"].bias
    found = hl.Network.from_nir(graph).layers[0].bias  # type: ignore[union-attr]
    assert found.tolist() == pytest.approx([0.6, -1.4], rel=1e-6)  # type: ignore[operator, union-attr]
