"""HM2-BP in continuous time where the time constants meet: the closed form may not subtract nearly equal numbers."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.rules.hm2bp import events as hm2bp_event
from hwloop.rules.hm2bp.rule import HM2BP

TAU_MEM = 10e-3
#: How far the time constants are apart, relatively; 0: equal. Below 2e-16 there is no number between.
APART = [1e-1, 1e-3, 1e-5, 1e-7, 1e-8, 1.1e-9, 9e-10, 1e-10, 1e-12, 4e-16, 0.0]
#: Potentials a time of so many tau_mem after the input spike.
AFTER = [1e-3, 0.1, 0.6, 1.0, 5.0, 30.0]


def exact(x: float, tau_mem: float, tau_syn: float) -> float:
    """Potential per unit weight, ``tau_mem u' = -u + i``, in 40 digits."""
    with mp.workdps(60):
        s, tm, ts = mp.mpf(x), mp.mpf(tau_mem), mp.mpf(tau_syn)
        if tm == ts:
            return float(s / tm * mp.exp(-s / tm))
        return float(ts / (tm - ts) * (mp.exp(-s / tm) - mp.exp(-s / ts)))


def train(*times: float, dtype: torch.dtype = torch.float64) -> hl.Spikes:
    return hl.Spikes.from_events([(list(times), [0] * len(times))], 1, 1.0, dtype)


def neuron(tau_syn: float, t_ref: float = 0.0, dtype: torch.dtype = torch.float64) -> hl.LIF:
    values = [torch.tensor(value, dtype=torch.float64) for value in (TAU_MEM, tau_syn)]
    return hl.LIF(1, *values, t_ref=t_ref).to(dtype)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("apart", APART)
def test_the_effect_of_one_spike_is_exact_however_near_the_time_constants_are(apart: float, sign: int) -> None:
    lif = neuron(TAU_MEM * (1 + sign * apart))
    for x in AFTER:
        found = float(hm2bp_event.effects(train(0.25), train(0.25 + x * TAU_MEM), lif)[0, 0, 0])
        since = (0.25 + x * TAU_MEM) - 0.25
        # relative error of e^-x is that of x, half an ulp of each of two operations; a few roundings more
        assert found == pytest.approx(exact(since, float(lif.tau_mem), float(lif.tau_syn)), rel=(4 + 2 * x) * 2.3e-16)


def test_an_input_before_the_cut_is_exact_too() -> None:
    lif = neuron(TAU_MEM * (1 + 1e-8), t_ref=1e-3)
    tau_mem, tau_syn, hold = (float(getattr(lif, name)) for name in ("tau_mem", "tau_syn", "t_ref"))
    found = float(hm2bp_event.effects(train(0.0), train(4e-3, 9e-3), lif)[0, 0, 0])
    cut = 4e-3 + hold
    left = float(mp.exp(-mp.mpf(cut) / mp.mpf(tau_syn)))
    assert found == pytest.approx(exact(4e-3, tau_mem, tau_syn) + left * exact(9e-3 - cut, tau_mem, tau_syn), rel=2e-15)


def network(apart: float, dtype: torch.dtype) -> hl.Network:
    generator = torch.Generator().manual_seed(4)
    tau_mem, tau_syn = torch.tensor([TAU_MEM, TAU_MEM * (1 + apart)], dtype=torch.float64)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in ((3, 4), (4, 2)):
        dense = hl.Dense(n_in, n_out, generator=generator).init_normal_(2.0, 1.0, generator)
        layers += [dense, hl.LIF(n_out, tau_mem, tau_syn)]
    return hl.Network(layers).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_continuous_across_equal_time_constants(dtype: torch.dtype) -> None:
    inputs = hl.Spikes.from_events([(np.linspace(0, 20e-3, 12), np.arange(12) % 3)], 3, 60e-3, dtype)
    grad, rule = torch.tensor([[1.0, -0.5]], dtype=dtype), HM2BP(teacher=0)
    with torch.no_grad():
        spikes = network(0.0, dtype)(inputs)  # held fixed: the effects alone may change

    def gradient(apart: float) -> np.ndarray:
        net = network(apart, dtype)
        found = rule.gradients(net, rule.forward(net, inputs, spikes), grad)
        return np.concatenate([value.double().numpy().ravel() for value in found.values()])

    equal = gradient(0.0)
    assert np.abs(equal).max() > 0.1
    # float32 holds no time constants nearer than 1e-7
    for apart in (1e-12, 9e-10, 1.1e-9, 1e-8, 1e-7, -1e-8):
        step = abs(apart) if dtype == torch.float64 or abs(apart) < 2e-8 else 2e-7
        # an effect changes by (x/2 + 1) apart relatively, x <= 6 here, and as much again in the bracket
        bound = 10 * step + (1e-14 if dtype == torch.float64 else 1e-6)
        np.testing.assert_allclose(gradient(apart), equal, rtol=bound, atol=bound * np.abs(equal).max())
