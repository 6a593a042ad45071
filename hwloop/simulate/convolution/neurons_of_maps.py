"""Neurons of a convolution: their parameters channel by channel or neuron by neuron, and the gradients of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...arguments import DTYPES
from ...errors import InputError
from ...neurons import PARAMETERS, check_parameters
from ..contract import FloatArray, Layer, Sensitivities
from ..parameter_values import Recent
from .geometry import Geometry

#: Parameters that may be left out: a constant current (membrane units) and the membrane at time 0.
OPTIONAL = ("bias", "v_init")

#: Populations whose neurons are kept prepared between calls.
KEPT_POPULATIONS = 32


@dataclass(frozen=True)
class Population:
    """Neurons without weights, and where each begins: at ``v_init``, at ``v_reset``, or else at ``v_leak``."""

    neurons: Layer
    at_init: bool
    at_reset: np.ndarray[Any, np.dtype[np.bool_]]


#: Neurons of the latest call of every population, which are the next one's unless a parameter has changed.
_recent: Recent[Population] = Recent(KEPT_POPULATIONS)


def names_of(params: Mapping[str, Tensor], where: str) -> tuple[str, ...]:
    """The names of ``params`` in their order; :class:`InputError` for one that is missing or unknown."""
    for name in PARAMETERS:
        if name not in params:
            raise InputError(f"{where}: {name} is missing; needed: {', '.join(PARAMETERS)}")
    for name in params:
        if name not in PARAMETERS and name not in OPTIONAL:
            raise InputError(f"{where}: unknown parameter {name!r}; allowed: {', '.join((*PARAMETERS, *OPTIONAL))}")
    return tuple(name for name in (*PARAMETERS, *OPTIONAL) if name in params)


def population(
    names: Sequence[str], params: Sequence[Tensor], geometry: Geometry, dtype: torch.dtype, reset: str,
    max_spikes: int | None, where: str,
) -> Population:  # fmt: skip
    """Arrays of the neurons with these parameters, each ``[out_channels]`` or ``[n_out]``; ``v_th`` may be ``[batch, ...]``.

    Raises :class:`InputError` for other shapes and for values out of bounds.
    """
    owner = where, tuple(names), geometry, dtype, reset, max_spikes
    recent = _recent.find(owner, params)
    if recent is not None:
        return recent
    values = [_values(name, value, geometry, dtype, where) for name, value in zip(names, params, strict=True)]
    keys = tuple((array.shape, array.tobytes()) for array in values)
    found = _kept(tuple(names), keys, values[0].dtype.char, geometry, reset, max_spikes)
    if found is None:
        full = dict(zip(names, (torch.from_numpy(_all_neurons(v, geometry)) for v in values), strict=True))
        start = full.get("v_init", full["v_leak"])
        for row in full["v_th"].reshape(-1, geometry.n_out):
            check_parameters(full | {"v_th": row}, where)
            if "v_init" in full and bool((start >= row).any()):
                neuron = int(torch.nonzero(start >= row)[0])
                raise InputError(
                    f"{where}, neuron {neuron}: v_init = {start[neuron]:g}; allowed: below v_th = {row[neuron]:g}"
                )
        name = next(name for name in OPTIONAL if name in full and not bool(torch.isfinite(full[name]).all()))
        neuron = int(torch.nonzero(~torch.isfinite(full[name]))[0])
        raise InputError(f"{where}, neuron {neuron}: {name} = {full[name][neuron]:g}; allowed: finite")
    if all(value.shape == values[0].shape for value in values):
        _recent.keep(owner, np.stack(values), found)
    return found


def gradients(
    names: Sequence[str], params: Sequence[Tensor], found: Population, s: Sensitivities, start: FloatArray,
    geometry: Geometry,
) -> list[Tensor]:  # fmt: skip
    """``dL/d`` every parameter, of its shape; ``start`` is that of the membrane at time 0 relative to the asymptote."""
    from_reset, at_rest = start * found.at_reset, not found.at_init
    leak = -s.threshold - s.reset - (from_reset if at_rest else start)
    by_name = {
        "tau_mem": s.tau_mem, "tau_syn": s.tau_syn, "t_ref": s.t_ref, "v_th": s.threshold, "v_leak": leak,
        "v_reset": s.reset + (from_reset if at_rest else 0.0), "bias": -s.threshold - s.reset - start, "v_init": start,
    }  # fmt: skip
    result = []
    for name, value in zip(names, params, strict=True):
        total = by_name[name]
        if value.shape[-1] != geometry.n_out:
            total = total.reshape(geometry.out_channels, -1).sum(1)
        result.append(torch.from_numpy(np.ascontiguousarray(total)).to(value.dtype))
    return result


def _values(name: str, value: Tensor, geometry: Geometry, dtype: torch.dtype, where: str) -> FloatArray:
    ranks = (1, 2) if name == "v_th" else (1,)
    if value.dtype not in DTYPES or value.ndim not in ranks or value.shape[-1] not in (
        geometry.out_channels, geometry.n_out,
    ):  # fmt: skip
        raise InputError(
            f"{where}: {name} is {tuple(value.shape)} {value.dtype}; allowed: float32 or float64 with one value for each of "
            f"{geometry.out_channels} channels or of {geometry.n_out} neurons"
        )
    return np.ascontiguousarray(value.detach().to(dtype).numpy())


def _all_neurons(values: FloatArray, geometry: Geometry) -> FloatArray:
    """``[..., out_channels]`` or ``[..., n_out]`` as ``[..., n_out]``."""
    return values if values.shape[-1] == geometry.n_out else np.repeat(values, geometry.positions, -1)


@lru_cache(maxsize=KEPT_POPULATIONS)
def _kept(
    names: tuple[str, ...], keys: tuple[tuple[tuple[int, ...], bytes], ...], char: str, geometry: Geometry, reset: str,
    max_spikes: int | None,
) -> Population | None:  # fmt: skip
    """The neurons with these values, or None where one is not allowed. Keyed by value: a change in place is noticed."""
    v = {
        name: _all_neurons(np.frombuffer(data, char).reshape(shape).copy(), geometry)
        for name, (shape, data) in zip(names, keys, strict=True)
    }
    v_th, at_init = np.atleast_2d(v["v_th"]), "v_init" in v
    at_reset = np.logical_or.reduce(v["v_leak"] >= v_th, 0)
    begin = v["v_init"] if at_init else np.where(at_reset, v["v_reset"], v["v_leak"])
    asymptote = v["v_leak"] + v.get("bias", np.zeros_like(v["v_leak"]))
    allowed = (
        all(bool(np.isfinite(array).all()) for array in v.values())
        and bool((v["tau_mem"] > 0).all() and (v["tau_syn"] > 0).all() and (v["t_ref"] >= 0).all())
        and bool((v_th > v["v_reset"]).all() and (v_th > begin).all())
    )
    if not allowed:
        return None
    none: FloatArray = np.empty((0, geometry.n_out), char)
    neurons = Layer(
        none, v["tau_mem"], v["tau_syn"], v["t_ref"], v_th - asymptote, v["v_reset"] - asymptote, begin - asymptote,
        subtract=reset == "subtract", max_spikes=max_spikes or 0,
    )  # fmt: skip
    return Population(neurons, at_init, at_reset)
