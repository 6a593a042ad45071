"""What is called right comes together with the step, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from .closeness import FEWEST, Gap, agree, gap_of_membranes, gap_of_spikes, slope, slope_of

FINE = (1, 2, 4)


def gaps(*distances: float, changed: int = 0, count: int = 40) -> list[Gap]:
    return [Gap(count, count, distance, changed) for distance in distances]


def test_spikes_are_compared_neuron_by_neuron_in_steps() -> None:
    theirs = np.zeros((10, 2))
    theirs[[2, 5], 0] = 1
    theirs[7, 1] = 2  # twice in one step
    gap = gap_of_spikes([[5.5, 1.5], [7.0]], theirs)
    assert gap == Gap(3, 4, 0.5, 1)


def test_a_run_without_spikes_is_infinitely_far_off() -> None:
    assert gap_of_spikes([[1.0]], np.zeros((10, 1))).distance == float("inf")


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 neurons of theirs, 1 of ours"):
        gap_of_spikes([[1.0]], np.zeros((10, 2)))
    with pytest.raises(ValueError, match="expected alike"):
        gap_of_membranes(np.zeros((3, 1)), np.zeros((4, 1)))


def test_membranes_are_compared_in_parts_of_the_largest() -> None:
    assert gap_of_membranes(np.array([[1.0], [1.5]]), np.array([[1.0], [2.0]])).distance == pytest.approx(0.125)


def test_a_gap_of_as_many_steps_at_every_step_falls_with_slope_1() -> None:
    assert slope_of(FINE, gaps(1.5, 1.5, 1.5), True) == pytest.approx(1.0)
    assert slope(FINE, [0.4, 0.2, 0.1]) == pytest.approx(1.0)
    assert slope(FINE, [0.2, 0.1, 0.0]) == float("inf")
    assert np.isnan(slope(FINE, [float("inf")] * 3))


def test_runs_that_stay_within_some_steps_agree() -> None:
    assert agree(FINE, gaps(2.0, 1.8, 2.1), True)
    assert agree(FINE, gaps(0.08, 0.04, 0.02), False)


@pytest.mark.parametrize(
    "found",
    [
        gaps(2.0, 4.0, 8.0),  # the same distance in time at every step
        gaps(1.0, 1.0, 1.0, changed=3),  # counts that differ
        gaps(1.0, 1.0, 1.0, count=FEWEST - 1),  # next to nothing
        gaps(1.0, 1.0, float("inf")),
    ],
)
def test_runs_that_stay_apart_do_not(found: list[Gap]) -> None:
    assert not agree(FINE, found, True)


@pytest.mark.parametrize("distances", [(0.04, 0.04, 0.04), (0.8, 0.4, 0.2)])
def test_membranes_that_stay_apart_do_not(distances: tuple[float, ...]) -> None:
    assert not agree(FINE, gaps(*distances), False)
