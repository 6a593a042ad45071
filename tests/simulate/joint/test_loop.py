"""Joint simulation: the kernels against the specification, replay, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from hwloop.errors import InputError
from hwloop.simulate import cpu
from hwloop.simulate.contract import Events, Floor, Layer
from hwloop.simulate.joint import engine, reference
from hwloop.simulate.joint.contract import CURRENT, INTEGRATE, JUMP, Component, JointTrace

from .components import Case, compared, error, events, neurons, random_case, random_gradient, synapses

EXACT = Floor(0.0, False)

#: Spikes and gradients against forward sensitivities. A spike time is good to some 1e-16 s / D; round a loop that amplifies
#: perturbations by up to 1e5 (no case here spikes more than 60 times), and relative to gradients of order 1, less than this.
TOLERANCE = 1e-9

KINDS = {"current": (CURRENT,), "jump": (JUMP,), "integrate": (INTEGRATE,), "all": (CURRENT, JUMP, INTEGRATE)}
DELAYS = pytest.mark.parametrize("delay", ["zero", "one", "drawn", "by pair"])
ALL_TAUS = pytest.mark.parametrize("taus", ["ratio 2", "equal", "general", "slow synapse", None])


def quiet_case(seed: int, *args: Any, **options: Any) -> Case:
    """A random case of at most 60 spikes a sample: the loop is made weaker until that is so."""
    strength = 1.6
    while True:
        case = random_case(seed, *args, strength=strength, **options)
        with suppress(InputError):  # it explodes
            if engine.forward(case.component, case.inputs, case.t_stop).spikes.counts.max() <= 60:
                return case
        strength *= 0.8


def same(a: JointTrace, b: JointTrace) -> bool:
    """Whether two traces are equal bit for bit."""
    pairs = [(getattr(a, name), getattr(b, name)) for name in vars(a) if name not in ("spikes", "arrivals")]
    pairs += [(getattr(a.spikes, name), getattr(b.spikes, name)) for name in vars(a.spikes)]
    pairs += [(getattr(a.arrivals, name), getattr(b.arrivals, name)) for name in vars(a.arrivals)]
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


def jittered(spikes: Events, t_stop: float) -> Events:
    """The spikes as a device might measure them: moved by some .3 ms."""
    moved = np.random.default_rng(1).normal(0, 3e-4, spikes.times.shape)
    times = np.clip(np.where(np.isfinite(spikes.times), spikes.times + moved, np.inf), 0, None)
    times = np.where(np.isfinite(times), np.minimum(times, t_stop), np.inf)
    order = np.argsort(times, 1, kind="stable")
    return Events(np.take_along_axis(times, order, 1), np.take_along_axis(spikes.units, order, 1), spikes.counts)


@DELAYS
@ALL_TAUS
def test_spikes_and_gradients_are_those_of_the_specification(taus: str | None, delay: str) -> None:
    case = quiet_case(2, taus, delay, t_ref=2e-3 if taus in ("general", None) else 0.0, leak=0.3)
    assert engine.forward(case.component, case.inputs, case.t_stop).spikes.counts.sum() > 8
    found = compared(case)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("kinds", ["jump", "integrate", "all"])
@DELAYS
def test_neurons_that_arrivals_move_directly_are_those_of_the_specification(
    kinds: str, delay: str, subtract: bool
) -> None:
    case = quiet_case(3, None, delay, kinds=KINDS[kinds], subtract=subtract, leak=0.4, t_ref=0.0 if subtract else 2e-3)
    assert engine.forward(case.component, case.inputs, case.t_stop).spikes.counts.sum() > 8
    found = compared(case)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("kinds", ["current", "all"])
def test_capped_neurons_are_those_of_the_specification(kinds: str) -> None:
    case = random_case(5, "general", "drawn", kinds=KINDS[kinds], caps=True)
    found = compared(case)
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("kinds", ["current", "all"])
@pytest.mark.parametrize("delay", ["zero", "drawn"])
def test_single_precision_agrees_to_its_own_rounding(delay: str, kinds: str) -> None:
    case = random_case(2, "ratio 2", delay, kinds=KINDS[kinds], strength=0.6, dtype=np.float32)
    found = compared(case)
    assert found["times"] < 1e-6 * case.t_stop * 10  # some ulp of t_stop, amplified by 1/D
    assert max(found.values()) < 1e-3, found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kinds", ["current", "all"])
@DELAYS
def test_own_spikes_replayed_give_every_value_and_gradient_bit_for_bit(delay: str, kinds: str, dtype: Any) -> None:
    for taus in ("ratio 2", None):
        case = quiet_case(4, taus, delay, kinds=KINDS[kinds], t_ref=2e-3, leak=0.3, dtype=dtype)
        component, inputs, t_stop = case.component, case.inputs, case.t_stop
        own = engine.forward(component, inputs, t_stop)
        again = engine.forward(component, inputs, t_stop, own.spikes)
        assert own.spikes.counts.sum() > 8
        assert same(own, again)
        grad = random_gradient(0, own.spikes.times, own.spikes.counts)
        for floor in (EXACT, Floor(0.3, True)):
            a, b = (engine.backward(component, inputs, t_stop, trace, grad, floor) for trace in (own, again))
            for name in ("weight", "delay", "times", "upstream"):
                assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
            s, z = (engine.sensitivities(component, inputs, t_stop, t, a.upstream, floor) for t in (own, again))
            assert all(s[name].tobytes() == z[name].tobytes() for name in s)


@pytest.mark.parametrize("kinds", ["current", "all"])
@pytest.mark.parametrize("delay", ["zero", "drawn"])
def test_measured_spikes_act_and_differentiate_as_specified(delay: str, kinds: str) -> None:
    case = quiet_case(4, None, delay, kinds=KINDS[kinds], t_ref=2e-3, leak=0.3)
    own = engine.forward(case.component, case.inputs, case.t_stop)
    found = compared(case, 1, jittered(own.spikes, case.t_stop))
    assert max(found.values()) < 1e-8, found  # slopes at measured times may be small


def test_without_synapses_among_the_neurons_it_is_the_dense_layer() -> None:
    r = np.random.default_rng(3)
    n_in, n = 5, 12
    weight = r.normal(0.6, 1.0, (n_in, n))
    inputs = events([(r.uniform(0, 45e-3, 15), r.integers(0, n_in, 15)) for _ in range(4)])
    own = neurons(n, tau_mem=r.uniform(5e-3, 15e-3, n), tau_syn=r.uniform(3e-3, 12e-3, n), t_ref=r.uniform(0, 3e-3, n))
    rows = [(i, 0.0, list(range(n)), weight[i].tolist()) for i in range(n_in)]
    component = Component(n_in, own, synapses(rows, n_in + n))
    layer = Layer(weight, own.tau_mem, own.tau_syn, own.t_ref, own.threshold, own.reset, own.start)
    found, dense = engine.forward(component, inputs, 60e-3), cpu.forward(layer, inputs, 60e-3)
    assert np.array_equal(found.spikes.units, dense.spikes.units)
    assert np.array_equal(found.spikes.counts, dense.spikes.counts)
    assert found.spikes.counts.sum() > 50
    assert error(found.current, dense.current) < 1e-12
    grad = random_gradient(0, dense.spikes.times, dense.spikes.counts)
    back = engine.backward(component, inputs, 60e-3, found, grad, EXACT)
    d_weight, d_times = cpu.backward(layer, inputs, 60e-3, dense, grad, EXACT, True)
    assert np.array_equal(back.upstream, grad)
    assert error(back.weight.reshape(n_in, n), d_weight) < 1e-10
    assert error(back.times, d_times) < 1e-10


def test_adjoint_is_the_slope_of_finite_differences() -> None:
    case = quiet_case(2, "general", "drawn", kinds=KINDS["all"])
    component, inputs = case.component, case.inputs
    trace = engine.forward(component, inputs, case.t_stop)
    grad = random_gradient(0, trace.spikes.times, trace.spikes.counts)
    valid = grad != 0

    def loss(moved: Case) -> float:
        spikes = engine.forward(moved.component, moved.inputs, moved.t_stop).spikes
        assert np.array_equal(spikes.units, trace.spikes.units)
        return float((grad[valid] * spikes.times[valid]).sum())

    back = engine.backward(component, inputs, case.t_stop, trace, grad, EXACT)
    r = np.random.default_rng(0)
    for name, expected, step in (("weight", back.weight, 1e-7), ("delay", back.delay, 1e-10)):
        value = getattr(component.synapses, name)
        way = r.normal(size=value.shape) * (value > 0 if name == "delay" else 1)
        up, down = (loss(case.with_synapses(**{name: value + sign * step * way})) for sign in (1, -1))
        assert (up - down) / (2 * step) == pytest.approx(float((expected * way).sum()), rel=1e-5)
    own = engine.sensitivities(component, inputs, case.t_stop, trace, back.upstream, EXACT)
    for name in ("tau_mem", "tau_syn", "threshold", "reset", "start", "ramp"):
        value = getattr(component.neurons, name)
        way, scale = r.normal(size=value.shape), 1e-3 if name.startswith("tau") else 1.0
        way = np.where(component.neurons.kind == INTEGRATE, way, 0) if name == "ramp" else way
        up, down = (loss(case.with_neurons(**{name: value + sign * 1e-7 * scale * way})) for sign in (1, -1))
        assert (up - down) / (2e-7 * scale) == pytest.approx(float((own[name] * way).sum()), rel=1e-5, abs=1e-6)


def test_an_own_spike_is_not_felt_before_the_reset() -> None:
    # the loop is closed without delay: the current jumps at the spike, the membrane has been reset by then
    own = neurons(1, reset=-0.5)
    component = Component(1, own, synapses([(0, 0.0, [0], [9.0]), (1, 0.0, [0], [2.0])], 2))
    run = reference.simulate(component, inputs := events([([1e-3], [0])]), 30e-3)[0]
    trace = engine.forward(component, inputs, 30e-3)
    assert trace.spikes.counts[0] == len(run.spikes) > 1
    alone = Component(1, own, synapses([(0, 0.0, [0], [9.0])], 2))
    first = engine.forward(alone, inputs, 30e-3)
    assert trace.spikes.times[0, 0] == first.spikes.times[0, 0]
    assert trace.current[0, 0] == first.current[0, 0]


def test_neurons_that_cross_at_one_instant_both_spike_and_then_act() -> None:
    # two equal neurons that inhibit each other without delay: neither may silence the other at the instant of its spike
    pairs = [(0, 0.0, [0, 1], [4.0, 4.0]), (1, 0.0, [1], [-50.0]), (2, 0.0, [0], [-50.0])]
    component = Component(1, neurons(2), synapses(pairs, 3))
    spikes = engine.forward(component, events([([1e-3], [0])]), 30e-3).spikes
    assert spikes.counts[0] == 2
    assert spikes.times[0, 0] == spikes.times[0, 1]


def test_a_jump_fires_at_its_arrival_and_its_time_follows_that_alone() -> None:
    component = Component(2, neurons(1, kind=JUMP), synapses([(0, 1e-3, [0], [0.7]), (1, 2e-3, [0], [0.7])], 3))
    inputs = events([([1e-3, 2e-3], [0, 1])])
    trace = engine.forward(component, inputs, 30e-3)
    assert trace.spikes.times[0].tolist() == [2e-3 + 2e-3]
    back = engine.backward(component, inputs, 30e-3, trace, np.ones((1, 1)), EXACT)
    assert back.weight.tolist() == [0.0, 0.0]
    assert back.times.tolist() == [[0.0, 1.0]]
    assert back.delay.tolist() == [0.0, 1.0]


def test_a_large_jump_that_is_subtracted_spikes_until_the_membrane_is_below() -> None:
    component = Component(1, neurons(1, kind=JUMP, subtract=True), synapses([(0, 0.0, [0], [3.5])], 2))
    trace = engine.forward(component, events([([1e-3], [0])]), 30e-3)
    assert trace.spikes.times[0].tolist() == [1e-3] * 3
    assert np.allclose(trace.residual, [[2.5, 1.5, 0.5]])


def test_jumps_of_one_instant_act_together() -> None:
    # the sum stays below the threshold, whichever of the two stands first
    for weights in ((1.2, -0.5), (-0.5, 1.2)):
        rows = [(unit, 0.0, [0], [w]) for unit, w in enumerate(weights)]
        component = Component(2, neurons(1, kind=JUMP), synapses(rows, 3))
        assert engine.forward(component, events([([1e-3, 1e-3], [0, 1])]), 30e-3).spikes.counts[0] == 0


def test_a_chain_of_jumps_without_delay_fires_at_one_instant_in_order_of_cause() -> None:
    rows = [(0, 0.0, [2], [2.0]), (3, 0.0, [1], [2.0]), (2, 0.0, [0], [2.0])]
    component = Component(1, neurons(3, kind=JUMP), synapses(rows, 4))
    trace = engine.forward(component, events([([1e-3], [0])]), 30e-3)
    assert trace.spikes.units[0].tolist() == [2, 1, 0]
    assert trace.spikes.times[0].tolist() == [1e-3] * 3
    back = engine.backward(component, events([([1e-3], [0])]), 30e-3, trace, np.array([[0.0, 0.0, 1.0]]), EXACT)
    assert back.times[0, 0] == 1.0
    assert same(trace, engine.forward(component, events([([1e-3], [0])]), 30e-3, trace.spikes))


def test_a_loop_of_jumps_without_delay_is_refused_naming_its_neurons() -> None:
    rows = [(0, 0.0, [0], [2.0]), (1, 0.0, [1], [2.0]), (2, 0.0, [0], [2.0])]
    inputs = events([([1e-3], [0])])
    with pytest.raises(InputError, match="0 -> 1 -> 0 form a loop of zero total delay"):
        engine.forward(Component(1, neurons(2, kind=[JUMP, INTEGRATE]), synapses(rows, 3)), inputs, 30e-3)
    delayed = [*rows[:2], (2, 5e-3, [0], [2.0])]
    assert engine.forward(Component(1, neurons(2, kind=JUMP), synapses(delayed, 3)), inputs, 30e-3).spikes.counts[0] > 4
    synaptic = Component(1, neurons(2, kind=[JUMP, CURRENT]), synapses([rows[0], (1, 0.0, [1], [9.0]), rows[2]], 3))
    assert engine.forward(synaptic, inputs, 10e-3).spikes.counts[0] > 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loop_that_explodes_is_refused_naming_sample_time_and_rate(dtype: Any) -> None:
    rows = [(0, 0.0, [0, 1], [4.0, 4.0]), (1, 0.0, [1], [9.0]), (2, 0.0, [0], [9.0])]
    component = Component(1, neurons(2, dtype), synapses(rows, 3, dtype))
    inputs = events([([], []), ([1e-3], [0])], dtype)
    with pytest.raises(
        InputError, match=r"sample 1 has \d+ spikes of 2 neurons by t = 0\.\d+ s, \S+ spikes per neuron and"
    ):
        engine.forward(component, inputs, 30e-3)


def test_samples_do_not_depend_on_each_other_or_on_room() -> None:
    case = quiet_case(6, "general", "drawn", n_events=30, batch=6)
    whole = engine.forward(case.component, case.inputs, case.t_stop)
    tight = Component(case.component.n_external, case.component.neurons, case.component.synapses)
    before, engine.FIRST_ROOM, engine.LEAST_ROOM = (engine.FIRST_ROOM, engine.LEAST_ROOM), 0, 1
    try:
        assert same(whole, engine.forward(tight, case.inputs, case.t_stop))
    finally:
        engine.FIRST_ROOM, engine.LEAST_ROOM = before
    for b in range(6):
        one = Events(case.inputs.times[b : b + 1], case.inputs.units[b : b + 1], case.inputs.counts[b : b + 1])
        alone = engine.forward(case.component, one, case.t_stop)
        n = alone.spikes.counts[0]
        assert n == whole.spikes.counts[b]
        assert np.array_equal(alone.spikes.times[0], whole.spikes.times[b, :n])


def test_a_graph_of_fifty_populations_has_the_gradients_of_its_forward_sensitivities() -> None:
    r = np.random.default_rng(0)
    sizes = r.integers(1, 4, 50)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    n, n_in = int(edges[-1]), 6
    kind = np.repeat(r.choice([CURRENT, CURRENT, CURRENT, JUMP, INTEGRATE], 50), sizes)
    rows = []
    for _ in range(30):
        to = r.integers(50)
        rows.append((int(r.integers(n_in)), r.uniform(0, 3e-3), list(range(edges[to], edges[to + 1])), None))
    for pre in range(50):
        for post in r.integers(0, 50, 3):
            delay = r.uniform(0.1e-3, 4e-3)
            rows += [
                (n_in + j, delay, list(range(edges[post], edges[post + 1])), None) for j in range(*edges[pre : pre + 2])
            ]
    filled = [(s, d, t, (r.normal(0.9 if s < n_in else 0.35, 0.6, len(t)) * np.where(kind[t] > 0, 0.5, 3.0)).tolist()) for s, d, t, _ in rows]  # fmt: skip
    made = neurons(
        n, tau_mem=r.uniform(5e-3, 15e-3, n), tau_syn=r.uniform(3e-3, 12e-3, n), t_ref=r.uniform(2e-3, 4e-3, n),
        kind=kind, ramp=np.where(kind == INTEGRATE, 5.0, 0.0), reset=r.uniform(-0.2, 0.1, n),
    )  # fmt: skip
    inputs = events([(r.uniform(0, 20e-3, 12), r.integers(0, n_in, 12))])
    case = Case(Component(n_in, made, synapses(filled, n_in + n)), inputs, 40e-3)
    trace = engine.forward(case.component, inputs, case.t_stop)
    assert len(np.unique(trace.spikes.units[0])) > 40
    found = compared(case)
    assert max(found.values()) < TOLERANCE, found
    assert same(trace, engine.forward(case.component, inputs, case.t_stop, trace.spikes))
