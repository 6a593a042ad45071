"""One event of a layer of ``LANES`` neurons as vector instructions, written out.

An output layer of ten neurons sees every spike of the layer before it, thousands a sample. Loops over so few lanes are
unrolled before the compiler's vectoriser sees them, and end up scalar: 17 to 36 ns an event, against 5 here. All
arithmetic is strict; the loops of the wide path do the same in the same order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compile_kernel import kernel
from .neuron import SLACK

#: Lanes to which a layer of at most as many neurons is padded.
LANES = 16

#: Terms of the exponential and of phi, by bytes of the float; see ``EXP_RANGE`` and ``PHI_RANGE``.
EXP_TERMS, PHI_TERMS = {4: 5, 8: 9}, {4: 6, 8: 12}


class _Vectors:
    """Vectors of ``LANES`` floats in the arrays that an intrinsic is given."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder, self.types, self.arguments = context, builder, signature.args, arguments
        self.scalar = context.get_value_type(signature.args[0].dtype)
        self.bytes = signature.args[0].dtype.bitwidth // 8
        self.vector = ir.VectorType(self.scalar, LANES)

    def at(self, argument: int, row: Any = 0) -> Any:
        """Pointer to row ``row`` (of ``LANES``) of an array argument."""
        array = self.context.make_array(self.types[argument])(self.context, self.builder, self.arguments[argument])
        offset = (
            ir.Constant(ir.IntType(64), row * LANES)
            if isinstance(row, int)
            else self.builder.mul(row, ir.Constant(ir.IntType(64), LANES))
        )
        return self.builder.bitcast(self.builder.gep(array.data, [offset]), self.vector.as_pointer())

    def load(self, argument: int, row: Any = 0) -> Any:
        """That row as a vector."""
        value = self.builder.load(self.at(argument, row))
        value.align = self.bytes
        return value

    def store(self, value: Any, argument: int, row: Any = 0) -> None:
        """Write a vector to that row."""
        self.builder.store(value, self.at(argument, row)).align = self.bytes

    def each(self, argument: int) -> Any:
        """A vector from an array, or of one float64 that all lanes share."""
        return self.load(argument) if isinstance(self.types[argument], types.Array) else self.spread(argument)

    def constant(self, value: float) -> Any:
        """A vector of one constant."""
        return ir.Constant(self.vector, [ir.Constant(self.scalar, value)] * LANES)

    def spread(self, argument: int) -> Any:
        """A vector of one float64 argument, rounded to the arrays' dtype."""
        value = self.arguments[argument]
        if self.bytes == 4:
            value = self.builder.fptrunc(value, self.scalar)
        single = self.builder.insert_element(
            ir.Constant(self.vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(single, ir.Constant(self.vector, ir.Undefined), zeros)

    def sum(self, value: Any) -> Any:
        """The sum of the lanes, by halves."""
        width = LANES // 2
        while width:
            halves = [ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(k, k + width))) for k in (0, width)]
            undefined = ir.Constant(value.type, ir.Undefined)
            value = self.builder.fadd(*(self.builder.shuffle_vector(value, undefined, half) for half in halves))
            width //= 2
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    def series(self, x: Any, coefficients: list[float]) -> Any:
        """The polynomial in ``x`` with these coefficients, constant first, by Horner's rule."""
        value = self.constant(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            value = self.builder.fadd(self.constant(coefficient), self.builder.fmul(x, value))
        return value


@kernel(allocates=True)
def aligned_rows(rows, width, like):  # type: ignore[no-untyped-def]
    """Zeros ``[rows, width]`` in the dtype of ``like``, at a multiple of a cache line, which no vector then straddles."""
    line = 64 // like.itemsize
    space = np.zeros(rows * width + line, like.dtype)
    skip = (line - (space.ctypes.data // like.itemsize) % line) % line
    return space[skip : skip + rows * width].reshape((rows, width))


@intrinsic
def forward_step(typingctx, state, weight, unit, e_m, e_s, g, c, kind):  # type: ignore[no-untyped-def]
    """Rows ``u, i`` of ``state`` to rows 2, 3; ``u <- e_m u + g i``, ``i <- e_s i + weight[unit]``.

    ``e_m, e_s, g`` are arrays, or float64 for all lanes. Returns a bit for each lane that :func:`~.neuron.may_cross`.
    """
    signature = types.int64(state, weight, types.int64, e_m, e_s, g, c, kind)
    exact = isinstance(kind, types.NoneType)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        u, i, decay, level = v.load(0, 0), v.load(0, 1), v.each(3), v.load(6)
        arriving = v.load(1, arguments[2])
        v.store(u, 0, 2)
        v.store(i, 0, 3)
        end = builder.fadd(builder.fmul(decay, u), builder.fmul(v.each(5), i))
        faded = builder.fmul(v.each(4), i)
        v.store(end, 0, 0)
        v.store(builder.fadd(faded, arriving), 0, 1)
        hit = crossing_lanes(v, exact, (u, i, end, faded), level, builder.fsub(v.constant(1.0), decay))
        return builder.zext(builder.bitcast(hit, ir.IntType(LANES)), ir.IntType(64))

    return signature, generate


def crossing_lanes(v: Any, exact: bool, states: tuple[Any, Any, Any, Any], c: Any, gone: Any) -> Any:
    """:func:`~.neuron.may_cross` of vectors: ``u, i`` before and after; ``exact`` for ``RATIO_2``. One bit a lane."""
    builder, (u, i, u_end, i_end) = v.builder, states
    p, slack = builder.fsub(i, u), v.constant(SLACK)
    if exact:
        twice, square = builder.fadd(i, i), builder.fmul(p, p)
        needed = builder.fmul(builder.fadd(twice, twice), builder.fsub(c, u))
        inside = builder.fcmp_ordered("<=", p, builder.fmul(twice, builder.fadd(gone, slack)))
        inside = builder.and_(inside, builder.fcmp_ordered(">", p, v.constant(0.0)))
        high = builder.fcmp_ordered(">=", builder.fadd(square, builder.fmul(slack, square)), needed)
    else:
        falls = builder.fadd(u_end, builder.fmul(slack, builder.fadd(i, p)))
        inside = builder.fcmp_ordered("<=", i_end, falls)
        high = builder.fcmp_ordered(">=", builder.fadd(u, builder.fmul(gone, p)), c)
    return builder.or_(builder.fcmp_ordered(">=", u_end, c), builder.and_(inside, high))


@intrinsic
def backward_step(typingctx, state, weight, unit, e_m, e_s, g, d_weight, rate_mem, rate_syn):  # type: ignore[no-untyped-def]
    """Rows ``a_u, a_i`` of ``state`` to rows 2, 3; ``d_weight[unit] += a_i``, ``a_i <- e_s a_i + g a_u``, ``a_u <- e_m a_u``.

    Returns the gradient of the arrival time, ``sum w (a_i rate_syn - a_u rate_mem)``.
    """
    signature = state.dtype(state, weight, types.int64, e_m, e_s, g, d_weight, rate_mem, rate_syn)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        u, i, w, gathered = v.load(0, 0), v.load(0, 1), v.load(1, arguments[2]), v.load(6, arguments[2])
        end_i = builder.fadd(builder.fmul(v.each(4), i), builder.fmul(v.each(5), u))
        end_u = builder.fmul(v.each(3), u)
        moved = builder.fsub(builder.fmul(i, v.load(8)), builder.fmul(u, v.load(7)))
        v.store(u, 0, 2)
        v.store(i, 0, 3)
        v.store(end_u, 0, 0)
        v.store(end_i, 0, 1)
        v.store(builder.fadd(gathered, i), 6, arguments[2])
        return v.sum(builder.fmul(w, moved))

    return signature, generate


@intrinsic
def short_propagators(typingctx, e_m, e_s, g, rates, dt, base_m, base_s):  # type: ignore[no-untyped-def]
    """The propagators of ``LANES`` neurons where ``dt`` is short enough for the series; see :mod:`.propagators`."""
    signature = types.void(e_m, e_s, g, rates, types.float64, types.float64, types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        step, base_m, base_s = v.spread(4), v.spread(5), v.spread(6)
        back = builder.fsub(v.constant(0.0), step)
        exponential = [1.0 / math.factorial(k) for k in range(EXP_TERMS[v.bytes] + 1)]
        phi = [1.0 / math.factorial(k + 1) for k in range(PHI_TERMS[v.bytes] + 1)]
        x, y, z = (builder.fmul(back, v.load(3, row)) for row in (0, 1, 3))
        decay = builder.fmul(base_m, v.series(x, exponential))
        v.store(decay, 0)
        v.store(builder.fmul(base_s, v.series(y, exponential)), 1)
        share = builder.fmul(builder.fmul(step, v.load(3, 2)), decay)
        v.store(builder.fmul(share, v.series(z, phi)), 2)
        return context.get_dummy_value()

    return signature, generate
