"""HM2-BP in steps where the two time constants nearly meet: no potential is a difference of nearly equal traces."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import torch

from hwloop import rules
from hwloop.network import Dense
from hwloop.rules.hm2bp.map_kernels import potentials
from hwloop.rules.hm2bp.rule import HM2BP, LeakyNeurons
from hwloop.rules.steps.trace import potential

TAU_M, STEPS, SPIKES = 64.0, 150, (3, 10, 20, 90)
TAU_S = [8.0, 60.0, 63.9, 63.9999, 63.9999999, 64.0 * (1 - 2**-52)]
#: Roundings of as many steps, each of at most half an ulp in two terms.
TOLERANCE = {torch.float32: STEPS * 2.0**-23, torch.float64: STEPS * 2.0**-52}


def exact(tau_s: float) -> np.ndarray:
    with mp.workdps(60):
        m, s = mp.mpf(TAU_M), mp.mpf(tau_s)

        def response(d: int) -> mp.mpf:
            return (mp.exp(-d / m) - mp.exp(-d / s)) / (1 - s / m)

        return np.array([float(mp.fsum(response(t - j) for j in SPIKES if j <= t)) for t in range(STEPS)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tau_s", TAU_S)
def test_potentials_are_exact_however_near_the_time_constants_are(tau_s: float, dtype: torch.dtype) -> None:
    x = torch.zeros(1, STEPS, 1, dtype=dtype)
    x[0, list(SPIKES), 0] = 1
    wanted = exact(tau_s)
    found = potential(x, TAU_M, tau_s)[0, :, 0].double().numpy()
    assert np.abs(found - wanted).max() <= TOLERANCE[dtype] * wanted.max()
    for backwards in (False, True):
        raster = (x.flip(1) if backwards else x.clone()).numpy()
        potentials(raster, TAU_M, tau_s, backwards)
        mine = raster[0, ::-1, 0] if backwards else raster[0, :, 0]
        assert np.abs(mine.astype(np.float64) - wanted).max() <= TOLERANCE[dtype] * wanted.max()


def gradient(tau_s: float, dtype: torch.dtype) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    dense = Dense(7, 4).to(dtype).init_normal_(0.5, 1.0, generator)
    net = rules.StepNetwork([dense, LeakyNeurons(2.0, tau_m=TAU_M, tau_s=tau_s)], in_shape=7, steps=60)
    rule = HM2BP(teacher=0, rate=0.4)
    values = rules.Values(torch.rand(5, 7, generator=generator, dtype=torch.float64), torch.arange(5))
    grad = torch.linspace(-1, 1, 20, dtype=dtype).reshape(5, 4)
    (found,) = rule.gradients(net, rule.forward(net, values), grad).values()
    return found.double().numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_continuous_towards_equal_time_constants(dtype: torch.dtype) -> None:
    # 1e-5 of a step changes no decision of these spikes, and an effect by about as much relatively
    near = [gradient(tau_s, dtype) for tau_s in (TAU_M - 1e-4, TAU_M - 1e-7, TAU_M * (1 - 2**-52))]
    assert np.abs(near[0]).max() > 1
    for other in near[1:]:
        np.testing.assert_allclose(other, near[0], rtol=1e-4, atol=1e-4 * np.abs(near[0]).max())
