"""The spiking solver of SPIDE against the linear solve: its error is a share of a spike, whatever the network."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from hwloop import rules
from hwloop.rules.spide.adjoint import Loop, implicit_adjoint, spiking_adjoint, step_by_step
from hwloop.rules.spide.rule import Spide
from hwloop.rules.steps.integrate_fire import IntegrateFire, ternary

from .spide_support import (
    RINGS,
    dense_net,
    dyadic,
    every_net,
    linearised,
    oracle,
    source,
    values,
)

T_BACK = (25, 80, 250, 800, 4000)


def _errors(loop: Loop, g: torch.Tensor, exact: list[np.ndarray], neuron: IntegrateFire) -> list[float]:
    found = [spiking_adjoint(loop, g, steps, neuron)[0] for steps in T_BACK]
    return [
        steps * max(float(np.abs(b.numpy() - e).max()) for b, e in zip(betas, exact, strict=True))
        for steps, betas in zip(T_BACK, found, strict=True)
    ]


def test_error_of_the_spiking_solver_is_less_than_three_quarters_of_a_spike() -> None:
    """``T_B max |beta - beta*| < .75`` and slope -1 over T_B 25..4000; a threshold of the whole quantum is twice as bad."""
    net = dense_net()
    loop = linearised(net, 16)
    g = source(loop, 16)
    exact = oracle(net, loop, g)
    spikes = _errors(loop, g, exact, ternary(1.0))
    assert max(spikes) < 0.75
    slope = np.polyfit(np.log(T_BACK), np.log(np.array(spikes) / T_BACK), 1)[0]
    assert -1.1 < slope < -0.9
    # the negative control: a residual of up to one quantum instead of half of one
    floored = _errors(loop, g, exact, IntegrateFire(1.0, 1.0, -1.0, at_lower=True))
    assert all(1.5 < worse / good < 3.0 for worse, good in zip(floored, spikes, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("build", RINGS.values(), ids=RINGS.keys())
def test_following_spikes_one_by_one_is_the_step_by_step_path(
    build: Callable[[], rules.StepNetwork], dtype: torch.dtype, dropout: float
) -> None:
    """Dyadic numbers: every sum is exact in any order, so the two are equal in whole numbers.

    The path by products runs in float64: libraries may transform convolutions in float32, and round.
    """
    rule, loops, errors = Spide(dropout=dropout), [], []
    for kind in (dtype, torch.float64):
        net = dyadic(build()).to(kind)
        loops.append(rule.loop(net, rule.training_forward(net, values(net, 8))))
        errors.append(torch.round(source(loops[-1], 8) * 64).to(kind) / 64)
    for neuron in (ternary(1.0), IntegrateFire(1.0, 1.0, -1.0, at_lower=True)):
        found, statistics = spiking_adjoint(loops[0], errors[0], 256, neuron)
        expected, wanted = step_by_step(loops[1], errors[1], 256, neuron)
        assert all(torch.equal(a.double(), b) for a, b in zip(found, expected, strict=True))
        assert all(beta.any() for beta in found)
        assert statistics.firing == pytest.approx(wanted.firing)
        assert (statistics.largest, statistics.saturated) == (wanted.largest, wanted.saturated)


@pytest.mark.slow
def test_the_bound_holds_at_the_size_of_mnist() -> None:
    """400 x 400 feedback at its largest norm, as the network of the study has it."""
    net = dense_net((400,), norm=2.0)
    loop = linearised(net, 4)
    g = source(loop, 4)
    exact = oracle(net, loop, g)
    assert max(_errors(loop, g, exact, ternary(1.0))) < 0.75


@every_net
def test_spikes_and_iteration_find_the_solution_of_the_linear_system(build) -> None:
    net = build()
    loop = linearised(net, 4)
    g = source(loop, 4)
    exact = oracle(net, loop, g)
    implicit, statistics = implicit_adjoint(loop, g)
    for beta, expected in zip(implicit, exact, strict=True):
        # last change below 16 roundings, at a loop gain below .8: five times that, and the oracle's own error
        np.testing.assert_allclose(beta.numpy(), expected, rtol=0, atol=1e-13)
    assert statistics.steps < 200
    assert math.isnan(statistics.firing)
    first, second = (_deviation(spiking_adjoint(loop, g, steps)[0], exact) for steps in (100, 1600))
    assert second < first / 8
    # in a ring of G populations the roundings of one are the input of the next: half a spike each
    assert second < 0.75 * len(exact) / 1600


def _deviation(betas: list[torch.Tensor], exact: list[np.ndarray]) -> float:
    return max(float(np.abs(b.numpy() - e).max()) for b, e in zip(betas, exact, strict=True))


def test_a_loss_scale_beyond_the_range_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    net = dense_net()
    record = Spide().forward(net, values(net, 4))
    grad = torch.ones(4, 5).double()
    Spide(loss_scale=0.01).gradients(net, record, grad)
    assert not caplog.records
    Spide(loss_scale=100.0).gradients(net, record, grad)
    assert "lower loss_scale (now 100)" in caplog.text
    assert record.traces["backward"].saturated > 0.5


def test_a_source_beyond_the_quantum_never_converges_and_is_reported() -> None:
    """The negative control of the range: a neuron fires at most once a step."""
    net = dense_net()
    loop = linearised(net, 4)
    g = source(loop, 4)
    g[:, 0] = 1.5
    exact = oracle(net, loop, g)
    for steps in (100, 1600):
        betas, statistics = spiking_adjoint(loop, g, steps)
        assert _deviation(betas, exact) > 0.3
        assert statistics.saturated >= 1 / 24
        assert statistics.largest >= 0.99
    healthy = spiking_adjoint(loop, source(loop, 4), 100)[1]
    assert healthy.saturated == 0
    assert healthy.largest < 1
    assert 0 < healthy.firing < 0.3
