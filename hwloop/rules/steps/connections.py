"""What the training rules in steps ask of a map beside its result: its adjoint and the gradient of its weights, without a tape."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from ...network import Conv2d, Dense, Sparse


def adjoint(of: Dense | Conv2d | Sparse, y: Tensor, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> Tensor:
    """``W^T y``: ``[..., n_in]`` from ``y [..., n_out]``."""
    if isinstance(of, Dense):
        return y @ of.weight
    if isinstance(of, Sparse):
        return y.new_zeros(*y.shape[:-1], of.n_in).index_add(-1, of.sources, y[..., of.targets] * of.weight)
    beyond = [
        side + 2 * padding - dilation * (kernel - 1) - 1 - (out - 1) * stride
        for side, padding, dilation, kernel, out, stride in zip(
            in_shape[1:], of.padding_size, of.dilation, of.kernel_size, out_shape[1:], of.stride, strict=True
        )
    ]
    maps = functional.conv_transpose2d(
        y.reshape(-1, *out_shape), of.weight, None, of.stride, of.padding_size, beyond, of.groups, of.dilation
    )
    return maps.reshape(*y.shape[:-1], -1)


def weight_gradient(
    of: Dense | Conv2d | Sparse, x: Tensor, y: Tensor, in_shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> Tensor:
    """``sum y x^T`` over all leading dimensions of ``x [..., n_in]`` and ``y [..., n_out]``, of the weight's shape."""
    if isinstance(of, Conv2d):
        gradient: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            x.reshape(-1, *in_shape),
            list(of.weight.shape),
            y.reshape(-1, *out_shape),
            of.stride,
            of.padding_size,
            of.dilation,
            of.groups,
        )
        return gradient
    x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    if isinstance(of, Sparse):
        return torch.einsum("ns,ns->s", y[:, of.targets], x[:, of.sources])
    return y.t() @ x


def mean_pooled(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Mean over ``rows x columns`` of ``maps [batch, channels, height, width]``; sums of slices are 4 times avg_pool2d."""
    tall: Tensor = sum((maps[..., k::rows, :] for k in range(1, rows)), maps[..., ::rows, :])
    wide: Tensor = sum((tall[..., k::columns] for k in range(1, columns)), tall[..., ::columns])
    return wide / (rows * columns)
