"""Replay: the simulator's own spikes as if measured, and spikes that differ from the model's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwloop.errors import GradientError, InputError
from hwloop.network import LIF, Dense, Network
from hwloop.neurons import PARAMETERS
from hwloop.record import Record
from hwloop.simulate import cpu
from hwloop.simulate.contract import Events, Floor
from hwloop.simulate.reference import layer as reference
from hwloop.spikes import Spikes

from .support import EXACT, TAUS, Case, error, events, layer, random_case, random_gradient

T_STOP = 60e-3
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def two_layers(
    taus: str | None, reset: str, t_ref: float, dtype: torch.dtype, leak: float = 0.0, max_spikes: int | None = None
) -> Network:
    g = torch.Generator().manual_seed(5)
    layers: list[nn.Module] = []
    for k, (n_in, n) in enumerate(pairwise([6, 24, 5])):
        dense = Dense(n_in, n, delay=nn.Parameter(1e-3 * torch.rand(n_in, generator=g)))
        dense.init_normal_(1.2 if k == 0 else 0.3, 1.0 if k == 0 else 0.3, g)
        pairs = [TAUS[taus]] * n if taus else [(6e-3 + 3e-4 * j, 4e-3 + 2e-4 * (j % 7)) for j in range(n)]
        values: list[Tensor] = [
            torch.tensor([a for a, _ in pairs]), torch.tensor([b for _, b in pairs]), torch.ones(n),
            leak * torch.rand(n, generator=g), torch.full((n,), -0.1), torch.full((n,), t_ref),
        ]  # fmt: skip
        parameters: dict[str, Any] = {k: nn.Parameter(v) for k, v in zip(PARAMETERS, values, strict=True)}
        layers += [dense, LIF(n, reset=reset, max_spikes=max_spikes, **parameters)]
    return Network(layers).to(dtype)


def inputs(dtype: torch.dtype, n: int = 25, batch: int = 12) -> Spikes:
    g = torch.Generator().manual_seed(9)
    times = torch.sort(torch.rand(batch, n, generator=g, dtype=torch.float64) * 45e-3, 1).values.to(dtype)
    return Spikes(times, torch.randint(6, (batch, n), generator=g), torch.full((batch,), n), 6, T_STOP)


def everything(net: Network, spikes: Spikes, measured: Record | None) -> tuple[Record, dict[str, Tensor]]:
    """The record, and the gradient of every parameter and of the input times."""
    net.zero_grad()
    times = spikes.times.clone().requires_grad_()
    record = net(Spikes.trusted(times, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop), measured)
    g = torch.Generator().manual_seed(2)
    loss = times.new_zeros(())
    for p in record.populations:
        factor = torch.randn(p.times.shape, generator=g, dtype=torch.float64).to(p.times.dtype)
        loss = loss + (torch.where(p.valid, p.times, torch.zeros_like(p.times)) * factor).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    assert times.grad is not None
    return record, {**gradients, "times": times.grad}


@DTYPES
@pytest.mark.parametrize("taus", [*TAUS, None])
@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize(
    ("t_ref", "leak", "max_spikes"), [(0.0, 0.0, None), (2e-3, 0.0, None), (0.5e-3, 1.6, None), (0.0, 0.0, 2)]
)
def test_own_spikes_as_if_measured_reproduce_everything_bit_for_bit(
    dtype: torch.dtype, taus: str | None, reset: str, t_ref: float, leak: float, max_spikes: int | None
) -> None:
    net, spikes = two_layers(taus, reset, t_ref, dtype, leak, max_spikes), inputs(dtype)
    simulated, expected = everything(net, spikes, None)
    measured = Record(tuple(p.detach() for p in simulated.populations))
    replayed, found = everything(net, spikes, measured)
    assert simulated.output.counts.sum() > 50
    for a, b in zip(simulated.populations, replayed.populations, strict=True):
        assert torch.equal(a.times, b.times)
        assert torch.equal(a.units, b.units)
    assert set(found) == set(expected)
    assert len(found) == 2 * 8 + 1
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    assert simulated.health is not None
    assert replayed.health is not None
    for x, y in zip(simulated.health.layers, replayed.health.layers, strict=True):
        assert (x.used, x.below_floor, x.silent_samples) == (y.used, y.below_floor, y.silent_samples)
        # of a simulated spike: the rounding of its time, times the slope
        assert y.residual.abs().max() < (1e-3 if dtype == torch.float32 else 1e-11)
    assert replayed.health.missing == replayed.health.extra == (0, 0)


def perturbed(case: Case, seed: int) -> Events:
    """The case's own spikes, moved by up to 1 ms, a tenth lost, some invented."""
    r = np.random.default_rng(seed)
    own = cpu.forward(case.layer, case.inputs, case.t_stop).spikes
    samples = []
    for b, n in enumerate(own.counts):
        keep = r.random(n) > 0.1
        t = np.clip(own.times[b, :n][keep] + r.uniform(-1e-3, 1e-3, keep.sum()), 0, case.t_stop)
        extra = r.integers(1, 6)
        samples.append(
            (
                np.concatenate([t, r.uniform(0, case.t_stop, extra)]),
                np.concatenate([own.units[b, :n][keep], r.integers(0, case.layer.weight.shape[1], extra)]),
            )
        )
    return events(samples, case.layer.weight.dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("taus", [*TAUS, None])
@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize(("t_ref", "leak"), [(0.0, 0.0), (3e-3, 0.0), (3e-3, 0.6)])
@pytest.mark.parametrize("floor", [EXACT, Floor(0.1, False), Floor(0.1, True)], ids=["no floor", "clip", "skip"])
def test_other_spikes_replay_as_in_the_reference(
    dtype: Any, taus: str | None, subtract: bool, t_ref: float, leak: float, floor: Floor
) -> None:
    case = random_case(21, taus, batch=3, n_events=14, t_ref=t_ref, leak=leak, subtract=subtract, dtype=dtype)
    measured = perturbed(case, 1)
    a, b = (engine.forward(case.layer, case.inputs, case.t_stop, measured) for engine in (cpu, reference))
    np.testing.assert_array_equal(a.spikes.times, measured.times)
    np.testing.assert_array_equal(a.spikes.units, measured.units)
    # float32: the state is rounded at each of some 14 events, and D may cancel
    close = 1e-9 if dtype is np.float64 else 2e-5
    for name in ("current", "release_time", "release_current", "residual"):
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(x, y, rtol=close, atol=close * 5, err_msg=name)
    grad = random_gradient(2, measured.times, measured.counts)
    if dtype is np.float32 and floor is EXACT:
        return  # without a floor the rounding of a vanishing D decides
    arguments = (case.layer, case.inputs, case.t_stop, a, grad, floor)
    tolerance = 1e-9 if dtype is np.float64 else 2e-2
    for x, y in zip(cpu.backward(*arguments, True), reference.backward(*arguments, True), strict=True):
        assert error(x, y) < tolerance
    s, e = cpu.sensitivities(*arguments), reference.sensitivities(*arguments)
    for name in ("tau_mem", "tau_syn", "threshold", "reset", "t_ref"):
        assert error(getattr(s, name), getattr(e, name)) < tolerance, name


@pytest.mark.parametrize("engine", [cpu, reference], ids=["cpu", "reference"])
def test_measured_spike_in_the_refractory_time_has_no_derivative(engine: Any) -> None:
    case = layer([[4.5]], t_ref=5e-3)
    measured = events([([4e-3, 6e-3], [0, 0])])
    inputs_ = events([([1e-3], [0])])
    trace = engine.forward(case, inputs_, 0.05, measured)
    assert np.isneginf(trace.current[0, 1])
    assert trace.release_time[0].tolist() == [np.inf, 11e-3]
    for grad, zero in (([[0.0, 1.0]], True), ([[1.0, 0.0]], False)):
        d_weight, _ = engine.backward(case, inputs_, 0.05, trace, np.array(grad), EXACT, False)
        assert (d_weight == 0).all() == zero


def test_measured_spike_at_time_zero_comes_before_an_input_there() -> None:
    case, at_zero = layer([[4.5]]), events([([0.0], [0])])
    measured = events([([0.0, 5e-3], [0, 0])])
    a, b = (engine.forward(case, at_zero, 0.05, measured) for engine in (cpu, reference))
    assert b.current[0, 0] == 0
    np.testing.assert_allclose(a.current, b.current, rtol=1e-12)


def simple() -> tuple[Network, Spikes]:
    dense = Dense(1, 2).double()
    with torch.no_grad():
        dense.weight[:] = torch.tensor([[4.5], [0.5]])
    tau_mem, tau_syn = (torch.full((2,), tau, dtype=torch.float64) for tau in (10e-3, 5e-3))
    net = Network([dense, LIF(2, tau_mem, tau_syn)]).double()
    return net, Spikes.from_events([([1e-3], [0]), ([], [])], 1, 0.05, torch.float64)


def test_health_counts_missing_extra_floored_and_silent() -> None:
    net, spikes = simple()
    own = net(spikes)
    assert own.output.counts.tolist() == [1, 0]
    # sample 0: the spike is lost and one of the other neuron invented; sample 1: one invented, without any current
    measured = Record((Spikes.from_events([([6e-3], [1]), ([2e-3], [0])], 2, 0.05, torch.float64),))
    health = net(spikes, measured).health
    assert health is not None
    assert (health.missing, health.extra) == ((1,), (2,))
    assert health.layers[0].used == 2
    assert health.layers[0].below_floor == 2
    assert health.floor_share == 1.0
    assert health.layers[0].silent_samples == 0
    u = 0.5 * (np.exp(-0.5) - np.exp(-1.0))
    np.testing.assert_allclose(health.layers[0].residual, [-1.0, u - 1.0], rtol=1e-12)
    assert own.health is not None
    assert (own.health.missing, own.health.extra, own.health.layers[0].silent_samples) == ((0,), (0,), 1)


@pytest.mark.parametrize("engine", ["cpu", "reference"])
def test_floor_policies_clip_skip_and_raise(engine: str) -> None:
    net, spikes = simple()
    # D of neuron 1 at its measured spike: i - 1 = .5 e^-1 - 1 < 0
    measured = Record((Spikes.from_events([([6e-3], [1]), ([], [])], 2, 0.05, torch.float64),))

    def weight_gradient(**options: Any) -> float:
        net.zero_grad()
        net(spikes, measured, engine=engine, **options).output.times[0, 0].backward()  # type: ignore[no-untyped-call]
        grad = net.blocks[0][0].weight.grad
        assert grad is not None
        return float(grad[1, 0])

    g = np.exp(-0.5) - np.exp(-1.0)
    for floor in (1e-3, 0.3):
        assert weight_gradient(floor=floor) == pytest.approx(-10e-3 * g / floor, rel=1e-12)
    assert weight_gradient(floor=0.3, policy="skip") == 0.0
    assert weight_gradient(floor=0.0) == 0.0  # nothing to clip to
    with pytest.raises(GradientError, match=r"sample 0, neuron 1.*u' = -.*use policy 'clip'"):
        net(spikes, measured, engine=engine, policy="raise")


@pytest.mark.parametrize(
    ("units", "t_stop", "batch", "populations"), [(3, 0.05, 2, 1), (2, 0.06, 2, 1), (2, 0.05, 1, 1), (2, 0.05, 2, 2)]
)
def test_measurement_that_does_not_fit_is_refused(units: int, t_stop: float, batch: int, populations: int) -> None:
    net, spikes = simple()
    measured = Spikes.from_events([([], [])] * batch, units, t_stop, torch.float64)
    with pytest.raises(InputError, match="measure"):
        net(spikes, Record((measured,) * populations))


@pytest.mark.parametrize(
    "options", [{"floor": -0.1}, {"floor": float("nan")}, {"policy": "ignore"}, {"engine": "gpu2"}], ids=str
)
def test_unknown_options_are_refused_with_what_is_allowed(options: dict[str, Any]) -> None:
    net, spikes = simple()
    with pytest.raises(InputError, match="allowed"):
        net(spikes, **options)


def test_gradient_that_is_not_a_number_is_refused() -> None:
    net, spikes = simple()
    with pytest.raises(GradientError, match="NaN or infinite"):
        (net(spikes).output.times[0, 0] * float("nan")).backward()  # type: ignore[no-untyped-call]
