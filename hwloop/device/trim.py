"""Trim cells of a device: codes that move each neuron's own parameters, and the protocol to read and write them.

A trim cell shifts one parameter of one physical neuron away from the operating point that a program asks for:

    tau_mem, tau_syn, gain, t_ref       value = asked * own factor * exp(step * (code - default))     exponential law
    v_th, v_leak, v_reset               value = asked + swing * (own offset + step * (code - default))     linear law

with ``swing = v_th - v_reset`` as asked. Law and step are what a data sheet gives; the single neuron follows them only
roughly, which is what a calibration has to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OptionError
from ..spikes import Spikes

__all__ = ["TRIMMED", "MembraneReader", "TrimLaw", "TrimRange", "Trimmable", "check_codes", "known_parameter"]

Array: TypeAlias = NDArray[Any]
#: ``exponential``: a code multiplies the value (time constants, gain). ``linear``: it adds to it (potentials).
TrimLaw: TypeAlias = Literal["exponential", "linear"]

#: Parameters that trim cells can exist for, and the law that they follow.
TRIMMED: dict[str, TrimLaw] = {
    "tau_mem": "exponential",
    "tau_syn": "exponential",
    "gain": "exponential",
    "t_ref": "exponential",
    "v_th": "linear",
    "v_leak": "linear",
    "v_reset": "linear",
}


@dataclass(frozen=True)
class TrimRange:
    """Codes of one parameter's trim cells and the nominal law from code to value.

    Attributes
    ----------
    codes_min, codes_max, default : int
        Allowed codes, both ends included; the code that leaves the neuron as it is.
    law : "exponential" | "linear"
    step : float
        Nominal effect of 1 LSB, positive: on the logarithm of the value (exponential), or in units of the asked swing
        ``v_th - v_reset`` (linear).
    """

    codes_min: int
    codes_max: int
    default: int
    law: TrimLaw
    step: float

    def change(self, codes: Array) -> Array:
        """Nominal change of the value at ``codes``: a factor (exponential), or an offset (swing)."""
        moved = self.step * (np.asarray(codes, dtype=np.float64) - self.default)
        return np.exp(moved) if self.law == "exponential" else moved

    def codes(self, change: Array) -> Array:
        """Codes (int64), clipped to the range, whose nominal change is nearest to ``change``, a factor or an offset.

        Raises :class:`InputError` for a factor that is not positive, or anything not finite.
        """
        wanted = np.asarray(change, dtype=np.float64)
        bad = ~np.isfinite(wanted) | ((wanted <= 0) if self.law == "exponential" else False)
        if np.any(bad):
            allowed = "finite and > 0 (a factor)" if self.law == "exponential" else "finite (swing)"
            raise InputError(f"change {wanted[bad].ravel()[0]:g} of a trimmed parameter; allowed: {allowed}")
        moved = np.log(wanted) if self.law == "exponential" else wanted
        nearest = np.rint(moved / self.step) + self.default
        return np.clip(nearest, self.codes_min, self.codes_max).astype(np.int64)


@runtime_checkable
class Trimmable(Protocol):
    """A device with trim cells; what :class:`hwloop.device.registry.Device` has besides.

    Emulated chips also have ``advance(seconds)``, which lets device time pass, and ``temperature`` (kelvin above the
    reference), which can be set.
    """

    @property
    def trim_ranges(self) -> Mapping[str, TrimRange]:
        """Range of each parameter that has trim cells; empty where the device has none."""

    @property
    def device_time(self) -> float:
        """What the device's own clock shows (device s): writes settle, runs last, chips age."""

    def trim_codes(self, parameter: str) -> Array:
        """Codes (int64) that the cells of ``parameter`` hold, one a physical neuron."""

    def write_trim(self, parameter: str, codes: Array, neurons: Array | None = None, *, refresh: bool = False) -> None:
        """Write trim cells of ``parameter``: those whose code differs, each counted in ``device.writes``.

        Parameters
        ----------
        parameter : one of :attr:`trim_ranges`
        codes : ``[k]`` whole numbers within its range
        neurons : ``[k]`` physical neurons, or None: all of them
        refresh : bool
            Write the cells that hold their code already too: it undoes what writing their neighbours did to them.

        Raises
        ------
        OptionError, InputError
            No such parameter; codes or neurons out of range. Nothing is written.
        TargetError
            The device is closed, or the write broke off: some cells hold their new code, :meth:`trim_codes` says which.

        A device that held a calibration has none once a cell is written by hand: what it was found to be no longer holds.
        """


@runtime_checkable
class MembraneReader(Protocol):
    """A device that can sample membranes; ``membrane_channels`` is 0 where this one has no converter."""

    @property
    def membrane_channels(self) -> int:
        """Neurons whose membranes can be read in one run; 0: none."""

    def read_membrane(self, spikes: Spikes, population: int, neurons: Array, times: Array) -> Array:
        """Membranes ``[batch, k, samples]`` (model units) of logical ``neurons [k]`` at ``times [samples]`` (model s)."""


def known_parameter(ranges: Mapping[str, TrimRange], parameter: str, device_id: str) -> TrimRange:
    """The range of ``parameter``; :class:`OptionError` that lists the known ones where there is none."""
    found = ranges.get(parameter)
    if found is None:
        known = ", ".join(ranges) or "none"
        raise OptionError(f"{device_id} has no trim cells for {parameter!r}; it has them for: {known}")
    return found


def check_codes(
    allowed: TrimRange, parameter: str, codes: Array, neurons: Array | None, n_neurons: int
) -> tuple[Array, Array]:
    """``(codes, neurons)`` as int64 ``[k]``, sorted by neuron.

    Raises :class:`InputError` that names parameter, neuron and code: not whole, out of range, of a neuron that does
    not exist or is named twice, or another number of codes than of neurons.
    """
    chosen = np.arange(n_neurons) if neurons is None else np.asarray(neurons)
    values = np.asarray(codes)
    if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer):
        raise InputError(f"{parameter}: neurons of shape {chosen.shape}, {chosen.dtype}; allowed: [k] whole numbers")
    if values.shape != chosen.shape:
        raise InputError(f"{parameter}: codes of shape {values.shape} for {len(chosen)} neurons; allowed: one for each")
    outside = (chosen < 0) | (chosen >= n_neurons)
    if outside.any():
        raise InputError(f"{parameter}: neuron {chosen[outside][0]}; allowed: 0..{n_neurons - 1}")
    order = np.argsort(chosen, kind="stable")
    chosen, values = chosen[order], values[order]
    if (repeated := chosen[1:][chosen[1:] == chosen[:-1]]).size:
        raise InputError(f"{parameter}: neuron {repeated[0]} is named twice; allowed: once in a write")
    if not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"{parameter}: codes are {values.dtype}; allowed: whole numbers (round them first)")
    bad = (values < allowed.codes_min) | (values > allowed.codes_max)
    if bad.any():
        raise InputError(
            f"{parameter}, neuron {chosen[bad][0]}: code {values[bad][0]}; "
            f"allowed: {allowed.codes_min}..{allowed.codes_max}"
        )
    return values.astype(np.int64), chosen.astype(np.int64)
