"""A chip of our own in SystemVerilog, simulated clock by clock: ``hwloop.open("rtl:")``.

The chip is in ``core/``, its firmware in ``firmware/``; docs/rtl.md tells how both get onto an FPGA.
"""

from .device import RtlDevice as RtlDevice
from .target import RtlTarget as RtlTarget

__all__ = ["RtlDevice", "RtlTarget"]
