"""Ends of the range: no spikes, many spikes, long runs, huge weights, caps, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.errors import InputError, OptionError
from hwloop.neurons import PARAMETERS
from hwloop.simulate import Options, cpu, layer_call, room, run
from hwloop.simulate.reference import layer as reference
from hwloop.spikes import Spikes

from .support import EXACT, TAUS, error, events, layer, random_case, random_gradient

ENGINES = pytest.mark.parametrize("engine", ["cpu", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def parameters(n: int, dtype: torch.dtype = torch.float64, **changes: float) -> dict[str, torch.Tensor]:
    values = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 0.0, **changes}
    return {name: torch.full((n,), values[name], dtype=dtype) for name in PARAMETERS}


def one_input(times: list[float], dtype: torch.dtype = torch.float64, t_stop: float = 0.1) -> Spikes:
    return Spikes.from_events([(times, [0] * len(times))], 1, t_stop, dtype)


@ENGINES
@DTYPES
def test_silence_in_is_silence_out_with_zero_gradient(engine: str, dtype: torch.dtype) -> None:
    silent = Spikes.from_events([([], []), ([], [])], 3, 0.1, dtype)
    weight = torch.ones(4, 3, dtype=dtype, requires_grad=True)
    out, _ = layer_call(silent, weight, parameters(4, dtype), Options(engine=engine))
    assert out.counts.tolist() == [0, 0]
    assert out.times.shape == (2, 0)
    out.times.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert not weight.grad.any()


@ENGINES
def test_empty_sample_beside_a_busy_one_stays_empty(engine: str) -> None:
    spikes = Spikes.from_events([([], []), ([1e-3] * 3, [0, 1, 2]), ([], [])], 3, 0.1, torch.float64)
    out = run(spikes, torch.full((2, 3), 3.0, dtype=torch.float64), parameters(2), engine=engine)
    assert out.counts[[0, 2]].tolist() == [0, 0]
    assert out.counts[1] > 0


@DTYPES
def test_spike_buffer_grows_as_far_as_needed(dtype: torch.dtype) -> None:
    first_room = max(room.LEAST_ROOM, 2 * room.FIRST_ROOM)
    busy = one_input([1e-3], dtype)
    weight = torch.tensor([[1500.0], [400.0]], dtype=dtype, requires_grad=True)
    out, _ = layer_call(busy, weight, parameters(2, dtype), Options())
    n = int(out.counts[0])
    assert n > 2 * first_room
    assert bool((out.times[0, 1:] >= out.times[0, :-1]).all())
    # the same spikes one neuron at a time, none of which needs as much
    alone = [run(busy, weight[j : j + 1], parameters(1, dtype)).times[0] for j in (0, 1)]
    assert torch.equal(torch.sort(torch.cat(alone)).values, out.times[0])
    out.times.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert bool((weight.grad < 0).all())


def test_runaway_layer_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "MAX_EVENTS", 1000)
    with pytest.raises(InputError, match=r"up to \d+ spikes each; allowed: 1000.*max_spikes"):
        run(one_input([1e-3]), torch.full((1, 1), 4000.0, dtype=torch.float64), parameters(1))


@ENGINES
@pytest.mark.parametrize("cap", [1, 2, 5])
def test_cap_keeps_the_first_spikes_and_their_gradients(engine: str, cap: int) -> None:
    r = np.random.default_rng(0)
    spikes = one_input(np.sort(r.uniform(0, 0.05, 20)).tolist())
    value = torch.tensor([[3.0], [0.5], [8.0]], dtype=torch.float64)
    gradients, kept = [], []
    for max_spikes in (None, cap):
        weight = value.clone().requires_grad_()
        out, _ = layer_call(spikes, weight, parameters(3), Options(max_spikes=max_spikes, engine=engine))
        seen: dict[int, int] = {}
        mine = torch.zeros(out.times.shape[1], dtype=torch.bool)
        for k, unit in enumerate(out.units[0].tolist()):
            seen[unit] = seen.get(unit, 0) + 1
            mine[k] = seen[unit] <= cap
        kept.append(list(zip(out.times[0, mine].tolist(), out.units[0, mine].tolist(), strict=True)))
        out.times[0, mine].sum().backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        gradients.append(weight.grad)
        if max_spikes is not None:
            assert bool(mine.all())
            assert max(seen.values()) == cap
    assert kept[0] == kept[1]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("taus", [*TAUS, None])
def test_500_tau_in_float32_give_the_spikes_of_float64(taus: str | None) -> None:
    counts, firsts = [], []
    for dtype in (np.float32, np.float64):
        case = random_case(2, taus, n_out=30, dtype=dtype)
        r = np.random.default_rng(8)
        # one input a tau_mem; drawn in float32, so that both see the same numbers
        times = np.sort(r.uniform(0, 5.0, 500)).astype(np.float32).astype(float)
        units = r.integers(0, 8, 500)
        weight = (case.layer.weight.astype(np.float32) * 3).astype(dtype)
        found = cpu.forward(case.with_(weight=weight).layer, events([(times, units)], dtype), 5.0).spikes
        counts.append(np.bincount(found.units[0], minlength=30))
        firsts.append(found.times[0, :200])
    np.testing.assert_array_equal(counts[0], counts[1])
    assert counts[0].sum() > 2000
    # half an ulp of float32 at 5 s is 2.4e-7 s; the state adds some of its own at shallow crossings
    np.testing.assert_allclose(firsts[0], firsts[1], atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_thousand_tau_run_and_translate(dtype: Any) -> None:
    r = np.random.default_rng(1)
    times = np.sort(r.uniform(0, 100.0, 5000))
    case = layer(r.normal(2.5, 2, (4, 6)), 10e-3, 5e-3, dtype=dtype)
    found = cpu.forward(case, events([(times, r.integers(0, 4, 5000))], dtype), 100.0)
    assert found.spikes.counts[0] > 1000
    assert np.isfinite(found.current).all()
    grad = random_gradient(3, found.spikes.times, found.spikes.counts)
    inputs = events([(times, r.integers(0, 4, 5000))], dtype)
    trace = cpu.forward(case, inputs, 100.0)
    grad = random_gradient(3, trace.spikes.times, trace.spikes.counts)
    d_weight, d_times = cpu.backward(case, inputs, 100.0, trace, grad, EXACT, True)
    assert np.isfinite(d_weight).all()
    assert d_times is not None
    if dtype is np.float64:
        np.testing.assert_allclose(d_times.sum(), grad.sum(), atol=1e-9 * np.abs(d_times).sum())


def test_late_events_are_as_exact_as_early_ones_in_local_time() -> None:
    # 1e4 tau_mem of silence before the input: only the rounding of the absolute time remains
    a = cpu.forward(layer([[4.5]]), events([([0.0], [0])]), 0.1).spikes.times[0, 0]
    b = cpu.forward(layer([[4.5]]), events([([128.0], [0])]), 129.0).spikes.times[0, 0] - 128.0
    assert b == pytest.approx(a, abs=2 * np.spacing(128.0))


@ENGINES
@DTYPES
@pytest.mark.parametrize("v_leak", [1.0, 1.0 - 1e-12])
def test_leak_at_threshold_never_spikes_on_its_own(engine: str, dtype: torch.dtype, v_leak: float) -> None:
    out = run(
        Spikes.from_events([([], [])], 1, 20.0, dtype),
        torch.zeros(1, 1, dtype=dtype),
        parameters(1, dtype, v_leak=v_leak),
        engine=engine,
    )
    assert out.counts.tolist() == [0]


@ENGINES
@DTYPES
@pytest.mark.parametrize("weight", [1e6, 1e12, 1e30])
@pytest.mark.parametrize("taus", [(10e-3, 5e-3), (8e-3, 8e-3), (12e-3, 5e-3), (5e-3, 12e-3)])
def test_huge_weights_spike_right_after_their_input(
    engine: str, dtype: torch.dtype, weight: float, taus: tuple[float, float]
) -> None:
    params = parameters(1, dtype, tau_mem=taus[0], tau_syn=taus[1], t_ref=4e-3)
    w = torch.tensor([[weight]], dtype=dtype, requires_grad=True)
    out, _ = layer_call(one_input([1e-3], dtype, 20e-3), w, params, Options(engine=engine))
    # until tau_mem v_th / w after the input, and again after each refractory time
    expected = 1e-3 + 4e-3 * torch.arange(5, dtype=torch.float64)
    # (the current has by then decayed to 1/25 of the weight)
    torch.testing.assert_close(out.times[0].double(), expected, rtol=3e-6 + 40 / weight, atol=0)
    assert out.times[0, 0].item() > one_input([1e-3], dtype).times.item()
    out.times.sum().backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    assert bool(torch.isfinite(w.grad).all())


@DTYPES
@pytest.mark.parametrize("weight", [1e6, 1e12])
def test_huge_weights_replay_bit_for_bit(dtype: torch.dtype, weight: float) -> None:
    params = parameters(1, dtype, t_ref=4e-3)
    w = torch.tensor([[weight]], dtype=dtype)
    spikes = one_input([1e-3, 7e-3], dtype, 20e-3)
    out, call = layer_call(spikes, w, params, Options())
    again, replay = layer_call(spikes, w, params, Options(), out)
    assert call.trace is not None
    assert replay.trace is not None
    assert torch.equal(out.times, again.times)
    np.testing.assert_array_equal(call.trace.current, replay.trace.current)
    np.testing.assert_array_equal(call.trace.release_current, replay.trace.release_current)


@ENGINES
def test_huge_inhibition_silences(engine: str) -> None:
    spikes = Spikes.from_events([([1e-3, 2e-3], [0, 1])], 2, 0.1, torch.float64)
    out = run(spikes, torch.tensor([[-1e30, 50.0]], dtype=torch.float64), parameters(1), engine=engine)
    assert out.counts.tolist() == [0]


@ENGINES
@DTYPES
def test_engine_is_an_option_and_keeps_the_dtype(engine: str, dtype: torch.dtype) -> None:
    out = run(one_input([1e-3], dtype), torch.full((1, 1), 4.5, dtype=dtype), parameters(1, dtype), engine=engine)
    assert out.times.dtype == dtype
    assert out.counts.tolist() == [1]


def test_threshold_of_each_sample_is_its_own() -> None:
    spikes = Spikes.from_events([([1e-3], [0])] * 3, 1, 0.1, torch.float64)
    params = {**parameters(2), "v_th": torch.tensor([[1.0, 0.5], [0.7, 0.6], [5.0, 0.9]], dtype=torch.float64)}
    w = torch.full((2, 1), 4.5, dtype=torch.float64)
    together = run(spikes, w, params).to_events()
    for b in range(3):
        alone = run(spikes[b], w, {**params, "v_th": params["v_th"][b]}).to_events()[0]
        np.testing.assert_array_equal(together[b][0], alone[0])
        np.testing.assert_array_equal(together[b][1], alone[1])
    assert run(spikes, w, params, engine="reference").counts.tolist() == [len(t) for t, _ in together]


def test_float32_engines_agree() -> None:
    case = random_case(3, None, dtype=np.float32)
    a, b = (engine.forward(case.layer, case.inputs, case.t_stop) for engine in (cpu, reference))
    np.testing.assert_array_equal(a.spikes.counts, b.spikes.counts)
    valid = np.isfinite(a.spikes.times)
    assert b.spikes.times.dtype == np.float32
    assert error(np.sort(a.spikes.times[valid]), np.sort(b.spikes.times[valid])) < 1e-5


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("tau_mem", 0.0, "> 0 s"), ("tau_mem", -1e-3, "> 0 s"), ("tau_syn", 0.0, "> 0 s"), ("tau_syn", math.nan, "finite"),
        ("tau_mem", math.inf, "finite"), ("v_th", math.nan, "finite"), ("v_th", math.inf, "finite"), ("v_leak", -math.inf, "finite"),
        ("t_ref", -1e-9, ">= 0 s"), ("v_reset", 1.0, "> 0"), ("v_th", -0.5, "> 0"),
    ],
)  # fmt: skip
def test_parameter_out_of_its_bounds_is_refused_by_name(name: str, value: float, allowed: str) -> None:
    params = parameters(3)
    params[name][1] = value
    with pytest.raises(InputError, match=f"neuron 1: .*{name}.*allowed: .*{allowed}"):
        run(one_input([1e-3]), torch.ones(3, 1, dtype=torch.float64), params)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weight_that_is_not_a_finite_number_is_refused(value: float) -> None:
    weight = torch.ones(2, 1, dtype=torch.float64)
    weight[1, 0] = value
    with pytest.raises(InputError, match="weight"):
        run(one_input([1e-3]), weight, parameters(2))


def test_input_of_another_number_of_units_is_refused() -> None:
    with pytest.raises(InputError, match="the input has 1 units; the layer takes 2"):
        run(one_input([1e-3]), torch.ones(3, 2, dtype=torch.float64), parameters(3))


def test_half_precision_is_refused() -> None:
    with pytest.raises(InputError, match="float16; allowed: float32 or float64"):
        run(one_input([1e-3]), torch.ones(1, 1, dtype=torch.float16), parameters(1))


def test_engine_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OptionError, match="engine = 'tpu'; allowed: .*'cpu', 'reference'"):
        run(one_input([1e-3]), torch.ones(1, 1), parameters(1), engine="tpu")


@pytest.mark.parametrize("cap", [0, -1])
def test_cap_below_one_is_refused(cap: int) -> None:
    with pytest.raises(InputError, match="max_spikes"):
        run(one_input([1e-3]), torch.ones(1, 1), parameters(1), max_spikes=cap)
