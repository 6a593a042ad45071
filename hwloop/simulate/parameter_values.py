"""Whether the parameters of a layer's neurons are those of its last call: by their values, in one pass over all of them.

Neither a tensor's identity nor its count of changes tells: values also change through ``.data`` and NumPy's views, which no
count notices. Reading six tensors through torch takes as long as the spikes of a sample, so their memory is read.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from .compile_kernel import kernel
from .contract import FloatArray

T = TypeVar("T")


class Recent(Generic[T]):
    """What was derived of parameters ``[k, n]`` last time, by what they belong to; of ``size`` owners at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: dict[Hashable, tuple[FloatArray, T]] = {}

    def keep(self, owner: Hashable, values: FloatArray, derived: T) -> None:
        """Keep ``derived`` of ``values``, a copy of which is made."""
        if len(self._kept) >= self._size:
            self._kept.clear()
        self._kept[owner] = np.array(values, order="C"), derived

    def find(self, owner: Hashable, params: Sequence[Tensor]) -> T | None:
        """What was kept of ``owner`` where ``params``, on the CPU, have the same values in the same dtype; else None."""
        kept = self._kept.get(owner)
        if kept is None:
            return None
        values, derived = kept
        size, n = values.itemsize, values.shape[1]
        for tensor in params:
            if tensor.itemsize != size or tensor.numel() != n or not tensor.is_contiguous():
                return None
        return derived if equal_at(tuple([tensor.data_ptr() for tensor in params]), values) else None


@intrinsic
def value_at(typingctx: Any, address: Any, index: Any, like: Any) -> Any:
    """Number ``index`` of those in the type of ``like`` that lie at ``address``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real = context.get_value_type(signature.return_type)
        start = builder.inttoptr(arguments[0], real.as_pointer())
        return builder.load(builder.gep(start, [arguments[1]]))

    return like(types.int64, types.int64, like), generate


@kernel()
def equal_at(addresses, values):  # type: ignore[no-untyped-def]
    """Whether the rows of ``values [k, n]`` equal what lies at the ``k`` ``addresses``, in the same dtype."""
    different = np.int32(0)
    for k in range(len(addresses)):
        for j in range(values.shape[1]):
            different |= np.int32(value_at(addresses[k], j, values[0, 0]) != values[k, j])
    return different == 0
