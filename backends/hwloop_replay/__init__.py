"""Recorded sessions as a device: ``hwloop.open("replay:session.log")`` answers what was measured, with no hardware."""

from .device import ReplayDevice as ReplayDevice
from .target import ReplayTarget as ReplayTarget

__all__ = ["ReplayDevice", "ReplayTarget"]
