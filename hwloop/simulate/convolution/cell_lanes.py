"""Events of the neurons of a cell as vector instructions: ``LANES`` neurons, whose state is one row of a table.

The arithmetic is strict: replay takes the same steps and gets equal bits. A loop over so few neurons would be unrolled
before the compiler's vectoriser sees it. A **run** goes through many events with the state in registers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..kernels.narrow import crossing_lanes

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
        """Row 0 of an array, or a float that all lanes share, rounded to their dtype."""
        if isinstance(self.types[argument], types.Array):
            return self.load(argument, ir.Constant(ir.IntType(64), 0))
        value = self.arguments[argument]
        if value.type != self.scalar:
            value = self.builder.fptrunc(value, self.scalar)
        return self.spread(value)

    def pointer_to(self, argument: int, place: Any) -> Any:
        """Where item ``place`` of an array argument of one dimension stands."""
        array = self.context.make_array(self.types[argument])(self.context, self.builder, self.arguments[argument])
        return self.builder.gep(array.data, [place])

    def item(self, argument: int, place: Any) -> Any:
        """Item ``place`` of an array argument of one dimension; whole numbers as int64."""
        value = self.builder.load(self.pointer_to(argument, place))
        word = ir.IntType(64)
        return self.builder.sext(value, word) if isinstance(value.type, ir.IntType) and value.type != word else value

    def spread(self, value: Any) -> Any:
        """A number of the lanes' dtype in all of them."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def constant(self, value: float) -> Any:
        """A number in all lanes."""
        return ir.Constant(self.vector, [ir.Constant(self.scalar, value)] * LANES)

    def sum(self, value: Any) -> Any:
        """The sum of the lanes, by halves."""
        width = LANES // 2
        while width:
            halves = [ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(k, k + width))) for k in (0, width)]
            undefined = ir.Constant(value.type, ir.Undefined)
            value = self.builder.fadd(*(self.builder.shuffle_vector(value, undefined, half) for half in halves))
            width //= 2
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def _passed(
    v: _Vectors, state: tuple[Any, Any], factors: tuple[Any, Any, Any], c: Any, exact: bool
) -> tuple[Any, Any, Any]:
    """``u, i`` at the end of an interval, and a bit for each lane that may cross in it; see :func:`step_forward`."""
    builder, (u, i), (e_m, e_s, g) = v.builder, state, factors
    end, faded = builder.fadd(builder.fmul(e_m, u), builder.fmul(g, i)), builder.fmul(e_s, i)
    hit = crossing_lanes(v, exact, (u, i, end, faded), c, builder.fsub(v.constant(1.0), e_m))
    return end, faded, builder.zext(builder.bitcast(hit, ir.IntType(LANES)), ir.IntType(64))


@intrinsic
def step_forward(typingctx, state, cell, weight, tap, e_m, e_s, g, level, kind):  # type: ignore[no-untyped-def]
    """``u <- e_m u + g i``, ``i <- e_s i + weight[tap]`` of one cell; rows 2, 3 of its state get what was before.

    ``e_m, e_s, g`` are arrays, or one number for all lanes. Returns a bit for each lane that :func:`~..kernels.neuron.may_cross`;
    ``kind`` is None for ``RATIO_2``.
    """
    signature = types.int64(state, types.int64, weight, types.int64, e_m, e_s, g, level, kind)
    exact = isinstance(kind, types.NoneType)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        row = builder.mul(arguments[1], ir.Constant(ir.IntType(64), ROWS))
        u, i = v.load(0, row), v.load(0, v.row(row, 1))
        v.store(u, 0, v.row(row, 2))
        v.store(i, 0, v.row(row, 3))
        u, i, bits = _passed(v, (u, i), (v.each(4), v.each(5), v.each(6)), v.load(7, arguments[1]), exact)
        v.store(u, 0, row)
        v.store(builder.fadd(i, v.load(2, arguments[3])), 0, v.row(row, 1))
        return bits

    return signature, generate


@intrinsic
def run_forward(typingctx, state, cell, weight, tap, more, first, last, e_m, e_s, g, level, kind):  # type: ignore[no-untyped-def]
    """:func:`step_forward` for the events ``first .. last``, up to one in whose interval a lane may cross.

    Event ``k`` brings ``weight[tap[k]]`` and ends interval ``k + more`` of ``e_m, e_s, g``, numbers of the lanes' dtype. Returns
    ``k << LANES | bits`` of that event, after which the state stands; or ``last << LANES``. Rows 2, 3 as after a step.
    """
    whole = types.int64
    signature = types.int64(state, whole, weight, tap, whole, whole, whole, e_m, e_s, g, level, kind)
    exact, word = isinstance(kind, types.NoneType), ir.IntType(64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        row, c = builder.mul(arguments[1], ir.Constant(word, ROWS)), v.load(10, arguments[1])
        start = v.load(0, row), v.load(0, v.row(row, 1))
        before = builder.basic_block
        head, body, after = (builder.append_basic_block(name) for name in ("run", "event", "ran"))
        builder.branch(head)
        builder.position_at_end(head)
        k, u, i = builder.phi(word), builder.phi(v.vector), builder.phi(v.vector)
        builder.cbranch(builder.icmp_signed("<", k, arguments[6]), body, after)
        builder.position_at_end(body)
        interval = builder.add(k, arguments[4])
        factors = tuple(v.spread(v.item(argument, interval)) for argument in (7, 8, 9))
        end, faded, bits = _passed(v, (u, i), factors, c, exact)
        current = builder.fadd(faded, v.load(2, v.item(3, k)))
        following = builder.add(k, ir.Constant(word, 1))
        for phi, value in ((k, following), (u, end), (i, current)):
            phi.add_incoming(value, body)
        for phi, value in ((k, arguments[5]), (u, start[0]), (i, start[1])):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("==", bits, ir.Constant(word, 0)), head, after)
        builder.position_at_end(after)
        results = []
        for at_end, at_hit in ((u, end), (i, current), (ir.Constant(word, 0), bits)):
            phi = builder.phi(at_end.type)
            phi.add_incoming(at_end, head)
            phi.add_incoming(at_hit, body)
            results.append(phi)
        v.store(u, 0, v.row(row, 2))
        v.store(i, 0, v.row(row, 3))
        v.store(results[0], 0, row)
        v.store(results[1], 0, v.row(row, 1))
        return builder.or_(builder.shl(k, ir.Constant(word, LANES)), results[2])

    return signature, generate


def _back(v: _Vectors, adjoint: tuple[Any, Any], factors: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    """The adjoint of membrane and current at the begin of an interval, from that at its end."""
    builder, (u, i), (e_m, e_s, g) = v.builder, adjoint, factors
    return builder.fmul(e_m, u), builder.fadd(builder.fmul(e_s, i), builder.fmul(g, u))


@intrinsic
def step_back(typingctx, state, weight, tap, e_m, e_s, g, d_weight, rate_mem, rate_syn):  # type: ignore[no-untyped-def]
    """``d_weight[tap] += a_i``, ``a_i <- e_s a_i + g a_u``, ``a_u <- e_m a_u``; rows 2, 3 get what was before.

    ``e_m, e_s, g`` and the rates (1/s) are arrays, or one number for all lanes. Returns the gradient of the arrival time,
    ``sum weight (a_i rate_syn - a_u rate_mem)``.
    """
    signature = state.dtype(state, weight, types.int64, e_m, e_s, g, d_weight, rate_mem, rate_syn)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        rows = [ir.Constant(ir.IntType(64), k) for k in range(ROWS)]
        u, i, w, gathered = v.load(0, rows[0]), v.load(0, rows[1]), v.load(1, arguments[2]), v.load(6, arguments[2])
        moved = builder.fsub(builder.fmul(i, v.each(8)), builder.fmul(u, v.each(7)))
        before = _back(v, (u, i), (v.each(3), v.each(4), v.each(5)))
        for row, value in zip(rows, (*before, u, i), strict=True):
            v.store(value, 0, row)
        v.store(builder.fadd(gathered, i), 6, arguments[2])
        return v.sum(builder.fmul(w, moved))

    return signature, generate


@intrinsic
def run_back(  # type: ignore[no-untyped-def]
    typingctx, state, weight, tap, event, more, last, first, e_m, e_s, g, d_weight, d_times, timed, rate_mem, rate_syn
):
    """:func:`step_back` for the events ``last .. first``, backwards; if ``timed``, adds the gradient of each arrival to ``d_times[event]``.

    Event ``k`` brought ``weight[tap[k]]`` at the end of interval ``k + more`` of ``e_m, e_s, g``, numbers of the lanes' dtype. Rows
    2, 3 of the state stay as they were.
    """
    whole, word = types.int64, ir.IntType(64)
    signature = types.void(
        state,
        weight,
        tap,
        event,
        whole,
        whole,
        whole,
        e_m,
        e_s,
        g,
        d_weight,
        d_times,
        types.boolean,
        rate_mem,
        rate_syn,
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        v = _Vectors(context, builder, signature, arguments)
        rows = [ir.Constant(word, k) for k in range(2)]
        start, r_m, r_s = [v.load(0, row) for row in rows], v.each(13), v.each(14)
        before, wanted = builder.basic_block, arguments[12]
        head, body, timing, past, after = (
            builder.append_basic_block(name) for name in ("back", "event", "time", "past", "done")
        )
        builder.branch(head)
        builder.position_at_end(head)
        k, u, i = builder.phi(word), builder.phi(v.vector), builder.phi(v.vector)
        builder.cbranch(builder.icmp_signed(">=", k, arguments[6]), body, after)
        builder.position_at_end(body)
        row, interval = v.item(2, k), builder.add(k, arguments[4])
        v.store(builder.fadd(v.load(10, row), i), 10, row)
        builder.cbranch(wanted, timing, past)
        builder.position_at_end(timing)
        moved = builder.fsub(builder.fmul(i, r_s), builder.fmul(u, r_m))
        place = v.pointer_to(11, v.item(3, k))
        builder.store(builder.fadd(builder.load(place), v.sum(builder.fmul(v.load(1, row), moved))), place)
        builder.branch(past)
        builder.position_at_end(past)
        earlier = _back(v, (u, i), tuple(v.spread(v.item(argument, interval)) for argument in (7, 8, 9)))
        for phi, value in ((k, builder.sub(k, ir.Constant(word, 1))), (u, earlier[0]), (i, earlier[1])):
            phi.add_incoming(value, past)
        for phi, value in ((k, arguments[5]), (u, start[0]), (i, start[1])):
            phi.add_incoming(value, before)
        builder.branch(head)
        builder.position_at_end(after)
        v.store(u, 0, rows[0])
        v.store(i, 0, rows[1])
        return context.get_dummy_value()

    return signature, generate
