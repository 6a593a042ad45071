"""Every gradient of a convolution through torch against central differences in float64, and what autograd refuses.

A set of changes is rejected where the number of spikes changes with the step.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hwloop.errors import GradientError, InputError, OptionError
from hwloop.simulate import Options
from hwloop.simulate.convolution import Geometry, convolution_call
from hwloop.spikes import Spikes

from .conv_support import MANY

#: Relative step of a stencil of order two, in float64: its error is of the order of 1e-8.
STEP = 1e-6
EXACT = Options(floor=0.0)
UNIT = {"tau_mem": 1e-2, "tau_syn": 5e-3, "t_ref": 1e-3, "times": 1e-3}


def drawn(seed: int, low: float, high: float, *shape: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)


def inputs_of(geometry: Geometry, seed: int = 0, n: int = 30, batch: int = 3) -> Spikes:
    times = drawn(seed, 0, 40e-3, batch, n).sort(1).values
    units = torch.randint(0, geometry.n_in, (batch, n), generator=torch.Generator().manual_seed(seed))
    return Spikes(times, units, torch.full((batch,), n), geometry.n_in, 60e-3)


def neurons(n: int, same_taus: bool = True, **more: Tensor) -> dict[str, Tensor]:
    taus = (torch.full((n,), t, dtype=torch.float64) for t in (10e-3, 5e-3))
    tau_mem, tau_syn = taus if same_taus else (drawn(1, 8e-3, 12e-3, n), drawn(2, 4e-3, 9e-3, n))
    return {
        "tau_mem": tau_mem, "tau_syn": tau_syn, "v_th": drawn(3, 0.9, 1.1, n), "v_leak": drawn(4, -0.1, 0.1, n),
        "v_reset": drawn(5, -0.3, 0.0, n), "t_ref": drawn(6, 0.5e-3, 1e-3, n), **more,
    }  # fmt: skip


def weights(geometry: Geometry) -> Tensor:
    g = torch.Generator().manual_seed(7)
    return 1.5 + 1.5 * torch.randn(geometry.weight_shape, generator=g, dtype=torch.float64)


def loss_of(out: Spikes) -> Tensor:
    """A different weight for every spike of every neuron, whatever its place in the list."""
    mine = torch.nn.functional.one_hot(out.units, out.n_units) * out.valid[:, :, None]
    ordinal = torch.gather(mine.cumsum(1), 2, out.units[:, :, None])[:, :, 0]
    factors = torch.sin(1.7 * out.units + 2.3 * ordinal + 0.9 * torch.arange(len(out))[:, None])
    return (torch.where(out.valid, out.times, 0.0) * factors).sum()


CASES: dict[str, dict[str, Any]] = {
    "channels": {"n": "out_channels"},
    "neurons of their own": {"n": "n_out", "same_taus": False},
    "bias": {"n": "out_channels", "bias": (0.1, 0.3)},
    "bias of every neuron": {"n": "n_out", "bias": (-0.3, 0.3), "same_taus": False},
    "start": {"n": "out_channels", "bias": (0.1, 0.3), "v_init": (-0.5, 0.4)},
    "bias over the threshold": {"n": "out_channels", "bias": (1.2, 1.4)},
    "leak over the threshold": {"n": "out_channels", "bias": (-0.2, 0.1), "v_leak": (1.3, 1.6)},
}


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_differences(name: str, reset: str) -> None:
    setting = dict(CASES[name])
    n, same = getattr(MANY, setting.pop("n")), setting.pop("same_taus", True)
    more = {key: drawn(8 + len(key), *span, n) for key, span in setting.items()}
    spikes, weight, params = inputs_of(MANY), weights(MANY), neurons(n, same, **more)
    tensors = {"weight": weight, "times": spikes.times, **params}
    for tensor in tensors.values():
        tensor.requires_grad_()
    options = Options(floor=0.0, reset=reset)

    def run(values: dict[str, Tensor]) -> Spikes:
        changed = Spikes.trusted(values["times"], spikes.units, spikes.counts, spikes.n_units, spikes.t_stop)
        return convolution_call(changed, values["weight"], MANY, {k: values[k] for k in params}, options)[0]

    out = run(tensors)
    assert out.counts.min() > 5
    loss_of(out).backward()  # type: ignore[no-untyped-call]
    for key, tensor in tensors.items():
        assert tensor.grad is not None
        rejected = 0
        for direction in range(2):
            move = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(direction), dtype=torch.float64)
            move *= STEP * UNIT.get(key, 1.0)
            with torch.no_grad():
                ends = [run(tensors | {key: tensor + sign * move}) for sign in (1, -1)]
            if any(not torch.equal(e.counts, out.counts) for e in ends):
                rejected += 1
                continue
            expected = float(loss_of(ends[0]) - loss_of(ends[1])) / 2
            found = float((tensor.grad * move).sum())
            scale = float((tensor.grad * move).norm())
            assert abs(found - expected) < 1e-5 * max(abs(expected), scale), (key, found, expected)
        assert rejected < 2, key


def test_measured_own_spikes_give_equal_gradients() -> None:
    spikes, weight, params = inputs_of(MANY), weights(MANY).requires_grad_(), neurons(MANY.out_channels)
    spikes.times.requires_grad_()
    params["v_th"].requires_grad_()
    tensors = (weight, spikes.times, params["v_th"])
    out, call = convolution_call(spikes, weight, MANY, params, EXACT)
    own = Spikes(out.times.detach(), out.units, out.counts, out.n_units, out.t_stop)
    again, _ = convolution_call(spikes, weight, MANY, params, EXACT, own)
    assert torch.equal(out.times, again.times)
    for a, b in zip(
        torch.autograd.grad(loss_of(out), tensors), torch.autograd.grad(loss_of(again), tensors), strict=True
    ):
        assert torch.equal(a, b)
    assert call.used == int(out.counts.sum())


def test_both_engines_give_the_same_gradients() -> None:
    geometry = Geometry((1, 4, 4), 2, 2, 2)
    spikes, params = inputs_of(geometry, n=10, batch=1), neurons(2, bias=torch.tensor([0.2, -0.1], dtype=torch.float64))
    results = []
    for engine in ("cpu", "reference"):
        weight = weights(geometry).requires_grad_()
        tensors = {key: value.clone().requires_grad_() for key, value in params.items()}
        out, _ = convolution_call(spikes, weight, geometry, tensors, Options(floor=0.0, engine=engine))
        results.append((out.times.detach(), *torch.autograd.grad(loss_of(out), (weight, *tensors.values()))))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)


def test_weights_changed_in_place_since_are_refused() -> None:
    weight = weights(MANY).requires_grad_()
    out, _ = convolution_call(inputs_of(MANY), weight, MANY, neurons(MANY.out_channels), EXACT)
    with torch.no_grad():
        weight.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss_of(out).backward()  # type: ignore[no-untyped-call]


def test_parameters_changed_in_place_are_noticed() -> None:
    params, spikes, weight = neurons(MANY.out_channels), inputs_of(MANY), weights(MANY)
    before, _ = convolution_call(spikes, weight, MANY, params, EXACT)
    params["v_th"] *= 0.5
    after, _ = convolution_call(spikes, weight, MANY, params, EXACT)
    assert after.counts.sum() > before.counts.sum()


def test_float32_follows_the_weights() -> None:
    params = {key: value.float() for key, value in neurons(MANY.out_channels).items()}
    out, _ = convolution_call(inputs_of(MANY), weights(MANY).float(), MANY, params, Options())
    assert out.times.dtype == torch.float32


def test_spikes_below_the_floor_are_counted_or_refused() -> None:
    case = (inputs_of(MANY), weights(MANY), MANY, neurons(MANY.out_channels))
    _, call = convolution_call(*case, Options(floor=1e3))
    assert call.below_floor == call.used > 0
    with pytest.raises(GradientError, match="below the floor 1000"):
        convolution_call(*case, Options(floor=1e3, policy="raise"))


def test_thresholds_of_samples_have_no_gradient_and_say_so() -> None:
    params = neurons(MANY.out_channels)
    params["v_th"] = drawn(3, 0.9, 1.1, 3, MANY.out_channels).requires_grad_()
    out, _ = convolution_call(inputs_of(MANY), weights(MANY), MANY, params, EXACT)
    with pytest.raises(InputError, match="differ from sample to sample have no gradient"):
        loss_of(out).backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight": torch.zeros(6, 4, 3, 2)}, r"weight is \(6, 4, 3, 2\); allowed: \(6, 2, 3, 2\)"),
        ({"weight": torch.full((6, 2, 3, 2), torch.nan)}, r"weight\[0, 0, 0, 0\] = nan; allowed: finite"),
        ({"weight": torch.zeros(6, 2, 3, 2, dtype=torch.int64)}, "weight of dtype torch.int64"),
        ({"v_th": torch.ones(5)}, "v_th is .*one value for each of 6 channels or of 90 neurons"),
        ({"v_th": torch.ones(2, 6)}, "v_th has 2 rows; allowed: one, or one for each of 3 samples"),
        ({"tau_mem": torch.tensor([1e-2, 0.0, 1e-2, 1e-2, 1e-2, 1e-2])}, "tau_mem = 0; allowed: > 0 s"),
        ({"bias": torch.full((6,), torch.inf)}, "neuron 0: bias = inf; allowed: finite"),
        ({"v_init": torch.ones(6) * 2}, "v_init = 2; allowed: below v_th"),
        ({"tau": torch.ones(6)}, "unknown parameter 'tau'"),
        ({"t_ref": None}, "t_ref is missing"),
        ({"inputs": Spikes.from_first_times(torch.rand(3, 7) / 100, 0.06)}, "the input has 7 units; allowed: 120"),
        ({"measured": Spikes.from_first_times(torch.rand(3, 7) / 100, 0.06)}, "measured spikes of 7 units"),
        ({"options": Options(engine="fast")}, "engine = 'fast'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    inputs = change.pop("inputs", inputs_of(MANY))
    weight, options = change.pop("weight", weights(MANY)), change.pop("options", EXACT)
    measured = change.pop("measured", None)
    params = {key: value for key, value in (neurons(MANY.out_channels) | change).items() if value is not None}
    with pytest.raises((InputError, OptionError), match=message):
        convolution_call(inputs, weight, MANY, params, options, measured, "conv 1")
