"""Whole numbers and arrays as NumPy holds them are taken by rules and their networks; truth values are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import InputError

#: Builds something from a number, and what it makes of it.
BUILT: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "teacher": (lambda n: rules.HM2BP(teacher=n), lambda x: x.key),
    "steps_back": (lambda n: rules.Spide(steps_back=n), lambda x: x.key),
    "samples": (lambda n: rules.SpikeGrad(samples=n), lambda x: x.key),
    "levels": (lambda n: rules.SignedNeurons(levels=n), lambda x: x.levels),
    "t_ref": (lambda n: rules.LeakyNeurons(1.0, t_ref=n), lambda x: x.t_ref),
    "size": (rules.AvgPool, lambda x: x.size),
    "c_in": (lambda n: rules.Conv2d(n, n, n, padding=n), lambda x: tuple(x.weight.shape)),
    "steps": (lambda n: stepped(steps=n), lambda x: x.steps),
    "in_shape": (lambda n: stepped(in_shape=n), lambda x: x.in_shape),
}


def stepped(steps: Any = 3, in_shape: Any = 3) -> rules.StepNetwork:
    return rules.StepNetwork([hl.Dense(3, 2), rules.TracedNeurons()], in_shape=in_shape, steps=steps)


@pytest.mark.parametrize("name", BUILT)
def test_a_whole_number_of_numpy_is_one(name: str) -> None:
    build, seen = BUILT[name]
    assert seen(build(np.int64(3))) == seen(build(3))


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("value", [True, np.bool_(True), 2.5, "3"], ids=repr)
def test_what_is_no_whole_number_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name}.* = .*; allowed: a whole number"):
        BUILT[name][0](value)


def test_values_and_labels_may_be_arrays() -> None:
    values, labels = np.random.default_rng(0).random((4, 3)), np.array([0, 1, 2, 1], np.int32)
    data = rules.ValueSet(values, labels)  # type: ignore[arg-type]
    assert data.labels.dtype == torch.int64
    assert torch.equal(data.values, torch.from_numpy(values))
    assert [len(batch) for batch, _ in data.batches(np.int64(3))] == [3, 1]
    assert torch.equal(data.inputs[np.int64(-1)].values, data.inputs[-1].values)
