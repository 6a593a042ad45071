"""A clock-driven simulation with forward Euler converges on the event-driven one with slope 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwloop.simulate import cpu

from .support import TAUS, Case, random_case


def euler(case: Case, steps: int) -> list[list[list[float]]]:
    """Spike times by sample and neuron; inputs act at the next step, spikes at the step that finds them."""
    a, i = case.layer, case.inputs
    dt = case.t_stop / steps
    result = []
    for b, n in enumerate(i.counts):
        arrive = np.ceil(i.times[b, :n] / dt).astype(int)
        u, current = a.start.copy(), np.zeros_like(a.start)
        held = np.zeros_like(a.start)
        trains: list[list[float]] = [[] for _ in u]
        event = 0
        for k in range(steps):
            while event < n and arrive[event] <= k:
                current = current + a.weight[i.units[b, event]]
                event += 1
            free = held <= k * dt
            u = np.where(free, u + dt / a.tau_mem * (current - u), u)
            current = current * (1 - dt / a.tau_syn)
            for j in np.flatnonzero(u >= a.threshold[0]):
                trains[j].append((k + 1) * dt)
                u[j] = a.reset[j]
                held[j] = (k + 1) * dt + a.t_ref[j]
        result.append(trains)
    return result


def deviation(case: Case, steps: int, exact: Any) -> float:
    """Mean distance of the first spikes."""
    found = euler(case, steps)
    errors = []
    for b, n in enumerate(exact.counts):
        for j in range(len(case.layer.tau_mem)):
            mine = exact.times[b, :n][exact.units[b, :n] == j]
            if len(mine) and len(found[b][j]):
                errors.append(abs(mine[0] - found[b][j][0]))
    assert len(errors) >= 40
    return float(np.mean(errors))


@pytest.mark.parametrize(("taus", "t_ref"), [*((name, 0.0) for name in TAUS), ("general", 2e-3)])
def test_euler_converges_with_slope_one(taus: str, t_ref: float) -> None:
    # strong inputs: steep crossings, so that no first spike appears or vanishes with the step
    case = random_case(6, taus, batch=3, n_out=20, strength=2.0, t_ref=t_ref)
    exact = cpu.forward(case.layer, case.inputs, case.t_stop).spikes
    steps = np.array([2000, 4000, 8000, 16000])
    errors = [deviation(case, int(n), exact) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)
