from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import CompileError, InputError
from hwloop.mapping import place


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.sets(st.integers(0, 99), max_size=15))
@settings(max_examples=60, deadline=None)
def test_no_neuron_is_used_twice_and_none_that_is_masked(sizes: list[int], mask: set[int]) -> None:
    placement = place(sizes, 100, mask)
    used = np.concatenate(placement)
    assert [len(neurons) for neurons in placement] == sizes
    assert len(np.unique(used)) == sum(sizes)
    assert not mask & set(used.tolist())
    assert (np.diff(used) > 0).all()


def test_without_mask_layers_follow_each_other() -> None:
    assert [p.tolist() for p in place([3, 2], 512)] == [[0, 1, 2], [3, 4]]


def test_a_network_that_just_fits_is_placed() -> None:
    assert place([3, 2], 6, [0])[1].tolist() == [4, 5]


def test_too_many_neurons_are_refused_with_the_number_to_remove() -> None:
    with pytest.raises(CompileError) as refusal:
        place([400, 120], 512, [3])
    assert "511 neurons" in refusal.value.limit
    assert "520 neurons" in refusal.value.value
    assert refusal.value.layer.startswith("layer 1 (LIF)")
    assert "remove 9" in refusal.value.fix


@pytest.mark.parametrize("neuron", [-1, 512])
def test_a_masked_neuron_that_does_not_exist_is_refused(neuron: int) -> None:
    with pytest.raises(InputError, match=f"neuron {neuron}.*0..511"):
        place([1], 512, [neuron])
