"""Putting a calibration on a device: only its own, only a fresh one, and all of it or nothing."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias, get_args

import numpy as np

from hwloop.device.registry import Device
from hwloop.device.trim import Trimmable
from hwloop.errors import CalibrationError, CalibrationWarning, HwloopError, OptionError, TargetError

from ..characterise.model import Array
from ..document.calibration import Calibration

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
        A write failed; codes and calibration of before are back, or, where that fails too, the device has no calibration
        and the error says so.
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
    with unless_complete(device):
        _write_codes(device, {name: np.asarray(codes) for name, codes in calibration.codes.items()})
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


def _write_codes(device: Device, codes: dict[str, Array]) -> None:
    """Write trim codes of all parameters; the device has no calibration from then on."""
    if not codes:
        return
    ranges = getattr(device, "trim_ranges", {})
    lacking = [name for name in codes if name not in ranges]
    if lacking or not isinstance(device, Trimmable):
        raise CalibrationError(
            f"{device.device_id} has no trim cells for {', '.join(lacking) or 'anything'}; use a calibration made without trimming"
        )
    drop_calibration(device)
    for name, values in codes.items():
        device.write_trim(name, values)


def trim_codes(device: Device) -> dict[str, Array]:
    """What all trim cells hold; empty for a device without."""
    if not isinstance(device, Trimmable):
        return {}
    return {name: device.trim_codes(name) for name in device.trim_ranges}


@contextmanager
def unless_complete(device: Device) -> Iterator[None]:
    """Trim codes and calibration of before, should the block not come to its end: an error, Ctrl-C, anything.

    Raises what ended the block. Where putting codes back fails too, the device has no calibration: an
    :class:`~hwloop.errors.HwloopError` becomes a :class:`~hwloop.errors.TargetError` that says so, anything else gets a note.
    """
    codes, calibration = trim_codes(device), getattr(device, "calibration", None)
    try:
        yield
    except BaseException as error:
        try:
            _put_back(device, codes, calibration)
        except (HwloopError, OSError) as second:
            lost = (
                f"the trim codes of before could not be put back either ({second}): {device.device_id} has no calibration now; "
                "apply one, or calibrate anew"
            )
            _log.error("%s", lost)
            if isinstance(error, HwloopError):
                raise TargetError(f"{error}; {lost}") from error
            error.add_note(lost)
        raise


def _put_back(device: Device, codes: dict[str, Array], calibration: Calibration | None) -> None:
    """Codes first, and the calibration that belongs to them only once all of them are back."""
    if getattr(device, "closed", False):
        drop_calibration(device)
        return
    now = trim_codes(device)
    changed = {name: values for name, values in codes.items() if not np.array_equal(now[name], values)}
    if changed:
        drop_calibration(device)
        for name, values in changed.items():
            device.write_trim(name, values)  # type: ignore[attr-defined]  # Trimmable: it has trim codes
    if calibration is not None:
        device.calibration = calibration  # type: ignore[attr-defined]  # it had one


def drop_calibration(device: Device) -> None:
    """The device has no calibration from now on: what it was found to be no longer holds."""
    if getattr(device, "calibration", None) is not None:
        device.calibration = None  # type: ignore[attr-defined]  # it had one
