"""Reset by subtraction on Lava, against the formula in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwloop.errors import InputError
from hwloop_fixed_point.registers import Array
from hwloop_lava.soft_reset import run_soft_reset
from hwloop_lava.worker_process import Worker


def twin(weight: Array, inputs: Array, bias: Array, case: dict[str, Any], shift: int) -> Array:
    """The formula of the process, tick by tick; ``shift``: bits from weights to membrane, 6 in fixed point."""
    batch, ticks, _ = inputs.shape
    v = np.tile(case["start"], (batch, 1))
    net = np.zeros(v.shape, dtype=int)
    raster = np.zeros((batch, ticks, len(weight)), np.int8)
    recurrent = case.get("recurrent")
    for tick in range(1, ticks + 1):
        u = np.zeros_like(v)
        if tick > 1:
            u = u + inputs[:, tick - 2] @ weight.T
            if recurrent is not None:
                u = u + raster[:, tick - 2].astype(v.dtype) @ recurrent.T
        v = v + u * 2**shift + bias
        spikes = (v > case["vth"] * 2**shift).astype(int)
        if case.get("signed"):
            spikes -= (v <= 0) & (net > 0)
        v, net = v - spikes * case["quantum"], net + spikes
        raster[:, tick - 1] = spikes
    return raster


def fixed_case(seed: int, *, signed: bool, recurrent: bool) -> tuple[Array, Array, Array, dict[str, Any]]:
    rng = np.random.default_rng([7, seed])
    batch, ticks, n_in, n = 5, 40, 6, 4
    weight = 2 * rng.integers(-60, 90, (n, n_in))
    inputs = rng.integers(0, 3, (batch, ticks, n_in)) * (rng.random((batch, ticks, n_in)) < 0.3)
    bias = rng.integers(-400, 1500, (batch, n))
    case: dict[str, Any] = {"vth": 200, "quantum": 200 << 6, "start": rng.integers(0, 9000, n), "signed": signed}
    if recurrent:
        case["recurrent"] = 2 * rng.integers(-40, 40, (n, n))
    return weight, inputs, bias, case


@pytest.mark.parametrize("signed, recurrent", [(False, False), (False, True), (True, False), (True, True)])
def test_fixed_point_is_the_formula(worker: Worker, signed: bool, recurrent: bool) -> None:
    weight, inputs, bias, case = fixed_case(1, signed=signed, recurrent=recurrent)
    expected = twin(weight, inputs, bias, case, 6)
    assert (expected == 1).sum() > 50
    assert bool((expected == -1).any()) == signed
    assert np.array_equal(run_soft_reset(worker, weight, inputs, bias, **case), expected)
    alone = run_soft_reset(worker, weight, inputs[:1], bias[:1], **case)
    assert np.array_equal(alone, expected[:1])


@pytest.mark.parametrize("signed", [False, True])
def test_floating_point_is_the_formula(worker: Worker, signed: bool) -> None:
    """Whole multiples of 1/64 in all places: sums are exact, whatever their order."""
    weight, inputs, bias, case = fixed_case(2, signed=signed, recurrent=True)
    scaled = {"vth": case["vth"] / 64, "quantum": case["quantum"] / 4096, "signed": signed}
    arrays = {"start": case["start"] / 4096, "recurrent": case["recurrent"] / 64}
    expected = twin(weight / 64, inputs, bias / 4096, {**scaled, **arrays}, 0)
    found = run_soft_reset(worker, weight / 64, inputs, bias / 4096, arithmetic="float", **scaled, **arrays)
    assert np.array_equal(found, expected)
    assert (expected == 1).sum() > 50


def test_counts_follow_the_drive(worker: Worker) -> None:
    """What is left over after a spike is kept: k quanta in are k spikes out, with the last remainder below one."""
    bias = np.array([[100], [64], [13]])
    none = np.zeros((3, 200, 1), dtype=int)
    case = {"vth": 1, "quantum": 64, "start": np.zeros(1, dtype=int)}
    counts = run_soft_reset(worker, np.zeros((1, 1), dtype=int), none, bias, **case).sum(axis=(1, 2))
    # at most one spike a tick; `v > vth` needs a little more than a quantum for the first
    assert counts.tolist() == [200, (200 * 64 - 1) // 64, (200 * 13 - 1) // 64]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight": np.full((4, 6), 3)}, "24 of them odd; allowed: even"),
        ({"weight": np.full((4, 6), 300)}, "codes of 300..300"),
        ({"bias": np.zeros((2, 4), dtype=int)}, r"bias has shape \(2, 4\); expected \(5, 4\)"),
        ({"start": np.zeros(3, dtype=int)}, "start has shape"),
    ],
)
def test_what_does_not_fit_is_refused(worker: Worker, change: dict[str, Array], message: str) -> None:
    weight, inputs, bias, case = fixed_case(3, signed=False, recurrent=False)
    given = {"weight": weight, "inputs": inputs, "bias": bias, **case, **change}
    with pytest.raises(InputError, match=message):
        run_soft_reset(worker, **given)
