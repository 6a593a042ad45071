"""A population of spiking neurons behind a convolution: the dense kernel at every output position, exact."""

from __future__ import annotations

from .call import ConvolutionCall, convolution_call
from .geometry import Geometry, pooled_units

__all__ = ["ConvolutionCall", "Geometry", "convolution_call", "pooled_units"]
