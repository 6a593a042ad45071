"""Synapse lists against the connections that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hwloop.rules import Conv2d, Stage
from hwloop.rules.steps.synapse_lists import backward_synapses, synapses

from .spikegrad_support import conv_net, dense_net

STAGES = [*dense_net().stages, *conv_net().stages]
CONVOLUTIONS = [stage for stage in STAGES if isinstance(stage.connection, Conv2d)]


def _matrix(stage: Stage) -> np.ndarray:
    listed = synapses(stage)
    weights, matrix = listed.weights(stage), np.zeros((stage.n_out, stage.n_in))
    for source in range(listed.n_in):
        for k in range(listed.starts[source], listed.starts[source + 1]):
            assert matrix[listed.targets[k], source] == 0  # one synapse a pair
            matrix[listed.targets[k], source] = weights[k]
    return matrix


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_a_stage_is_the_matrix_of_its_synapses(stage: Stage) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(-4, 5, (3, stage.n_in), generator=generator).double()
    y = torch.randint(-4, 5, (3, stage.n_out), generator=generator).double()
    matrix = _matrix(stage)
    with torch.no_grad():
        # small multiples of 1/32: exact in float64
        assert np.array_equal(stage.drive(x).numpy(), x.numpy() @ matrix.T)
        assert np.array_equal(stage.adjoint(y).numpy(), y.numpy() @ matrix)


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_transposed_synapses_are_the_same_ones_sorted_by_target(stage: Stage) -> None:
    forward = synapses(stage)
    back = forward.transposed(stage.n_out)
    there = zip(
        np.repeat(np.arange(stage.n_in), np.diff(forward.starts)), forward.targets, forward.parameters, strict=True
    )
    again = zip(back.targets, np.repeat(np.arange(stage.n_out), np.diff(back.starts)), back.parameters, strict=True)
    assert sorted(there) == sorted(again)
    assert len(forward.targets) == len(back.targets) > 0


@pytest.mark.parametrize("stage", CONVOLUTIONS, ids=[stage.name for stage in CONVOLUTIONS])
def test_a_convolution_backwards_is_its_transposed_synapses(stage: Stage) -> None:
    conv = stage.connection
    listed = synapses(stage.bare).transposed(stage.n_out)
    starts, sources, parameters = backward_synapses(conv, stage.pooled_shape)
    assert np.array_equal(starts, listed.starts)
    for i in range(stage.n_out):
        part = slice(starts[i], starts[i + 1])
        pairs = (
            zip(a[part], b[part], strict=True) for a, b in ((sources, parameters), (listed.targets, listed.parameters))
        )
        assert sorted(next(pairs)) == sorted(next(pairs))
