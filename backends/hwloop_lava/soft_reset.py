"""Populations that reset by subtraction, on Lava: one population with its own connections, a batch side by side."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from hwloop.errors import InputError
from hwloop_fixed_point.registers import Array

from .request import MAX_RASTER, MAX_SYNAPSES
from .worker.protocol import Message
from .worker_process import Worker


def run_soft_reset(
    worker: Worker,
    weight: Array,
    inputs: Array,
    bias: Array,
    *,
    vth: float,
    quantum: float,
    start: Array,
    recurrent: Array | None = None,
    signed: bool = False,
    du: float | None = None,
    dv: float = 0,
    arithmetic: Literal["fixed", "float"] = "fixed",
) -> Array:
    """Run a batch on the process ``SoftReset`` (:mod:`hwloop_lava.worker.processes.soft_reset.process`).

    Parameters
    ----------
    weight : ``[n, n_in]``
        In fixed point effective codes: even and -256..254.
    inputs : ``[batch, ticks, n_in]``
        Input events a tick, 0 and 1 or graded whole numbers; those of tick n act at tick n + 1.
    bias : ``[batch, n]``
        What is added to each sample's membranes every tick.
    vth : threshold; in fixed point in units of weights
    quantum : what a spike takes off the membrane; in fixed point in units of the membrane, ``weight << 6``
    start : ``[n]``, membranes before tick 0
    recurrent : ``[n, n]`` or None; a spike of tick n acts at n + 1
    signed : whether spikes are taken back
    du, dv : decays; by default a current lasts one tick and membranes keep all

    Returns
    -------
    ``[batch, ticks, n]`` int8
        Spikes 0, 1 and, signed, -1.

    Raises
    ------
    InputError
        Shapes do not fit, or in fixed point a weight is not even or outside -256..254.
    TargetError
        As :meth:`hwloop_lava.worker_process.Worker.ask`.
    """
    batch, ticks, n_in = inputs.shape
    n = len(weight)
    expected = {"weight": (weight, (n, n_in)), "bias": (bias, (batch, n)), "start": (start, (n,))}
    for name, (array, shape) in expected.items():
        if array.shape != shape:
            raise InputError(f"{name} has shape {array.shape}; expected {shape}")
    matrices = [weight] if recurrent is None else [weight, recurrent]
    if arithmetic == "fixed":
        _check_codes(matrices)
    size = sum(matrix.size for matrix in matrices)
    together = max(1, min(batch, MAX_SYNAPSES // size, MAX_RASTER // (max(n, n_in) * ticks)))
    decays = {"du": (4095 if arithmetic == "fixed" else 1.0) if du is None else du, "dv": dv}
    fields: dict[str, Any] = {
        "arithmetic": arithmetic, "ticks": ticks, "n_in": n_in, "states": False,
        "populations": [{
            "n": n, "model": "soft_reset", "reset": None, "vth": vth, **decays,
            "options": {"quantum": quantum, "signed": signed},
        }],
        "connections": [
            {"source": source, "target": 0, "exponent": 0, "sign": "mixed", "graded": True}
            for source in (-1, 0)[: len(matrices)]
        ],
    }  # fmt: skip
    dtype = np.int32 if arithmetic == "fixed" else np.float64
    arrays: dict[str, Array] = {f"weight{k}": matrix.astype(dtype) for k, matrix in enumerate(matrices)}
    rasters = [
        _run(worker, fields, {**arrays, "start0": start.astype(dtype)}, inputs[part], bias[part].astype(dtype))
        for part in (slice(first, first + together) for first in range(0, batch, together))
    ]
    return np.concatenate(rasters)


def _run(worker: Worker, fields: dict[str, Any], arrays: dict[str, Array], inputs: Array, bias: Array) -> Array:
    copies, ticks, n_in = inputs.shape
    n = bias.shape[1]
    sample, tick, unit = np.nonzero(inputs)
    events = {
        "input_ticks": tick.astype(np.int32), "input_units": (sample * n_in + unit).astype(np.int32),
        "input_sizes": inputs[sample, tick, unit].astype(np.int32), "bias0": bias.ravel(),
    }  # fmt: skip
    found = worker.ask(Message("run", {**fields, "copies": copies}, {**arrays, **events})).arrays
    raster = np.zeros((copies, ticks, n), np.int8)
    copy, unit = np.divmod(found["units0"], n)
    raster[copy, found["ticks0"], unit] = found.get("signs0", 1)
    return raster


def _check_codes(matrices: list[Array]) -> None:
    for matrix in matrices:
        if np.any(matrix % 2) or matrix.min(initial=0) < -256 or matrix.max(initial=0) > 254:
            raise InputError(
                f"codes of {matrix.min()}..{matrix.max()}, {int(np.count_nonzero(matrix % 2))} of them odd; allowed: even "
                "numbers -256..254, as Lava holds weights of mixed sign"
            )
