"""A component as torch sees it: gradients of all that may be learnt, measured spikes, health, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hwloop.errors import GradientError, InputError
from hwloop.simulate.joint.autograd import JointCall, Structure, component_call
from hwloop.simulate.joint.contract import CURRENT, INTEGRATE, JUMP
from hwloop.spikes import Spikes

from .components import random_case

N, N_IN, T_STOP = 6, 4, 60e-3


def made(kinds: tuple[int, ...] = (CURRENT,)) -> tuple[Structure, Spikes, dict[str, Tensor]]:
    """A structure, its input, and every tensor that it takes."""
    case = random_case(2, "general", "drawn", kinds=kinds, strength=1.2, t_ref=2e-3)
    c, s = case.component, case.component.synapses
    structure = Structure(
        N_IN, s.bundle_starts, s.first, s.target, c.neurons.kind, c.neurons.subtract, c.neurons.max_spikes
    )
    pairs = [(t[:n], u[:n]) for t, u, n in zip(case.inputs.times, case.inputs.units, case.inputs.counts, strict=True)]
    inputs = Spikes.from_events(pairs, N_IN, T_STOP, torch.float64)
    r = np.random.default_rng(0)
    values = {
        "weight": s.weight, "delay": s.delay, "tau_mem": c.neurons.tau_mem, "tau_syn": c.neurons.tau_syn,
        "v_th": np.full(N, 1.1), "v_leak": r.uniform(-0.1, 0.2, N), "v_reset": r.uniform(-0.3, 0.1, N),
        "t_ref": c.neurons.t_ref, "bias": np.where(c.neurons.kind == INTEGRATE, 0.0, r.uniform(-0.1, 0.3, N)),
        "v_init": r.uniform(-0.2, 0.4, N), "ramp": np.where(c.neurons.kind == INTEGRATE, 30.0, 0.0),
    }  # fmt: skip
    return structure, inputs, {name: torch.tensor(value) for name, value in values.items()}


def call(
    structure: Structure, inputs: Spikes, tensors: dict[str, Tensor], measured: Spikes | None = None, **options: object
) -> tuple[Spikes, JointCall]:
    params = {name: value for name, value in tensors.items() if name not in ("weight", "delay")}
    return component_call(
        inputs, structure, tensors["weight"], tensors["delay"], params, floor=0.0, measured=measured, **options  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("kinds", [(CURRENT,), (CURRENT, JUMP, INTEGRATE)], ids=["current", "all"])
def test_every_parameter_has_the_gradient_of_finite_differences(kinds: tuple[int, ...]) -> None:
    structure, inputs, tensors = made(kinds)
    leaves = {name: value.clone().requires_grad_() for name, value in tensors.items()}
    times = inputs.times.clone().requires_grad_()
    moved_inputs = Spikes(times, inputs.units, inputs.counts, N_IN, T_STOP)
    spikes, _ = call(structure, moved_inputs, leaves)
    factor = torch.from_numpy(np.random.default_rng(1).normal(size=spikes.times.shape))
    weighed = torch.where(spikes.valid, spikes.times, 0.0)
    (weighed * factor).sum().backward()
    assert spikes.counts.sum() > 10

    def loss(changed: dict[str, Tensor], at: Spikes = inputs) -> float:
        found, _ = call(structure, at, changed)
        assert torch.equal(found.units, spikes.units)
        return float((torch.where(found.valid, found.times, 0.0) * factor).sum())

    for name, value in tensors.items():
        step = 1e-9 if name in ("delay", "t_ref", "tau_mem", "tau_syn") else 1e-6 if name == "ramp" else 1e-7
        way = torch.from_numpy(np.random.default_rng(2).normal(size=value.shape))
        if name in ("ramp", "bias"):
            way = torch.where(torch.from_numpy(structure.kind == INTEGRATE) == (name == "ramp"), way, 0.0)
        way = torch.where(value > 0, way, 0.0) if name == "delay" else way
        up, down = (loss({**tensors, name: value + sign * step * way}) for sign in (1, -1))
        grad = leaves[name].grad
        assert grad is not None
        assert (up - down) / (2 * step) == pytest.approx(float((grad * way).sum()), rel=1e-5, abs=1e-6), name
    assert times.grad is not None
    way = torch.from_numpy(np.random.default_rng(3).normal(size=times.shape)) * inputs.valid
    shifted = [Spikes(inputs.times + s * 1e-9 * way, inputs.units, inputs.counts, N_IN, T_STOP) for s in (1, -1)]
    assert (loss(tensors, shifted[0]) - loss(tensors, shifted[1])) / 2e-9 == pytest.approx(
        float((times.grad * way).sum()), rel=1e-5
    )


@pytest.mark.parametrize("kinds", [(CURRENT,), (CURRENT, JUMP, INTEGRATE)], ids=["current", "all"])
def test_own_spikes_as_measured_give_every_gradient_bit_for_bit(kinds: tuple[int, ...]) -> None:
    structure, inputs, tensors = made(kinds)
    grads = []
    own: Spikes | None = None
    for _ in range(2):
        leaves = {name: value.clone().requires_grad_() for name, value in tensors.items()}
        spikes, ran = call(structure, inputs, leaves, own)
        torch.where(spikes.valid, spikes.times, 0.0).square().sum().backward()
        grads.append([leaf.grad for leaf in leaves.values()])
        own = Spikes(spikes.times.detach(), spikes.units, spikes.counts, N, T_STOP)
        assert np.abs(ran.residuals()).max() < 1e-12
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_a_call_counts_its_spikes_and_those_below_the_floor() -> None:
    structure, inputs, tensors = made()
    params = {name: value for name, value in tensors.items() if name not in ("weight", "delay")}
    spikes, ran = component_call(inputs, structure, tensors["weight"], tensors["delay"], params, floor=0.5)
    assert ran.used == int(spikes.counts.sum())
    assert 0 < ran.below_floor < ran.used
    assert ran.silent == int((spikes.counts == 0).sum())
    with pytest.raises(GradientError, match=r"cortex: sample 0, neuron \d, t = .* lies below the floor 0.5"):
        component_call(
            inputs, structure, tensors["weight"], tensors["delay"], params, floor=0.5, policy="raise", where="cortex"
        )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight", float("nan"), r"cortex, weight\[0\] = nan; allowed: finite"),
        ("delay", -1e-3, r"cortex, delay\[0\] = -0.001; allowed: finite and >= 0 s"),
        ("tau_mem", 0.0, r"cortex, neuron 0: tau_mem = 0"),
        ("v_init", 2.0, r"cortex, v_init\[0\] = 2; allowed: finite and below v_th"),
        ("ramp", 1.0, r"cortex, ramp\[0\] = 1; allowed: finite, and 0 with a leak"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(name: str, value: float, message: str) -> None:
    structure, inputs, tensors = made()
    tensors[name] = tensors[name].clone()
    tensors[name][0] = value
    with pytest.raises(InputError, match=message):
        call(structure, inputs, tensors, where="cortex")


def test_what_was_changed_in_place_since_it_ran_has_no_gradient() -> None:
    structure, inputs, tensors = made()
    weight = tensors["weight"].clone().requires_grad_()
    spikes, _ = call(structure, inputs, {**tensors, "weight": weight})
    with torch.no_grad():
        weight[0] += 1.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.where(spikes.valid, spikes.times, 0.0).sum().backward()
