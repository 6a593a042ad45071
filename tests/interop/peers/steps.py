"""Running a torch network step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..package import Raster


def first_of(answer: Any) -> Any:
    """What a network answers, where it gives its state along."""
    while isinstance(answer, (tuple, list)):
        answer = answer[0]
    return answer


def with_state(net: Callable[..., Any]) -> Callable[[Raster], Raster]:
    """A network that takes a state and gives ``(output, state)``."""

    def run(raster: Raster) -> Raster:
        state, rows = None, []
        with torch.no_grad():
            for x in torch.from_numpy(raster).float():
                answer = net(x[None], state)
                state = answer[1] if isinstance(answer, tuple) else None
                rows.append(first_of(answer).reshape(-1))  # a batch of one
        return stacked(rows)

    return run


def holding_state(net: Callable[..., Any], reset: Callable[[], Any]) -> Callable[[Raster], Raster]:
    """A network that keeps its state in itself, and ``reset`` that takes it back."""

    def run(raster: Raster) -> Raster:
        reset()
        rows = []
        with torch.no_grad():
            for x in torch.from_numpy(raster).float():
                rows.append(first_of(net(x[None])).reshape(-1))
        return stacked(rows)

    return run


def stacked(rows: list[Tensor]) -> Raster:
    """``[steps, n]``."""
    return np.stack([row.detach().double().reshape(-1).numpy() for row in rows])


def set_values(layer: nn.Module, weight: Any, bias: Any = None) -> nn.Module:
    """``layer`` with these weights."""
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.asarray(weight)))
        if bias is not None:
            layer.bias.copy_(torch.from_numpy(np.asarray(bias)))
        elif layer.bias is not None:
            layer.bias.zero_()
    return layer


def linear(weight: Any, bias: Any = None) -> nn.Module:
    """torch's matrix, without bias unless it has one."""
    return set_values(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)


def conv(weight: Any, bias: bool = False) -> nn.Module:
    """torch's convolution that keeps the sides; with a bias of 0 where ``bias``."""
    kernel = weight.shape[2]
    return set_values(nn.Conv2d(weight.shape[1], weight.shape[0], kernel, padding=kernel // 2, bias=bias), weight)


def sample(maps: bool) -> Tensor:
    """One step of nothing."""
    from ..weights import N_IN, SIDE

    return torch.zeros((1, 1, SIDE, SIDE) if maps else (1, N_IN))
