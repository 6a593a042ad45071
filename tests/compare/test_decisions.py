from __future__ import annotations

import numpy as np
import pytest
import torch

from hwloop.compare import compare_decisions
from hwloop.errors import InputError, OptionError
from hwloop.spikes import Spikes


def output(*samples: list[tuple[float, int]]) -> Spikes:
    pairs = [([t for t, _ in sample], [k for _, k in sample]) for sample in samples]
    return Spikes.from_events(pairs, 3, 1.0)


SIMULATED = output([(0.1, 0), (0.2, 1)], [(0.1, 1)], [(0.3, 2), (0.4, 2)], [(0.5, 0)])
MEASURED = output([(0.1, 1), (0.2, 0)], [(0.1, 1)], [(0.2, 0), (0.3, 2), (0.4, 2)], [])


def test_a_flip_names_sample_both_classes_and_label() -> None:
    found = compare_decisions(SIMULATED, MEASURED, [0, 1, 0, 0])
    assert found.simulated.tolist() == [0, 1, 2, 0]
    assert found.measured.tolist() == [1, 1, 0, -1]
    assert found.flips() == [
        {"sample": 0, "from": 0, "to": 1, "label": 0},
        {"sample": 2, "from": 2, "to": 0, "label": 0},
        {"sample": 3, "from": 0, "to": -1, "label": 0},
    ]
    assert found.broken.tolist() == [0, 3]
    assert found.repaired.tolist() == [2]
    assert found.accuracy_simulated == 0.75
    assert found.accuracy_measured == 0.5


def test_the_count_rule_sees_other_flips() -> None:
    assert compare_decisions(SIMULATED, MEASURED, rule="count").flipped.tolist() == [0, 3]


def test_without_labels_there_is_no_accuracy() -> None:
    found = compare_decisions(SIMULATED, MEASURED)
    assert found.accuracy_simulated is None
    assert found.accuracy_measured is None
    assert found.broken.size == found.repaired.size == 0
    with pytest.raises(InputError, match="needs labels"):
        found.table("labels", "measured")


def test_tables_count_every_sample_once() -> None:
    found = compare_decisions(SIMULATED, MEASURED, torch.tensor([0, 1, 0, 0]))
    table = found.table("simulated", "measured")
    assert table.sum() == 4
    assert table[0, 1] == table[2, 0] == table[1, 1] == table[0, 3] == 1
    assert np.array_equal(found.table("labels", "measured").sum(axis=1), [3, 1, 0, 0])


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"sample 2: label 3; allowed: whole numbers 0..2"):
        compare_decisions(SIMULATED, MEASURED, [0, 1, 3, 0])
    with pytest.raises(InputError, match=r"labels have shape \(2,\); expected one whole number for each of 4"):
        compare_decisions(SIMULATED, MEASURED, [0, 1])
    with pytest.raises(OptionError, match="'first'"):
        compare_decisions(SIMULATED, MEASURED, rule="last")  # type: ignore[arg-type]
