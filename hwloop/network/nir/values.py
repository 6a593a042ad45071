"""Values of NIR nodes: numbers of whatever type and shape, as one for each unit."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ..linear_map import Shape, size_of

Array: TypeAlias = "np.ndarray[Any, Any]"


def numbers(node: str, name: str, value: Any) -> Array:
    """``value`` as a float array of its own; float16 becomes float32, whole numbers float64; :class:`InputError` for anything else."""
    if isinstance(value, Tensor):
        value = (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu()
    array = np.asarray(value)
    if array.dtype in (np.float32, np.float64):
        return np.array(array, order="C")
    if array.dtype.kind not in "fiu":
        raise InputError(f"node {node!r}: {name} has values of dtype {array.dtype}; allowed: real numbers")
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def per_unit(node: str, name: str, value: Any, shape: Shape) -> Array:
    """``value`` as a float array ``[n]`` of units of ``shape``: one number for all, one a unit in any shape, one a channel."""
    array, n = numbers(node, name, value), size_of(shape)
    if array.size == 1:
        return np.full(n, array.reshape(()), dtype=array.dtype)
    squeezed = array.reshape([side for side in array.shape if side > 1])
    if array.size == n and (
        squeezed.ndim == 1 or len(shape) == 1 or squeezed.shape == tuple(s for s in shape if s > 1)
    ):
        return array.reshape(-1)
    if len(shape) == 3 and squeezed.shape == shape[:1] and array.shape[-1] in (1, array.size):
        return np.repeat(squeezed, n // shape[0])
    raise InputError(
        f"node {node!r}: {name} has shape {array.shape}; allowed: one number, or one for each of its {n} units {shape}"
        + (f", or one for each of its {shape[0]} channels" if len(shape) == 3 else "")
    )


def is_whole(value: Any) -> bool:
    """Whether ``value`` is one number, and a whole one: neither NaN nor infinite."""
    array = np.asarray(value)
    return array.size == 1 and array.dtype.kind in "fiu" and float(array.reshape(())).is_integer()


def text(value: Any) -> str:
    """``value`` of metadata as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
