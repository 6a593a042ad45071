"""NIR export and import: bit for bit between ourselves, by the specification's equations with others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from hwloop import LIF, Dense, InputError, Network, OptionError, Spikes
from hwloop.network.nir.graphs import from_nir

N_IN, HIDDEN, N_OUT = 5, 12, 3
T_STOP = 60e-3


def some_network(dtype: torch.dtype, reset: str = "value") -> Network:
    """Two layers, every parameter its own in every neuron, with delays, refractory time and a cap."""
    g = torch.Generator().manual_seed(3)

    def around(centre: float, n: int) -> torch.Tensor:
        return centre * (0.8 + 0.4 * torch.rand(n, generator=g, dtype=torch.float64))

    def lif(n: int, **more: Any) -> LIF:
        values = {
            "tau_mem": around(10e-3, n),
            "tau_syn": around(5e-3, n),
            "v_th": around(1.0, n),
            "t_ref": around(1e-3, n),
        }
        return LIF(n, **values, v_leak=around(0.1, n), v_reset=around(-0.2, n), reset=reset, **more)

    first = Dense(N_IN, HIDDEN, delay=around(2e-3, N_IN), generator=g).init_normal_(2.0, 1.0, g)
    second = Dense(HIDDEN, N_OUT, generator=g).init_normal_(1.0, 0.5, g)
    return Network([first, lif(HIDDEN), second, lif(N_OUT, max_spikes=3)]).to(dtype)


def some_spikes(batch: int = 20) -> Spikes:
    rng = np.random.default_rng(5)
    samples = [(np.sort(rng.uniform(0, 40e-3, 25)), rng.integers(0, N_IN, 25)) for _ in range(batch)]
    return Spikes.from_events(samples, N_IN, T_STOP, torch.float64)


def cuba(n: int = 2, tau_mem: float = 10e-3, tau_syn: float = 5e-3, **more: Any) -> nir.CubaLIF:
    values = {"r": np.ones(n), "v_leak": np.zeros(n), "v_threshold": np.ones(n), "w_in": np.ones(n), **more}
    return nir.CubaLIF(tau_syn=np.full(n, tau_syn), tau_mem=np.full(n, tau_mem), **values)


def linear(n_out: int = 2, n_in: int = 3, value: float = 1.0) -> nir.Linear:
    return nir.Linear(np.full((n_out, n_in), value))


def graph_of(*nodes: nir.NIRNode, metadata: dict[str, Any] | None = None) -> nir.NIRGraph:
    graph = nir.NIRGraph.from_list(*nodes, type_check=False)
    graph.metadata = {"time_unit": "s"} if metadata is None else metadata
    return graph


def same_trains(a: Spikes, b: Spikes) -> bool:
    return torch.equal(a.times, b.times) and torch.equal(a.units, b.units) and torch.equal(a.counts, b.counts)


# -- between ourselves ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reset", ["value", "subtract"])
def test_file_round_trip_spikes_bit_for_bit(tmp_path: Path, dtype: torch.dtype, reset: str) -> None:
    net, path = some_network(dtype, reset), tmp_path / "net.nir"
    nir.write(path, net.to_nir())
    back = Network.from_nir(nir.read(path))
    spikes = some_spikes()
    with torch.no_grad():
        expected, found = net(spikes), back(spikes)
    assert int(expected.output.counts.sum()) > 50
    assert expected.output.times.dtype == dtype
    assert all(same_trains(a, b) for a, b in zip(expected.populations, found.populations, strict=True))


def test_round_trip_keeps_every_value_and_its_dtype() -> None:
    net = some_network(torch.float32)
    back = from_nir(net.to_nir())
    old, new = net.state_dict(), back.state_dict()
    assert list(old) == list(new)
    assert all(torch.equal(old[name], new[name]) and old[name].dtype == new[name].dtype for name in old)
    assert [(lif.reset, lif.max_spikes) for _, lif in back.blocks] == [("value", None), ("value", 3)]


def test_imported_weights_are_stored_pre_major_and_train() -> None:
    dense = from_nir(some_network(torch.float64).to_nir()).blocks[0][0]
    assert dense.weight.t().is_contiguous()
    assert isinstance(dense.weight, torch.nn.Parameter)


def test_import_moves_no_global_random_state() -> None:
    graph, before = some_network(torch.float64).to_nir(), torch.get_rng_state()
    from_nir(graph)
    assert torch.equal(before, torch.get_rng_state())


def test_export_states_unit_and_exporter_and_follows_the_specification() -> None:
    graph = some_network(torch.float64).to_nir()
    assert {graph.metadata[key] for key in ("exporter", "time_unit", "spike")} == {"hwloop", "s", "delta"}
    assert "exporter_version" in graph.metadata
    node = graph.nodes["lif_0"]
    assert np.array_equal(node.w_in, node.tau_syn)
    assert np.array_equal(node.r, np.ones(HIDDEN))
    assert list(graph.nodes) == ["input", "delay_0", "dense_0", "lif_0", "dense_1", "lif_1", "output"]


def test_export_says_what_other_tools_will_not_read(caplog: pytest.LogCaptureFixture) -> None:
    Network([Dense(2, 2), LIF(2, 10e-3, 5e-3)]).to_nir()
    assert not caplog.records
    some_network(torch.float64).to_nir()
    assert "'lif_1': max_spikes = 3 and a refractory time" in caplog.text


def test_export_refuses_parameters_out_of_bounds() -> None:
    net = Network([Dense(2, 2), LIF(2, 10e-3, 5e-3)])
    net.blocks[0][1].tau_mem[1] = -1.0
    with pytest.raises(InputError, match="layer 1 .*neuron 1.*tau_mem"):
        net.to_nir()


# -- graphs of others -----------------------------------------------------------------------------


def integrate(node: nir.CubaLIF, weight: np.ndarray, events: list[tuple[float, int]], t_stop: float, dt: float) -> list:
    """The specification's equations in small steps, S a delta; ``(time, neuron)`` of the spikes, graph units."""
    current, v = np.zeros(len(node.r)), node.v_leak.astype(float).copy()
    waiting, spikes = sorted(events), []
    for step in range(int(t_stop / dt)):
        t = step * dt
        while waiting and waiting[0][0] < t + dt / 2:
            current += node.w_in * weight[:, waiting.pop(0)[1]] / node.tau_syn
        v += dt / node.tau_mem * (node.v_leak - v + node.r * current)
        current -= dt / node.tau_syn * current
        for neuron in np.flatnonzero(v > node.v_threshold):
            spikes.append((t + dt, int(neuron)))
            v[neuron] = node.v_reset[neuron]
    return spikes


def test_millisecond_graph_spikes_as_the_specification_integrates() -> None:
    rng = np.random.default_rng(2)
    n = 6
    node = nir.CubaLIF(
        tau_syn=rng.uniform(4, 7, n), tau_mem=rng.uniform(8, 14, n), r=rng.uniform(1, 3, n), v_leak=rng.uniform(-0.1, 0.1, n),
        v_threshold=rng.uniform(0.8, 1.2, n), v_reset=rng.uniform(-0.3, 0.0, n), w_in=rng.uniform(0.5, 2, n),
    )  # fmt: skip
    weight = rng.normal(3, 1, (n, N_IN))
    events = sorted((float(t), int(u)) for t, u in zip(rng.uniform(0, 30, 20), rng.integers(0, N_IN, 20), strict=True))
    net = from_nir(graph_of(nir.Linear(weight), node, metadata={"time_unit": "ms"}))
    times, units = zip(*events, strict=True)
    output = net(Spikes.from_events([(np.array(times) * 1e-3, units)], N_IN, 30e-3, torch.float64)).output

    # a spike in steps is late by up to a step, Euler's current adds about as much, a grazing one somewhat more; all of it
    # carries over to the spikes after it: 3 steps a spike bound the sum
    dt = 0.002
    reference = integrate(node, weight, events, 30.0, dt)
    for neuron in range(n):
        expected = np.array([t for t, u in reference if u == neuron]) * 1e-3
        found = output.times[0][output.units[0] == neuron].detach().numpy()
        assert len(expected) >= 2
        assert len(found) == len(expected)
        assert np.abs(found - expected).max() < 3 * dt * 1e-3 * len(expected)


def test_snntorch_graph_spikes_as_snntorch_steps() -> None:
    # its neuron: syn <- alpha syn + w x ; mem <- beta mem + syn ; its export: one number for all neurons, r = tau_mem / dt,
    # w_in = tau_syn / dt, no metadata
    dt, tau_mem, tau_syn, weight = 1e-4, 10e-3, 5e-3, np.array([[0.03], [0.05]], dtype=np.float32)
    scalar = np.float32([1.0])
    node = nir.CubaLIF(
        tau_syn=scalar * tau_syn, tau_mem=scalar * tau_mem, r=scalar * tau_mem / dt, v_leak=0 * scalar, v_threshold=scalar,
        w_in=scalar * tau_syn / dt,
    )  # fmt: skip
    nodes = {
        "input": nir.Input(np.array([1])),
        "fc": nir.Linear(weight),
        "lif": node,
        "output": nir.Output(np.array([2])),
    }
    graph = nir.NIRGraph(nodes, [("input", "fc"), ("fc", "lif"), ("lif", "output")], type_check=False)
    net = from_nir(graph)
    assert "time unit s" in net.nir_evidence
    assert "pulses of width 0.0001" in net.nir_evidence

    syn, mem, first = np.zeros(2), np.zeros(2), np.full(2, np.inf)
    for step in range(400):
        syn = (1 - dt / tau_syn) * syn + weight[:, 0] * (step in (0, 30))
        mem = (1 - dt / tau_mem) * mem + syn
        first = np.where((mem > 1) & np.isinf(first), step * dt, first)
    output = net(Spikes.from_events([([0.0, 30 * dt], [0, 0])], 1, 40e-3)).output
    assert np.isfinite(first).all()
    # Euler's error at dt = tau / 50 is some steps
    assert np.abs(output.first_times()[0].detach().numpy() - first).max() < 5 * dt


def test_r_and_w_in_fold_into_the_weights() -> None:
    r, w_in = np.array([2.0, 0.5]), np.array([0.25, 4.0])
    net = from_nir(graph_of(linear(value=3.0), cuba(tau_syn=0.5, r=r, w_in=w_in)))
    expected = torch.from_numpy(3.0 * r * w_in / 0.5)[:, None].expand(2, 3)
    assert torch.equal(net.blocks[0][0].weight.detach(), expected)


def test_milliseconds_are_converted_with_one_rounding() -> None:
    graph = graph_of(nir.Delay(np.array([0.3, 1.0, 2.0])), linear(), cuba(tau_mem=10.0, tau_syn=5.0))
    dense, lif = from_nir(graph, time_unit="ms").blocks[0]
    assert lif.tau_mem.tolist() == [10e-3, 10e-3]
    assert dense.delay is not None
    assert dense.delay.tolist() == [0.3e-3, 1e-3, 2e-3]


def test_equal_taus_with_unit_gain_are_not_taken_for_a_time_step() -> None:
    # as Norse writes a neuron with equal taus: tau_mem / r = tau_syn / w_in by chance
    net = from_nir(graph_of(linear(), cuba(tau_mem=5e-3, tau_syn=5e-3), metadata={}))
    assert "deltas" in net.nir_evidence
    assert torch.allclose(net.blocks[0][0].weight, torch.tensor(200.0, dtype=torch.float64))


def test_given_spike_width_scales_the_weights() -> None:
    graph = graph_of(linear(), cuba(tau_syn=5e-3))
    assert torch.allclose(from_nir(graph, spike_width=1e-3).blocks[0][0].weight, torch.tensor(0.2, dtype=torch.float64))
    assert torch.allclose(from_nir(graph, spike_width=0).blocks[0][0].weight, torch.tensor(200.0, dtype=torch.float64))
    with pytest.raises(InputError, match="spike_width = -1"):
        from_nir(graph, spike_width=-1)


def test_affine_without_bias_is_linear() -> None:
    net = from_nir(graph_of(nir.Affine(np.ones((2, 3)), np.zeros(2)), cuba(tau_syn=1.0)))
    assert torch.equal(net.blocks[0][0].weight.detach(), torch.ones(2, 3, dtype=torch.float64))


# -- time unit ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "tau", "asked", "unit", "reason"),
    [
        ({"time_unit": "ms"}, 10.0, None, "ms", "metadata time_unit"),
        ({"time_unit": b"milliseconds"}, 0.5, None, "ms", "metadata time_unit"),
        ({"time_unit": "ms", "exporter": "norse"}, 10.0, None, "ms", "metadata time_unit"),
        ({"exporter": "snnTorch"}, 2.0, None, "s", "exporter = 'snnTorch'"),
        ({}, 10e-3, None, "s", "not stated"),
        ({}, 10.0, None, "ms", "not stated"),
        ({"exporter": "sinabs"}, 10.0, None, "ms", "not stated"),
        ({}, 1e4, None, "us", "not stated"),
        ({}, 10.0, "us", "us", "given by the caller"),
        ({"time_unit": "s"}, 10.0, "ms", "ms", "against the s of its metadata"),
        ({"time_unit": "ticks"}, 10.0, "ms", "ms", "given by the caller"),
    ],
)
def test_time_unit_is_resolved_and_stated(
    metadata: dict[str, Any], tau: float, asked: str | None, unit: str, reason: str
) -> None:
    net = Network.from_nir(graph_of(linear(), cuba(tau_mem=tau, tau_syn=tau / 2), metadata=metadata), asked)
    assert net.nir_evidence.startswith(f"time unit {unit}: ")
    assert reason in net.nir_evidence
    assert net.blocks[0][1].tau_mem[0].item() == tau / {"s": 1, "ms": 1e3, "us": 1e6}[unit]


def test_a_guessed_or_contradicted_unit_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    from_nir(graph_of(linear(), cuba()))
    from_nir(graph_of(linear(), cuba(), metadata={}))
    from_nir(graph_of(linear(), cuba()), time_unit="ms")
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING"]


def test_time_constants_on_both_sides_of_a_unit_are_refused() -> None:
    with pytest.raises(InputError, match=r"no time unit, and time constants of 0.5..1 .*pass time_unit"):
        from_nir(graph_of(linear(), cuba(tau_mem=1.0, tau_syn=0.5), metadata={}))


def test_unknown_units_are_refused() -> None:
    with pytest.raises(InputError, match="time_unit = 'ticks'; allowed: s, ms, us"):
        from_nir(graph_of(linear(), cuba(), metadata={"time_unit": "ticks"}))
    with pytest.raises(OptionError, match="time_unit = 'min'; allowed: 's', 'ms', 'us'"):
        from_nir(graph_of(linear(), cuba()), time_unit="min")


# -- refusals -------------------------------------------------------------------------------------


def branched(*edges: tuple[str, str], **nodes: nir.NIRNode) -> nir.NIRGraph:
    """Input - w - lif - output, and more."""
    base = {"input": nir.Input(np.array([2])), "w": linear(2, 2), "lif": cuba(), "output": nir.Output(np.array([2]))}
    row = [("input", "w"), ("w", "lif"), ("lif", "output")]
    return nir.NIRGraph({**base, **nodes}, [*row, *edges], metadata={"time_unit": "s"}, type_check=False)


REFUSED: dict[str, tuple[Callable[[], nir.NIRGraph], str]] = {
    "bias": (
        lambda: graph_of(nir.Affine(np.ones((2, 3)), np.array([0, -0.5])), cuba()),
        r"'affine': .*bias of up to 0.5",
    ),
    "no synapse": (
        lambda: graph_of(linear(), nir.LIF(np.ones(2), np.ones(2), np.zeros(2), np.ones(2))),
        "'lif' is LIF.*CubaLIF",
    ),
    "readout": (lambda: graph_of(linear(), nir.CubaLI(*np.ones((4, 2)))), "'cubali' is CubaLI"),
    "scale": (lambda: graph_of(linear(), nir.Scale(np.ones(2)), cuba()), "'scale' is Scale"),
    "convolution": (
        lambda: branched(w=nir.Conv1d(4, np.ones((1, 1, 2)), 1, 0, 1, 1, np.zeros(1))),
        "'w' is Conv1d; allowed: .Delay,. Linear or Affine, CubaLIF",
    ),
    "subgraph": (lambda: branched(lif=branched()), "'lif' is a subgraph"),
    "two matrices": (lambda: graph_of(linear(), linear(2, 2), cuba()), "'linear_1' is Linear.*merge"),
    "late delay": (lambda: graph_of(linear(), nir.Delay(np.ones(2)), cuba()), "'delay' is Delay.*before its weights"),
    "neurons first": (lambda: graph_of(cuba(3), linear()), "'cubalif' is CubaLIF"),
    "no neurons": (lambda: graph_of(linear()), "ends after 'linear'"),
    "nothing": (lambda: graph_of(nir.Input(np.array([2])), nir.Output(np.array([2]))), "ends after the Input"),
    "recurrence": (lambda: branched(("lif", "r"), ("r", "lif"), r=linear(2, 2)), "recurrent edges .*'lif'.*'r'"),
    "self loop": (lambda: branched(("lif", "lif")), "recurrent edges 'lif' -> 'lif'"),
    "two inputs": (lambda: branched(("in2", "lif"), in2=nir.Input(np.array([2]))), "2 Input nodes .'in"),
    "branch": (
        lambda: branched(("w", "l2"), ("l2", "output"), l2=cuba()),
        "'w' .Linear. leads to 2 nodes .'lif', 'l2'.",
    ),
    "loose node": (lambda: branched(w2=linear()), "'w2' .Linear. takes from 0 nodes"),
    "loose edge": (lambda: branched(("lif", "gone")), "no node 'gone'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_we_do_not_carry_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        from_nir(make())


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((linear(value=float("nan")), cuba()), "'linear': a weight .*NaN"),
        ((linear(), cuba(r=np.array([1.0, np.inf]))), "'linear': a weight .*infinite"),
        ((nir.Linear(np.ones((2, 2, 3))), cuba()), r"shape \(2, 2, 3\)"),
        ((linear(), cuba(tau_syn=0.0)), "'cubalif' .*neuron 0: tau_syn = 0"),
        ((linear(), cuba(v_reset=np.array([0.0, 2.0]))), "'cubalif' .*neuron 1: v_th - v_reset"),
        ((linear(), cuba(metadata={"t_ref": np.ones(3)})), r"'cubalif': metadata t_ref has shape \(3,\)"),
        ((linear(), cuba(metadata={"max_spikes": 1.5})), "max_spikes = 1.5"),
        ((linear(), cuba(metadata={"reset": "soft"})), "reset = 'soft'"),
        ((nir.Delay(np.array([0.0, -1.0, 0.0])), linear(), cuba()), "delay of input unit 1 = -1"),
        ((linear(), cuba(v_leak=np.array(["a", "b"]))), "dtype <U1"),
    ],
)
def test_values_out_of_bounds_are_refused_by_node(nodes: tuple[nir.NIRNode, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_nir(graph_of(*nodes))
