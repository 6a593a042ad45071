"""What calls remember, views of spikes and values of neurons, never hides a change: by whatever way it was made."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hwloop.neurons import PARAMETERS
from hwloop.simulate import Options, layer_call
from hwloop.simulate.event_arrays import remembered, to_events
from hwloop.simulate.parameter_values import equal_at
from hwloop.spikes import Spikes

N_IN, N = 5, 6


def spikes() -> Spikes:
    first = torch.rand((4, N_IN), generator=torch.Generator().manual_seed(1)) * 10e-3
    return Spikes.from_first_times(first, 60e-3)


def weights(n_in: int = N_IN) -> Tensor:
    return torch.rand((N, n_in), generator=torch.Generator().manual_seed(2)) + 0.5


def neurons() -> dict[str, Tensor]:
    values = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 0.0}
    return {name: torch.full((N,), values[name]) for name in PARAMETERS}


def answer(inputs: Spikes, weight: Tensor, params: dict[str, Tensor], where: str = "here") -> Spikes:
    return layer_call(inputs, weight, params, Options(), None, where)[0]


def same(a: Spikes, b: Spikes) -> bool:
    return all(torch.equal(x, y) for x, y in ((a.times, b.times), (a.units, b.units), (a.counts, b.counts)))


def through_data(value: Tensor) -> Tensor:
    value.data.mul_(1.25)
    return value


def through_numpy(value: Tensor) -> Tensor:
    value.numpy()[...] *= 1.25
    return value


def through_other_data(value: Tensor) -> Tensor:
    value.data = value * 1.25
    return value


def through_one_value(value: Tensor) -> Tensor:
    value[-1] *= 1.25
    return value


def through_another_tensor(value: Tensor) -> Tensor:
    return value * 1.25


def through_a_column(value: Tensor) -> Tensor:
    return torch.stack([value * 1.25, value], 1)[:, 0]


CHANGES = [
    through_data, through_numpy, through_other_data, through_one_value, through_another_tensor, through_a_column,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "v_th"])
def test_changed_neurons_are_those_that_run(name: str, change: Callable[[Tensor], Tensor]) -> None:
    inputs, weight, params = spikes(), weights(), neurons()
    before = answer(inputs, weight, params)
    assert same(answer(inputs, weight, params), before)
    params[name] = change(params[name])
    fresh = {key: value.clone() for key, value in params.items()}
    changed = answer(inputs, weight, params)
    assert same(changed, answer(inputs, weight, fresh, "elsewhere"))
    assert not same(changed, before)


def test_neurons_in_another_dtype_are_others() -> None:
    params = {name: value.double() for name, value in neurons().items()}
    held = np.stack([params[name].numpy() for name in PARAMETERS])
    assert equal_at(tuple(params[name].data_ptr() for name in PARAMETERS), held)
    inputs, weight = spikes(), weights()
    assert same(answer(inputs, weight, params), answer(inputs, weight, neurons()))
    assert answer(inputs.to(torch.float64), weight.double(), params).times.dtype == torch.float64


@pytest.mark.parametrize("change", [through_data, through_numpy, through_other_data])
def test_changed_spikes_are_those_that_the_next_layer_receives(change: Callable[[Tensor], Tensor]) -> None:
    hidden, weight = answer(spikes(), weights(), neurons()), weights(N)
    assert remembered(hidden) is not None
    before = answer(hidden, weight, neurons())
    change(hidden.times)
    fresh = Spikes.trusted(hidden.times.clone(), hidden.units, hidden.counts, N, hidden.t_stop)
    assert remembered(fresh) is None
    changed = answer(hidden, weight, neurons())
    assert same(changed, answer(fresh, weight, neurons()))
    assert not same(changed, before)
    assert np.array_equal(to_events(hidden, None).times, hidden.times.numpy())


def test_spikes_cut_in_place_are_no_longer_those_that_were_remembered() -> None:
    hidden = answer(spikes(), weights(), neurons())
    width = hidden.times.shape[1]
    hidden.times.resize_(2, width)
    assert to_events(hidden, None).times.shape == (2, width)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda held: pickle.loads(pickle.dumps(held))])  # noqa: S301  # our own
def test_copies_of_spikes_hold_their_fields_alone(again: Callable[[Spikes], Spikes]) -> None:
    hidden = answer(spikes(), weights(), neurons())
    other = again(hidden)
    assert same(hidden, other)
    assert vars(other).keys() == {"times", "units", "counts", "n_units", "t_stop"}
