"""The post-synaptic trace: spikes through first-order filters, what HM2-BP and NA read of a train.

    a[t] = decay a[t-1] + gain x[t]

One kernel over whole rasters, batched, and its twin in plain NumPy, which is the specification. The double-exponential
potential of an unreset membrane is the trace of a trace (:func:`potential`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError


def trace(x: Tensor, decay: float, gain: float = 1.0) -> Tensor:
    """The trace of ``x [batch, steps, n]``, same shape and dtype (floating).

    Raises :class:`InputError` where ``x`` has other dimensions or is not floating, or ``decay`` is outside 0..1.
    """
    if x.ndim != 3 or not x.dtype.is_floating_point:
        raise InputError(f"x is {x.dtype} {tuple(x.shape)}; expected floating [batch, steps, n]")
    if not 0 <= decay <= 1:
        raise InputError(f"decay = {decay} a step; allowed: 0..1")
    result = x * gain
    for t in range(1, x.shape[1]):
        result[:, t].add_(result[:, t - 1], alpha=decay)
    return result


def potential(x: Tensor, tau_m: float, tau_s: float) -> Tensor:
    """Membrane that is never reset, per unit weight: ``sum_j (exp(-d/tau_m) - exp(-d/tau_s)) / (1 - tau_s/tau_m)``.

    ``d = t - t_j`` over the spikes ``t_j <= t`` of ``x [batch, steps, n]``; time constants in steps.
    """
    # the current of the step before, through the membrane: no difference of nearly equal traces
    apart = (tau_m - tau_s) / (tau_m * tau_s)
    gain = math.exp(-1 / tau_s) * math.expm1(apart) / (apart * tau_s)
    current = trace(x, math.exp(-1 / tau_s), gain)
    return trace(torch.cat([torch.zeros_like(x[:, :1]), current[:, :-1]], 1), math.exp(-1 / tau_m))


def trace_reference(x: NDArray[Any], decay: float, gain: float = 1.0) -> NDArray[Any]:
    """Twin of :func:`trace`: the sum written out, ``a[t] = gain sum_k decay^(t-k) x[k]``."""
    steps = x.shape[1]
    result = np.zeros_like(x)
    for t in range(steps):
        for k in range(t + 1):
            result[:, t] += gain * decay ** (t - k) * x[:, k]
    return result


def to_float(raster: Tensor, like: Tensor) -> Tensor:
    """A raster of small integers in dtype and on the device of ``like``."""
    return torch.as_tensor(raster, dtype=like.dtype, device=like.device)
