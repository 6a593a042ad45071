"""Shapes, synapses and pools: the meaning of torch's convolution, and clear refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from hwloop.errors import InputError
from hwloop.simulate.convolution import Geometry, pooled_units

small = st.integers(1, 3)


@given(
    st.tuples(small, st.integers(3, 7), st.integers(3, 7)), small, st.tuples(small, small), st.tuples(small, small),
    st.tuples(st.integers(0, 2), st.integers(0, 2)), st.integers(1, 2),
)  # fmt: skip
def test_the_synapses_are_those_of_torchs_convolution(
    shape: Any, out: int, kernel: Any, stride: Any, padding: Any, groups: int
) -> None:
    shape, out = (shape[0] * groups, *shape[1:]), out * groups
    geometry = Geometry(shape, out, kernel, stride, padding, (1, 1), groups)
    weight = torch.randn(geometry.weight_shape, dtype=torch.float64)
    image = torch.randn(1, *shape, dtype=torch.float64)
    expected = functional.conv2d(image, weight, None, stride, padding, 1, groups)
    assert geometry.out_shape == tuple(expected.shape[1:])
    units, neurons, places = geometry.synapses
    found = np.bincount(neurons, (image.ravel()[units] * weight.ravel()[places]).numpy(), geometry.n_out)
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-12)


def test_dilation_is_torchs() -> None:
    geometry = Geometry((1, 9, 8), 2, 3, 1, 1, (2, 3))
    weight, image = torch.randn(2, 1, 3, 3), torch.randn(1, 1, 9, 8)
    expected = functional.conv2d(image, weight, None, 1, 1, (2, 3))
    assert geometry.out_shape == tuple(expected.shape[1:])
    units, neurons, places = geometry.synapses
    found = np.bincount(neurons, (image.ravel()[units] * weight.ravel()[places]).numpy(), geometry.n_out)
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-5)


@given(
    st.tuples(small, st.integers(2, 7), st.integers(2, 7)), st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.integers(0, 1), st.integers(0, 1),
)  # fmt: skip
def test_a_pool_counts_what_torchs_sum_counts(shape: Any, window: Any, more: int, pad: int) -> None:
    stride, padding = (window[0] + more, window[1]), (min(pad, window[0] // 2), 0)
    units, pooled = pooled_units(shape, window, stride, padding)
    image = torch.randn(1, *shape, dtype=torch.float64)
    expected = functional.avg_pool2d(image, window, stride, padding) * (window[0] * window[1])
    assert pooled == tuple(expected.shape[1:])
    kept = units >= 0
    found = np.bincount(units[kept], image.ravel().numpy()[kept], pooled[0] * pooled[1] * pooled[2])
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-12)


def test_pooled_units_of_a_small_image() -> None:
    units, shape = pooled_units((1, 2, 5), 2)
    assert shape == (1, 1, 2)
    assert units.tolist() == [0, 0, 1, 1, -1] * 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        (((1, 5, 5), 3, 6), "a kernel that spans 6 pixels .* on 5 pixels with padding 0; allowed: up to 5"),
        (((1, 5, 5), 3, 3, 1, 0, 3), r"spans 7 pixels \(kernel 3, dilation 3\)"),
        (((3, 5, 5), 4, 3, 1, 0, 1, 2), "in_shape: 3 channels; allowed: a multiple of groups = 2"),
        (((2, 5, 5), 3, 3, 1, 0, 1, 2), "out_channels: 3 channels"),
        (((1, 5, 5), 3, 0), "kernel = 0; allowed: whole numbers >= 1"),
        (((1, 5, 5), 3, 2.5), "kernel = 2.5"),
        (((1, 5, 5), 3, 3, (1, 1, 1)), r"stride = \(1, 1, 1\); allowed: one whole number, or one for the height"),
        (((1, 5, 5), 3, 3, 1, -1), "padding = -1"),
        (((5, 5), 3, 3), r"in_shape = \(5, 5\); allowed: \(channels, height, width\)"),
        (((1, 5, 5), True, 3), "out_channels = True"),
    ],
)
def test_numbers_that_make_no_convolution_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Geometry(*arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (((1, 6, 6), 3, 2), "its windows overlap"),
        (((1, 6, 6), 2, 2, 2), "allowed: padding up to half of the kernel"),
        (((1, 2, 6), 3), "a kernel that spans 3 pixels"),
    ],
)
def test_numbers_that_make_no_pool_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pooled_units(*arguments)
