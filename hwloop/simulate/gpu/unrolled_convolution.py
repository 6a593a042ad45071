"""A convolution on the GPU: the dense layer that it abbreviates, every weight in each of its places.

Its gradient is gathered, place after place in a fixed order, and so has equal bits from run to run.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...neurons import PARAMETERS
from ..convolution.geometry import Geometry


@lru_cache(maxsize=16)
def _places(geometry: Geometry, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Places in the flat matrix ``[n_in, n_out]``, the weight in each; and by weight: its places, padded, and which count."""
    units, neurons, places = (np.asarray(x, np.int64) for x in geometry.synapses)
    flat, n = units * geometry.n_out + neurons, int(np.prod(geometry.weight_shape))
    order = np.argsort(places, kind="stable")
    counts = np.bincount(places, minlength=n)
    column = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.zeros((n, max(1, int(counts.max(initial=0)))), np.int64)
    table[places[order], column] = flat[order]
    there = np.arange(table.shape[1]) < counts[:, None]
    found = tuple(torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in (flat, places, table, there))
    return found[0], found[1], found[2], found[3]


class Unrolled(torch.autograd.Function):
    """``[n_in, n_out]`` from the weights of a convolution."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, geometry: Geometry) -> Tensor:
        flat, places, _, _ = _places(geometry, weight.device)
        ctx.geometry = geometry
        matrix = weight.new_zeros(geometry.n_in * geometry.n_out)
        matrix[flat] = weight.reshape(-1)[places]
        return matrix.reshape(geometry.n_in, geometry.n_out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _, _, table, there = _places(ctx.geometry, grad.device)
        total = torch.where(there, grad.reshape(-1)[table], 0.0).double().sum(1)
        return total.to(grad.dtype).reshape(ctx.geometry.weight_shape), None


def as_dense(
    weight: Tensor, params: Mapping[str, Tensor], geometry: Geometry, where: str
) -> tuple[Tensor, dict[str, Tensor]]:
    """``weight [n_out, n_in]`` and neuron parameters ``[n_out]`` of the dense layer; differentiable in both.

    Raises :class:`InputError` for a bias or a start: the GPU's layer has neither.
    """
    for name in params:
        if name not in PARAMETERS:
            raise InputError(
                f"{where}: {name} is not simulated on the GPU; leave it out, or move the network with .to('cpu')"
            )
    each = geometry.n_out // geometry.weight_shape[0]
    matrix: Tensor = Unrolled.apply(weight, geometry)  # type: ignore[no-untyped-call]
    spread = {
        name: value if value.shape[-1] == geometry.n_out else value.repeat_interleave(each, -1)
        for name, value in params.items()
    }
    return matrix.t(), spread
