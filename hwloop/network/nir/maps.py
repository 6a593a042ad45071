"""Maps of NIR graphs (Linear, Affine, Conv1d, Conv2d, pools, Flatten, Scale, Delay) as maps of ours, with the file's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nir
import numpy as np
import torch
from torch import nn

from ...errors import InputError
from ..conv2d import Conv2d
from ..dense import Dense
from ..elementwise import Delay, Flatten, Scale
from ..linear_map import LinearMap, Shape, size_of
from ..pools import AvgPool2d, SumPool2d
from .units import TimeUnit
from .values import Array, is_whole, numbers, per_unit, text


def map_of(
    name: str, node: Any, shape: Shape, unit: TimeUnit, biased: bool, delay: torch.Tensor | None = None
) -> LinearMap:
    """The map of node ``name`` from units of ``shape``; without its bias unless ``biased``, and where all of it is 0.

    ``delay [n_in]`` (s): the axonal delay of a matrix.

    Raises :class:`InputError` naming the node: values that are no numbers, sizes that do not fit the units before it.
    """
    try:
        layer = _map(name, node, shape, unit, biased, delay)
        layer.out_shape(shape, type(node).__name__)
    except InputError as error:
        raise error if str(error).startswith(f"node {name!r}") else InputError(f"node {name!r}: {error}") from error
    return layer


def _map(name: str, node: Any, shape: Shape, unit: TimeUnit, biased: bool, delay: torch.Tensor | None) -> LinearMap:
    if isinstance(node, (nir.Linear, nir.Affine)):
        return _dense(name, node, biased, delay)
    if isinstance(node, (nir.Conv1d, nir.Conv2d)):
        return _convolution(name, node, shape, biased)
    if isinstance(node, (nir.SumPool2d, nir.AvgPool2d)):
        kind = SumPool2d if isinstance(node, nir.SumPool2d) else AvgPool2d
        return kind(*(_pair(name, key, getattr(node, key)) for key in ("kernel_size", "stride", "padding")))
    if isinstance(node, nir.Flatten):
        return Flatten()
    if isinstance(node, nir.Scale):
        return Scale(size_of(shape), torch.from_numpy(per_unit(name, "scale", node.scale, shape)))
    return Delay(size_of(shape), delays(name, node, shape, unit))


def delays(name: str, node: nir.Delay, shape: Shape, unit: TimeUnit) -> torch.Tensor:
    """``[n]`` (s) of a Delay."""
    array = per_unit(name, "delay", node.delay, shape)
    return torch.from_numpy((array.astype(np.float64) / unit.per_second).astype(array.dtype))


def _dense(name: str, node: Any, biased: bool, delay: torch.Tensor | None) -> Dense:
    weight = numbers(name, "weight", node.weight)
    while weight.ndim > 2 and weight.shape[0] == 1:
        weight = weight[0]
    if weight.ndim != 2:
        raise InputError(f"node {name!r}: weight has shape {weight.shape}; allowed: two axes, [n_out, n_in]")
    n_out, n_in = weight.shape
    bias = _bias(name, node, n_out, weight.dtype) if biased else None
    # a generator of its own: importing must not move torch's
    dense = Dense(n_in, n_out, delay=delay, bias=bias is not None, generator=torch.Generator())
    dense.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight.T)).t())
    if bias is not None:
        dense.bias = nn.Parameter(torch.from_numpy(bias))
    return dense


def _bias(name: str, node: Any, n_out: int, dtype: Any) -> Array | None:
    """``[n_out]`` in ``dtype``; None where there is none, or nothing but zeros."""
    given = getattr(node, "bias", None)
    if given is None:
        return None
    bias = per_unit(name, "bias", given, (n_out,)).astype(dtype)
    if not np.isfinite(bias).all():
        raise InputError(f"node {name!r}: a bias is NaN or infinite; allowed: finite numbers")
    return bias if bias.any() else None


def _convolution(name: str, node: Any, shape: Shape, biased: bool) -> Conv2d:
    weight = numbers(name, "weight", node.weight)
    if weight.ndim != 2 + len(_spatial(node)):
        raise InputError(
            f"node {name!r}: weight has shape {weight.shape}; allowed: [c_out, c_in, {', '.join(_spatial(node))}]"
        )
    if isinstance(node, nir.Conv1d):  # a map of height 1
        weight = weight[:, :, None, :]
    groups = _side(name, "groups", node.groups)
    stride, dilation = (_pair(name, key, getattr(node, key), 1, node) for key in ("stride", "dilation"))
    padding = _padding(name, node, weight.shape[2:], stride, dilation)
    bias = _bias(name, node, weight.shape[0], weight.dtype) if biased else None
    conv = Conv2d(
        weight.shape[1] * groups, weight.shape[0], (weight.shape[2], weight.shape[3]), stride=stride, padding=padding,
        dilation=dilation, groups=groups, bias=bias is not None, generator=torch.Generator(),
    )  # fmt: skip
    conv.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight)))
    if bias is not None:
        conv.bias = nn.Parameter(torch.from_numpy(bias))
    _check_sides(name, node, shape)
    return conv


def _spatial(node: Any) -> tuple[str, ...]:
    return ("length",) if isinstance(node, nir.Conv1d) else ("height", "width")


def _check_sides(name: str, node: Any, shape: Shape) -> None:
    """The sides that the node states are those of the units before it."""
    if node.input_shape is None:
        return
    stated = tuple(_side(name, "input_shape", side) for side in np.ravel(node.input_shape))
    if len(shape) == 3 and stated != shape[-len(stated) :]:
        raise InputError(
            f"node {name!r} ({type(node).__name__}): input_shape = {stated}, the units before it are {shape}; "
            "correct one of them"
        )


def _pair(name: str, key: str, value: Any, other: int = 0, node: Any = None) -> tuple[int, int]:
    """``value`` as (rows, columns); of a Conv1d the rows are ``other``."""
    sides = [_side(name, key, side) for side in np.ravel(value)]
    if isinstance(node, nir.Conv1d):
        sides = [other, *sides]
    elif len(sides) == 1:
        sides *= 2
    if len(sides) != 2:
        raise InputError(
            f"node {name!r}: {key} = {np.asarray(value).tolist()}; allowed: one whole number, or one a side"
        )
    return sides[0], sides[1]


def _side(name: str, key: str, value: Any) -> int:
    if not is_whole(value):
        raise InputError(f"node {name!r}: {key} = {value!r}; allowed: whole numbers")
    return int(np.asarray(value).reshape(()))


def _padding(
    name: str, node: Any, kernel: Sequence[int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int]:
    if not isinstance(node.padding, (str, bytes)):
        return _pair(name, "padding", node.padding, 0, node)
    given = text(node.padding)
    if given == "valid":
        return 0, 0
    spans = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if given != "same" or stride != (1, 1) or any(span % 2 for span in spans):
        raise InputError(
            f"node {name!r}: padding = {given!r} with kernel {tuple(kernel)} and stride {stride}; allowed: numbers, 'valid', or "
            "'same' with a stride of 1 and equal padding on both sides. Export it with numbers"
        )
    return spans[0] // 2, spans[1] // 2
