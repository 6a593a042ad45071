"""The readout: against sums in plain NumPy, gradients against differences, extremes at the ends, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hwloop.errors import InputError, OptionError
from hwloop.simulate.contract import Events
from hwloop.simulate.readout import Membranes, plain
from hwloop.spikes import Spikes

from ..support import TAUS

N_IN, N, BATCH, EVENTS, T_STOP = 5, 4, 3, 12, 50e-3
SETTINGS = [("current", taus) for taus in [*TAUS, None]] + [("jump", "general")]
EVERY = pytest.mark.parametrize("kind, taus", SETTINGS, ids=[f"{kind} {taus}" for kind, taus in SETTINGS])


def drawn(seed: int, low: float, high: float, *shape: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def case(kind: str, taus: str | None) -> dict[str, Tensor]:
    """Weights, input times and parameters: every one of every neuron its own but for the time constants."""
    tau_mem, tau_syn = (torch.full((N,), tau, dtype=torch.float64) for tau in TAUS[taus or "general"])
    if taus is None:
        tau_mem, tau_syn = drawn(1, 5e-3, 15e-3, N), drawn(2, 3e-3, 12e-3, N)
    values = {
        "weight": drawn(3, -1, 1.5, N, N_IN), "times": drawn(4, 0, 45e-3, BATCH, EVENTS).sort(1).values,
        "tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": drawn(5, -0.3, 0.3, N), "v_init": drawn(6, -0.5, 0.5, N),
        "bias": drawn(7, -0.3, 0.3, N),
    }  # fmt: skip
    if kind == "jump":
        del values["tau_syn"]
    return values


UNITS = torch.randint(0, N_IN, (BATCH, EVENTS), generator=torch.Generator().manual_seed(0))
AT = torch.tensor([31e-3, 0.0, 50e-3, 7e-3, 7e-3], dtype=torch.float64)


def spikes_of(values: dict[str, Tensor], units: Tensor = UNITS) -> Spikes:
    times = values["times"]
    return Spikes.trusted(times, units, torch.full((len(times),), times.shape[1]), N_IN, T_STOP)


def membranes(values: dict[str, Tensor], kind: Any) -> Membranes:
    params = {name: value for name, value in values.items() if name not in ("weight", "times", "at")}
    return Membranes(spikes_of(values), values["weight"], params, kind)


def readings(values: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    found = membranes(values, kind)
    return {
        "maximum": found.maximum(), "integral": found.integral(), "fading_integral": found.fading_integral(),
        "at": found.at(values.get("at", AT)),
    }  # fmt: skip


def specified(values: dict[str, Tensor], kind: str) -> tuple[plain.Integrators, Events]:
    v = {name: value.detach().numpy() for name, value in values.items()}
    tau_syn = None if kind == "jump" else v["tau_syn"]
    cells = plain.Integrators(v["weight"].T.copy(), v["tau_mem"], tau_syn, v["v_leak"], v["v_init"], v["bias"])
    return cells, Events(v["times"], UNITS.numpy(), np.full(BATCH, EVENTS))


@EVERY
def test_all_readings_agree_with_the_sums_of_the_specification(kind: str, taus: str | None) -> None:
    values = case(kind, taus)
    cells, inputs = specified(values, kind)
    found = readings(values, kind)
    at = np.broadcast_to(AT.numpy(), (BATCH, len(AT)))
    np.testing.assert_allclose(found["at"], plain.at(cells, inputs, T_STOP, at), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(found["integral"], plain.integral(cells, inputs, T_STOP), rtol=1e-10, atol=1e-14)
    fading = plain.fading_integral(cells, inputs, T_STOP)
    np.testing.assert_allclose(found["fading_integral"], fading, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found["maximum"], plain.maximum(cells, inputs, T_STOP), rtol=1e-11, atol=1e-13)


@EVERY
def test_maximum_and_integral_are_those_of_many_values(kind: str, taus: str | None) -> None:
    found = membranes(case(kind, taus), kind)
    grid = torch.linspace(0, T_STOP, 4001, dtype=torch.float64)
    values = found.at(grid)
    dt = T_STOP / 4000  # trapezoids err by dt^2 u'' / 12, and by a jump times dt
    within = 1e-4 if kind == "jump" else 1e-6
    assert (found.integral() - torch.trapezoid(values, grid, dim=1)).abs().max() < within
    fading = values * (1 - grid / T_STOP)[:, None]
    assert (found.fading_integral() - torch.trapezoid(fading, grid, dim=1)).abs().max() < within
    short = found.maximum() - values.max(1).values
    assert short.min() >= -1e-12
    assert short.max() < 2 * dt / 3e-3  # |u'| is below 2 / tau


@EVERY
@pytest.mark.parametrize("reading", ["maximum", "integral", "fading_integral", "at"])
def test_gradients_agree_with_differences(kind: str, taus: str | None, reading: str) -> None:
    values = case(kind, taus)
    if reading == "at":
        values["at"] = drawn(9, 1e-3, 49e-3, BATCH, 6)
    for value in values.values():
        value.requires_grad_()
    factor = drawn(8, -1, 1, *readings(values, kind)[reading].shape)
    (readings(values, kind)[reading] * factor).sum().backward()  # type: ignore[no-untyped-call]
    for name, value in values.items():
        assert value.grad is not None, name
        for seed in range(3):
            move = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            move *= 1e-6 * (1e-2 if name in ("times", "tau_mem", "tau_syn", "at") else 1.0)
            others = {key: other.detach() for key, other in values.items()}
            ends = [readings(others | {name: others[name] + sign * move}, kind)[reading] for sign in (1, -1)]
            expected = float(((ends[0] - ends[1]) * factor).sum()) / 2
            steps = value.grad * move
            assert abs(float(steps.sum()) - expected) < 1e-5 * max(abs(expected), float(steps.norm())), name


@pytest.mark.parametrize("ratio", [1.0, 1 + 1e-13, 1 + 1e-9, 1 - 1e-6, 1 + 1e-6])
def test_values_and_gradients_pass_smoothly_through_equal_time_constants(ratio: float) -> None:
    results = []
    for factor in (ratio, 1 + 1e-5):
        values = case("current", "equal")
        values["tau_syn"] = values["tau_mem"] * factor
        for value in values.values():
            value.requires_grad_()
        found = membranes(values, "current")
        total = found.integral().sum() + found.at(AT).sum() + found.maximum().sum()
        results.append((total, *torch.autograd.grad(total, list(values.values()))))
    for found_, near in zip(*results, strict=True):
        # all change by some 1e-5 / tau between the two, times up to some 10 where second derivatives enter
        assert (found_ - near).abs().max() <= 1e-3 * near.abs().max()


def test_what_is_changed_in_place_later_has_no_effect() -> None:
    values = case("current", "general")
    units = UNITS.clone()
    spikes, params = spikes_of(values, units), {k: v for k, v in values.items() if k not in ("weight", "times")}
    weight = values["weight"].requires_grad_()
    expected = torch.autograd.grad(Membranes(spikes, weight, params).at(AT).pow(2).sum(), weight)[0]
    found = Membranes(spikes, weight, params)
    before = found.maximum()
    with torch.no_grad():
        for tensor in (weight, *params.values(), values["times"], units, spikes.counts):
            tensor.zero_()
    assert torch.equal(found.maximum(), before)
    assert torch.equal(torch.autograd.grad(found.at(AT).pow(2).sum(), weight)[0], expected)


def one_input(
    weight: float, kind: Any = "current", t: float = 10e-3, **params: float
) -> tuple[Membranes, Tensor, Tensor]:
    """A neuron with one input spike: its membranes, weight and input time."""
    times = torch.tensor([[t]], dtype=torch.float64, requires_grad=True)
    w = torch.tensor([[weight]], dtype=torch.float64, requires_grad=True)
    values = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_leak": 0.0} | params
    if kind == "jump":
        del values["tau_syn"]
    spikes = Spikes(times, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, dtype=torch.int64), 1, T_STOP)
    return Membranes(spikes, w, {k: torch.tensor([v], dtype=torch.float64) for k, v in values.items()}, kind), w, times


@pytest.mark.parametrize("kind", ["current", "jump"])
def test_a_maximum_at_the_begin_is_the_start_and_has_no_gradient_of_the_input(kind: str) -> None:
    found, weight, times = one_input(-1.0, kind, v_init=0.5)
    top = found.maximum()
    assert top.item() == 0.5
    assert [g.abs().sum().item() for g in torch.autograd.grad(top.sum(), (weight, times))] == [0.0, 0.0]


@pytest.mark.parametrize("kind", ["current", "jump"])
def test_a_maximum_at_the_end_is_the_value_there(kind: str) -> None:
    found, weight, times = one_input(-3.0, kind, t=0.0, v_init=-1.0, bias=0.8)
    top, last = found.maximum(), found.at(torch.tensor([T_STOP], dtype=torch.float64))[:, 0]
    torch.testing.assert_close(top, last, rtol=1e-14, atol=0)
    for a, b in zip(*(torch.autograd.grad(x.sum(), (weight, times)) for x in (top, last)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def test_a_maximum_that_is_reached_by_a_jump_moves_with_it() -> None:
    found, weight, times = one_input(1.0, "jump", v_init=0.4)
    (by_weight, by_time) = torch.autograd.grad(found.maximum().sum(), (weight, times))
    assert by_weight.item() == 1.0
    assert by_time.item() == pytest.approx(-0.4 * np.exp(-1.0) / 10e-3)


def test_arrivals_at_the_same_time_add_up_in_any_order() -> None:
    for kind in ("current", "jump"):
        tops = []
        for units in ([0, 1], [1, 0]):
            spikes = Spikes.from_events([([5e-3, 5e-3], units)], 2, T_STOP, torch.float64)
            params = {"tau_mem": 10e-3, "v_leak": 0.0} | ({"tau_syn": 5e-3} if kind == "current" else {})
            found = Membranes(
                spikes, torch.tensor([[1.0, -0.4]], dtype=torch.float64),
                {k: torch.tensor([v], dtype=torch.float64) for k, v in params.items()}, kind,  # type: ignore[arg-type]
            )  # fmt: skip
            tops.append((found.at(torch.tensor([5e-3, 8e-3], dtype=torch.float64)), found.integral()))
        for a, b in zip(*tops, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-16)


def test_of_equal_maxima_the_first_has_the_gradient() -> None:
    spikes = Spikes.from_events([([0.0, 20e-3], [0, 1])], 2, T_STOP, torch.float64)
    weight = torch.tensor([[1.0, 1.0 - np.exp(-2.0)]], dtype=torch.float64, requires_grad=True)
    params = {"tau_mem": torch.tensor([10e-3], dtype=torch.float64), "v_leak": torch.zeros(1, dtype=torch.float64)}
    (gradient,) = torch.autograd.grad(Membranes(spikes, weight, params, "jump").maximum().sum(), weight)
    assert gradient.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("kind", ["current", "jump"])
def test_an_arrival_at_the_end_does_nothing(kind: str) -> None:
    found, _, _ = one_input(1.0, kind, t=T_STOP)
    assert found.at(torch.tensor([T_STOP])).item() == found.maximum().item() == found.integral().item() == 0.0


def test_silence_is_the_course_of_the_membrane_alone() -> None:
    spikes = Spikes.from_events([([], []), ([], [])], N_IN, T_STOP, torch.float64)
    values = case("current", "general")
    params = {k: v for k, v in values.items() if k not in ("weight", "times")}
    found = Membranes(spikes, values["weight"], params).at(torch.tensor([20e-3]))
    rest = params["v_leak"] + params["bias"]
    expected = rest + (params["v_init"] - rest) * torch.exp(-torch.tensor(20e-3) / params["tau_mem"])
    torch.testing.assert_close(found[1, 0], expected, rtol=1e-6, atol=1e-7)


def test_float32_weights_give_float32_readings_to_its_rounding() -> None:
    values = case("current", "nearly equal")
    exact = readings(values, "current")
    for name, reading in readings({k: v.float() for k, v in values.items()}, "current").items():
        assert reading.dtype == torch.float32
        torch.testing.assert_close(reading.double(), exact[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "times, message",
    [
        (torch.tensor([0.01, 0.06]), r"times\[1\] = 0.06 s; allowed: 0 to t_stop = 0.05 s"),
        (torch.tensor([-0.01]), r"times\[0\] = -0.01 s"),
        (torch.tensor([torch.nan]), r"times\[0\] = nan s"),
        (torch.zeros(2, 4), r"times are \(2, 4\); allowed: \[m\], or \[3, m\]"),
        (torch.zeros(3, 4, 1), r"times are \(3, 4, 1\)"),
        (torch.tensor([1]), "times are torch.int64; allowed: a tensor of float32"),
        (0.01, "times are float"),
    ],
)
def test_times_that_do_not_fit_are_refused(times: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        membranes(case("current", "general"), "current").at(times)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight": torch.zeros(4, 6)}, r"weight is \(4, 6\) torch.float32; allowed: .* \[n_out, 5\]"),
        ({"weight": torch.full((4, 5), torch.inf)}, "weight of input unit 0 to neuron 0 = inf; allowed: finite"),
        ({"tau_mem": torch.tensor([1e-2, 0.0, 1e-2, 1e-2])}, "neuron 1: tau_mem = 0; allowed: finite and > 0 s"),
        ({"v_init": torch.tensor([0.0, 0.0, torch.nan, 0.0])}, "neuron 2: v_init = nan; allowed: finite"),
        ({"bias": torch.zeros(3)}, r"bias is \(3,\) torch.float32; allowed: .* \[4\]"),
        ({"v_th": torch.zeros(4)}, "unknown parameter 'v_th'"),
        ({"tau_syn": None}, "tau_syn is missing"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    values = {name: value for name, value in (case("current", "general") | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        membranes(values, "current")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(OptionError, match="kind = 'delta'; allowed: 'current', 'jump'"):
        membranes(case("current", "general"), "delta")


def test_times_move_the_fading_integral_and_hardly_the_plain_one() -> None:
    values = case("current", "general")
    values["times"] = (values["times"] / 10).requires_grad_()  # long before the end, compared with 5 and 10 ms
    moved = {}
    for name in ("integral", "fading_integral"):
        (values["times"].grad,) = torch.autograd.grad(readings(values, "current")[name].sum(), values["times"])
        moved[name] = float(values["times"].grad.abs().mean())
    weight = values["weight"].sum(0)[UNITS].abs().mean() * values["tau_syn"][0]
    # a spike adds w tau_syn (1 - t/T), T = 50 ms, but for what has not decayed by then
    assert abs(moved["fading_integral"] - float(weight) / T_STOP) < 0.05 * float(weight) / T_STOP
    assert moved["integral"] < 0.2 * moved["fading_integral"]
