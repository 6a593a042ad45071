"""One event of the neurons of a cell as vector instructions: ``LANES`` neurons, whose state is one row of a table.

The arithmetic is strict: replay takes the same steps and gets equal bits. A loop over so few neurons would be unrolled
before the compiler's vectoriser sees it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: Neurons of a cell that are worked on together; more channels are several such blocks.
LANES = 16

#: Rows of a cell's state, each ``LANES`` wide: membrane and current after the last event, and before it.
ROWS = 4


class _Vectors:
    """Vectors of ``LANES`` floats in the arrays that an intrinsic is given."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder, self.types, self.arguments = context, builder, signature.args, arguments
        self.scalar = context.get_value_type(signature.args[0].dtype)
        self.bytes = signature.args[0].dtype.bitwidth // 8
        self.vector = ir.VectorType(self.scalar, LANES)

    def row(self, number: Any, more: int = 0) -> Any:
        """Row ``number + more`` as an index."""
        return self.builder.add(number, ir.Constant(ir.IntType(64), more)) if more else number

    def _pointer(self, argument: int, row: Any) -> Any:
        array = self.context.make_array(self.types[argument])(self.context, self.builder, self.arguments[argument])
        offset = self.builder.mul(row, ir.Constant(ir.IntType(64), LANES))
        return self.builder.bitcast(self.builder.gep(array.data, [offset]), self.vector.as_pointer())

    def load(self, argument: int, row: Any) -> Any:
        """Row ``row`` of an array argument."""
        value = self.builder.load(self._pointer(argument, row))
        value.align = self.bytes
        return value

    def store(self, value: Any, argument: int, row: Any) -> None:
        """Write a vector to that row."""
        self.builder.store(value, self._pointer(argument, row)).align = self.bytes

    def each(self, argument: int) -> Any:
        """Row 0 of an array, or a float64 that all lanes share, rounded to their dtype."""
        if isinstance(self.types[argument], types.Array):
            return self.load(argument, ir.Constant(ir.IntType(64), 0))
        value = self.arguments[argument]
        if self.bytes == 4:
            value = self.builder.fptrunc(value, self.scalar)
        undefined = ir.Constant(self.vector, ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def sum(self, value: Any) -> Any:
        """The sum of the lanes, by halves."""
        width = LANES // 2
        while width:
            halves = [ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(k, k + width))) for k in (0, width)]
            undefined = ir.Constant(value.type, ir.Undefined)
            value = self.builder.fadd(*(self.builder.shuffle_vector(value, undefined, half) for half in halves))
            width //= 2
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


@intrinsic
def step_forward(typingctx, state, cell, weight, tap, e_m, e_s, g, level):  # type: ignore[no-untyped-def]
    """``u <- e_m u + g i``, ``i <- e_s i + weight[tap]`` of one cell; rows 2, 3 of its state get what was before.

    ``e_m, e_s, g`` are arrays, or float64 for all lanes. Returns a bit for each lane, set where ``u_end >= level`` or
    ``u + (1 - e_m) (i - u) >= level``, an upper bound while ``i > 0``: where the lane may cross in the interval.
    """
    signature = types.int64(state, types.int64, weight, types.int64, e_m, e_s, g, level)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        row = builder.mul(arguments[1], ir.Constant(ir.IntType(64), ROWS))
        u, i, decay, c = v.load(0, row), v.load(0, v.row(row, 1)), v.each(4), v.load(7, arguments[1])
        v.store(u, 0, v.row(row, 2))
        v.store(i, 0, v.row(row, 3))
        end = builder.fadd(builder.fmul(decay, u), builder.fmul(v.each(6), i))
        one = ir.Constant(v.vector, [ir.Constant(v.scalar, 1.0)] * LANES)
        near = builder.fadd(u, builder.fmul(builder.fsub(one, decay), builder.fsub(i, u)))
        v.store(end, 0, row)
        v.store(builder.fadd(builder.fmul(v.each(5), i), v.load(2, arguments[3])), 0, v.row(row, 1))
        hit = builder.or_(builder.fcmp_ordered(">=", end, c), builder.fcmp_ordered(">=", near, c))
        return builder.zext(builder.bitcast(hit, ir.IntType(LANES)), ir.IntType(64))

    return signature, generate


@intrinsic
def step_back(typingctx, state, weight, tap, e_m, e_s, g, d_weight, rate_mem, rate_syn):  # type: ignore[no-untyped-def]
    """``d_weight[tap] += a_i``, ``a_i <- e_s a_i + g a_u``, ``a_u <- e_m a_u``; rows 2, 3 get what was before.

    ``e_m, e_s, g`` and the rates (1/s) are arrays, or float64 for all lanes. Returns the gradient of the arrival time,
    ``sum weight (a_i rate_syn - a_u rate_mem)``.
    """
    signature = state.dtype(state, weight, types.int64, e_m, e_s, g, d_weight, rate_mem, rate_syn)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        rows = [ir.Constant(ir.IntType(64), k) for k in range(ROWS)]
        u, i, w, gathered = v.load(0, rows[0]), v.load(0, rows[1]), v.load(1, arguments[2]), v.load(6, arguments[2])
        moved = builder.fsub(builder.fmul(i, v.each(8)), builder.fmul(u, v.each(7)))
        v.store(u, 0, rows[2])
        v.store(i, 0, rows[3])
        v.store(builder.fmul(v.each(3), u), 0, rows[0])
        v.store(builder.fadd(builder.fmul(v.each(4), i), builder.fmul(v.each(5), u)), 0, rows[1])
        v.store(builder.fadd(gathered, i), 6, arguments[2])
        return v.sum(builder.fmul(w, moved))

    return signature, generate
