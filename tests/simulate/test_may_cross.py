"""The quick question whether a neuron may cross leaves out none that does."""

from fractions import Fraction

import numpy as np
import pytest

from hwloop.simulate.kernels.neuron import GENERAL, RATIO_2, SLACK, may_cross, peak_after, response

SAMPLES = 4000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "ratio"), [(RATIO_2, 0.5), (GENERAL, 0.5), (GENERAL, 0.9999), (GENERAL, 3.0), (GENERAL, 0.02)]
)
def test_whoever_reaches_the_threshold_is_asked(kind, ratio, dtype):
    rng = np.random.default_rng(5)
    tau_mem, tau_syn, inside, left_out, asked_of_low = 1e-2, 1e-2 * ratio, 0, 0, 0
    for _ in range(SAMPLES):
        # neurons on their way up, some from far below, over intervals that mostly hold the maximum
        i = dtype(10.0 ** rng.uniform(-3, 3))
        u = dtype(i * rng.choice([1.0 - 10.0 ** rng.uniform(-6, -0.1), -(10.0 ** rng.uniform(-2, 4))]))
        top = peak_after(float(u), float(i), tau_mem, 1 / tau_mem, 1 / tau_syn)
        dt = top * rng.choice([1.0 + 10.0 ** rng.uniform(-7, 2), 10.0 ** rng.uniform(-7, 0)])
        e_m, e_s, g = response(dt, tau_mem, tau_syn)
        u_end, i_end = dtype(dtype(e_m) * u + dtype(g) * i), dtype(e_s) * i
        at_top = response(min(top, dt), tau_mem, tau_syn)
        highest = at_top[0] * float(u) + at_top[2] * float(i)
        gone, slack = dtype(1.0 - e_m), dtype(SLACK)
        for below in range(4):  # thresholds that the maximum just reaches
            c = dtype(highest)
            while float(c) > highest:
                c = np.nextafter(c, dtype(-np.inf))
            for _ in range(below):
                c = np.nextafter(c, dtype(-np.inf))
            if not u < c:
                continue
            # as the search decides: at the end by the rounded state, inside by the maximum
            reaches = highest >= float(c)
            if kind is RATIO_2:  # the maximum is u + (i - u)^2 / (4 i), here without rounding
                u_0, i_0 = Fraction(float(u)), Fraction(float(i))
                reaches = (i_0 - u_0) ** 2 >= 4 * i_0 * (Fraction(float(c)) - u_0)
            crosses = u_end >= c or (top < dt and float(i_end) <= float(u_end) and reaches)
            inside += crosses and not u_end >= c
            left_out += crosses and not may_cross(kind, u, i, u_end, i_end, c, gone, slack)
        far = dtype(highest + 0.05 * (abs(highest) + float(i) - float(u)))
        asked_of_low += bool(may_cross(kind, u, i, u_end, i_end, far, gone, slack))
    assert left_out == 0
    assert inside > SAMPLES / 20
    # an exact answer asks nobody for nothing; a bound asks few
    assert asked_of_low <= (0 if kind is RATIO_2 else SAMPLES / 2)


@pytest.mark.parametrize("kind", [RATIO_2, GENERAL])
@pytest.mark.parametrize("c", [1.0, np.inf])
def test_a_neuron_at_rest_or_without_a_threshold_is_not_asked(kind, c):
    zero, one = np.float32(0), np.float32(1)
    assert not may_cross(kind, zero, zero, zero, zero, np.float32(c), one, np.float32(SLACK))
    assert not may_cross(kind, zero, np.float32(5), zero, zero, np.float32(np.inf), one, np.float32(SLACK))
