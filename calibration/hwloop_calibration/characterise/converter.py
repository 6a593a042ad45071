"""The bow of every synapse's converter: how far its factor at lower codes lies off that at full scale.

A calibration measures each synapse at the largest code. A converter whose integral non-linearity is a parabola,
``value = code + b code (1 - code / M)``, has the factor ``1 + b (1 - code / M)`` over that at the largest code M: one number, the
bend, which a second measurement at a third of full scale gives. What single steps are off besides stays unknown; it is taken
for noise, and each bend is drawn to the mean of all by as much as its error asks (James & Stein 1961).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwloop.arguments import whole
from hwloop.device.registry import Device
from hwloop.errors import CalibrationError
from hwloop.mapping import Program

from ..document.calibration import FACTOR_DIGITS, VERSION, Calibration, as_row
from ..document.parts import chunks
from .bench import Bench, targets_of
from .fit import Noise
from .known import neurons_of
from .measure import LEAST_REPEATS
from .model import OWN, Array
from .stimuli import on_columns
from .synapses import column_parts, fit_weights, synapse_patterns

#: Share of the largest code that is measured: from a quarter to a half the bend is seen best against the errors of single
#: steps, which grow with the code (by the root of their number).
SHARE = 1 / 3
#: Repeats of each stimulus.
REPEATS = 8


def measure_bends(device: Device, program: Program, calibration: Calibration, *, repeats: int = REPEATS) -> Calibration:
    """``calibration`` with the bend of every synapse column that it has, sealed; the device names it from then on.

    Parameters
    ----------
    device : opened device, calibrated; it holds the program of before afterwards
    program : what the calibration was made for
    calibration : of this device, its codes applied
    repeats : runs of every stimulus, at least 4

    Raises
    ------
    CalibrationError
        The calibration is of another device, or the device's weights have no codes.
    InputError
        ``repeats`` out of range.
    TargetError
        The device fails while running.
    """
    most = device.capabilities.max_code
    if calibration.device_id != device.device_id or most is None:
        what, todo = "has nothing to bend: weights have no codes", ", whose twin needs no bends"
        if most is not None:
            what, todo = f"is of device {calibration.device_id}", ": calibrate it"
        raise CalibrationError(f"calibration {calibration.id} {what}; this is {device.device_id}{todo}")
    repeats = whole("repeats", repeats, LEAST_REPEATS)
    loaded = getattr(device, "program", None)
    code = max(1, round(SHARE * most))
    found = []
    try:
        for part in chunks(calibration.neurons):
            found.append(_ratios(device, program, calibration, part, code, repeats))
    finally:
        if loaded is not None and not getattr(device, "closed", False):
            device.load(loaded)
    ratio, error = (np.concatenate(rows) for rows in zip(*found, strict=True))
    bends = shrunk((ratio - 1) / (1 - code / most), error / (1 - code / most))
    usable = np.array([verdict != "masked" for verdict in calibration.verdict])
    rows = [as_row(np.where(ok, row, np.nan), FACTOR_DIGITS) for ok, row in zip(usable, bends, strict=True)]
    result = calibration.model_copy(update={"version": VERSION, "bends": rows}).sealed()
    device.calibration = result  # type: ignore[attr-defined]  # recordings name it
    return result


def shrunk(values: Array, errors: Array) -> Array:
    """``values`` drawn to their mean by their errors' share of the spread that is seen; NaN where the error is infinite."""
    known = np.isfinite(values) & np.isfinite(errors)
    if not known.any():
        return np.full(values.shape, np.nan)
    mean, noise = float(np.mean(values[known])), float(np.mean(errors[known] ** 2))
    spread = max(float(np.var(values[known])) - noise, 0.0)
    weight = spread / (spread + np.where(known, errors, 1.0) ** 2) if spread > 0 else np.zeros(values.shape)
    return np.asarray(np.where(known, mean + weight * (values - mean), np.nan))


def _ratios(
    device: Device, program: Program, calibration: Calibration, part: list[int], code: int, repeats: int
) -> tuple[Array, Array]:
    """Weights at ``code`` over those at the largest one, and their relative errors, ``[n, columns]`` each."""
    columns = len(calibration.weights[0])
    bench = Bench(device, targets_of(program, device, part), columns)
    known = neurons_of(calibration, bench)
    layer = bench.program.layers[0]
    lower = replace(layer, codes=np.full_like(layer.codes, code), scale=layer.scale * float(layer.codes.max()) / code)
    bench.program = replace(bench.program, layers=(lower,))
    bench.load()
    patterns, t_stop = synapse_patterns(bench.targets)
    noise = Noise(calibration.noise.threshold, max(calibration.noise.jitter, 1e-12), 0.0)
    ratio, error = np.full(known.weight.shape, np.nan), np.full(known.weight.shape, np.inf)
    # errors of the neuron's own parameters move the weights at both codes alike
    nothing = np.zeros((len(known), OWN, OWN))
    for some in column_parts(np.arange(columns)):
        seen = bench.measure(on_columns(patterns, some.tolist(), columns, t_stop), repeats)
        start = known.weight[:, some]
        found = fit_weights(known, nothing, seen, noise, some, np.where(start > 0, start, bench.targets.weight))
        live = (start > 0) & np.isfinite(found.error)
        ratio[:, some] = np.where(live, found.value / np.where(start > 0, start, 1.0), np.nan)
        error[:, some] = np.where(live, found.error, np.inf)
    return ratio, error


__all__ = ["measure_bends", "shrunk"]
