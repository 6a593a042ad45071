"""Golden values: published ones, and one neuron in many settings against 60-digit arithmetic, on both engines."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from hwloop.bench import forty_digits as mp_reference
from hwloop.bench.forty_digits import Setting
from hwloop.simulate import cpu
from hwloop.simulate.contract import Trace
from hwloop.simulate.reference import layer as reference

from .support import EXACT, Case, events, layer

ENGINES = pytest.mark.parametrize("engine", [cpu, reference], ids=["cpu", "reference"])

#: Float64 against 40 digits: times to 1e-12 relative, gradients to 1e-9.
TIME_TOLERANCE, GRADIENT_TOLERANCE = 1e-12, 1e-9


def as_case(setting: Setting, subtract: bool = False) -> Case:
    c, reset = setting.v_th - setting.v_leak, setting.v_reset - setting.v_leak
    n = len(setting.times)
    made = layer(
        np.array(setting.weights, float).reshape(n, 1), setting.tau_mem, setting.tau_syn, c, reset, setting.t_ref,
        reset if c <= 0 else 0.0, subtract,
    )  # fmt: skip
    return Case(made, events([(setting.times, range(n))]), setting.t_stop)


def results(engine: ModuleType, case: Case, upstream: Any) -> tuple[Trace, dict[str, Any]]:
    """Spikes, and gradients by the names of :class:`Setting`; ``upstream(spikes) -> dL/dT``."""
    trace = engine.forward(case.layer, case.inputs, case.t_stop)
    grad = np.asarray(upstream(trace.spikes.times[0]), float)[None]
    arguments = (case.layer, case.inputs, case.t_stop, trace, grad, EXACT)
    weight, times = engine.backward(*arguments, True)
    s = engine.sensitivities(*arguments)
    order = case.inputs.units[0]  # event k is input order[k]
    by_input = np.zeros(len(order))
    by_input[order] = times[0, : len(order)]
    found = {
        "weights": weight[:, 0], "times": by_input, "tau_mem": s.tau_mem[0], "tau_syn": s.tau_syn[0],
        "v_th": s.threshold[0], "v_leak": -s.threshold[0] - s.reset[0], "v_reset": s.reset[0], "t_ref": s.t_ref[0],
    }  # fmt: skip
    return trace, found


def ones(times: Any) -> Any:
    return np.ones(len(times))


MULTI = Setting((0.1, 0.3, 0.7), (1.5, 1.2, -0.4), 1.0, 0.5, 0.2, t_stop=10.0)


@ENGINES
@pytest.mark.parametrize("subtract", [False, True])
def test_multi_spike_case_has_its_published_times_and_gradients(engine: ModuleType, subtract: bool) -> None:
    trace, found = results(engine, as_case(MULTI, subtract), ones)
    expected = [0.272491994977247385, 0.390539532997872129, 0.523020911974235343, 0.721272808283790371]
    np.testing.assert_allclose(trace.spikes.times[0], expected, rtol=TIME_TOLERANCE)
    # the published values carry 9 to 12 digits
    np.testing.assert_allclose(found["weights"], [-1.39671578731, -0.884039585583, -0.0562413335752], rtol=5e-12)
    np.testing.assert_allclose(found["times"], [2.77894185, 2.24487856, -1.0238204], rtol=5e-8)
    np.testing.assert_allclose([found["v_th"], found["v_reset"]], [15.667123251, -8.785959454], rtol=5e-10)


@ENGINES
@pytest.mark.parametrize(
    ("tau_mem", "current", "time", "slope"),
    [(10e-3, 3.0, 3.23507131157447e-3, -2.0601132958e-3), (5e-3, 3.0, 1.29585550909537e-3, -5.8306558697e-4)],
)
def test_single_input_has_its_published_time_and_gradient(
    engine: ModuleType, tau_mem: float, current: float, time: float, slope: float
) -> None:
    # the published gradient is that of the first spike
    case = as_case(Setting((0.0,), (current,), tau_mem, 5e-3, 0.6, t_stop=0.1)).with_(max_spikes=1)
    trace, found = results(engine, case, ones)
    np.testing.assert_allclose(trace.spikes.times[0], [time], rtol=TIME_TOLERANCE)
    np.testing.assert_allclose(found["weights"], [slope], rtol=5e-10)


@ENGINES
@pytest.mark.parametrize(("tau_mem", "current"), [(10e-3, 2.0), (5e-3, 1.0)])
def test_weak_input_gives_no_spike_and_zero_gradient(engine: ModuleType, tau_mem: float, current: float) -> None:
    trace, found = results(engine, as_case(Setting((0.0,), (current,), tau_mem, 5e-3, 0.6, t_stop=0.1)), ones)
    assert trace.spikes.counts.tolist() == [0]
    assert all(np.all(value == 0) for value in found.values())


@ENGINES
def test_leak_over_threshold_spikes_without_input_at_tau_ln_2(engine: ModuleType) -> None:
    # from v_reset = 0 towards v_leak = 2: v_th = 1 is half way
    case = as_case(Setting((), (), 20e-3, 5e-3, 1.0, 2.0, 0.0, t_stop=0.02))
    trace, found = results(engine, case, ones)
    np.testing.assert_allclose(trace.spikes.times[0], [20e-3 * np.log(2)], rtol=TIME_TOLERANCE)
    # T = tau_mem ln((v_leak - v_reset)/(v_leak - v_th))
    np.testing.assert_allclose(found["tau_mem"], np.log(2), rtol=GRADIENT_TOLERANCE)
    np.testing.assert_allclose([found["v_th"], found["v_leak"], found["v_reset"]], [20e-3, -10e-3, -10e-3], rtol=1e-9)


def random_setting(seed: int, **fixed: Any) -> Setting:
    r = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "times": tuple(np.sort(r.uniform(0, 0.03, 6))), "weights": tuple(r.normal(2.0, 1.3, 6)),
        "tau_mem": r.uniform(6e-3, 14e-3), "tau_syn": r.uniform(3e-3, 12e-3), "v_th": r.uniform(0.5, 0.9),
        "v_leak": r.uniform(-0.1, 0.1), "v_reset": r.uniform(-0.3, 0.2), "t_stop": 0.06,
    }  # fmt: skip
    return Setting(**{**values, **fixed})


SETTINGS = {
    "published multi-spike": MULTI,
    **{f"general {seed}": random_setting(seed) for seed in range(1, 6)},
    "ratio 2": random_setting(10, tau_mem=10e-3, tau_syn=5e-3),
    "ratio 2 exactly, awkward": random_setting(11, tau_mem=2 * 4.7e-3, tau_syn=4.7e-3),
    "equal taus": random_setting(12, tau_mem=9e-3, tau_syn=9e-3),
    "taus equal to 1e-9": random_setting(13, tau_mem=9e-3, tau_syn=9e-3 * (1 + 1e-9)),
    "taus equal to 1e-4": random_setting(14, tau_mem=9e-3, tau_syn=9e-3 * (1 - 1e-4)),
    "slow synapse": random_setting(15, tau_mem=4e-3, tau_syn=30e-3, weights=(0.5, 0.9, -0.3, 0.4, -0.6, 0.3)),
    "fast synapse": random_setting(16, tau_mem=20e-3, tau_syn=0.5e-3, weights=(30.0, 44.0, -9.0, 50.0, 30.0, 33.0)),
    **{f"refractory {seed}": random_setting(seed, t_ref=2e-3) for seed in range(20, 23)},
    "refractory, equal taus": random_setting(23, t_ref=3e-3, tau_mem=9e-3, tau_syn=9e-3),
    "refractory, ratio 2": random_setting(24, t_ref=1e-3, tau_mem=10e-3, tau_syn=5e-3),
    "leak over threshold": random_setting(30, v_leak=1.2),
    "leak over threshold, refractory": random_setting(31, v_leak=1.5, t_ref=2e-3),
    "leak at threshold": random_setting(32, v_th=0.75, v_leak=0.75 - 2**-30),
    "strong": random_setting(33, weights=(12.0, -10.0, 8.0, 15.0, -6.0, 5.0)),
    "inhibition first": random_setting(34, weights=(-6.0, -2.0, 9.0, 5.0, 1.0, 4.0)),
}


@pytest.fixture(scope="module")
def golden() -> dict[str, tuple[list[float], dict[str, Any]]]:
    """Spike times and gradients of every setting; the upstream gradient of spike k is cos(k) + k/3."""

    def loss(times: list[Any]) -> Any:
        return sum((mp.cos(k) + mp.mpf(k) / 3) * t for k, t in enumerate(times))

    return {
        name: ([float(t) for t in mp_reference.spike_times(s)], mp_reference.gradient(s, loss))
        for name, s in SETTINGS.items()
    }


@ENGINES
@pytest.mark.parametrize("subtract", [False, True], ids=["value", "subtract"])
@pytest.mark.parametrize("name", SETTINGS)
def test_times_and_every_gradient_agree_with_60_digits(
    engine: ModuleType, subtract: bool, name: str, golden: dict[str, tuple[list[float], dict[str, Any]]]
) -> None:
    times, gradients = golden[name]
    trace, found = results(
        engine, as_case(SETTINGS[name], subtract), lambda t: np.cos(range(len(t))) + np.arange(len(t)) / 3
    )
    assert len(times) >= 2, "a setting without several spikes tests little"
    assert trace.spikes.counts.tolist() == [len(times)]
    np.testing.assert_allclose(trace.spikes.times[0], times, rtol=TIME_TOLERANCE)
    for group, value in gradients.items():
        # inputs after the last spike have gradient zero: relative to the largest of the group
        scale = np.abs(value).max()
        np.testing.assert_allclose(found[group], value, rtol=0, atol=GRADIENT_TOLERANCE * scale, err_msg=group)


def test_60_digit_reference_refuses_a_gradient_across_a_change_of_count() -> None:
    grazing = Setting((0.0,), (2.0,), 1.0, 1.0, 2 * mp.exp(-1), t_stop=5.0)
    with mp.workdps(mp_reference.DIGITS):
        at_maximum = Setting((0.0,), (2.0,), 1.0, 1.0, 2 * mp.exp(mp.mpf(-1)), t_stop=5.0)
    assert mp_reference.maximum(grazing) > 0.7
    with pytest.raises(ValueError, match="number of spikes changes"):
        mp_reference.gradient(at_maximum, sum)
