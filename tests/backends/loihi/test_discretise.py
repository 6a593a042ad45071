from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

from hwloop.errors import CompileError, InputError
from hwloop.mapping import network_values
from hwloop.spikes import Spikes
from hwloop_fixed_point import reference
from hwloop_loihi import float_graph
from hwloop_loihi.discretise import discretise
from hwloop_loihi.timing import timings

from .support import network, spikes, with_weight


def membrane(t: float, tau_mem: float, tau_syn: float) -> float:
    """Exact response of ``tau_mem u' = -u + i, tau_syn i' = -i`` to a spike of weight 1 at 0, from the textbook."""
    with mpmath.workdps(40):
        t_, mem, syn = (mpmath.mpf(x) for x in (t, tau_mem, tau_syn))
        if mem == syn:
            return float(t_ / mem * mpmath.exp(-t_ / mem))
        return float(syn / (syn - mem) * (mpmath.exp(-t_ / syn) - mpmath.exp(-t_ / mem)))


@pytest.mark.parametrize("taus", [(10e-3, 5e-3), (5e-3, 10e-3), (7e-3, 7e-3), (7e-3, 7e-3 * (1 + 1e-9)), (20e-3, 2e-3)])
def test_steps_reproduce_the_exact_membrane_on_the_grid(taus: tuple[float, float]) -> None:
    dt, (tau_mem, tau_syn) = 1e-3, taus
    net = network(1, 1, tau_mem=tau_mem, tau_syn=tau_syn)
    values = network_values(net)
    step = discretise(values[0], dt, timings(values)[0])
    u, v = 0.0, 0.0
    for n in range(1, 40):
        u = step.alpha * u + (step.step if n == 1 else 0.0)
        v = step.beta * v + u
        # forty steps of rounding, each below one unit in the last place of a value of order .3
        assert v == pytest.approx(membrane(n * dt, tau_mem, tau_syn), abs=40 * 2**-53)


@pytest.mark.parametrize("taus", [(10e-3, 5e-3), (7e-3, 7e-3)])
def test_a_float_graph_crosses_in_the_tick_in_which_the_exact_neuron_does(taus: tuple[float, float]) -> None:
    dt = 0.25e-3
    net = with_weight(network(1, 1, tau_mem=taus[0], tau_syn=taus[1]), 0, [[5.0]])
    given = Spikes.from_events([([4 * dt], [0])], 1, 40e-3, torch.float64)
    exact = float(net(given).output.first_times()[0, 0].detach())
    raster = np.zeros((1, 160, 1), dtype=bool)
    raster[0, 4, 0] = True
    first = int(np.flatnonzero(reference.run_float(float_graph(net, dt), raster)[0])[0])
    assert (first - 1) * dt < exact <= first * dt


def test_thresholds_leak_and_reset_are_folded() -> None:
    # the same neuron in other units: v' = 3 v - 1, so that thresholds of a layer may differ
    plain = with_weight(network(3, 2), 0, [[1.0, 2.0, -1.0], [0.5, 3.0, 1.0]])
    moved = network(3, 2, v_th=[2.0, 5.0], v_leak=-1.0, v_reset=-1.0)
    with_weight(moved, 0, np.array([[3.0], [6.0]]) * plain.blocks[0][0].weight.detach().numpy())
    a, b = float_graph(plain, 1e-3).layers[0], float_graph(moved, 1e-3).layers[0]
    np.testing.assert_allclose(a.weight, b.weight, rtol=1e-14)
    assert (a.du, a.dv, a.vth, a.bias.tolist()) == (b.du, b.dv, b.vth, b.bias.tolist())


def test_a_leak_above_the_threshold_fires_without_input() -> None:
    net = with_weight(network(1, 1, v_leak=2.0), 0, [[0.0]])
    silent = Spikes.from_events([([], [])], 1, 50e-3, torch.float64)
    exact = net(silent).output.times[0].detach()
    out = reference.run_float(float_graph(net, 1e-5), np.zeros((1, 5000, 1)))[0]
    found = np.flatnonzero(out[0, :, 0]) * 1e-5
    assert len(found) == len(exact) > 5
    # every spike is seen at the end of its tick; the bias begins one tick early, once
    assert np.abs(found - exact.numpy()).max() < 1e-5 * len(exact)


def test_refractory_times_are_whole_ticks_in_floating_point() -> None:
    net = network(2, 3, t_ref=2.2e-3)
    assert float_graph(net, 1e-3).layers[0].refractory == 2
    net = with_weight(network(1, 1, t_ref=5e-3), 0, [[30.0]])
    out = reference.run_float(float_graph(net, 1e-3), np.eye(1, 40)[:, :, None])[0]
    ticks = np.flatnonzero(out[0, :, 0])
    assert len(ticks) > 1
    assert int(np.diff(ticks).min()) > 5


def test_delays_become_ticks() -> None:
    graph = float_graph(network(3, 2, delay=1.26e-3), 0.5e-3)
    assert graph.layers[0].delay is not None
    assert graph.layers[0].delay.tolist() == [[3, 3, 3]] * 2


def test_a_tau_shorter_than_a_step_is_refused() -> None:
    with pytest.raises(CompileError, match=r"layer 1 \(LIF\): found tau_mem = 0.01 s, tau_syn = 0.005 s") as caught:
        float_graph(network(2, 2), 6e-3)
    assert caught.value.fix == "open the target with dt=0.0001"


def test_a_leak_that_the_membrane_cannot_start_from_is_refused() -> None:
    with pytest.raises(
        CompileError, match=r"v_leak = 0.5, v_reset = 0, v_th = 1 \(2 neurons, first: neuron 0\)"
    ) as caught:
        float_graph(network(2, 2, v_leak=0.5), 1e-3)
    assert "v_reset = v_leak = 0.5" in caught.value.fix


@pytest.mark.parametrize("dt", [0.0, -1e-3, math.nan, math.inf])
def test_a_step_that_is_none_is_refused(dt: float) -> None:
    with pytest.raises(InputError, match="dt = "):
        float_graph(network(2, 2), dt)


def test_the_float_graph_of_a_network_converges_to_the_exact_one() -> None:
    from hwloop_loihi import convergence, slope

    net = network(10, 20, 5, seed=1)
    steps = [1e-3, 3e-4, 1e-4, 3e-5]
    rows = convergence(net, spikes(10, batch=60, events=25), steps)
    errors = [row.float_median for row in rows]
    # crossings at the end of ticks and input off the grid are errors of the first order
    assert 0.8 < slope(steps, errors) < 1.2
    assert errors[-1] < 3e-5
    assert rows[-1].float_missed + rows[-1].float_extra <= rows[0].float_missed + rows[0].float_extra
