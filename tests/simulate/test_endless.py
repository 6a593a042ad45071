"""Neurons that would spike without end are refused before they run; what is refused is known from bounds from below."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.errors import InputError
from hwloop.network import LIF, Dense, Network
from hwloop.simulate import cpu, endless
from hwloop.simulate.reference import layer as reference
from hwloop.spikes import Spikes

from .support import Case, layer, random_case

N_IN, T_STOP = 3, 40e-3
USUAL = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 0.0}
ENGINES = pytest.mark.parametrize("engine", ["cpu", "reference"])

#: What makes neuron 1 of the second layer spike without end, and a word of the message.
CAUSES: dict[str, dict[str, Any]] = {
    "huge weights": {"weight": 1e18},
    "huge weights after inhibition": {"weight": 1e18, "first": -1e18},
    "a threshold at the reset": {"v_reset": math.nextafter(1.0, 0.0)},
    "a huge leak potential": {"v_leak": 1e15},
    "a membrane without memory": {"tau_mem": 1e-13},
    "an endless current": {"tau_syn": 1e9, "weight": 1e8},
}


def spikes(dtype: torch.dtype = torch.float64) -> Spikes:
    return Spikes.from_events([([5e-3], [1]), ([1e-3, 2e-3, 3e-3], [0, 1, 2])], N_IN, T_STOP, dtype)


def network(
    weight: float = 3.0, first: float | None = None, dtype: torch.dtype = torch.float64, **of_neuron: Any
) -> Network:
    cap = of_neuron.pop("max_spikes", None)
    per_neuron = {
        name: torch.tensor([usual, of_neuron.get(name, usual)], dtype=torch.float64) for name, usual in USUAL.items()
    }
    net = Network([Dense(N_IN, 2), LIF(2, max_spikes=cap, **per_neuron)]).double()
    with torch.no_grad():
        net.blocks[0][0].weight[0] = 1.5
        net.blocks[0][0].weight[1] = weight
        if first is not None:
            net.blocks[0][0].weight[1, 0] = first
    return net.to(dtype)


@ENGINES
@pytest.mark.parametrize("cause", CAUSES)
def test_a_neuron_without_end_is_refused_before_it_runs(
    cause: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"hwloop.simulate.{engine}.forward", None)  # it would run for hours
    with pytest.raises(InputError, match=r"layer 1 \(LIF\): in sample 1 neuron 1 spikes .* a second.*max_spikes"):
        network(**CAUSES[cause])(spikes(), engine=engine)


def test_float32_is_refused_alike() -> None:
    net = network(1e18, dtype=torch.float32)
    with pytest.raises(InputError, match=r"neuron 1 spikes 1\.5e\+18 times or more between t = 0.001 s and 0.04 s"):
        net(spikes(torch.float32))


@ENGINES
@pytest.mark.parametrize("kept", [{"t_ref": 1e-3}, {"max_spikes": 4}, {"v_th": 1e18}, {"weight": 5.0}])
def test_each_of_what_is_named_lets_it_run(kept: dict[str, float], engine: str) -> None:
    record = network(**({"weight": 1e18} | kept))(spikes(), engine=engine)
    assert 1 <= int(record.output.counts[1]) < 100


@pytest.mark.parametrize("leak", [0.0, 1.0])
@pytest.mark.parametrize("taus", ["ratio 2", None])
@pytest.mark.parametrize("seed", range(4))
def test_there_are_never_fewer_spikes_than_the_bound(seed: int, taus: str | None, leak: float) -> None:
    case = random_case(seed, taus, strength=6.0, leak=leak, batch=3)
    found = cpu.forward(case.layer, case.inputs, case.t_stop).spikes
    spikes = np.stack([np.bincount(found.units[b, : found.counts[b]], minlength=6) for b in range(3)])
    least = endless.least_spikes(case.layer, case.inputs, case.t_stop, cpu)
    assert (spikes >= least - 1e-9).all()
    assert (least > 0).any()
    same = endless.least_spikes(case.layer, case.inputs, case.t_stop, reference)
    np.testing.assert_allclose(least, same, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("first", [2.0, -1.0], ids=["excited", "inhibited first"])
def test_the_bound_of_many_spikes_is_near_their_number(first: float) -> None:
    case = random_case(0, "ratio 2", n_in=2, n_out=1, n_events=2, batch=1)
    weight = np.array([[first], [1.0]]) * 1e4
    inputs = case.inputs
    inputs.units[0], inputs.times[0] = [0, 1], [1e-3, 4e-3]
    case = Case(layer(weight, 10e-3, 5e-3, 1.0, 0.0, 0.0, 0.0), inputs, T_STOP)
    spikes = int(cpu.forward(case.layer, case.inputs, case.t_stop).spikes.counts[0])
    least = float(endless.least_spikes(case.layer, case.inputs, case.t_stop, cpu)[0, 0])
    assert spikes / 4 < least <= spikes


@pytest.mark.parametrize("weights", [0.5, 1.0])
def test_a_calm_layer_is_not_looked_at(weights: float, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr("hwloop.simulate.autograd.refuse_endless", lambda *_: looked.append(1))
    case = layer(np.ones((N_IN, 2)), 10e-3, 5e-3, 1.0, 0.0, 0.0, 0.0)
    calm = endless.calm_sum(case, T_STOP)
    assert calm == pytest.approx((endless.SUSPECT - 1.0) / 1.5)
    network(weights * calm / 3 * (1 + (weights - 0.75) * 1e-9))(spikes())
    assert len(looked) == int(weights == 1.0)
