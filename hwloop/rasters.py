"""Spikes as dense rasters ``[batch, steps, n_units]``, and back."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .arguments import DTYPES, Numbers, clock_dtype, seconds, shown
from .errors import InputError
from .machine_memory import check_fits
from .spikes import Spikes


def from_dense(raster: Numbers, dt: float, dtype: torch.dtype | None = None) -> Spikes:
    """Spikes of a binary raster ``[batch, steps, n_units]`` of step ``dt`` (s); step i is the time ``i dt``.

    Parameters
    ----------
    raster : Tensor or array of booleans or of the numbers 0 and 1, of any dtype
    dtype : of the times; default the raster's where that is float32 or float64, else torch's; float64 where float32
        would not tell the steps apart

    Raises
    ------
    InputError
        Another value than 0 and 1 (fraction, negative, NaN, count), with its place; a raster that requires grad, which
        cannot pass through times; a ``dtype`` that is too coarse for the steps.
    """
    if not isinstance(raster, Tensor):
        array = np.array(raster)
        if array.dtype.kind not in "bfiu":
            raise InputError(f"raster is {shown(raster)}; expected numbers or booleans [batch, steps, n_units]")
        raster = torch.from_numpy(array if array.dtype.kind == "b" else array.astype(np.float64))
        preferred = torch.get_default_dtype()
    else:
        preferred = raster.dtype if raster.dtype in DTYPES else torch.get_default_dtype()
    if raster.ndim != 3 or 0 in raster.shape[1:]:
        raise InputError(f"raster has shape {tuple(raster.shape)}; expected [batch, steps, n_units]")
    if raster.requires_grad:
        raise InputError("raster requires grad, which cannot pass through spike times; give raster.detach()")
    dt = seconds("dt", dt)
    _check_binary(raster)
    t_stop = raster.shape[1] * dt
    kind = clock_dtype(t_stop, dt, dtype, preferred)
    samples = []
    for sample in (raster != 0).cpu().numpy():
        step, unit = np.nonzero(sample)
        samples.append((step * dt, unit))
    return Spikes.from_events(samples, raster.shape[2], t_stop, kind)


def to_dense(spikes: Spikes, dt: float) -> Tensor:
    """``[batch, steps, n_units]`` spike counts in bins of ``dt`` (s); ``steps = ceil(t_stop / dt)``.

    A time within the rounding of its dtype below a multiple of ``dt`` belongs to the bin that begins there. The last
    bin takes ``t_stop``. Counts have the dtype of the times.

    Raises :class:`InputError` for a ``dt`` that is not finite and > 0, or so small that the raster does not fit memory.
    """
    dt = seconds("dt", dt)
    bins = spikes.t_stop / dt
    steps = max(1, math.ceil(bins - 1e-9 - 1e-15 * bins))
    shape = (len(spikes), steps, spikes.n_units)
    check_fits(
        f"a raster of {shape}", math.prod(shape) * spikes.times.element_size(), "coarser steps, fewer samples at once"
    )
    raster = torch.zeros(shape, dtype=spikes.times.dtype, device=spikes.times.device)
    sample, event = torch.nonzero(spikes.valid, as_tuple=True)
    times = spikes.times.detach()[sample, event]
    step = torch.clamp(steps_of(times, dt)[0].to(torch.int64), 0, steps - 1)
    place = (sample, step, spikes.units[sample, event])
    raster.index_put_(place, torch.ones_like(times), accumulate=True)
    return raster


def steps_of(times: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    """The step of ``dt`` (s) that each of ``times`` (s) falls into, float64, and whether the time is its beginning.

    Both as far as the dtype of ``times`` can tell.
    """
    position = times.double() / dt
    nearest = torch.round(position)
    # i dt, once rounded to the dtype or computed in it, is off by up to two of its roundings; half a bin is the most
    rounding = torch.clamp(4 * torch.finfo(times.dtype).eps * (nearest + 1), max=0.5)
    on_grid = torch.abs(position - nearest) <= rounding
    return torch.where(on_grid, nearest, torch.floor(position)), on_grid


def _check_binary(raster: Tensor) -> None:
    if raster.dtype == torch.bool:
        return
    bad = (raster != 0) & (raster != 1)
    if bool(bad.any()):
        sample, step, unit = (int(x) for x in torch.nonzero(bad)[0])
        value = float(raster[sample, step, unit].real)
        count = value > 1 and value.is_integer()
        remedy = (
            "a count: keep one spike with clamp(max=1), or take a shorter dt" if count else "no spike has this value"
        )
        raise InputError(
            f"raster holds values other than 0 and 1; one event per unit and step is allowed. Sample {sample}, "
            f"step {step}, unit {unit}: {value:g} ({remedy})"
        )
