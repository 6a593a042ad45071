"""One small program, byte by byte, with its input, and the memory of the device that the tests run."""

from __future__ import annotations

import runpy
import struct
from pathlib import Path

#: Memory of the shared library (firmware/Makefile, hwl_config.h).
PROGRAM_ROOM, INPUT_ROOM = 1 << 20, 24 * 1024

_HEADER = struct.pack("<4sHHHHIIIIIII", b"HWF1", 1, 2, 2, 0, 2, 2, 3, 204, 40, 104, 0)
# du = 4095, dv = 0: the current lives one tick, the membrane sums. vth = 100
_POPULATIONS = b"".join(struct.pack("<8I", 1, first, 0, 4096, 100 << 6, 0, 0, 0) for first in (0, 1))
# weight 60 from each of the two inputs, 120 from the first neuron to the second
_PROJECTIONS = struct.pack("<iIIIiIBBHIIII", -1, 0, 2, 0, 0, 1, 0, 0, 0, 192, 0, 0, 0)
_PROJECTIONS += struct.pack("<iIIIiIBBHIIII", 0, 0, 1, 1, 0, 1, 1, 0, 0, 196, 0, 0, 0)

#: Two neurons in a row: the first spikes a tick after the second input spike, the second a tick later.
CHAIN = _HEADER + _POPULATIONS + _PROJECTIONS + struct.pack("<bbHBBHI", 30, 30, 0, 120, 0, 0, 0)
#: Two samples: unit 0 at ticks 0, 1 and 4, and nothing.
EVENTS = struct.pack("<2I", 3, 0) + struct.pack("<IHIHIH", 0, 0, 1, 0, 4, 0)


def seed_program(firmware: Path) -> bytes:
    """The program that the fuzzer changes bytes of: one of all that a program may have."""
    return bytes(runpy.run_path(str(firmware / "fuzz" / "seed.py"))["program"]())
