"""What a target and a device are made of."""

from __future__ import annotations

from ...device.registry import Device, Target
from ..claim import claim, demand
from ..subject import Subject


@claim("protocol")
def has_what_a_target_and_a_device_have(subject: Subject) -> None:
    """Target and device have all that the protocols `Target` and `Device` name.

    Loops, reports and calibrations ask for nothing else.
    """
    with subject.device() as device:
        demand(isinstance(subject.target, Target), f"{type(subject.target).__name__} lacks a part of Target")
        demand(isinstance(device, Device), f"{type(device).__name__} lacks a part of Device")
        demand(device.target is subject.target, "device.target is not the target that opened it")


@claim("protocol")
def states_its_limits_as_data(subject: Subject) -> None:
    """Target and device state the same limits, which print under their name and have a digest.

    Programs, calibrations and recordings are bound to a device by the digest.
    """
    limits = subject.limits
    demand(limits.name and limits.name in limits.describe(), f"limits called {limits.name!r} do not print their name")
    demand(len(limits.digest) == 64, f"a digest of {len(limits.digest)} characters; expected 64 hexadecimal ones")
    with subject.device() as device:
        demand(device.capabilities == limits, "the device states other limits than its target")


@claim("protocol")
def compiles_for_a_device_as_for_its_target(subject: Subject) -> None:
    """A network compiled for the opened device and for its target is the same program.

    Compiling needs no device, so that a network can be refused before one is opened.
    """
    with subject.device() as device:
        first = subject.compile(subject.network(), device)
        second = subject.target.compile(subject.network())
        demand(
            first.digest == second.digest, f"program {first.digest[:12]} for the device, {second.digest[:12]} for it"
        )
