"""Whole graphs with loops: the compiled kernels against ``engine="reference"``, the specification in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hwloop as hl
from hwloop.errors import GradientError, InputError, OptionError
from hwloop.simulate.joint import by_specification

T_STOP = 40e-3

#: Spike times relative to their size, and gradients relative to the largest of their parameter: rounding of 1e-16, which a
#: loop of these few spikes (at most ``QUIET`` a sample) amplifies by less than 1e4; derivatives by 1/D beyond that.
TIMES, GRADIENTS = 1e-12, 1e-9

#: Most spikes of a sample: a longer run of a recurrent network is a chaotic one, whose rounding grows without bound.
QUIET = 60

KINDS = {"LIF": ("LIF",), "delta": ("DeltaLIF", "LIF"), "integrate": ("IF", "LIF"), "all": ("LIF", "DeltaLIF", "IF")}


class Draw:
    """Random networks: ``strength`` scales the weights of the loop."""

    def __init__(self, seed: int, strength: float) -> None:
        self.r, self.strength = np.random.default_rng([31, seed]), strength

    def values(self, low: float, high: float, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.from_numpy(self.r.uniform(low, high, shape)))

    def population(self, kind: str, n: int) -> Any:
        reset = str(self.r.choice(["value", "subtract"]))
        hold = 0.0 if reset == "subtract" and kind != "LIF" else self.values(1e-3, 2e-3, n)
        own = {
            "v_th": self.values(0.9, 1.2, n), "v_reset": self.values(-0.2, 0.0, n), "t_ref": hold, "reset": reset,
            "v_init": self.values(-0.1, 0.2, n), "max_spikes": 5,
        }  # fmt: skip
        if kind == "IF":
            return hl.IF(n, **own).double()
        own |= {"v_leak": self.values(-0.1, 0.1, n), "tau_mem": self.values(8e-3, 14e-3, n)}
        if kind == "LIF":
            own["tau_syn"] = self.values(3e-3, 7e-3, n) if self.r.random() < 0.7 else own["tau_mem"].detach() / 2
            return hl.LIF(n, **own).double()
        return hl.DeltaLIF(n, **own).double()

    def maps(self, n_in: int, n_out: int, mean: float, std: float, delayed: bool) -> list[Any]:
        """Weights with a bias, behind an axonal, before a dendritic or with a synaptic delay."""
        where = str(self.r.choice(["axon", "dendrite", "synapse"] if delayed else ["axon", "none"]))
        options = {"delay": self.values(0.5e-3, 3e-3, n_out, n_in)} if where == "synapse" else {}
        dense = hl.Dense(n_in, n_out, bias=True, **options).double()  # type: ignore[arg-type]
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(self.r.normal(mean, std, (n_out, n_in))))
            assert dense.bias is not None
            dense.bias.copy_(torch.from_numpy(self.r.uniform(0.0, 0.2, n_out)))
        delay = {"axon": (n_in, 0), "dendrite": (n_out, 1)}.get(where)
        if delay is None:
            return [dense]
        line = hl.Delay(delay[0], self.values(0.5e-3, 3e-3, delay[0]))
        return [line, dense] if delay[1] == 0 else [dense, line]

    def network(self, kinds: tuple[str, ...], readout: bool) -> hl.Network:
        sizes = {f"p{k}": int(self.r.integers(2, 4)) for k in range(max(2, len(kinds)))}
        nodes = {name: self.population(kinds[k % len(kinds)], n) for k, (name, n) in enumerate(sizes.items())}
        links = [hl.Projection("in", name, self.maps(4, n, 0.9, 0.6, False)) for name, n in sizes.items()]
        ring = list(sizes)
        for a, b in zip(ring, [*ring[1:], ring[0]], strict=True):
            delayed = not isinstance(nodes[b], hl.LIF) or self.r.random() < 0.7
            links.append(
                hl.Projection(a, b, self.maps(sizes[a], sizes[b], 0.3 * self.strength, 0.4 * self.strength, delayed))
            )
        links.append(
            hl.Projection(ring[0], ring[0], self.maps(sizes[ring[0]], sizes[ring[0]], 0.0, 0.4 * self.strength, True))
        )
        out = (
            hl.LI(2, self.values(8e-3, 12e-3, 2), self.values(4e-3, 6e-3, 2)).double()
            if readout
            else self.population("LIF", 2)
        )
        links.append(hl.Projection(ring[-1], "out", self.maps(sizes[ring[-1]], 2, 0.9, 0.4, True)))
        return hl.Network.graph({"in": hl.Input(4), **nodes, "out": out}, links, output="out")

    def spikes(self) -> hl.Spikes:
        pairs = [(np.sort(self.r.uniform(0, 0.7 * T_STOP, 10)), self.r.integers(0, 4, 10)) for _ in range(2)]
        return hl.Spikes.from_events(pairs, 4, T_STOP, torch.float64)


def drawn(seed: int, kinds: str, readout: bool) -> tuple[hl.Network, hl.Spikes]:
    """Network and input ``seed``, whose loop is made weaker until it is quiet."""
    strength = 1.5
    while True:
        draw = Draw(seed, strength)
        net, spikes = draw.network(KINDS[kinds], readout), draw.spikes()
        if max(int(train.counts.max()) for train in net(spikes).populations) <= QUIET:
            return net, spikes
        strength *= 0.8


def loss_of(record: hl.Record) -> Tensor:
    """All that a record has, each spike with a weight of its own."""
    total = torch.zeros((), dtype=torch.float64)
    for k, train in enumerate(record.populations):
        times = train.times[train.valid]
        total = total + 100.0 * (times * torch.linspace(1.0, 2.0 + k, len(times), dtype=torch.float64)).sum()
    for held in record.readouts.values():
        total = total + held.maximum().sum() + 30.0 * held.integral().square().sum()
    return total


def compare(net: hl.Network, spikes: hl.Spikes, measured: hl.Record | None = None) -> int:
    """Check both engines against each other, record and gradients; the number of spikes."""
    records, gradients = [], []
    for engine in ("cpu", "reference"):
        net.zero_grad()
        moving = spikes.times.clone().requires_grad_()
        record = net(
            hl.Spikes(moving, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop), measured, engine=engine
        )
        loss_of(record).backward()  # type: ignore[no-untyped-call]
        records.append(record)
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
        assert moving.grad is not None
        gradients[-1]["input times"] = moving.grad
    for a, b in zip(*(record.populations for record in records), strict=True):
        assert torch.equal(a.units, b.units)
        torch.testing.assert_close(b.times, a.times, rtol=TIMES, atol=0)
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        size = value.abs().max().item()
        torch.testing.assert_close(gradients[1][name], value, rtol=0, atol=GRADIENTS * size + 1e-15, msg=name)
    health = [record.health for record in records]
    assert health[0] is not None
    assert health[1] is not None
    assert [layer.used for layer in health[0].layers] == [layer.used for layer in health[1].layers]
    return int(sum(train.counts.sum() for train in records[0].populations))


@pytest.mark.parametrize("readout", [False, True], ids=["spiking", "readout"])
@pytest.mark.parametrize("kinds", KINDS)
def test_random_graphs_with_loops_have_the_times_and_gradients_of_the_specification(kinds: str, readout: bool) -> None:
    spikes = sum(compare(*drawn(seed, kinds, readout)) for seed in range(3))
    assert spikes > 50


@pytest.mark.parametrize("kinds", ["LIF", "all"])
def test_measured_spikes_give_the_gradients_of_the_specification(kinds: str) -> None:
    net, spikes = drawn(1, kinds, readout=False)
    with torch.no_grad():
        own = net(spikes)
    assert compare(net, spikes, own) > 10
    moved = [
        hl.Spikes(train.times + 2e-4, train.units, train.counts, train.n_units, T_STOP) for train in own.populations
    ]
    late = hl.Record(tuple(moved), spikes, names=own.names)
    assert compare(net, spikes, late) > 10


def looped(n: int = 2, weight: float = 0.5, **options: Any) -> tuple[hl.Network, hl.Spikes]:
    net = hl.Network.graph(
        {"in": hl.Input(1), "a": hl.LIF(n, 10e-3, 5e-3, **options).double()},
        [hl.Projection("in", "a", hl.Dense(1, n).double()), hl.Projection("a", "a", hl.Dense(n, n).double())],
        output="a",
    )
    with torch.no_grad():
        for projection, value in zip(net.projections, (4.0, weight), strict=True):
            projection.maps[0].weight.fill_(value)  # type: ignore[union-attr, operator, index]
    return net, hl.Spikes.from_events([([1e-3], [0])], 1, T_STOP, torch.float64)


def test_a_loop_that_explodes_is_refused_by_both_engines_alike() -> None:
    net, spikes = looped(weight=200.0)
    for engine in ("cpu", "reference"):
        with pytest.raises(
            InputError, match=r"population 'a': a loop explodes: sample 0 has \d+ spikes of 2 neurons by t = 0\.\d+ s"
        ):
            net(spikes, engine=engine)


def test_a_component_too_large_for_the_specification_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_specification, "MAX_BYTES", 700)
    net, spikes = looped()
    with pytest.raises(
        InputError, match=r"population 'a': engine 'reference' carries 24 derivatives with each of 2 neurons"
    ):
        net(spikes, engine="reference")
    assert net(spikes, engine="cpu").output.counts.sum() > 0


def test_the_floor_of_the_derivative_holds_in_the_specification_too() -> None:
    net, spikes = looped()
    shares = []
    for engine in ("cpu", "reference"):
        for policy in ("clip", "skip"):
            net.zero_grad()
            record = net(spikes, floor=3.0, policy=policy, engine=engine)
            record.output.times[record.output.valid].sum().backward()
            assert record.health is not None
            shares.append(
                (record.health.layers[0].below_floor, [p.grad.clone() for p in net.parameters() if p.grad is not None])
            )
        with pytest.raises(GradientError, match=r"lies below the floor 3 \(v_th - v_reset\)"):
            net(spikes, floor=3.0, policy="raise", engine=engine)
    for (count, grads), (expected_count, expected) in zip(shares[2:], shares[:2], strict=True):
        assert count == expected_count > 0
        for a, b in zip(grads, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=GRADIENTS, atol=1e-15)


def test_an_unknown_engine_is_refused_where_a_loop_runs() -> None:
    net, spikes = looped()
    with pytest.raises(OptionError, match="engine = 'gpu'; allowed: 'auto', 'cpu', 'reference'"):
        net(spikes, engine="gpu")
