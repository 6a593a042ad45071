"""The yardstick of exactness: what it holds for true, and that it tells the exact from those that are not."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import torch

from hwloop.bench.exactness import ROWS, examine, gradient_error, near_threshold, small_network, true_gradients
from hwloop.bench.forty_digits import DIGITS, Setting, maximum, spike_times
from hwloop.bench.peers import DOUBLE, REFERENCE, made
from hwloop.bench.peers.base import Problem
from hwloop.bench.workloads import T_STOP, TAU_MEM, TAU_SYN


def loss(problem: Problem) -> mp.mpf:
    """The loss whose gradient is asked for, written down once more."""
    total = mp.mpf(0)
    for times, label in zip(problem.inputs.times, problem.inputs.labels, strict=True):
        train = [mp.mpf(float(t)) for t in times]
        for weight in problem.weights:
            came = []
            for row in weight.tolist():
                found = spike_times(Setting(tuple(train), tuple(map(mp.mpf, row)), TAU_MEM, TAU_SYN, t_stop=T_STOP), 1)
                assert found, "the small network spikes"
                came.append(found[0])
            train = came
        scores = [-t / mp.mpf(TAU_SYN) for t in train]
        total -= scores[int(label)] - mp.log(sum(mp.exp(s) for s in scores))
    return total / problem.batch


@pytest.mark.parametrize("layer, row, column", [(0, 0, 0), (0, 4, 2), (1, 2, 3)])
def test_the_gradient_held_for_true_is_the_difference_of_losses(layer: int, row: int, column: int) -> None:
    problem = small_network(0)
    step = 1e-6
    with mp.workdps(DIGITS):
        values = []
        for sign in (1, -1):
            weights = [w.clone() for w in problem.weights]
            weights[layer][row, column] += sign * step
            values.append(loss(Problem(problem.inputs, weights, 1)))
        found = float((values[0] - values[1]) / (2 * step))
    true = true_gradients(problem)[layer]
    # a central difference errs by step^2 times the third derivative: some 1e-12 of gradients of 1e-3
    assert found == pytest.approx(true[row, column], abs=1e-8 * np.abs(true).max())


def test_the_census_is_near_the_threshold_and_half_of_it_spikes() -> None:
    problem, true = near_threshold(0)
    times = tuple(map(float, problem.inputs.times[0]))
    assert 0.4 < true.mean() < 0.6
    for row, spikes in list(zip(problem.weights[0].tolist(), true, strict=True))[:20]:
        top = maximum(Setting(times, tuple(row), TAU_MEM, TAU_SYN, t_stop=T_STOP))
        assert abs(top - 1) < 1.1e-3
        assert (top > 1) == spikes


def test_hwloop_loses_no_spike_and_its_gradient_is_that_of_forty_digits() -> None:
    rows = {row.peer: row for row in examine([REFERENCE])}
    assert (rows[REFERENCE].lost, rows[REFERENCE].invented) == (0, 0)
    assert (rows[DOUBLE].lost, rows[DOUBLE].invented) == (0, 0)
    error = rows[REFERENCE].gradient_error, rows[DOUBLE].gradient_error
    # rounding of some ten operations, each spike divided by its slope
    assert error[0] is not None
    assert error[0] < 1e-5
    assert error[1] is not None
    assert error[1] < 1e-12


def test_a_gradient_that_is_wrong_shows() -> None:
    problem = small_network(0)
    peer = made(DOUBLE, problem)
    peer.step()
    found = peer.gradients()
    assert found is not None
    wrong = [found[0].copy(), found[1]]
    wrong[0][2, 1] += 1e-3 * np.abs(wrong[0]).max()
    assert gradient_error(wrong, problem) == pytest.approx(1e-3, rel=1e-6)


def test_every_peer_has_a_row_and_one_that_is_missing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in ("norse", "snntorch", "spikingjelly", "jax", "jaxsnn", "eventax", "exact_event_adjoint"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("norse", "snntorch", "spikingjelly", "jaxsnn", "eventax", "exact_adjoint"):
        monkeypatch.delitem(sys.modules, f"hwloop.bench.peers.{name}", raising=False)
    rows = examine(ROWS)
    assert [row.peer for row in rows if row.peer != DOUBLE] == list(ROWS)
    missing = {row.peer: row.remark for row in rows if row.census is None}
    assert set(missing) == set(ROWS) - {REFERENCE, "cumsum"}
    assert all(remark.startswith("not installed") for remark in missing.values())


def test_the_closed_form_of_fast_and_deep_is_exact_too() -> None:
    (row,) = examine(["cumsum"])
    assert row.gradient_error is not None
    assert row.gradient_error < 1e-4  # float32, by sums of exponentials
    assert torch.get_default_dtype() == torch.float32
