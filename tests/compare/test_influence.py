from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from hwloop.compare.influence import NeuronModel

TAU_MEM = 10e-3


def exact(s: float, tau_mem: float, tau_syn: float) -> float:
    with mp.workdps(60):
        t, tm, ts = mp.mpf(s), mp.mpf(tau_mem), mp.mpf(tau_syn)
        if tm == ts:
            return float(t / tm * mp.exp(-t / tm))
        return float(ts / (tm - ts) * (mp.exp(-t / tm) - mp.exp(-t / ts)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("apart", [0.5, 1e-2, 1e-4, 1e-6, 1e-9, 1e-12, 0.0])
def test_contributions_are_exact_however_near_the_time_constants_are(apart: float, sign: int) -> None:
    tau_syn = TAU_MEM * (1 + sign * apart)
    since = TAU_MEM * np.array([1e-4, 1e-2, 1.0, 8.0, 40.0])
    model = NeuronModel(np.array([[2.0]]), np.zeros(1), np.array([TAU_MEM]), np.array([tau_syn]), np.array([0.0]))
    found = model.contributions(0, 1.0, np.zeros(0), 1.0 - since, np.zeros(5, np.int64))
    since = 1.0 - (1.0 - since)
    # half an ulp of the exponents, up to 40 and twice that for a short tau_syn, and a few roundings
    np.testing.assert_allclose(found, [2 * exact(s, TAU_MEM, tau_syn) for s in since.tolist()], rtol=1.5e-14)
