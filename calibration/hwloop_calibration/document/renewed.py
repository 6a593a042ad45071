"""A calibration after some of its neurons were calibrated anew, or given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hwloop.errors import CalibrationError

from ..calibrate import spreads
from .calibration import FACTOR_DIGITS, VERSION, Calibration, as_array, as_row


def merged(whole: Calibration, part: Calibration) -> Calibration:
    """``whole`` with the rows of ``part``'s neurons replaced, each dated; codes and date are those of ``part``.

    Spreads are those of the neurons as they are now, against ``before`` as it was; the noise is the mean over neurons.
    Factors of synapses that ``part`` did not measure are the old ones, times what the neuron's gain has become of what it
    was: drift moves a neuron, not single synapses. ``held_out`` is None: nobody has measured it of the two together.

    Raises :class:`CalibrationError` where they are of different devices, gauges or neurons, or of fewer columns.
    """
    columns = [len(calibration.weights[0]) for calibration in (whole, part)]
    fits = set(part.neurons) <= set(whole.neurons) and columns[1] <= columns[0]
    if (whole.device_id, whole.gauge) != (part.device_id, part.gauge) or not fits:
        raise CalibrationError(
            f"calibration {part.id} of {part.device_id} ({part.gauge}, {columns[1]} synapse columns) does not fit into {whole.id} of "
            f"{whole.device_id} ({whole.gauge}, {columns[0]} columns); calibrate the same device in the same way"
        )
    place = {n: k for k, n in enumerate(whole.neurons)}
    rows = [place[n] for n in part.neurons]

    def put(old: list[Any], new: list[Any]) -> list[Any]:
        result = list(old)
        for row, value in zip(rows, new, strict=True):
            result[row] = value
        return result

    data, fresh = whole.model_dump(), part.model_dump()
    for name in data["targets"]:
        data["targets"][name] = put(data["targets"][name], fresh["targets"][name])
    for name, estimate in data["estimates"].items():
        for key in estimate:
            estimate[key] = put(estimate[key], fresh["estimates"][name][key])
    for name in ("verdict", "residual"):
        data[name] = put(data[name], fresh[name])
    data["weights"] = put(data["weights"], _factors(whole, part, rows))
    if part.bends:
        unknown = [[None] * columns[0] for _ in whole.neurons]
        data["bends"] = put(
            data["bends"] or unknown, [[*row, *[None] * (columns[0] - columns[1])] for row in part.bends]
        )
    data["measured"] = put(list(whole.dates), list(part.dates))
    own = {str(n) for n in part.neurons}
    for name in ("reasons", "notes"):
        data[name] = {**{k: v for k, v in data[name].items() if k not in own}, **fresh[name]}
    for name in ("date", "temperature", "device_time", "firmware", "effort", "program_digest"):
        data[name] = fresh[name]
    share = len(rows) / len(whole.neurons)
    for name, old in data["noise"].items():
        data["noise"][name] = float(np.sqrt((1 - share) * old**2 + share * fresh["noise"][name] ** 2))
    if fresh["codes"]:
        data["codes"] = fresh["codes"]
    return _summed(Calibration.model_validate(data | {"version": VERSION}))


def given_up(whole: Calibration, neurons: Sequence[int], reason: str) -> Calibration:
    """``whole`` with ``neurons`` masked for ``reason``; what was known of them is dropped, the codes stay."""
    gone = set(neurons)
    rows = [n in gone for n in whole.neurons]
    data = whole.model_dump()
    for estimate in data["estimates"].values():
        for key, nothing in (("value", None), ("error", None), ("identified", False)):
            estimate[key] = [nothing if lost else x for x, lost in zip(estimate[key], rows, strict=True)]
    data["verdict"] = ["masked" if lost else v for v, lost in zip(whole.verdict, rows, strict=True)]
    data["reasons"] |= {str(n): f"cannot be calibrated anew: {reason}"[:500] for n in sorted(gone)}
    data["measured"] = list(whole.dates)
    return _summed(Calibration.model_validate(data | {"version": VERSION}))


def _summed(calibration: Calibration) -> Calibration:
    """The same with spreads of the neurons that it has now, without held-out figures, sealed."""
    targets = {name: np.array(row) for name, row in calibration.targets.items()}
    sound = np.array([verdict != "masked" for verdict in calibration.verdict])
    spread = spreads(targets, calibration.before or calibration.estimates, calibration.estimates, sound)
    return calibration.model_copy(update={"spread": spread, "held_out": None}).sealed()


def _factors(whole: Calibration, part: Calibration, rows: list[int]) -> list[list[float | None]]:
    """Synapse factors of ``part``'s neurons, the unknown ones those of ``whole`` in the ratio of the gains."""
    ratio = part.value("gain") / whole.value("gain")[rows]
    result = []
    for row, factor, new in zip(rows, np.where(np.isfinite(ratio), ratio, 1.0), part.weights, strict=True):
        old = as_array(whole.weights[row])
        own = np.full(len(old), np.nan)
        own[: len(new)] = as_array(new)
        result.append(as_row(np.where(np.isnan(own), old * factor, own), FACTOR_DIGITS))
    return result


__all__ = ["given_up", "merged"]
