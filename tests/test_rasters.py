from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import InputError
from hwloop.spikes import Spikes

F64 = torch.float64


def sparse(steps: int, places: list[tuple[int, int]], n_units: int = 3) -> torch.Tensor:
    raster = torch.zeros(1, steps, n_units)
    for step, unit in places:
        raster[0, step % steps, unit] = 1
    return raster


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40_000),
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 2)), max_size=8),
    st.sampled_from([1e-3, 1e-4, 3e-7, 0.1, 7.0]),
    st.sampled_from([torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float32, F64]),
)
def test_a_raster_of_any_length_and_dtype_comes_back(
    steps: int, places: list[tuple[int, int]], dt: float, dtype: torch.dtype
) -> None:
    raster = sparse(steps, places)
    spikes = Spikes.from_dense(raster.to(dtype), dt)
    assert spikes.times.dtype in (torch.float32, F64)
    assert torch.equal(spikes.to_dense(dt).float(), raster)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 0.1, exclude_max=True), max_size=10).map(sorted), st.sampled_from([1e-3, 3e-3, 1e-5]))
def test_bins_are_those_of_rounding_down(times: list[float], dt: float) -> None:
    spikes = Spikes.from_events([(times, [0] * len(times))], 1, 0.1, F64)
    expected = np.zeros(math.ceil(0.1 / dt - 1e-9))
    for t in times:
        # as exact numbers: only a time within two roundings of the next bin's begin belongs there
        bins = t / dt
        near = round(bins)
        expected[min(near if abs(bins - near) < 1e-15 * (near + 1) else math.floor(bins), len(expected) - 1)] += 1
    assert spikes.to_dense(dt)[0, :, 0].tolist() == expected.tolist()


def test_half_precision_says_where_spikes_are_and_not_when() -> None:
    raster = sparse(1000, [(k, 0) for k in range(901, 911)], 1)
    expected = Spikes.from_dense(raster, 1e-3).times
    for dtype in (torch.float16, torch.bfloat16):
        spikes = Spikes.from_dense(raster.to(dtype), 1e-3)
        assert torch.equal(spikes.times, expected)


def test_a_raster_may_be_an_array_read_only_and_of_any_dtype() -> None:
    for dtype in (bool, np.uint8, np.float16, np.dtype(">f8")):
        array = sparse(4, [(3, 1)]).numpy().astype(dtype)
        array.flags.writeable = False
        spikes = Spikes.from_dense(array[:, ::-1], np.float32(1.0))  # type: ignore[arg-type]
        assert (spikes.times.tolist(), spikes.units.tolist()) == ([[0.0]], [[1]])
        assert spikes.times.dtype == torch.float32


def test_a_time_just_before_a_bin_stays_in_front_of_it() -> None:
    spikes = Spikes.from_events([([0.9996e-3], [0])], 1, 2e-3, F64)
    assert spikes.to_dense(1e-3)[0, :, 0].tolist() == [1, 0]


def test_steps_that_float32_cannot_tell_apart_are_held_in_float64() -> None:
    raster = torch.zeros(1, 20_000_000, 1, dtype=torch.bool)
    raster[0, -2:] = True
    spikes = Spikes.from_dense(raster, 1e-6)
    assert spikes.times.dtype == F64
    np.testing.assert_allclose(spikes.times[0].numpy(), [19.999998, 19.999999], rtol=1e-15)
    with pytest.raises(InputError, match="too coarse for a clock of 1e-06 s; allowed: dtype=torch.float64"):
        Spikes.from_dense(raster, 1e-6, torch.float32)
    assert Spikes.from_dense(raster, 1e-6, F64).times.dtype == F64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "0.5 .no spike"),
        (-1.0, "-1 "),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (2.0, r"2 \(a count: keep one spike with clamp\(max=1\)"),
    ],
)
def test_what_is_neither_spike_nor_silence_is_named_with_its_place(
    value: float, message: str, dtype: torch.dtype
) -> None:
    raster = sparse(4, [(0, 0)]).to(dtype)
    raster[0, 2, 1] = value
    with pytest.raises(InputError, match=f"other than 0 and 1.*Sample 0, step 2, unit 1: {message}"):
        Spikes.from_dense(raster, 1e-3)


def test_counts_that_are_clamped_as_told_are_taken() -> None:
    counts = Spikes.from_events([([0.0, 1e-4], [0, 0])], 1, 2e-3).to_dense(1e-3)
    with pytest.raises(InputError, match="a count"):
        Spikes.from_dense(counts, 1e-3)
    assert int(Spikes.from_dense(counts.clamp(max=1), 1e-3).counts) == 1


def test_a_gradient_that_would_be_lost_is_refused_with_what_to_do() -> None:
    raster = sparse(3, [(1, 0)]).requires_grad_()
    with pytest.raises(InputError, match="raster requires grad.*raster.detach"):
        Spikes.from_dense(raster, 1e-3)
    assert int(Spikes.from_dense(raster.detach(), 1e-3).counts) == 1


@pytest.mark.parametrize("raster", [np.array([[["a"]]]), torch.zeros(1, 0, 2), torch.zeros(1, 2, 0), np.zeros(3)])
def test_what_is_no_raster_is_refused(raster: Any) -> None:
    with pytest.raises(InputError, match=r"expected .*\[batch, steps, n_units\]"):
        Spikes.from_dense(raster, 1e-3)


def test_a_raster_that_cannot_fit_is_refused_before_it_is_made() -> None:
    spikes = Spikes.from_events([([1.0], [0])], 1000, 100.0)
    with pytest.raises(InputError, match=r"raster of \(1, 100000000000, 1000\) takes 400,000.0 GB of memory"):
        spikes.to_dense(1e-9)
