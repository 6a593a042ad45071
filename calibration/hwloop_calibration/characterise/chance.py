"""Tail probabilities, by torch's incomplete gamma function."""

from __future__ import annotations

import numpy as np
import torch

from .model import Array


def chi_squared_tail(square: Array, freedom: Array | int) -> Array:
    """Chance that a chi-squared variable of ``freedom`` degrees exceeds ``square``, elementwise."""
    x = torch.as_tensor(np.asarray(square, dtype=np.float64)) / 2
    a = torch.as_tensor(np.broadcast_to(np.asarray(freedom, dtype=np.float64), np.shape(square)).copy()) / 2
    result: Array = torch.special.gammaincc(a, torch.clamp(x, min=0.0)).numpy()
    return result
