"""Trim: codes that bring every neuron to its target, chosen from what it was found to be, and refined once or twice.

A first write follows the law of the data sheet from the estimates. What it did, seen by measuring again, gives each
cell's own slope, weighed against the data sheet's by their errors; the second write uses it, and only cells that are off
by more than half a step and their own error are written at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwloop.device.trim import TrimRange

from ..characterise.membranes import Potentials
from ..characterise.model import Array, Neurons
from ..characterise.quality import Judgement

#: Deviation of a cell's slope from the data sheet's that a trim reckons with, and bounds of the slope.
SLOPE_SPREAD, LEAST_SLOPE, MOST_SLOPE = 0.15, 0.3, 3.0
#: A cell stays as it is where it is off by less than this many steps or this many standard errors.
IDLE_STEPS, IDLE_ERRORS = 0.6, 1.0
#: Distance from its target, as a share (of the value or the swing), beyond which a neuron at the edge of its codes is out of reach.
OUT_OF_REACH = 0.05
#: Relative error of t_ref above which it is left alone: at the device's least it is hardly seen, and does nothing.
KNOWN_T_REF = 0.05
#: Columns of standard errors (see :mod:`..characterise.quality`) of what is trimmed by which cell.
COORDINATES = {"tau_mem": 0, "tau_syn": 1, "v_leak": 2, "t_ref": 3, "gain": 5}


@dataclass(frozen=True, eq=False)
class State:
    """Where neurons are against their targets: distance ``log(value/target)`` or ``(value - target)/swing``, by cell kind.

    ``distance``, ``error``: ``[n]`` each; NaN where unknown.
    """

    distance: dict[str, Array]
    error: dict[str, Array]


@dataclass
class Trimmer:
    """Chooses codes for neurons ``[n]``, round after round, and learns each cell's slope.

    ``ranges``: of the device's cells. ``codes``: what the cells of these neurons hold, by parameter.
    """

    ranges: Mapping[str, TrimRange]
    codes: dict[str, Array]
    _last: State | None = None
    _moved: dict[str, Array] | None = None

    def next(self, state: State, usable: Array) -> dict[str, tuple[Array, Array]]:
        """Cells to write: parameter to (row of the neurons, codes). Only neurons that are ``usable [n]`` are touched."""
        writes, moved = {}, {}
        for name, distance in state.distance.items():
            allowed, held = self.ranges[name], self.codes[name]
            slope = self._slope(name, state)
            wanted = np.where(np.isfinite(distance), distance, 0.0) / (allowed.step * slope)
            codes = np.clip(np.rint(held - wanted), allowed.codes_min, allowed.codes_max).astype(np.int64)
            off = (np.abs(wanted) > IDLE_STEPS) & (np.abs(distance) > IDLE_ERRORS * state.error[name])
            rows = np.flatnonzero(off & usable & (codes != held))
            moved[name] = np.zeros(len(held))
            if len(rows):
                moved[name][rows] = (codes - held)[rows]
                held[rows] = codes[rows]
                writes[name] = (rows, codes[rows])
        self._last, self._moved = state, moved
        return writes

    def _slope(self, name: str, state: State) -> Array:
        """Slope of each cell as a share of the data sheet's: what the last write did, weighed by its error."""
        allowed = self.ranges[name]
        flat = np.ones(len(self.codes[name]))
        if self._last is None or self._moved is None or name not in self._moved:
            return flat
        steps = self._moved[name] * allowed.step
        seen = state.distance[name] - self._last.distance[name]
        told = np.isfinite(seen) & np.isfinite(state.error[name]) & np.isfinite(self._last.error[name]) & (steps != 0)
        divisor = np.where(told, steps, 1.0)
        slope = np.where(told, seen, 1.0) / divisor
        variance = np.where(told, state.error[name] ** 2 + self._last.error[name] ** 2, np.inf) / divisor**2
        weight = np.where(told, SLOPE_SPREAD**2 / (SLOPE_SPREAD**2 + variance), 0.0)
        blended = 1.0 + weight * (slope - 1.0)
        return np.asarray(np.clip(blended, LEAST_SLOPE, MOST_SLOPE))

    def out_of_reach(self, state: State) -> dict[int, str]:
        """Rows of neurons whose cells are at the edge of their codes and whose value is not where it should be."""
        found: dict[int, str] = {}
        for name, distance in state.distance.items():
            allowed, held = self.ranges[name], self.codes[name]
            edge = ((held == allowed.codes_min) | (held == allowed.codes_max)) & (np.abs(distance) > OUT_OF_REACH)
            for row in np.flatnonzero(edge).tolist():
                unit = "%" if allowed.law == "exponential" else "% of the swing"
                found[row] = f"cannot reach its {name}: {100 * distance[row]:+.1f} {unit} off at code {int(held[row])}"
        return found


def state_of(
    neurons: Neurons, target: Neurons, errors: Array, gain: Array, judgement: Judgement, potentials: Potentials | None,
    asked: dict[str, Array], cells: Mapping[str, TrimRange],
) -> State:  # fmt: skip
    """Distances of what can be trimmed and was identified.

    Without ``potentials`` the leak stands for v_leak and weights in swings for the gain: v_th and v_reset have no meaning
    then, and stay.
    """
    distance, error = {}, {}
    with np.errstate(divide="ignore", invalid="ignore"):
        times = {
            name: np.log(getattr(neurons, name) / getattr(target, name)) for name in ("tau_mem", "tau_syn", "t_ref")
        }
        sizes = {"t_ref": errors[:, 3] / target.t_ref}
    values = {**times, "v_leak": neurons.leak - target.leak, "gain": np.log(gain)}
    if potentials is not None:
        swing = asked["v_th"] - asked["v_reset"]
        values["v_reset"] = (potentials.v_reset - asked["v_reset"]) / swing
        values["v_th"] = (potentials.v_reset + potentials.swing - asked["v_th"]) / swing
        values["v_leak"] = (potentials.v_reset + potentials.swing * neurons.leak - asked["v_leak"]) / swing
        values["gain"] = np.log(gain * potentials.swing / swing)
        sizes |= {"v_reset": potentials.v_reset_error / swing, "v_th": potentials.swing_error / swing}
    for name, value in values.items():
        if name not in cells:
            continue
        own = sizes.get(name, errors[:, COORDINATES[name]] if name in COORDINATES else np.zeros(len(value)))
        known = np.isfinite(value)
        if name in COORDINATES:
            known &= judgement.identified[:, COORDINATES[name]]
        if name == "t_ref":
            known &= own < KNOWN_T_REF
        distance[name] = np.where(known, value, np.nan)
        error[name] = np.where(np.isfinite(own), own, np.inf)
    return State(distance, error)
