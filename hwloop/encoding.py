"""Encodings: values to spike times.

Two are time-to-first-spike codes, at most one event a unit, affine in the value:

    latency               v -> t_early + v (t_late - t_early)          larger is later (Yin-Yang)
    intensity_to_latency  p -> t_early + (1 - p) (t_late - t_early)    brighter is earlier (images), black is silent

:func:`latency_to_intensity` goes the way back, for images that are augmented.

Events at equal times are ordered by unit. A bias spike, where asked for, is one more unit behind the values.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .arguments import Numbers, floats, seconds, whole
from .errors import InputError
from .spikes import Spikes


def latency(
    values: Numbers,
    t_early: float,
    t_late: float,
    t_stop: float,
    *,
    bias_time: float | None = None,
    silent_below: float | None = None,
) -> Spikes:
    """A value ``v`` becomes one spike at ``t_early + v (t_late - t_early)``.

    Parameters
    ----------
    values : Tensor or array, ``[batch, n]``, floating, in 0..1
        Times are differentiable in them. float16 and bfloat16 are widened to float32, in which times are computed.
    t_early, t_late, t_stop : float (s)
        Times of value 0, of value 1, and end of the window; ``0 <= t_early <= t_late <= t_stop``.
    bias_time : float (s), optional
        Adds unit ``n``, which spikes at this time in every sample.
    silent_below : float, optional
        Values smaller than this send no spike.

    Returns
    -------
    Spikes of ``n`` units (``n + 1`` with a bias), in the dtype of ``values``.

    Raises
    ------
    InputError
        Values outside 0..1 or not finite, an empty batch, times out of order.
    """
    values = _check(values, t_early, t_late, t_stop, bias_time)
    silent = None if silent_below is None else values < silent_below
    return _first_spikes(values, silent, (t_early, t_late), t_stop, bias_time)


def intensity_to_latency(
    intensity: Numbers,
    t_early: float,
    t_late: float,
    t_stop: float,
    *,
    bias_time: float | None = None,
    black: float | None = 0.0,
) -> Spikes:
    """An intensity ``p`` becomes one spike at ``t_early + (1 - p) (t_late - t_early)``: white first.

    Parameters
    ----------
    intensity : Tensor or array, ``[batch, n]``, floating, in 0..1
    t_early, t_late, t_stop : float (s)
        Times of intensity 1, of intensity 0, and end of the window; ``0 <= t_early <= t_late <= t_stop``.
    bias_time : float (s), optional
        Adds unit ``n``, which spikes at this time in every sample.
    black : float, optional
        Intensities up to and including this one are silent; ``None`` lets every unit spike.

    Returns
    -------
    Spikes of ``n`` units (``n + 1`` with a bias), in the dtype of ``intensity``.

    Raises
    ------
    InputError
        Intensities outside 0..1 or not finite, an empty batch, times out of order.
    """
    intensity = _check(intensity, t_early, t_late, t_stop, bias_time)
    silent = None if black is None else intensity <= black
    return _first_spikes(1 - intensity, silent, (t_early, t_late), t_stop, bias_time)


def latency_to_intensity(spikes: Spikes, t_early: float, t_late: float, *, n_units: int | None = None) -> Tensor:
    """The intensities that :func:`intensity_to_latency` has sent: ``1 - (t - t_early) / (t_late - t_early)`` of the first spike.

    Parameters
    ----------
    spikes : Spikes
    t_early, t_late : float (s)
        Times of intensity 1 and 0; ``0 <= t_early < t_late``.
    n_units : int, optional
        Read the first so many units alone: without a bias, which comes behind the values. Default: all.

    Returns
    -------
    ``[batch, n_units]`` in the dtype of the times, in 0..1; 0 where a unit is silent. Without gradients.

    Raises
    ------
    InputError
        Times out of order; more units than ``spikes`` have; a spike outside of ``t_early..t_late``.
    """
    if not 0 <= t_early < t_late < math.inf:
        raise InputError(f"t_early = {t_early} s, t_late = {t_late} s; allowed: 0 <= t_early < t_late, finite")
    n = spikes.n_units if n_units is None else whole("n_units", n_units)
    if n > spikes.n_units:
        raise InputError(f"n_units = {n}; allowed: 1..{spikes.n_units}, the units of the spikes")
    first = spikes.first_times().detach()[:, :n]
    values = 1 - (first - t_early) / (t_late - t_early)
    values = values.masked_fill(torch.isinf(first), 0.0)
    slack = 1e-5  # roundings of float32
    if bool((outside := (values < -slack) | (values > 1 + slack)).any()):
        sample, unit = (int(x) for x in torch.nonzero(outside)[0])
        raise InputError(
            f"sample {sample}, unit {unit}: first spike at {first[sample, unit].item():g} s; allowed: {t_early:g}..{t_late:g} s"
        )
    return values.clamp(0, 1)


def thinned(spikes: Spikes, share: float, generator: torch.Generator) -> Spikes:
    """Every event left out with probability ``share``, drawn from ``generator``: dropout on input spikes.

    Times stay differentiable. Raises :class:`InputError` where ``share`` is not in ``[0, 1)``.
    """
    if not 0 <= share < 1:
        raise InputError(f"share of events left out = {share}; allowed: 0 <= share < 1")
    keep = spikes.valid & (torch.rand(spikes.times.shape, generator=generator) >= share)
    order = torch.argsort(~keep, dim=1, stable=True)  # the kept ones to the front, in their order
    counts = keep.sum(1)
    times = torch.where(keep, spikes.times, math.inf).gather(1, order)
    units = torch.where(keep, spikes.units, 0).gather(1, order)
    return Spikes.trusted(times, units, counts, spikes.n_units, spikes.t_stop)


def _first_spikes(
    values: Tensor, silent: Tensor | None, span: tuple[float, float], t_stop: float, bias_time: float | None
) -> Spikes:
    t_early, t_late = span
    # the sum may exceed t_late by a rounding
    first = torch.clamp(t_early + values * (t_late - t_early), max=t_late)
    if silent is not None:
        first = first.masked_fill(silent, math.inf)
    if bias_time is not None:
        first = torch.cat([first, first.new_full((len(first), 1), bias_time)], dim=1)
    return Spikes.from_first_times(first, t_stop)


def _check(given: Numbers, t_early: float, t_late: float, t_stop: float, bias_time: float | None) -> Tensor:
    """``given`` as a tensor of float32 or float64, checked with the times of its code."""
    kind = given.dtype if isinstance(given, (Tensor, np.ndarray)) else None
    if kind is not None and not (kind.is_floating_point if isinstance(kind, torch.dtype) else kind.kind == "f"):
        raise InputError(f"values have dtype {kind}; expected floating numbers in 0..1 (divide bytes by 255)")
    values = floats("values", given, keep=True)
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"values have shape {tuple(values.shape)}; expected [batch >= 1, n >= 1]")
    bad = ~((values >= 0) & (values <= 1))  # also true for NaN
    if bool(bad.any()):
        sample, unit = (int(x) for x in torch.nonzero(bad)[0])
        raise InputError(f"sample {sample}, unit {unit}: value {values[sample, unit].item()}; allowed: 0..1")
    times: dict[str, Any] = {"t_early": t_early, "t_late": t_late, "t_stop": t_stop, "bias_time": bias_time}
    for name, value in times.items():
        if value is not None and not isinstance(value, (int, float, np.number)):
            seconds(name, value, zero=True)
    if not (0 <= t_early <= t_late <= t_stop < math.inf):
        raise InputError(
            f"t_early = {t_early} s, t_late = {t_late} s, t_stop = {t_stop} s; "
            "allowed: 0 <= t_early <= t_late <= t_stop, all finite"
        )
    if bias_time is not None and not 0 <= bias_time <= t_stop:
        raise InputError(f"bias_time = {bias_time} s; allowed: 0..{t_stop} s (t_stop)")
    return values
