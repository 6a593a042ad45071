"""Augmentation of images: training samples slightly moved, turned, scaled or bent, drawn anew every time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import InputError
from .input_values import Values

#: ``augment(batch, generator) -> batch``, for ``augment`` of :func:`hwloop.fit`.
Augment: TypeAlias = Callable[[Values, torch.Generator], Values]


@dataclass(frozen=True)
class RandomAffine:
    """Square images moved, turned and scaled by amounts drawn uniformly, by bilinear interpolation; outside is 0.

    Parameters
    ----------
    shift : float, >= 0
        Largest shift along each axis (pixels).
    rotation : float, 0..180
        Largest angle to either side (degrees).
    scale : float, 0 <= scale < 1
        Largest relative change of size: .1 draws from .9 to 1.1.

    Raises
    ------
    InputError
        An amount out of range; values that are no square images.
    """

    shift: float = 1.5
    rotation: float = 10.0
    scale: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.shift < math.inf:
            raise InputError(f"shift = {self.shift}; allowed: finite, >= 0 (pixels)")
        if not 0 <= self.rotation <= 180:
            raise InputError(f"rotation = {self.rotation}; allowed: 0..180 (degrees)")
        if not 0 <= self.scale < 1:
            raise InputError(f"scale = {self.scale}; allowed: 0 <= scale < 1 (a share)")

    def __call__(self, batch: Values, generator: torch.Generator) -> Values:
        """Every image of ``batch`` ``[n, side * side]`` as it may also have been drawn; values become 0..1 reals."""
        images = _square(batch)
        side = images.shape[-1]
        grid = functional.affine_grid(
            self._matrices(len(batch), side, generator), list(images.shape), align_corners=False
        )
        moved = functional.grid_sample(images, grid, align_corners=False)
        return replace(batch, values=moved.reshape(len(batch), -1))

    def _matrices(self, n: int, side: int, generator: torch.Generator) -> Tensor:
        """Maps ``[n, 2, 3]`` from places of the new image to places of the old one, in half sides."""
        x, y, turn, size = (2 * torch.rand(4, n, generator=generator) - 1).unbind()
        angle, factor = torch.deg2rad(self.rotation * turn), 1 / (1 + self.scale * size)
        cos, sin, unit = factor * torch.cos(angle), factor * torch.sin(angle), 2 * self.shift / side
        rows = [torch.stack([cos, -sin, unit * x], 1), torch.stack([sin, cos, unit * y], 1)]
        return torch.stack(rows, 1).to(torch.get_default_dtype())


@dataclass(frozen=True)
class ElasticDeformation:
    """Square images bent by a smooth random field, by bilinear interpolation; outside is 0.

    Every pixel is moved by ``alpha`` times a field that is uniform in -1..1 along each axis at each pixel, smoothed with a
    Gaussian of ``sigma`` pixels. Source: Simard, Steinkraus, Platt, ICDAR 2003, who take ``sigma = 4``, ``alpha = 34``
    for images of 29 x 29.

    Parameters
    ----------
    alpha : float, >= 0
        Strength (pixels before smoothing).
    sigma : float, > 0
        Width of the Gaussian (pixels), cut off at three widths.

    Raises
    ------
    InputError
        An amount out of range; values that are no square images.
    """

    alpha: float = 34.0
    sigma: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise InputError(f"alpha = {self.alpha}; allowed: finite, >= 0 (pixels)")
        if not 0 < self.sigma < math.inf:
            raise InputError(f"sigma = {self.sigma}; allowed: finite, > 0 (pixels)")

    def __call__(self, batch: Values, generator: torch.Generator) -> Values:
        """Every image of ``batch`` ``[n, side * side]`` bent its own way; values become 0..1 reals."""
        images = _square(batch)
        side = images.shape[-1]
        straight = torch.eye(2, 3, dtype=images.dtype).expand(len(batch), 2, 3)
        grid = functional.affine_grid(straight, list(images.shape), align_corners=False)
        bent = functional.grid_sample(
            images, grid + self._field(len(batch), side, generator, images.dtype), align_corners=False
        )
        return replace(batch, values=bent.reshape(len(batch), -1))

    def _field(self, n: int, side: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Displacements ``[n, side, side, 2]``, in half sides."""
        reach = max(1, math.ceil(3 * self.sigma))
        at = torch.arange(-reach, reach + 1, dtype=dtype)
        kernel = torch.exp(-0.5 * (at / self.sigma) ** 2)
        kernel = kernel / kernel.sum()
        noise = (2 * torch.rand(2 * n, 1, side, side, generator=generator) - 1).to(dtype)
        rows = functional.conv2d(noise, kernel.reshape(1, 1, 1, -1), padding=(0, reach))
        smooth = functional.conv2d(rows, kernel.reshape(1, 1, -1, 1), padding=(reach, 0))
        return smooth.reshape(n, 2, side, side).permute(0, 2, 3, 1) * (2 * self.alpha / side)


def _square(batch: Values) -> Tensor:
    """The images ``[n, 1, side, side]`` of a batch, 0..1."""
    side = math.isqrt(batch.n_units)
    if side * side != batch.n_units:
        raise InputError(f"{batch.n_units} values a sample are no square image; allowed: 28 * 28 = 784, for instance")
    return batch.real(torch.get_default_dtype()).reshape(len(batch), 1, side, side)
