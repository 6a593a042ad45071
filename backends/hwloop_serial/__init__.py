"""Boards on a serial line, and any target as such a board: ``hwloop.open("serial:/dev/ttyUSB0")``.

The protocol is that of PROTOCOL.md. :mod:`.board` is the device's side of it.
"""

from .device import FixedDevice as FixedDevice
from .device import SerialDevice as SerialDevice
from .target import SerialTarget as SerialTarget

__all__ = ["FixedDevice", "SerialDevice", "SerialTarget"]
