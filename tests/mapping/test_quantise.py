from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import InputError, OptionError
from hwloop.mapping import quantise, scale_of


@given(st.integers(2, 16), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_rounding_moves_no_weight_by_more_than_half_an_lsb(bits: int, seed: int) -> None:
    weight = np.random.default_rng(seed).normal(size=(5, 7))
    max_code = 2 ** (bits - 1) - 1
    scale = scale_of(weight, "max", max_code)
    result = quantise(weight, scale, max_code)
    # half an LSB, and the rounding of weight / scale * scale
    assert np.abs(result.codes * scale - weight).max() <= scale / 2 * (1 + 1e-12)
    assert result.saturated == 0
    assert np.abs(result.codes).max() == max_code


def test_quantisation_is_odd() -> None:
    weight = np.random.default_rng(1).normal(size=(6, 6))
    assert np.array_equal(quantise(-weight, 0.1, 31).codes, -quantise(weight, 0.1, 31).codes)


def test_codes_quantise_to_themselves() -> None:
    codes = np.arange(-31, 32).reshape(1, -1)
    assert np.array_equal(quantise(codes * 0.25, 0.25, 31).codes, codes)


def test_what_saturates_and_what_vanishes_is_counted() -> None:
    result = quantise(np.array([[100.0, -100.0, 0.2, 0.0, 3.0]]), 1.0, 31)
    assert result.codes.tolist() == [[31, -31, 0, 0, 3]]
    assert (result.saturated, result.zeroed) == (2, 1)
    # saturated weights do not count as rounding: .2 alone is off
    assert result.rounding_rms == pytest.approx(0.2 / math.sqrt(5))


def test_a_quantile_of_1_is_the_maximum_and_a_lower_one_saturates_the_rest() -> None:
    weight = np.random.default_rng(2).normal(size=(40, 50))
    assert scale_of(weight, "quantile:1", 31) == scale_of(weight, "max", 31)
    scale = scale_of(weight, "quantile:0.99", 31)
    assert scale == pytest.approx(np.quantile(np.abs(weight), 0.99) / 31)
    assert 0 < quantise(weight, scale, 31).saturated <= 0.01 * weight.size


def test_a_layer_of_zeros_has_scale_1() -> None:
    assert scale_of(np.zeros((2, 2)), "max", 31) == 1.0


@pytest.mark.parametrize(
    "rule", ["quantile:0", "quantile:1.5", "quantile:x", "quantile:nan", 0.0, -1.0, math.nan, math.inf]
)
def test_a_scale_outside_its_range_is_refused(rule: str | float) -> None:
    with pytest.raises(InputError, match="weight_scale"):
        scale_of(np.ones((1, 1)), rule, 31)


def test_an_unknown_scale_rule_is_refused() -> None:
    with pytest.raises(OptionError, match="'max', 'quantile:Q'"):
        scale_of(np.ones((1, 1)), "median", 31)
