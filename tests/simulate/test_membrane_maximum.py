"""The largest membrane: against dense sampling, its gradient against differences, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.errors import InputError
from hwloop.simulate import cpu, membrane_maximum
from hwloop.simulate.reference import layer as reference
from hwloop.spikes import Spikes

from .support import TAUS, Case, error, random_case

ENGINES = pytest.mark.parametrize("engine", [cpu, reference], ids=["cpu", "reference"])
KINDS = pytest.mark.parametrize("taus", [*TAUS, None])


def sampled(case: Case, steps: int = 6000) -> np.ndarray[Any, Any]:
    """Membrane of every neuron without resets, on a dense grid, as a sum of kernels."""
    a, i = case.layer, case.inputs
    t = np.linspace(0, case.t_stop, steps)
    tm, ts = a.tau_mem[:, None], a.tau_syn[:, None] * (1 + 1e-9 * (a.tau_syn == a.tau_mem))[:, None]
    u = np.zeros((len(i.counts), len(a.tau_mem), steps))
    for b, n in enumerate(i.counts):
        u[b] = a.start[:, None] * np.exp(-t / tm)
        for e in range(n):
            s = np.maximum(t - i.times[b, e], 0)
            u[b] += a.weight[i.units[b, e]][:, None] * ts / (tm - ts) * (np.exp(-s / tm) - np.exp(-s / ts))
    return u


@ENGINES
@KINDS
@pytest.mark.parametrize("leak", [0.0, 0.6])
def test_maximum_agrees_with_dense_sampling(engine: ModuleType, taus: str | None, leak: float) -> None:
    case = random_case(3, taus, leak=leak)
    mask = np.ones((4, 6), bool)
    mask[1, 2] = False
    value, when = engine.membrane_maximum(case.layer, case.inputs, case.t_stop, mask)
    u = sampled(case)
    # on a grid of dt = 10 us: short by at most max|u''| dt^2 / 8, or by a rise of |u'| dt where the top is a kink
    assert (value - u.max(2))[mask].min() > -1e-6
    assert (value - u.max(2))[mask].max() < 2e-2
    assert value[1, 2] == when[1, 2] == 0


@KINDS
@pytest.mark.parametrize("leak", [0.0, 0.6])
def test_engines_agree_on_maximum_and_gradient(taus: str | None, leak: float) -> None:
    case = random_case(4, taus, leak=leak)
    mask = np.ones((4, 6), bool)
    grad = np.random.default_rng(0).normal(size=mask.shape)
    found = cpu.membrane_maximum(case.layer, case.inputs, case.t_stop, mask)
    expected = reference.membrane_maximum(case.layer, case.inputs, case.t_stop, mask)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    gradients = [
        engine.membrane_maximum_gradient(case.layer, case.inputs, case.t_stop, expected[1], grad)
        for engine in (cpu, reference)
    ]
    for x, y in zip(*gradients, strict=True):
        assert error(x, y) < 1e-9


@ENGINES
@KINDS
@pytest.mark.parametrize("leak", [0.0, 0.6])
def test_gradient_of_the_maximum_agrees_with_differences(engine: ModuleType, taus: str | None, leak: float) -> None:
    case = random_case(5, taus, leak=leak, batch=2)
    mask = np.ones((2, 6), bool)
    r = np.random.default_rng(1)
    grad = r.normal(size=mask.shape)

    def loss(changed: Case) -> float:
        value, _ = engine.membrane_maximum(changed.layer, changed.inputs, changed.t_stop, mask)
        return float((value * grad).sum())

    _, when = engine.membrane_maximum(case.layer, case.inputs, case.t_stop, mask)
    d_weight, d_times, d_mem, d_syn = engine.membrane_maximum_gradient(case.layer, case.inputs, case.t_stop, when, grad)
    a, i = case.layer, case.inputs
    for name, gradient, unit in (
        ("weight", d_weight, 1.0), ("times", d_times, 1e-3), ("tau_mem", d_mem, 1e-2), ("tau_syn", d_syn, 1e-2)
    ):  # fmt: skip
        base = i.times if name == "times" else getattr(a, name)
        step = 1e-7 * unit * r.normal(size=base.shape)
        ends = [
            loss(
                replace(case, inputs=replace(i, times=base + sign * step))
                if name == "times"
                else case.with_(**{name: base + sign * step})
            )
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / 2
        scale = np.abs(gradient * step).max()
        assert abs((gradient * step).sum() - expected) < 1e-5 * max(abs(expected), scale), name


def torch_case(leak: float) -> tuple[Spikes, torch.Tensor, dict[str, torch.Tensor]]:
    g = torch.Generator().manual_seed(4)
    first = torch.rand(3, 5, generator=g, dtype=torch.float64) * 20e-3
    weight = torch.randn(4, 5, generator=g, dtype=torch.float64) * 0.3
    values = {"tau_mem": 10e-3, "tau_syn": 6e-3, "v_th": 1.0, "v_leak": leak, "v_reset": -0.2, "t_ref": 0.0}
    params = {name: torch.full((4,), value, dtype=torch.float64, requires_grad=True) for name, value in values.items()}
    return Spikes.from_first_times(first, 60e-3), weight.requires_grad_(), params


@pytest.mark.parametrize("leak", [0.1, 1.5], ids=["rest below threshold", "rest above threshold"])
def test_gradient_through_torch_agrees_with_differences(leak: float) -> None:
    spikes, weight, params = torch_case(leak)
    factor = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (membrane_maximum(spikes, weight, params) * factor).sum().backward()  # type: ignore[no-untyped-call]
    for name in ("tau_mem", "tau_syn", "v_leak"):
        value = params[name]
        assert value.grad is not None
        with torch.no_grad():
            step = 1e-7 * value.abs()
            ends = []
            for sign in (1, -1):
                value += sign * step
                ends.append((membrane_maximum(spikes, weight, params) * factor).sum().item())
                value -= sign * step
        expected = (ends[0] - ends[1]) / 2
        assert (value.grad * step).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-14), name


def test_masked_neurons_have_their_rest_as_maximum() -> None:
    spikes, weight, params = torch_case(0.1)
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, 0] = True
    top = membrane_maximum(spikes, weight, params, mask)
    assert torch.equal(top[~mask], torch.full((11,), 0.1, dtype=torch.float64))
    assert top[0, 0] >= 0.1


@pytest.mark.parametrize("mask", [torch.ones(3, 3, dtype=torch.bool), torch.ones(3, 4)])
def test_mask_of_another_shape_or_kind_is_refused(mask: torch.Tensor) -> None:
    spikes, weight, params = torch_case(0.1)
    with pytest.raises(InputError, match=r"expected \(3, 4\) bool"):
        membrane_maximum(spikes, weight, params, mask)


def test_weights_for_another_number_of_inputs_are_refused() -> None:
    spikes, weight, params = torch_case(0.1)
    with pytest.raises(InputError, match="5 units; the layer takes 4"):
        membrane_maximum(spikes, weight[:, :4], params)
