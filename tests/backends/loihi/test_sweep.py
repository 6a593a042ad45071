from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from hwloop.device.registry import choose_dt as choose_for
from hwloop.device.registry import find
from hwloop.errors import CompileError, InputError, OptionError
from hwloop_loihi import choose_dt
from hwloop_loihi.sweep import AS_GOOD, candidates

from .support import TAU_MEM, TAU_SYN, network, spikes


def test_candidates_sit_where_both_decays_are_nearly_whole() -> None:
    for dt in candidates(network(2, 2)):
        exact = 4096 * (1 - np.exp(-dt / np.array([TAU_SYN, TAU_MEM])))
        error = np.abs(np.rint(exact) / exact - 1).max()
        assert error < 0.005
        plain = 4096 * (1 - np.exp(-TAU_SYN / 200 / np.array([TAU_SYN, TAU_MEM])))
        assert error < np.abs(np.rint(plain) / plain - 1).max()


def test_the_chosen_step_is_the_largest_of_those_nearly_as_good_as_the_best() -> None:
    net, given = network(6, 20, 4, seed=1), spikes(6, batch=60, events=20)
    choice = choose_dt(net, given)
    errors = {step.dt: step.mean_error for step in choice.steps}
    good = [dt for dt, error in errors.items() if error <= min(errors.values()) * (1 + AS_GOOD)]
    assert choice.dt == max(good)
    # a step of a fifth of a time constant costs more than any finer one chosen here
    assert errors[choice.dt] < 0.7 * errors[max(errors)]


def test_figures_of_a_step_are_those_of_its_spikes() -> None:
    import hwloop as hl

    net, given, dt = network(6, 20, 4, seed=1), spikes(6, batch=20, events=20), 1e-3
    (step,) = choose_dt(net, given, steps=[dt]).steps
    with hl.open("loihi", dt=dt) as device:
        device.load(hl.compile(net, device))
        found = device.run(given).output.first_times().numpy()
    exact = net(given).output.first_times().detach().numpy()
    here, there = np.isfinite(exact), np.isfinite(found)
    either = int((here | there).sum())
    assert step.missed == pytest.approx(int((here & ~there).sum()) / either)
    assert step.extra == pytest.approx(int((there & ~here).sum()) / either)
    distance = np.sort(np.abs(exact - found)[here & there])
    assert step.median_error == pytest.approx(distance[(len(distance) - 1) // 2])
    assert step.ticks == 50


def test_a_step_that_is_refused_stands_in_the_table() -> None:
    net = network(4, 6, delay=20e-3)
    choice = choose_dt(net, spikes(4), steps=[1e-3, 1e-4])
    assert choice.dt == 1e-3
    refused = choice.steps[1]
    assert math.isinf(refused.mean_error)
    assert "delays up to 63 ticks" in refused.refused
    assert re.search(r"0\.0001 refused: layer 0 \(Dense\)", str(choice))
    assert "<- chosen" in str(choice)
    json.dumps(choice.to_dict(), allow_nan=False)


def test_a_network_that_no_step_carries_is_refused() -> None:
    with pytest.raises(CompileError, match="t_ref = 0.001 s"):
        choose_dt(network(4, 6, t_ref=1e-3), spikes(4))
    with pytest.raises(InputError, match="steps is empty"):
        choose_dt(network(4, 6), spikes(4), steps=[])


def test_a_target_without_steps_has_none_to_choose() -> None:
    net, given = network(4, 6), spikes(4)
    assert choose_for(find("loihi"), net, given).dt > 0
    with pytest.raises(OptionError, match="emulator:0 has no time step to choose"):
        choose_for(find("emulator:0"), net, given)
