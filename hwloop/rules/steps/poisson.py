"""Poisson inputs in steps: a spike of unit j in step t with probability ``rate value_j``, independently.

Every draw is a function of the sample's key, the unit and the step (a counter-based stream), so a sample's spikes do not
depend on the batch it is in, nor on the number of steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError
from .input_values import Values


def poisson_raster(values: Values, steps: int, rate: float) -> Tensor:
    """Raster ``[batch, steps, n]`` uint8 of ``values`` (0..1); probability ``rate * value`` a step.

    Raises :class:`InputError` where a probability is outside 0..1.
    """
    from .poisson_kernels import poisson

    chances = values.real(torch.float64) * rate
    if float(chances.min()) < 0 or float(chances.max()) > 1:
        raise InputError(
            f"spike probabilities {float(chances.min()):g}..{float(chances.max()):g} a step; allowed: 0..1 "
            "(lower the rate, or scale the values to 0..1)"
        )
    raster = torch.zeros((len(values), steps, values.n_units), dtype=torch.uint8)
    poisson(chances.cpu().numpy(), values.keys.numpy(), raster.numpy())
    return raster
