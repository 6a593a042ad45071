"""Putting a calibration on a device: only its own, only a fresh one, and all of it or nothing."""

from __future__ import annotations

import logging
import warnings
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from hwloop.errors import CalibrationError, CalibrationWarning, HwloopError, OptionError
from hwloop.target import Device
from hwloop.trim import Trimmable

from .document import Calibration
from .model import Array

_log = logging.getLogger(__name__)

#: What happens to a calibration that is foreign or stale.
Policy: TypeAlias = Literal["error", "warn", "allow"]
#: Age (s) above which a calibration is stale: a day, after which an analog chip is commonly calibrated anew.
MAX_AGE = 86400.0


def apply(device: Device, calibration: Calibration, policy: str = "error", max_age: float | None = None) -> None:
    """Write the calibration's trim codes and let the device's recordings name it.

    Parameters
    ----------
    device : opened device
    calibration : Calibration
    policy : "error" | "warn" | "allow"
        For a calibration of another device, revision or firmware, or an old one.
    max_age : float (s), optional
        Age above which it is old; by default a day.

    Raises
    ------
    CalibrationError
        It is foreign or stale under policy "error", or the device lacks its trim cells.
    TargetError
        A write failed; the codes of before are back (or, where that fails too, the error says so), and the calibration
        of before stays.
    """
    if policy not in get_args(Policy):
        raise OptionError(f"policy = {policy!r}; allowed: {', '.join(map(repr, get_args(Policy)))}")
    for problem in problems(device, calibration, MAX_AGE if max_age is None else max_age):
        if policy == "error":
            raise CalibrationError(
                f"calibration {calibration.id}: {problem}. Calibrate this device (hwloop calibrate), or apply it with policy 'warn' "
                "or 'allow'"
            )
        if policy == "warn":
            warnings.warn(f"calibration {calibration.id}: {problem}", CalibrationWarning, stacklevel=3)
    write_codes(device, {name: np.asarray(codes) for name, codes in calibration.codes.items()})
    device.calibration = calibration  # type: ignore[attr-defined]  # devices that offer apply() have it


def problems(device: Device, calibration: Calibration, max_age: float) -> list[str]:
    """Why the calibration should not be used on this device, worst first; empty where it may."""
    found = []
    if calibration.device_id != device.device_id:
        found.append(f"is of device {calibration.device_id}; this is {device.device_id}")
    if calibration.revision != device.capabilities.digest:
        found.append(f"was made for another revision of {calibration.target} (limits differ)")
    if calibration.firmware != device.firmware:
        found.append(f"was made with firmware {calibration.firmware!r}; the device runs {device.firmware!r}")
    age = calibration.age()
    if not -60.0 <= age <= max_age:
        found.append(f"is {age:.0f} s old; allowed: up to {max_age:.0f} s")
    return found


def write_codes(device: Device, codes: dict[str, Array], neurons: Array | None = None) -> None:
    """Write trim codes of all parameters, or, where a write fails, put those of before back and raise its error."""
    if not codes:
        return
    ranges = getattr(device, "trim_ranges", {})
    lacking = [name for name in codes if name not in ranges]
    if lacking or not isinstance(device, Trimmable):
        raise CalibrationError(
            f"{device.device_id} has no trim cells for {', '.join(lacking) or 'anything'}; use a calibration made without trimming"
        )
    before = {name: device.trim_codes(name) for name in codes}
    try:
        for name, values in codes.items():
            device.write_trim(name, values, neurons)
    except HwloopError:
        _put_back(device, before)
        raise


def _put_back(device: Any, before: dict[str, Array]) -> None:
    for name, values in before.items():
        try:
            device.write_trim(name, values)
        except HwloopError as error:
            _log.error("%s: the codes of before could not be put back: %s", device.device_id, error)
            raise
