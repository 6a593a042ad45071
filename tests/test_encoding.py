from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.encoding import intensity_to_latency, latency, thinned
from hwloop.errors import InputError
from hwloop.spikes import Spikes

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(VALUES, st.floats(0, 1e-2), st.floats(0, 2e-2))
def test_latency_is_affine_in_the_value(values: list[float], t_early: float, span: float) -> None:
    x = torch.tensor([values], dtype=torch.float64)
    spikes = latency(x, t_early, t_early + span, 0.1)
    # one rounding of the span, one product, one sum: 3 ulp of the largest time
    torch.testing.assert_close(spikes.first_times(), t_early + x * span, rtol=0, atol=3 * math.ulp(t_early + span))


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_a_brighter_pixel_never_spikes_later(values: list[float]) -> None:
    p = torch.tensor([values], dtype=torch.float64)
    times = intensity_to_latency(p, 1e-3, 9e-3, 0.02).first_times()[0]
    order = torch.argsort(p[0], descending=True)
    assert bool((torch.diff(torch.nan_to_num(times[order], posinf=1.0)) >= 0).all())


def test_black_is_silent_and_a_sample_may_be_all_black() -> None:
    spikes = intensity_to_latency(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), 0.0, 1e-2, 0.02)
    assert spikes.counts.tolist() == [0, 1]
    assert spikes.first_times()[1].tolist() == [0.0, math.inf]


def test_without_a_black_level_every_pixel_spikes() -> None:
    assert intensity_to_latency(torch.zeros(1, 3), 0.0, 1e-2, 0.02, black=None).counts.tolist() == [3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("code", [latency, intensity_to_latency])
def test_half_precision_values_are_widened_before_they_become_times(code: Any, dtype: torch.dtype) -> None:
    values = torch.linspace(0, 1, 65)[1:].to(dtype)[None]  # 64ths are exact in both
    exact = code(values.float(), 0.1, 0.9, 1.0)
    assert code(values, 0.1, 0.9, 1.0).times.dtype == torch.float32
    assert torch.equal(code(values, 0.1, 0.9, 1.0).times, exact.times)


@pytest.mark.parametrize("code", [latency, intensity_to_latency])
def test_values_may_be_an_array_of_any_layout_or_lists(code: Any) -> None:
    values = np.array([[0.25, 0.5, 1.0]], ">f8")[:, ::-1]
    values.flags.writeable = False
    expected = code(torch.tensor([[1.0, 0.5, 0.25]], dtype=torch.float64), 0.0, np.float32(0.5), 1.0)
    assert torch.equal(code(values, 0.0, 0.5, 1.0).times, expected.times)
    assert torch.equal(code(values.tolist(), 0.0, 0.5, 1.0).times, expected.times.float())


def test_times_are_differentiable_in_the_values() -> None:
    values = torch.tensor([[0.25, 0.75]], requires_grad=True)
    latency(values, 0.0, 0.5, 1.0).times.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    "values", [[[True]], np.array([[1]], np.uint8), np.array([[True]]), [["0.5"]], torch.ones(1, 1, dtype=torch.bool)]
)
def test_values_that_are_no_floating_numbers_are_refused(values: Any) -> None:
    with pytest.raises(InputError, match=r"expected floating numbers in 0..1|allowed: numbers"):
        latency(values, 0.0, 1e-2, 0.05)


def test_times_that_are_no_seconds_are_refused() -> None:
    with pytest.raises(InputError, match="t_late = '10ms'; .*write 0.01"):
        latency(torch.zeros(1, 1), 0.0, "10ms", 0.05)  # type: ignore[arg-type]


def test_bias_is_one_more_unit_at_its_time() -> None:
    spikes = latency(torch.tensor([[0.5, 1.0]]), 0.0, 4e-3, 1e-2, bias_time=0.0)
    assert (spikes.n_units, spikes.units.tolist()) == (3, [[2, 0, 1]])
    assert spikes.first_times()[0, 2] == 0.0


def test_silent_below_drops_smaller_values_only() -> None:
    spikes = latency(torch.tensor([[0.1, 0.2, 0.3]]), 0.0, 1e-2, 0.02, silent_below=0.2)
    assert spikes.units.tolist() == [[1, 2]]


def test_rounding_never_passes_the_latest_time() -> None:
    ones = torch.ones(1, 1)
    for k in range(1, 300):
        spikes = latency(ones, 1e-3, k * 1.7e-3, k * 1.7e-3)
        assert float(spikes.times[0, 0]) <= float(torch.tensor(k * 1.7e-3))


def test_equal_times_are_ordered_by_unit() -> None:
    assert latency(torch.full((1, 4), 0.5), 0.0, 1e-2, 0.02, bias_time=5e-3).units.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_values_outside_0_to_1_are_refused_by_sample_and_unit(value: float) -> None:
    x = torch.tensor([[0.5, 0.5], [0.5, value]])
    with pytest.raises(InputError, match=r"sample 1, unit 1: value .* allowed: 0\.\.1"):
        latency(x, 0.0, 1e-2, 0.02)


@pytest.mark.parametrize(("early", "late", "stop"), [(-1e-3, 1e-2, 1), (2e-2, 1e-2, 1), (0, 2, 1), (0, 1, math.inf)])
def test_times_out_of_order_are_refused(early: float, late: float, stop: float) -> None:
    with pytest.raises(InputError, match="t_early <= t_late <= t_stop"):
        intensity_to_latency(torch.zeros(1, 1), early, late, stop)


def test_bytes_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="divide bytes by 255"):
        intensity_to_latency(torch.zeros(1, 1, dtype=torch.uint8), 0.0, 1e-2, 0.02)


def test_bias_after_the_window_is_refused() -> None:
    with pytest.raises(InputError, match="bias_time"):
        latency(torch.zeros(1, 1), 0.0, 1e-2, 0.02, bias_time=0.03)


def test_thinning_keeps_order_and_about_the_wanted_share() -> None:
    spikes = latency(torch.rand(50, 200, generator=torch.Generator().manual_seed(1)), 0.0, 0.02, 0.05)
    left = thinned(spikes, 0.25, torch.Generator().manual_seed(2))
    Spikes(left.times, left.units, left.counts, left.n_units, left.t_stop)  # valid: sorted, padded, in range
    # 10,000 events: standard deviation of the share .0043
    assert abs(float(left.counts.sum() / spikes.counts.sum()) - 0.75) < 0.02
    first = spikes.first_times()
    assert torch.all((left.first_times() == first) | torch.isinf(left.first_times()))


def test_thinning_away_everything_is_refused() -> None:
    spikes = latency(torch.rand(2, 3), 0.0, 0.02, 0.05)
    with pytest.raises(InputError, match=r"share of events left out = 1.0; allowed: 0 <= share < 1"):
        thinned(spikes, 1.0, torch.Generator())
