"""Which bits of a word are set, one after the other: lanes that are worked on are few among many."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def lowest(typingctx: Any, bits: Any) -> Any:
    """Place of the lowest bit of an int64 that is set; there is one. ``bits & (bits - 1)`` are the others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate
