"""Closed forms of the calibration where the two time constants meet."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest

from hwloop_calibration.characterise.membranes import membrane
from hwloop_calibration.characterise.model import Neurons
from hwloop_calibration.characterise.stimuli import pulse_weight

TAU_MEM = 10e-3
APART = [1e-2, 1e-3, 1e-5, 1.1e-6, 9e-7, 1e-8, 1e-12, 0.0]


def exact(s: float, tau_mem: float, tau_syn: float) -> mp.mpf:
    t, tm, ts = mp.mpf(s), mp.mpf(tau_mem), mp.mpf(tau_syn)
    return t / tm * mp.exp(-t / tm) if tm == ts else ts / (tm - ts) * (mp.exp(-t / tm) - mp.exp(-t / ts))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("apart", APART)
def test_membranes_are_exact_however_near_the_time_constants_are(apart: float, sign: int) -> None:
    tau_syn = TAU_MEM * (1 + sign * apart)
    one = np.ones(1)
    neurons = Neurons(TAU_MEM * one, tau_syn * one, 0.25 * one, 0 * one, 0 * one, np.array([[3.0]]))
    times = np.linspace(0, 5 * TAU_MEM, 7)
    with mp.workdps(60):
        wanted = [float(0.25 + 3 * exact(t, TAU_MEM, tau_syn)) for t in times.tolist()]
    np.testing.assert_allclose(membrane(neurons, 0.0, times)[0], wanted, rtol=4e-15)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("apart", APART)
def test_a_pulse_of_the_stimulus_weight_peaks_where_asked(apart: float, sign: int) -> None:
    tau_syn = TAU_MEM * (1 + sign * apart)
    with mp.workdps(60):
        tm, ts = mp.mpf(TAU_MEM), mp.mpf(tau_syn)
        top = tm if tm == ts else mp.log(tm / ts) * tm * ts / (tm - ts)
        peak = float(mp.mpf(pulse_weight(TAU_MEM, tau_syn, 0.6)) * exact(top, TAU_MEM, tau_syn))
    assert peak == pytest.approx(0.6, rel=4e-15, abs=0)
    assert math.isclose(pulse_weight(TAU_MEM, TAU_MEM, 0.6), 0.6 * math.e, rel_tol=1e-15)
