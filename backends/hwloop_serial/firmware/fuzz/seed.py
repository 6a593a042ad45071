"""Writes ``seed.h``: a program of all that a program may have, in which the fuzzer changes bytes."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

HEADER, POPULATION, PROJECTION = "<4sHHHHIIIIIII", "<8I", "<iIIIiIBBHIIII"
INPUTS, SIZES = 4, (3, 2)


class Parts:
    """Arrays behind the tables."""

    def __init__(self, at: int) -> None:
        self.at, self.data = at, b""

    def add(self, data: bytes) -> int:
        """Offset of ``data``."""
        place = self.at
        data += bytes(-len(data) % 4)
        self.data, self.at = self.data + data, self.at + len(data)
        return place


def program() -> bytes:
    """Dense and listed projections, delays, bias, starts, a loop, exponents of both signs, all three codes."""
    populations_at = struct.calcsize(HEADER)
    projections_at = populations_at + 2 * struct.calcsize(POPULATION)
    parts = Parts(projections_at + 4 * struct.calcsize(PROJECTION))
    bias, start = parts.add(struct.pack("<3i", 5000, -5000, 0)), parts.add(struct.pack("<3i", 100, -100, 6000))
    populations = struct.pack(POPULATION, 3, 0, 3000, 4000, 20 << 6, bias, start, start)
    populations += struct.pack(POPULATION, 2, 3, 0, 4096, 40 << 6, 0, 0, 0)
    weights = parts.add(bytes(range(100, 112)))
    projections = struct.pack(PROJECTION, -1, 0, 4, 0, 1, 1, 0, 0, 0, weights, 0, 0, 0)
    weights, delays = parts.add(bytes(range(200, 206))), parts.add(bytes((0, 1, 2, 3, 4, 5)))
    projections += struct.pack(PROJECTION, 0, 0, 3, 1, -2, 6, 1, 0, 0, weights, delays, 0, 0)
    pointer, targets = parts.add(struct.pack("<3I", 0, 2, 3)), parts.add(struct.pack("<3H", 0, 2, 1))
    weights, delays = parts.add(bytes((9, 8, 7))), parts.add(bytes((63, 0, 7)))
    projections += struct.pack(PROJECTION, 1, 0, 2, 0, 7, 64, 2, 1, 0, weights, delays, pointer, targets)
    pointer, targets = parts.add(struct.pack("<3I", 0, 1, 2)), parts.add(struct.pack("<2H", 2, 0))
    weights = parts.add(bytes((250, 3)))
    projections += struct.pack(PROJECTION, 0, 1, 2, 0, 0, 1, 0, 1, 0, weights, 0, pointer, targets)
    sizes = (2, 4, 0, INPUTS, sum(SIZES), 12 + 6 + 3 + 2, parts.at)
    header = struct.pack(HEADER, b"HWF1", 1, *sizes, populations_at, projections_at, 0)
    return header + populations + projections + parts.data


def main(path: str) -> None:
    """Write the header at ``path``."""
    numbers = ", ".join(str(byte) for byte in program())
    Path(path).write_text(f"static const uint8_t seed_program[] = {{{numbers}}};\n", encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1])
