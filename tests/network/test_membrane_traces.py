"""Membranes between recorded spikes: those of the specification, neuron by neuron and event by event."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.record import Record
from hwloop.simulate.reference.neuron import Membrane, Neuron

T_STOP = 40e-3
TIMES = torch.linspace(0, T_STOP, 301, dtype=torch.float64)


def inputs() -> hl.Spikes:
    pairs = [([1e-3, 3e-3, 7e-3, 7e-3, 20e-3], [0, 1, 2, 0, 1]), ([2e-3, 9e-3], [2, 0])]
    return hl.Spikes.from_events(pairs, 3, T_STOP, torch.float64)


def chain(population: hl.LIF, scale: float = 2.0) -> hl.Network:
    torch.manual_seed(3)
    net = hl.Network([hl.Dense(3, 4), population, hl.Dense(4, 2), hl.LIF(2, 10e-3, 5e-3)]).double()
    net.layers[0].init_normal_(scale, 1.0)
    net.layers[2].init_normal_(1.0, 0.5)
    return net


def by_specification(net: hl.Network, spikes: torch.Tensor, neuron: int, sample: int) -> torch.Tensor:
    """The membrane of a neuron of the first layer, replayed at ``spikes`` as ``simulate.reference`` does."""
    dense, lif = net.blocks[0]
    p = {name: value[neuron].item() for name, value in lif.acting_parameters().items()}
    leak = p["v_leak"]
    start = (p["v_reset"] if leak >= p["v_th"] else leak) - leak
    made = Neuron(
        p["tau_mem"], p["tau_syn"], p["t_ref"], p["v_th"] - leak, p["v_reset"] - leak, start, lif.reset == "subtract"
    )
    membrane, found = Membrane(made), []
    ((times, units),) = inputs()[sample].to_events()
    events = [(t, 1, dense.weight[neuron, u].item()) for t, u in zip(times, units, strict=True)]
    # a spike comes before an input at its own time, and what is read after both
    events += [(t, 0, 0.0) for t in spikes.tolist()] + [(t, 2, 0.0) for t in TIMES.tolist()]
    for t, kind, weight in sorted(events, key=lambda event: event[:2]):
        membrane.advance(t)
        if kind == 0:
            membrane.fire()
        elif kind == 1:
            membrane.arrive(0, weight)
        else:
            found.append(membrane.u + leak)
    return torch.tensor(found)


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("t_ref", [0.0, 3e-3])
@pytest.mark.parametrize("v_leak", [0.0, 0.2])
@pytest.mark.parametrize("moved", [0.0, 0.7e-3])
def test_membranes_are_those_of_the_specification(reset: str, t_ref: float, v_leak: float, moved: float) -> None:
    net = chain(hl.LIF(4, 10e-3, 5e-3, v_leak=v_leak, v_reset=-0.1, t_ref=t_ref, reset=reset))
    record = net(inputs())
    pairs = [((times + moved).clip(0, T_STOP), units) for times, units in record[0].to_events()]
    measured = Record(
        (hl.Spikes.from_events(pairs, 4, T_STOP, torch.float64), record[1]), record.inputs, names=record.names
    )
    for sample in (0, 1):
        traces = net.membranes(measured, 0, neurons=[3, 0, 2], sample=sample)
        times, units = measured[0].to_events()[sample]
        assert sum(len(found) for found in traces.spikes) > 2 * (sample == 0)
        for k, neuron in enumerate(traces.neurons):
            expected = by_specification(net, torch.from_numpy(times[units == neuron]), neuron, sample)
            torch.testing.assert_close(traces.at(TIMES)[:, k], expected, rtol=1e-10, atol=1e-10)


def test_a_simulated_membrane_spikes_where_it_meets_its_threshold() -> None:
    net = chain(hl.LIF(4, 10e-3, 5e-3, t_ref=1e-3))
    traces = net.membranes(net(inputs()), 0)
    for k, spikes in enumerate(traces.spikes):
        before = torch.nextafter(spikes, torch.zeros_like(spikes))
        torch.testing.assert_close(
            traces.at(before)[:, k], torch.ones(len(spikes), dtype=torch.float64), rtol=0, atol=1e-9
        )
        assert bool((traces.at(spikes)[:, k] == 0).all())
        times, values = traces.curve(k)
        assert values.max() <= 1 + 1e-9
        assert bool((times.diff() > 0).all())
        assert set(spikes.tolist()) <= set(times.tolist())


def steps(net: hl.Network, node: Any) -> torch.Tensor:
    """The membrane of neuron 0, whose inputs move it, one time of arrival after the other."""
    tau_mem = math.inf if node.tau_mem is None else node.tau_mem[0].item()
    v_th, v_reset, t_ref = (getattr(node, name)[0].item() for name in ("v_th", "v_reset", "t_ref"))
    u, now, release, found = 0.0 if node.v_init is None else node.v_init[0].item(), 0.0, -1.0, []
    ((times, units),) = inputs()[0].to_events()
    arriving: dict[float, float] = {}
    for t, k in zip(times.tolist(), units, strict=True):
        arriving[t] = arriving.get(t, 0.0) + net.layers[0].weight[0, k].item()  # type: ignore[union-attr,index]
    for t in sorted({*arriving, *TIMES.tolist()}):
        u, now = u * math.exp(-max(min(t - now, t - release), 0.0) / tau_mem), t
        if t in arriving and t >= release:
            u += arriving[t]
            while u >= v_th:
                u, release = u - (v_th - v_reset) if node.reset == "subtract" else v_reset, t + t_ref
        if t in TIMES.tolist():
            found.append(u)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize(("reset", "t_ref"), [("value", 0.0), ("value", 5e-3), ("subtract", 0.0)])
@pytest.mark.parametrize("leaky", [True, False])
@pytest.mark.parametrize("weight", [0.6, 1.2])
def test_neurons_that_inputs_move_are_followed_event_by_event(
    reset: str, t_ref: float, leaky: bool, weight: float
) -> None:
    node: Any = (
        hl.DeltaLIF(4, 10e-3, t_ref=t_ref, reset=reset) if leaky else hl.IF(4, t_ref=t_ref, reset=reset, v_init=0.1)
    )
    net = chain(node)
    with torch.no_grad():
        net.layers[0].weight.fill_(weight)  # type: ignore[union-attr]
    record = net(inputs())  # two inputs arrive at one time
    assert int(record[0].counts[0]) > 0
    found = net.membranes(record, 0, [0]).at(TIMES)[:, 0]
    torch.testing.assert_close(found, steps(net, node), rtol=1e-12, atol=1e-12)


def test_a_readout_that_does_not_spike_is_read_as_it_is() -> None:
    torch.manual_seed(0)
    net = hl.Network([hl.Dense(3, 4), hl.LIF(4, 10e-3, 5e-3), hl.Dense(4, 2), hl.LI(2, 20e-3, 5e-3)]).double()
    net.layers[0].init_normal_(3.0, 1.0)
    record = net(inputs())
    (name,) = record.readouts
    traces = net.membranes(record, sample=1)
    assert traces.v_th is None
    assert torch.equal(traces.at(TIMES), record.readouts[name].at(TIMES)[1])


def test_float32_networks_are_read_in_float64() -> None:
    net = chain(hl.LIF(4, 10e-3, 5e-3)).float()
    record = net(inputs().to(torch.float32))
    traces = net.membranes(record, 0)
    for k, spikes in enumerate(traces.spikes):
        before = traces.at(torch.nextafter(spikes, torch.zeros_like(spikes)))[:, k]
        # a float32 time near 40 ms is 2e-9 s off; the membrane rises by less than 1e3 a second there
        np.testing.assert_allclose(before.numpy(), 1.0, atol=1e-5)
