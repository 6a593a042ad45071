"""Exponentials without a library call: exact to rounding, for any argument, and the same in a vector as alone."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
from numba import njit

from hwloop.simulate.kernels.exponentials import decay, log_1p, respond, respond_2
from hwloop.simulate.kernels.propagators import propagators, rate_tables

#: One unit in the last place, relative.
ULP = np.finfo(np.float64).eps


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _decays(x: Any, out: Any) -> None:
    for k in range(x.shape[0]):
        out[0, k], out[1, k] = decay(x[k])


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _logarithms(x: Any, out: Any) -> None:
    for k in range(x.shape[0]):
        out[k] = log_1p(x[k])


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _responses(s: Any, rate_mem: Any, rate_syn: Any, out: Any) -> None:
    for k in range(s.shape[0]):
        out[0, k], out[1, k], out[2, k] = respond(s[k], rate_mem[k], rate_syn[k])


def _spans_and_rates(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spans of 1e-9 to 100 time constants; a third of the neurons with taus equal to a part in 1e2 .. 1e16."""
    r = np.random.default_rng(1)
    tau_mem = np.exp(r.uniform(-7, -3, n))
    near = tau_mem * (1 + r.choice([-1, 1], n) * 10.0 ** r.uniform(-16, -2, n))
    tau_syn = np.where(r.random(n) < 1 / 3, near, np.exp(r.uniform(-7, -3, n)))
    return 1e-2 * 10.0 ** r.uniform(-9, 2, n), 1 / tau_mem, 1 / tau_syn


def test_both_halves_of_a_decay_are_exact_also_where_they_are_small() -> None:
    x = np.concatenate([[0.0], 10.0 ** np.random.default_rng(0).uniform(-300, np.log10(700), 1000)])
    found = np.empty((2, len(x)))
    _decays(x, found)
    with mp.workdps(40):
        for k, value in enumerate(x):
            gone, left = -mp.expm1(-mp.mpf(value)), mp.exp(-mp.mpf(value))
            assert abs(found[0, k] - gone) <= ULP * gone
            assert abs(found[1, k] - left) <= ULP * left


def test_what_is_far_beyond_the_range_is_nothing_and_no_nan() -> None:
    found = np.empty((2, 3))
    _decays(np.array([709.0, 1e30, np.inf]), found)
    assert (found[0] == 1.0).all()
    assert ((found[1] >= 0.0) & (found[1] < 1e-306)).all()


def test_logarithm_is_exact_near_zero_near_minus_one_and_far_away() -> None:
    r = np.random.default_rng(0)
    x = np.concatenate(
        [
            [0.0],
            10.0 ** r.uniform(-300, 300, 500),
            -(10.0 ** r.uniform(-300, -0.001, 500)),
            -1.0 + 10.0 ** r.uniform(-15, 0, 200),
        ]
    )
    found = np.empty(len(x))
    _logarithms(x, found)
    with mp.workdps(40):
        # some four roundings, and that of 1 + x, which the true logarithm feels as an absolute error
        for value, got in zip(x, found, strict=True):
            assert abs(got - mp.log1p(mp.mpf(value))) <= 4 * ULP * abs(mp.log1p(mp.mpf(value))) + ULP * (value != 0) * (
                abs(value) > 0.1
            )


def test_responses_are_exact_for_taus_of_any_ratio() -> None:
    s, rate_mem, rate_syn = _spans_and_rates(1500)
    found = np.empty((3, len(s)))
    _responses(s, rate_mem, rate_syn, found)
    with mp.workdps(60):
        for k in range(len(s)):
            span, a, b = mp.mpf(s[k]), mp.mpf(rate_mem[k]), mp.mpf(rate_syn[k])
            g = span * a * mp.exp(-span * a) if a == b else a / (b - a) * (mp.exp(-span * a) - mp.exp(-span * b))
            # an argument x = s / tau is rounded before its exponential is taken: x half ulp
            bound = (4 + 2 * float(span * max(a, b))) * ULP
            for got, true in zip(found[:, k], (mp.exp(-span * a), mp.exp(-span * b), g), strict=True):
                assert abs(got - true) <= bound * true + 1e-290


def test_the_response_of_ratio_two_is_the_general_one() -> None:
    s = 10.0 ** np.random.default_rng(2).uniform(-9, 0, 300)
    found = np.empty((3, 300))
    _responses(s, np.full(300, 100.0), np.full(300, 200.0), found)
    special = np.array([respond_2_of(x) for x in s]).T
    # 2e-15 x: the general one rounds two arguments of up to x = 200
    np.testing.assert_allclose(special, found, rtol=1e-15 * 200, atol=1e-300)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def respond_2_of(s: float) -> Any:
    return respond_2(s, 100.0)


def test_a_lane_of_a_vector_has_the_bits_of_one_alone() -> None:
    s, rate_mem, rate_syn = _spans_and_rates(101)
    together, alone = np.empty((3, 101)), np.empty((3, 101))
    _responses(s, rate_mem, rate_syn, together)
    for k in range(101):
        _responses(s[k : k + 1], rate_mem[k : k + 1], rate_syn[k : k + 1], alone[:, k : k + 1])
    assert np.array_equal(together, alone)


@njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _propagators(e_m: Any, e_s: Any, g: Any, dt: float, rates: Any, bases: Any) -> None:
    propagators(e_m, e_s, g, dt, rates, bases)


def test_propagators_of_a_layer_are_exact_to_rounding_for_short_and_long_intervals() -> None:
    r = np.random.default_rng(3)
    for dtype, eps in ((np.float32, 6e-8), (np.float64, 1.2e-16)):
        tau_mem, tau_syn = np.exp(r.uniform(-6, -4, 50)).astype(dtype), np.exp(r.uniform(-6, -4, 50)).astype(dtype)
        tau_syn[:10] = tau_mem[:10] * (1 + dtype(1e-5))
        rates, bases = rate_tables(tau_mem, tau_syn)
        for dt in (1e-7, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
            found = np.empty((3, 50), dtype)
            _propagators(found[0], found[1], found[2], dt, rates, bases)
            x, y = dt / tau_mem.astype(float), dt / tau_syn.astype(float)
            expected = np.empty((3, 50))
            _responses(np.full(50, dt), x / dt, y / dt, expected)
            # arguments rounded to the dtype, of up to x, and some five operations
            bound = (8 + 2 * np.maximum(x, y)) * eps
            assert (np.abs(found - expected) <= bound * expected + np.finfo(dtype).tiny).all()
