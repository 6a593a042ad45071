"""Arrays by name as one safetensors file, in memory: every bit kept, nothing unpickled, nothing taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .storage import malformed

Array: TypeAlias = NDArray[Any]

#: What may be stored.
DTYPES = ("float32", "float64", "int64", "int32", "int16", "uint8", "bool")


def dump_arrays(arrays: Mapping[str, Array]) -> bytes:
    """``arrays`` as a file; the same arrays give the same bytes."""
    return save({name: np.asarray(array, order="C") for name, array in sorted(arrays.items())})


def load_arrays(data: bytes, where: str) -> dict[str, Array]:
    """The arrays in ``data``, all of :data:`DTYPES`, without inf or NaN; :class:`DataError` naming ``where`` otherwise.

    What is allocated is at most the size of ``data``: the lengths that a header declares are compared with it first.
    """
    try:
        found: dict[str, Array] = load(data)
        for array in found.values():
            array.setflags(write=False)
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise malformed(where, "the file of arrays", str(error) or type(error).__name__, "safetensors") from None
    for name, array in found.items():
        if str(array.dtype) not in DTYPES:
            raise malformed(where, f"array {name!r:.60}", str(array.dtype), ", ".join(DTYPES))
        if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
            raise malformed(where, f"array {name!r:.60}", "inf or NaN in places", "finite numbers")
    return found


class ArrayReader:
    """Arrays of one file, each to be taken once by name, type and shape."""

    def __init__(self, arrays: Mapping[str, Array], where: str) -> None:
        self._left, self._where = dict(arrays), where

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, dtypes: tuple[str, ...] = (), shape: tuple[int | None, ...] | None = None) -> Array:
        """Array ``name`` of one of ``dtypes`` (empty: any) and of ``shape`` (None: any, as a length or as a whole)."""
        array = self._left.pop(name, None)
        wanted = f"{' or '.join(dtypes) or 'an array'}{'' if shape is None else f' of shape {shape}'}"
        if array is None:
            raise malformed(self._where, f"array {name!r:.60}", "missing", wanted)
        fits = shape is None or (
            len(shape) == array.ndim and all(w in (None, n) for w, n in zip(shape, array.shape, strict=True))
        )
        if not fits or (dtypes and str(array.dtype) not in dtypes):
            raise malformed(self._where, f"array {name!r:.60}", f"{array.dtype} of shape {array.shape}", wanted)
        return array

    def finish(self) -> None:
        """Refuse arrays that nothing took."""
        if self._left:
            raise malformed(
                self._where, f"array {min(self._left)!r:.60}", "unknown", "what the document beside it names"
            )
