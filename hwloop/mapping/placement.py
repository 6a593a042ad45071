"""Placement: which physical neuron stands for which logical one."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ..errors import CompileError, InputError
from .constraints import lif_name
from .quantise import Array


def place(
    sizes: Sequence[int], n_neurons: int, mask: Iterable[int] = (), names: Sequence[str] = ()
) -> tuple[Array, ...]:
    """Physical neurons for layers of ``sizes``, ascending, layer after layer, avoiding ``mask``.

    Parameters
    ----------
    sizes : neurons of each layer
    n_neurons : neurons on the device, numbered from 0
    mask : physical neurons not to use, e.g. those known to be dead
    names : how errors call the layers; by default as a chain counts them

    Returns
    -------
    One int64 array ``[size]`` a layer.

    Raises
    ------
    CompileError
        The layers need more neurons than there are.
    InputError
        A masked neuron does not exist on the device, or is no whole number (a mask lists neurons; it is no array of bool).
    """
    masked = np.unique(np.fromiter(map(_physical, mask), dtype=np.int64))
    if masked.size and (masked[0] < 0 or masked[-1] >= n_neurons):
        bad = masked[0] if masked[0] < 0 else masked[-1]
        raise InputError(f"mask names neuron {bad}; the device has neurons 0..{n_neurons - 1}")
    needed, free = sum(sizes), n_neurons - masked.size
    if needed > free:
        largest = int(np.argmax(sizes))
        raise CompileError(
            limit=f"{free} neurons ({n_neurons} on the device, {masked.size} masked)",
            value=f"{needed} neurons in layers of {', '.join(map(str, sizes))}",
            layer=f"{names[largest] if names else lif_name(largest)}, the largest",
            fix=f"remove {needed - free} neurons"
            + (" from it" if needed - free < max(sizes) else ", all layers together")
            + (", or mask fewer" if needed <= n_neurons else ""),
        )
    # neurons beyond the last that could be needed are never looked at
    physical = np.setdiff1d(np.arange(min(n_neurons, needed + masked.size)), masked, assume_unique=True)[:needed]
    ends = np.cumsum(sizes)
    return tuple(physical[end - size : end].astype(np.int64) for size, end in zip(sizes, ends, strict=True))


def _physical(neuron: Any) -> int:
    if isinstance(neuron, (bool, np.bool_)) or getattr(neuron, "dtype", None) is torch.bool:
        raise InputError("mask holds true and false; allowed: numbers of physical neurons, e.g. np.flatnonzero(mask)")
    try:
        return operator.index(neuron)
    except TypeError:
        raise InputError(f"mask holds {neuron!r}; allowed: whole numbers, those of physical neurons") from None
