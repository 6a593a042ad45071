"""Writes ``seed.h``, a program of all that a program may have, in which the fuzzer changes bytes, and inputs that it begins with."""

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


def inputs() -> dict[str, bytes]:
    """Steps of fuzz_device.c that reach every part: an upload, a run with its output read, transfers by hand, time that passes."""
    program, run = b"\3\0", b"\4\x09\1\x32\0"
    events = struct.pack("<I", 4) + b"".join(struct.pack("<IH", t, t % INPUTS) for t in (0, 1, 2, 30))
    upload = b"\5" + bytes((len(events) // 4,)) + events
    status, read = b"\2\2\0", b"\2\7\3" + struct.pack("<BIIHB", 4, 9, 0, 40, 0)
    begin, write = b"\2\3\2" + struct.pack("<BBIH", 2, 1, 40, 0), b"\2\4\5" + struct.pack("<BII11s", 2, 1, 4, b"hello")
    silence = b"\2\x0a\2" + struct.pack("<HIH", 1, 5, 0) + b"\6" + struct.pack("<I", 400)
    return {
        "run": program + upload + run + status * 12 + read,
        "end": program + upload + run[:3] + b"\xff\4" + status + b"\2\x08\1\0\0\0\0" + status,
        "transfer": begin + write + begin + b"\7\1" + begin,
        "silence": program + upload + run + silence + status,
        "line": b"\0\4" + bytes(range(16)) + b"\1\1" + struct.pack("<III", 7, 1, 0) + b"\2hwlp\xd6\x02\x59\xc7",
    }


def main(header: str, corpus: str) -> None:
    """Write the header, and the inputs into the folder ``corpus``."""
    numbers = ", ".join(str(byte) for byte in program())
    Path(header).write_text(f"static const uint8_t seed_program[] = {{{numbers}}};\n", encoding="ascii")
    Path(corpus).mkdir(exist_ok=True)
    for name, data in inputs().items():
        (Path(corpus) / name).write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
