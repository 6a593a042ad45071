"""What must hold without any reference: symmetries of the neuron, and the order of batch and inputs."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.simulate import cpu
from hwloop.simulate.contract import Events, Trace
from hwloop.simulate.reference import layer as reference

from .support import EXACT, TAUS, Case, error, events, random_case, random_gradient

ENGINES = pytest.mark.parametrize("engine", [cpu, reference], ids=["cpu", "reference"])
KINDS = pytest.mark.parametrize("taus", [*TAUS, None], ids=lambda t: t or "each neuron its own")

#: Rounding of a spike time (1e-16 of 60 ms) grows by the derivatives between spikes; chains of some ten spikes.
CLOSE = 1e-10


def run(engine: ModuleType, case: Case) -> Trace:
    trace: Trace = engine.forward(case.layer, case.inputs, case.t_stop)
    assert trace.spikes.counts.sum() > 0
    return trace


def same_spikes(a: Trace, b: Trace, scale: float = 1.0, shift: float = 0.0) -> None:
    np.testing.assert_array_equal(a.spikes.counts, b.spikes.counts)
    np.testing.assert_array_equal(a.spikes.units, b.spikes.units)
    valid = np.isfinite(a.spikes.times)
    np.testing.assert_allclose(b.spikes.times[valid], a.spikes.times[valid] * scale + shift, rtol=CLOSE)


@ENGINES
@KINDS
@pytest.mark.parametrize("t_ref", [0.0, 2e-3])
def test_later_inputs_give_spikes_later_by_as_much(engine: ModuleType, taus: str | None, t_ref: float) -> None:
    case = random_case(1, taus, t_ref=t_ref)
    shift = 11.3e-3
    moved = replace(case, inputs=replace(case.inputs, times=case.inputs.times + shift), t_stop=case.t_stop + shift)
    before, after = run(engine, case), run(engine, moved)
    same_spikes(before, after, shift=shift)


@ENGINES
@KINDS
@pytest.mark.parametrize("t_ref", [0.0, 2e-3])
def test_input_times_carry_all_of_the_gradient_of_output_times(
    engine: ModuleType, taus: str | None, t_ref: float
) -> None:
    case = random_case(2, taus, t_ref=t_ref)
    trace = run(engine, case)
    grad = random_gradient(3, trace.spikes.times, trace.spikes.counts)
    _, d_times = engine.backward(case.layer, case.inputs, case.t_stop, trace, grad, EXACT, True)
    np.testing.assert_allclose(d_times.sum(1), grad.sum(1), atol=CLOSE * np.abs(d_times).sum())


@ENGINES
@KINDS
@pytest.mark.parametrize("subtract", [False, True])
def test_scaling_weights_threshold_and_reset_together_moves_no_spike(
    engine: ModuleType, taus: str | None, subtract: bool
) -> None:
    case = random_case(4, taus, subtract=subtract, t_ref=1e-3, leak=0.1)
    factor = np.array([0.5, 2.0, 3.0, 7.0, 0.1, 1e6])
    scaled = case.with_(
        weight=case.layer.weight * factor, threshold=case.layer.threshold * factor, reset=case.layer.reset * factor,
        start=case.layer.start * factor,
    )  # fmt: skip
    same_spikes(run(engine, case), run(engine, scaled))


@ENGINES
@KINDS
def test_gradient_along_the_common_scale_of_each_neuron_vanishes(engine: ModuleType, taus: str | None) -> None:
    case = random_case(5, taus, t_ref=1e-3, leak=0.3)
    trace = run(engine, case)
    grad = random_gradient(6, trace.spikes.times, trace.spikes.counts)
    arguments = (case.layer, case.inputs, case.t_stop, trace, grad, EXACT)
    s, d_weight = engine.sensitivities(*arguments), engine.backward(*arguments, False)[0]
    terms = [*(case.layer.weight * d_weight), case.layer.threshold[0] * s.threshold, case.layer.reset * s.reset]
    np.testing.assert_allclose(np.sum(terms, 0), 0, atol=CLOSE * np.abs(terms).sum(0).max())


@ENGINES
@KINDS
@pytest.mark.parametrize("scale", [1e-6, 3.7, 1e6])
def test_another_unit_of_time_scales_every_spike(engine: ModuleType, taus: str | None, scale: float) -> None:
    case = random_case(7, taus, t_ref=1e-3)
    a = case.layer
    slower = replace(
        case.with_(tau_mem=a.tau_mem * scale, tau_syn=a.tau_syn * scale, t_ref=a.t_ref * scale),
        inputs=replace(case.inputs, times=case.inputs.times * scale), t_stop=case.t_stop * scale,
    )  # fmt: skip
    same_spikes(run(engine, case), run(engine, slower), scale=scale)


def split(case: Case) -> Case:
    """Each input as two of half the weight at the same time, and events without weight in between."""
    a, i = case.layer, case.inputs
    n_in = len(a.weight)
    samples = []
    for b, n in enumerate(i.counts):
        t, u = i.times[b, :n], i.units[b, :n]
        idle = np.linspace(1e-3, 50e-3, 37)
        samples.append((np.concatenate([t, t, idle]), np.concatenate([u, u + n_in, np.full(len(idle), 2 * n_in)])))
    weight = np.concatenate([a.weight / 2, a.weight / 2, np.zeros((1, a.weight.shape[1]))])
    return replace(case.with_(weight=weight), inputs=events(samples))


@ENGINES
@KINDS
@pytest.mark.parametrize("t_ref", [0.0, 2e-3])
def test_halved_twins_and_weightless_events_change_neither_spikes_nor_gradients(
    engine: ModuleType, taus: str | None, t_ref: float
) -> None:
    case = random_case(8, taus, t_ref=t_ref)
    other = split(case)
    a, b = run(engine, case), run(engine, other)
    same_spikes(a, b)
    grad = random_gradient(9, a.spikes.times, a.spikes.counts)
    w_a, t_a = engine.backward(case.layer, case.inputs, case.t_stop, a, grad, EXACT, True)
    w_b, t_b = engine.backward(other.layer, other.inputs, other.t_stop, b, grad, EXACT, True)
    n_in = len(w_a)
    assert error(w_b[:n_in], w_a) < CLOSE
    assert error(w_b[n_in : 2 * n_in], w_a) < CLOSE
    np.testing.assert_allclose(t_b.sum(1), t_a.sum(1), atol=CLOSE * np.abs(t_a).sum())
    idle = other.inputs.units == 2 * n_in
    assert np.all(t_b[idle] == 0)


@ENGINES
def test_order_of_equal_times_does_not_matter(engine: ModuleType) -> None:
    r = np.random.default_rng(0)
    case = random_case(10, None)
    times = np.sort(r.choice(np.linspace(1e-3, 30e-3, 9), 30))
    units = r.integers(0, 8, 30)
    shuffled = np.lexsort((r.permutation(30), times))
    a, b = (run(engine, replace(case, inputs=events([(times, u)]))) for u in (units, units[shuffled]))
    same_spikes(a, b)


@KINDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_permuting_the_batch_permutes_the_answer_bit_for_bit(taus: str | None, dtype: Any) -> None:
    case = random_case(11, taus, batch=9, dtype=dtype, t_ref=1e-3)
    p = np.random.default_rng(1).permutation(9)
    i = case.inputs
    other = replace(case, inputs=Events(i.times[p], i.units[p], i.counts[p]))
    a, b = run(cpu, case), run(cpu, other)
    np.testing.assert_array_equal(a.spikes.times[p], b.spikes.times)
    np.testing.assert_array_equal(a.spikes.units[p], b.spikes.units)
    grad = random_gradient(2, a.spikes.times, a.spikes.counts)
    w_a, t_a = cpu.backward(case.layer, i, case.t_stop, a, grad, EXACT, True)
    w_b, t_b = cpu.backward(other.layer, other.inputs, case.t_stop, b, grad[p], EXACT, True)
    assert t_a is not None
    np.testing.assert_array_equal(t_a[p], t_b)
    assert error(w_b, w_a) < (1e-5 if dtype is np.float32 else 1e-13)  # the sum over samples in another order


@KINDS
def test_permuting_inputs_and_neurons_permutes_spikes_and_gradients(taus: str | None) -> None:
    case = random_case(12, taus, t_ref=1e-3, leak=0.2)
    r = np.random.default_rng(3)
    p, q = r.permutation(8), r.permutation(6)
    a = case.layer
    fields = {f: getattr(a, f)[..., q].copy() for f in ("tau_mem", "tau_syn", "t_ref", "threshold", "reset", "start")}
    other = replace(case.with_(weight=a.weight[np.ix_(p, q)].copy(), **fields))
    other = replace(other, inputs=replace(case.inputs, units=np.argsort(p)[case.inputs.units]))
    x, y = run(cpu, case), run(cpu, other)
    valid = np.isfinite(x.spikes.times)
    np.testing.assert_array_equal(x.spikes.times, y.spikes.times)
    np.testing.assert_array_equal(x.spikes.units[valid], q[y.spikes.units][valid])
    grad = random_gradient(4, x.spikes.times, x.spikes.counts)
    w_x = cpu.backward(case.layer, case.inputs, case.t_stop, x, grad, EXACT, False)[0]
    w_y = cpu.backward(other.layer, other.inputs, case.t_stop, y, grad, EXACT, False)[0]
    assert error(w_y, w_x[np.ix_(p, q)]) < 1e-13


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("taus", ["ratio 2", None])
def test_threads_change_no_spike_and_no_gradient_of_a_time(dtype: Any, taus: str | None) -> None:
    case = random_case(13, taus, batch=64, n_in=30, n_out=120, n_events=300, strength=0.3, dtype=dtype)
    assert case.inputs.counts.sum() * 120 > 2 * cpu.PARALLEL_WORK, "too little work for a second thread"
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            trace = run(cpu, case)
            grad = random_gradient(5, trace.spikes.times, trace.spikes.counts)
            arguments = (case.layer, case.inputs, case.t_stop, trace, grad, EXACT)
            results.append((trace, *cpu.backward(*arguments, True), cpu.sensitivities(*arguments)))
    finally:
        torch.set_num_threads(before)
    for trace, d_weight, d_times, s in results[1:]:
        np.testing.assert_array_equal(trace.spikes.times, results[0][0].spikes.times)
        np.testing.assert_array_equal(trace.spikes.units, results[0][0].spikes.units)
        np.testing.assert_array_equal(d_times, results[0][2])
        np.testing.assert_array_equal(s.tau_mem, results[0][3].tau_mem)
        assert error(d_weight, results[0][1]) < (1e-5 if dtype is np.float32 else 1e-13)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    taus=st.sampled_from([*TAUS, None]),
    t_ref=st.sampled_from([0.0, 1e-3, 20e-3]),
    leak=st.sampled_from([0.0, 0.5]),
    subtract=st.booleans(),
    strength=st.floats(0.2, 5.0),
)
def test_two_algorithms_agree_on_spikes_and_every_gradient(
    seed: int, taus: str | None, t_ref: float, leak: float, subtract: bool, strength: float
) -> None:
    case = random_case(
        seed, taus, batch=2, n_out=4, n_events=12, t_ref=t_ref, leak=leak, subtract=subtract, strength=strength
    )
    a, b = (engine.forward(case.layer, case.inputs, case.t_stop) for engine in (cpu, reference))
    same_spikes(a, b)
    valid = np.isfinite(a.spikes.times)
    for name in ("current", "release_time", "release_current"):
        np.testing.assert_allclose(
            getattr(a, name)[valid], getattr(b, name)[valid], rtol=1e-9, atol=1e-12, err_msg=name
        )
    grad = random_gradient(seed, a.spikes.times, a.spikes.counts)
    arguments = (case.layer, case.inputs, case.t_stop, a, grad, EXACT)
    found, expected = cpu.backward(*arguments, True), reference.backward(*arguments, True)
    assert error(found[0], expected[0]) < 1e-9
    assert error(found[1], expected[1]) < 1e-9
    s, e = cpu.sensitivities(*arguments), reference.sensitivities(*arguments)
    for name in ("tau_mem", "tau_syn", "threshold", "reset", "t_ref"):
        assert error(getattr(s, name), getattr(e, name)) < 1e-9, name
