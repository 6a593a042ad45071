"""How kernels are compiled."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from hwloop.simulate.compile_kernel import kernel
from hwloop.simulate.convolution import cell_adjoint, cell_forward, cell_sensitivities
from hwloop.simulate.joint import adjoint as joint_adjoint
from hwloop.simulate.joint import own_parameters, simulation
from hwloop.simulate.kernels import adjoint, forward, sensitivities
from hwloop.simulate.readout import states
from hwloop_fixed_point import kernels as fixed_point

#: What has the loops of a simulation.
WORKING = (
    forward._simulate, adjoint._pass_back, sensitivities._jacobian_of, simulation._simulate, joint_adjoint._pass_back,
    own_parameters._accumulate, cell_forward._simulate, cell_adjoint._pass_back, cell_sensitivities._accumulate, states._read,
    states._read_back, fixed_point._run_layer, fixed_point._run_graph,
)  # fmt: skip


@kernel()
def _taken_from_a_tuple(arrays, n):  # type: ignore[no-untyped-def]
    total = 0.0
    for k in range(n):
        first, second = arrays
        both = second, first
        total += first[k] * both[0][k] + _product(first, second, k)
    return total


@kernel()
def _product(first, second, k):  # type: ignore[no-untyped-def]
    return first[k] * second[k]


@kernel()
def _makes(n):  # type: ignore[no-untyped-def]
    return np.zeros(n).sum()


@kernel()
def _hands_out(array):  # type: ignore[no-untyped-def]
    return array[1:]


@kernel(allocates=True)
def _makes_and_says_so(n):  # type: ignore[no-untyped-def]
    return np.ones(n)


def test_no_reference_is_counted_where_arrays_are_taken_from_tuples_and_handed_on() -> None:
    arrays = np.arange(4.0), np.ones(4)
    assert _taken_from_a_tuple(arrays, 4) == 12.0
    counted = []
    for kept in (_taken_from_a_tuple.targetoptions["_nrt"], True):
        # compiled here: what comes from the cache has no text
        fresh = njit(_nrt=kept)(_taken_from_a_tuple.py_func)
        fresh(arrays, 4)
        counted.append("NRT_incref" in fresh.inspect_llvm(fresh.signatures[0]))
    assert counted == [False, True]


@pytest.mark.parametrize("working", WORKING, ids=lambda found: found.py_func.__module__)
def test_the_loops_of_a_simulation_count_no_references(working) -> None:  # type: ignore[no-untyped-def]
    assert working.targetoptions["_nrt"] is False


def test_an_array_that_is_made_has_to_be_said() -> None:
    with pytest.raises(TypingError, match="zeros"):
        _makes(3)
    assert _makes_and_says_so(3).tolist() == [1, 1, 1]


def test_nobody_gets_a_view_that_nobody_holds() -> None:
    with pytest.raises(TypingError, match="returning of array"):
        _hands_out(np.arange(3.0))
