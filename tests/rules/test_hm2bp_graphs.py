"""HM2-BP in continuous time on graphs: its count relation, its gradient by the formula, and chains in disguise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.datasets import yin_yang
from hwloop.errors import InputError
from hwloop.network import DeltaLIF
from hwloop.rules import HM2BP
from hwloop.rules.hm2bp import graph_events, reference

TAUS = {"tau_mem": 10e-3, "tau_syn": 2.5e-3}


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def dense(n_in: int, n_out: int, seed: int, mean: float = 2.0, std: float = 3.0, **options: object) -> hl.Dense:
    layer = hl.Dense(n_in, n_out, **options)  # type: ignore[arg-type]
    return layer.init_normal_(mean, std, torch.Generator().manual_seed(seed))


def graph(reset: str = "value", t_ref: float = 0.0) -> hl.Network:
    """Two inputs, a convolution of one, pools, a skip connection, all delays, biases, a factor and single synapses."""
    conv = hl.Conv2d(1, 2, 2, bias=True).init_normal_(4.0, 2.0, torch.Generator().manual_seed(1))
    options = {**TAUS, "reset": reset, "t_ref": t_ref}
    out = dense(5, 3, 3, 4.0, 3.0, bias=True, delay=torch.linspace(0, 3e-3, 15).reshape(3, 5))
    with torch.no_grad():
        conv.bias.copy_(torch.tensor([0.4, -0.3]))  # type: ignore[union-attr]
        out.bias.copy_(torch.tensor([0.3, 1.2, -0.2]))  # type: ignore[union-attr]
    return hl.Network.graph(
        {
            "image": hl.Input((1, 5, 5)), "other": hl.Input(3), "maps": hl.LIF((2, 4, 4), **options),
            "hidden": hl.LIF(5, **options), "out": hl.LIF(3, **options),
        },
        [
            hl.Projection("image", "maps", conv),
            hl.Projection("maps", "hidden", [hl.SumPool2d(2), hl.Flatten(), dense(8, 5, 2, 2.0, 2.0)]),
            hl.Projection("other", "hidden", [hl.Delay(3, [0.0, 1e-3, 2e-3]), dense(3, 5, 4)]),
            hl.Projection("hidden", "out", out),
            hl.Projection("maps", "out", [hl.AvgPool2d(2), hl.Scale(8, 1.5), hl.Dense(8, 3).init_normal_(3.0, 2.0, torch.Generator().manual_seed(5))]),
            hl.Projection("other", "out", hl.Sparse(3, 3, [0, 1, 1, 2], [0, 0, 2, 2], torch.tensor([5.0, 3.0, 4.0, -2.0]))),
        ],
    )  # fmt: skip


def inputs(n: int, batch: int = 3, per_unit: int = 4, seed: int = 2) -> hl.Spikes:
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(batch):
        times = np.sort(rng.uniform(0, 40e-3, n * per_unit))
        pairs.append((times, rng.permutation(np.repeat(np.arange(n), per_unit))))
    return hl.Spikes.from_events(pairs, n, 60e-3, torch.float64)


def readout_grad(batch: int = 3, n: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("t_ref", [0.0, 1.5e-3])
def test_total_potential_is_threshold_times_count_in_every_population(reset: str, t_ref: float) -> None:
    net = graph(reset, t_ref)
    record = HM2BP().forward(net, {"image": inputs(25), "other": inputs(3, seed=3)})
    for name in net.structure.populations:
        into, effect, constant = graph_events.effects(net, record, name)
        neurons = np.repeat(np.arange(len(into.bias)), np.diff(into.wires.starts))
        total = constant * into.bias
        for b in range(3):
            np.add.at(total[b], neurons, into.wires.weights * effect[b])
        count = record[name].unit_counts().numpy()
        assert int(count.max()) >= 3
        # each spike: u = v_th to some 1e-14 (the root), sums of up to 1e3 terms of 1e-16
        np.testing.assert_allclose(total, count * 1.0, rtol=0, atol=1e-12 * float(count.max()))


def test_effects_are_the_double_sum_over_delayed_spikes() -> None:
    net = graph(t_ref=1e-3)
    given = {"image": inputs(25), "other": inputs(3, seed=3)}
    record = HM2BP().forward(net, given)
    into, effect, constant = graph_events.effects(net, record, "out")
    trains = {**given, "hidden": record["hidden"], "maps": record["maps"]}
    units = [(link, j) for link in into.links for j in range(link.composition.n_in)]
    compared = 0
    for s in range(0, len(into.order), 3):
        i = int(np.searchsorted(into.wires.starts, s, side="right")) - 1
        link, j = units[into.wires.units[s]]
        late = float(into.wires.delays[s])
        for b in range(3):
            events = trains[link.source].to_events()[b]
            pre = (events[0][events[1] == j] + late).tolist()
            mine = record["out"].to_events()[b]
            post = mine[0][mine[1] == i].tolist()
            wanted = 0.25 * reference.effect(pre, post, 10e-3, 2.5e-3, 1e-3)
            assert effect[b, s] == pytest.approx(wanted, rel=1e-11, abs=1e-14)
            compared += effect[b, s] != 0
    assert compared > 20
    for b in range(3):
        mine = record["out"].to_events()[b]
        for i in range(3):
            last, total = 0.0, 0.0
            for t in mine[0][mine[1] == i]:
                total += 1 - np.exp(-(t - last) / 10e-3)
                last = t + 1e-3
            assert constant[b, i] == pytest.approx(total, rel=1e-12, abs=1e-15)
    assert set(into.wires.delays) > {0.0, 3e-3}


def test_gradients_are_those_of_the_formula_in_every_projection() -> None:
    net, given = graph(), {"image": inputs(25), "other": inputs(3, seed=3)}
    rule = HM2BP(teacher=0)
    record, grad = rule.forward(net, given), readout_grad()
    found = rule.gradients(net, record, grad)
    assert set(found) == {name for name, p in net.named_parameters() if p.requires_grad}
    trains = graph_events.trains_of(net, record)
    signals = {"out": grad}
    wanted: dict[str, torch.Tensor] = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for name in ("out", "hidden", "maps"):
        into, effect, constant = graph_events.effects(net, record, name)
        neurons = np.repeat(np.arange(len(into.bias)), np.diff(into.wires.starts))
        delta, o = signals[name].numpy(), record[name].unit_counts().numpy()
        # by the macro relation every bracket is 1 + 1 for a neuron that fires; v_th = 1
        of_synapse = (2 * delta[:, neurons] * effect).sum(0)
        of_bias = torch.from_numpy((2 * delta * constant).sum(0))
        for link, part in zip(into.links, into.by_path(of_synapse), strict=True):
            value = (link.composition.weight() * part).sum()
            offset = link.composition.offset()
            if offset is not None:
                value = value + (offset * of_bias).sum()
            names = {
                n: p
                for n, p in net.named_parameters()
                if any(p is q for m in link.composition.maps for q in m.parameters())
            }
            for (key, _), part_grad in zip(
                names.items(), torch.autograd.grad(value, list(names.values())), strict=True
            ):
                wanted[key] += part_grad
        first = 0
        for link in into.links:
            own = trains[link.source].unit_counts().numpy()
            told = np.zeros((3, link.composition.n_in))
            for s, (i, unit) in enumerate(zip(neurons, into.wires.units, strict=True)):
                j = unit - first
                if 0 <= j < link.composition.n_in:
                    empty = (own[:, j] == 0) | (o[:, i] == 0)
                    ratio = np.where(empty, 1.0, effect[:, s] / np.maximum(own[:, j], 1))
                    told[:, j] += delta[:, i] * into.wires.weights[s] * ratio
            first += link.composition.n_in
            if link.source in net.structure.populations:
                signals[link.source] = signals.get(link.source, 0) + torch.from_numpy(told)
    for key, gradient in wanted.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-9, atol=1e-9 * float(gradient.abs().max()))
        assert bool(gradient.any())


def pairs(dtype: torch.dtype = torch.float64, delay: bool = False) -> tuple[hl.Network, hl.Network]:
    """A chain, and the same as a graph; they share their layers' values."""
    first, second = dense(7, 6, 6, **({"delay": torch.linspace(0, 2e-3, 7)} if delay else {})), dense(6, 4, 7)
    chain = hl.Network([first, hl.LIF(6, **TAUS, t_ref=1e-3), second, hl.LIF(4, **TAUS)]).to(dtype)
    again = hl.Network.graph(
        {"in": hl.Input(7), "hidden": hl.LIF(6, **TAUS, t_ref=1e-3), "out": hl.LIF(4, **TAUS)},
        [hl.Projection("in", "hidden", first), hl.Projection("hidden", "out", second)],
    ).to(dtype)
    return chain, again


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("delay", [False, True])
def test_a_chain_in_disguise_has_the_gradient_of_the_chain_bit_for_bit(dtype: torch.dtype, delay: bool) -> None:
    chain, disguised = pairs(dtype, delay)
    assert chain.is_plain_chain
    assert not disguised.is_plain_chain
    given = inputs(7) if dtype == torch.float64 else hl.Spikes.from_events(inputs(7).to_events(), 7, 60e-3, dtype)
    rule = HM2BP(teacher=5)
    record = rule.forward(chain, given)
    same = rule.forward(disguised, given, hl.Record(record.populations, given))
    grad = readout_grad(n=4).to(dtype)
    grad[:, 0] = -1.0
    mine, its = rule.gradients(disguised, same, grad), rule.gradients(chain, record, grad)
    names = {"projections.0.maps.0.weight": "layers.0.weight", "projections.1.maps.0.weight": "layers.2.weight"}
    assert set(mine) == set(names)
    for ours, theirs in names.items():
        assert torch.equal(mine[ours], its[theirs])
        assert bool(mine[ours].any())


def test_a_convolution_is_the_dense_layer_that_it_is() -> None:
    conv = hl.Conv2d(2, 3, 2, stride=2, padding=1).init_normal_(3.0, 2.0, torch.Generator().manual_seed(8))
    last = dense(12, 3, 9, 2.0, 2.0)
    nodes = {"in": hl.Input((2, 4, 4)), "maps": hl.LIF((3, 3, 3), **TAUS), "out": hl.LIF(3, **TAUS)}
    small = [hl.SumPool2d(2, 1), last]
    net = hl.Network.graph(nodes, [hl.Projection("in", "maps", conv), hl.Projection("maps", "out", small)])
    matrices = []
    for link in net.structure.links:
        paths = link.composition.paths
        place = torch.from_numpy(paths.targets), torch.from_numpy(paths.sources)
        empty = torch.zeros(link.composition.n_out, link.composition.n_in)
        matrices.append(empty.index_put(place, link.composition.weight(), accumulate=True))
    layers = [hl.Dense(32, 27), hl.Dense(27, 3)]
    with torch.no_grad():
        for layer, matrix in zip(layers, matrices, strict=True):
            layer.weight.copy_(matrix)
    plain = hl.Network([layers[0], hl.LIF(27, **TAUS), layers[1], hl.LIF(3, **TAUS)])
    given, rule = inputs(32), HM2BP(teacher=3)
    record = rule.forward(plain, given)
    grad = readout_grad()
    its = rule.gradients(plain, record, grad)
    mine = rule.gradients(net, rule.forward(net, given, hl.Record(record.populations, given)), grad)
    value = sum((m * its[f"layers.{2 * k}.weight"]).sum() for k, m in enumerate(matrices))
    wanted = torch.autograd.grad(value, [conv.weight, last.weight])  # type: ignore[arg-type]
    for name, gradient in zip(("projections.0.maps.0.weight", "projections.1.maps.1.weight"), wanted, strict=True):
        # the same sums in another order: some 1e3 roundings of 1e-16 of the largest term
        torch.testing.assert_close(mine[name], gradient, rtol=0, atol=1e-12 * float(gradient.abs().max()))
        assert bool(gradient.any())


def test_measured_spikes_of_a_graph_train_it_by_the_loop() -> None:
    generator = torch.Generator().manual_seed(2)
    torch.set_default_dtype(torch.float32)
    task = yin_yang(sizes=(600, 200, 50))
    options = {"tau_mem": 10e-3, "tau_syn": 5e-3}
    net = hl.Network.graph(
        {"in": hl.Input((1, 1, 5)), "maps": hl.LIF((8, 1, 4), **options), "out": hl.LIF(3, **options)},
        [
            hl.Projection("in", "maps", hl.Conv2d(1, 8, (1, 2)).init_normal_(2.0, 2.0, generator)),
            hl.Projection("maps", "out", hl.Dense(32, 3).init_normal_(0.3, 0.3, generator)),
            hl.Projection("in", "out", hl.Dense(5, 3).init_normal_(0.2, 0.4, generator)),
        ],
    )  # fmt: skip
    rule = HM2BP(teacher=4)
    before = hl.evaluate(net, task.validation, rule=rule).accuracy
    hl.fit(net, task, rules.ReadoutError(4.0, 1.0), rule=rule, epochs=5, lr=2e-2, batch_size=20, progress=False)
    trained = hl.evaluate(net, task.validation, rule=rule).accuracy
    assert trained > max(0.55, before)  # of three classes
    with hl.open("emulator:3", preset="bss2") as chip:
        result = hl.finetune(
            net, chip, task, rules.ReadoutError(4.0, 1.0), rule=rule, epochs=2, lr=5e-3, batch_size=50, progress=False
        )
    assert result.best_validation.accuracy > 0.5


def test_what_does_not_act_on_the_output_has_no_gradient() -> None:
    nodes = {"in": hl.Input(4), "out": hl.LIF(3, **TAUS), "after": hl.LIF(2, **TAUS)}
    net = hl.Network.graph(
        nodes, [hl.Projection("in", "out", dense(4, 3, 1)), hl.Projection("out", "after", dense(3, 2, 2))], "out"
    )
    record = HM2BP().forward(net, inputs(4))
    assert set(HM2BP().gradients(net, record, readout_grad())) == {"projections.0.maps.0.weight"}
    assert record.output.n_units == 3


# -- refusals -------------------------------------------------------------------------------------


def small(out: object = None, loop: bool = False, **options: object) -> hl.Network:
    projections = [
        hl.Projection("in", "a", hl.Dense(3, 2, bias=True)), hl.Projection("a", "out", dense(2, 2, 1)),
        hl.Projection("in", "out", dense(3, 2, 2)),
    ]  # fmt: skip
    if loop:
        projections.append(hl.Projection("a", "a", dense(2, 2, 3)))
    nodes = {"in": hl.Input(3), "a": hl.LIF(2, **TAUS, **options), "out": out or hl.LIF(2, **TAUS)}  # type: ignore[arg-type]
    return hl.Network.graph(nodes, projections)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: small(loop=True), r"a loop of 'a': .*use rule='exact'"),
        (lambda: small(hl.LI(2, 10e-3, 5e-3)), r"population 'out' is LI.*build it of LIF"),
        (lambda: small(DeltaLIF(2, 10e-3)), r"population 'out' is DeltaLIF.*build it of LIF"),
        (lambda: small(v_reset=-0.5), r"population 'a' .*set v_reset = v_leak"),
        (lambda: small(v_init=0.5), r"population 'a' .*leave v_init out"),
        (lambda: small(filtered_bias=True), r"population 'a' .*filtered_bias=False"),
    ],
)
def test_graphs_that_the_kernels_do_not_describe_are_refused(build: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        HM2BP().check(build())  # type: ignore[operator]
    HM2BP().check(small())
