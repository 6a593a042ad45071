"""One compiled kernel serves all calls: arrays reach it in one kind, whatever they are like where they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest

from hwloop.simulate.contract import Events, Floor
from hwloop.simulate.joint import engine
from hwloop.simulate.joint.contract import Component

from .components import T_STOP, Case, random_case, random_gradient

KERNELS = ("simulate_range", "backward_range", "sensitivities_range")


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[Any]]:
    """Numba's types of the arguments of every kernel that was called."""
    found: dict[str, set[Any]] = {name: set() for name in KERNELS}

    def noting(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            found[name].add(tuple(map(numba.typeof, arguments)))
            return kernel(*arguments)

        return call

    for name in KERNELS:
        monkeypatch.setattr(engine, name, noting(name, getattr(engine, name)))
    return found


def run(case: Case, change: Callable[[Any], Any] = np.array, floor: Floor = Floor(0.0, False)) -> np.ndarray[Any, Any]:  # noqa: B008
    """Forward, replay, and backward with every array changed by ``change``."""
    c, i = case.component, case.inputs
    component = Component(
        c.n_external, type(c.neurons)(*map(change, c.neurons)), type(c.synapses)(*map(change, c.synapses))
    )
    inputs = Events(change(i.times), change(i.units), change(i.counts))
    trace = engine.forward(component, inputs, case.t_stop)
    trace = replace(
        trace, spikes=Events(*(change(getattr(trace.spikes, name)) for name in ("times", "units", "counts")))
    )
    grad = change(random_gradient(0, trace.spikes.times, trace.spikes.counts))
    back = engine.backward(component, inputs, case.t_stop, trace, grad, floor)
    engine.sensitivities(component, inputs, case.t_stop, trace, change(back.upstream), floor)
    return back.weight


def read_only(array: Any) -> Any:
    held = np.array(array)
    held.flags.writeable = False
    return held


def strided(array: Any) -> Any:
    """The same values, each as every second of a longer row."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def by_columns(array: Any) -> Any:
    return np.asfortranarray(array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_any_kind_reach_the_kernels_in_one(kinds: dict[str, set[Any]], dtype: Any) -> None:
    case = random_case(2, "ratio 2", "drawn", strength=0.6, dtype=dtype)
    expected = run(case)
    for change in (read_only, strided, by_columns):
        assert np.array_equal(run(case, change), expected)
    assert {name: len(types) for name, types in kinds.items()} == dict.fromkeys(KERNELS, 1)


def test_one_sample_one_delay_and_whole_numbers_change_no_kind(kinds: dict[str, set[Any]]) -> None:
    case = random_case(2, "ratio 2", "one", strength=0.6)
    run(case)
    run(replace(case, inputs=Events(case.inputs.times[:1], case.inputs.units[:1], case.inputs.counts[:1])))
    run(random_case(2, "ratio 2", "by pair", strength=0.6), floor=Floor(0, False))
    run(random_case(3, "ratio 2", "zero", strength=0.6, n=2, share=1.0))
    run(replace(case, t_stop=1))  # whole seconds: T_STOP is a float
    assert isinstance(T_STOP, float)
    assert {name: len(types) for name, types in kinds.items()} == dict.fromkeys(KERNELS, 1)
