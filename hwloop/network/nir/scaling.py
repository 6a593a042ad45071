"""Gains of neurons as part of the weights that lead into them, on the way in; out of them, on the way out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import InputError
from ..composition import Composition
from ..conv2d import Conv2d
from ..dense import Dense
from ..elementwise import Delay, Flatten, Scale, Sparse
from ..linear_map import LinearMap, Shape
from .values import Array


def rescaled(maps: Sequence[LinearMap], in_shape: Shape, gain: Array, constant: Array, where: str) -> list[LinearMap]:
    """``maps``, changed in place, that answer ``gain`` times as much to spikes, and add ``constant`` times as much by themselves.

    ``gain, constant [n_out]`` float64. Where no map can take the gains, a :class:`Scale` after them does. Raises
    :class:`InputError` for a bias that maps of this kind cannot carry with gains that differ from neuron to neuron, and for
    values that are not finite.
    """
    result = list(maps)
    composition = Composition(result, in_shape, where)
    offset = composition.offset()
    last = _last(result)
    if last is not None and not _takes(result[last], gain):
        last = None
    if offset is not None:
        _rescale_biases(result, last, offset.detach().double().numpy(), gain, constant, where)
    if last is not None:
        _multiply(result[last], gain)
    elif not np.all(gain == 1):
        dtype = composition.dtype or torch.from_numpy(gain).dtype
        result.append(Scale(len(gain), torch.from_numpy(gain).to(dtype)))
    _check_finite(result, where)
    return result


def _last(maps: Sequence[LinearMap]) -> int | None:
    """Place of the last map with weights, where none but maps from each unit to itself come after it."""
    for k in reversed(range(len(maps))):
        if isinstance(maps[k], (Dense, Conv2d, Scale, Sparse)):
            return k
        if not isinstance(maps[k], (Flatten, Delay)):
            return None
    return None


def _takes(layer: LinearMap, gain: Array) -> bool:
    return not isinstance(layer, Conv2d) or _of_channels(gain, layer.c_out) is not None


def _of_channels(values: Array, channels: int) -> Array | None:
    """``[channels]`` of ``values [n]``, where each channel has one."""
    rows = values.reshape(channels, -1)
    return rows[:, 0] if np.all(rows == rows[:, :1]) else None


def _multiply(layer: LinearMap, gain: Array) -> None:
    if np.all(gain == 1):
        return
    if isinstance(layer, Dense):
        _set(layer.weight, layer.weight.detach().double() * torch.from_numpy(gain)[:, None])
    elif isinstance(layer, Conv2d):
        by_channel = _of_channels(gain, layer.c_out)
        if by_channel is not None:
            _set(layer.weight, layer.weight.detach().double() * torch.from_numpy(by_channel)[:, None, None, None])
    elif isinstance(layer, Scale):
        _set(layer.factor, layer.factor.detach().double() * torch.from_numpy(gain))
    elif isinstance(layer, Sparse):
        _set(layer.weight, layer.weight.detach().double() * torch.from_numpy(gain)[layer.targets])


def _rescale_biases(
    maps: Sequence[LinearMap], last: int | None, offset: Array, gain: Array, constant: Array, where: str
) -> None:
    """Biases before the ``last`` map pass it, and its gain: they take ``constant / gain``; its own take ``constant``."""
    with np.errstate(all="ignore"):
        ratio = constant / gain
    early = {k: bias for k, layer in enumerate(maps) if k != last and (bias := bias_of(layer)) is not None}
    layer = None if last is None else maps[last]
    if early and not (np.all(ratio == ratio[0]) and np.isfinite(ratio[0])):
        if not isinstance(layer, Dense):
            raise InputError(
                f"{where}: a bias before {type(maps[-1]).__name__}, and neurons whose gains differ in another way for it than for "
                "spikes; allowed: equal time constants, or the bias in the last weights"
            )
        for k in early:
            maps[k].register_parameter("bias", None)
        layer.bias = nn.Parameter(torch.from_numpy(offset * constant).to(layer.weight.dtype))
        return
    for bias in early.values():
        _set(bias, bias.detach().double() * float(ratio[0]))
    own = None if layer is None else bias_of(layer)
    if layer is not None and own is not None:
        factor = _of_channels(constant, layer.c_out) if isinstance(layer, Conv2d) else constant
        if factor is None:
            raise InputError(
                f"{where}: a convolution's bias, one a channel, into neurons whose gains for it differ within a channel; "
                "allowed: equal time constants in a channel"
            )
        _set(own, own.detach().double() * torch.from_numpy(factor))


def bias_of(layer: LinearMap) -> nn.Parameter | None:
    """The bias of a map that has one."""
    bias = getattr(layer, "bias", None)
    return bias if isinstance(bias, nn.Parameter) else None


@torch.no_grad()
def _set(held: Tensor, value: Tensor) -> None:
    """``value`` rounded into ``held``, in its own memory layout."""
    held.copy_(value)


def _check_finite(maps: Sequence[LinearMap], where: str) -> None:
    for layer in maps:
        for name in ("weight", "bias", "factor"):
            value = getattr(layer, name, None)
            if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
                raise InputError(f"{where}: a {name} (with r and w_in of the neurons folded in) is NaN or infinite")
