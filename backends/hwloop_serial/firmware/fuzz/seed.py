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
    populations = struct.pack(POPULATION, 3, 0, 4000, 4000, 20 << 6, bias, start, start)
    populations += struct.pack(POPULATION, 2, 3, 0, 4096, 40 << 6, 0, 0, 0)
    weights = parts.add(bytes(range(100, 112)))
    projections = struct.pack(PROJECTION, -1, 0, 4, 0, 1, 1, 0, 0, 0, weights, 0, 0, 0)
    weights, delays = parts.add(bytes(range(200, 206))), parts.add(bytes((0, 1, 2, 3, 4, 5)))
    projections += struct.pack(PROJECTION, 0, 0, 3, 1, -2, 6, 1, 0, 0, weights, delays, 0, 0)
    pointer, targets = parts.add(struct.pack("<3I", 0, 2, 3)), parts.add(struct.pack("<3H", 0, 2, 1))
    weights, delays = parts.add(bytes((250, 240, 230))), parts.add(bytes((63, 0, 7)))
    projections += struct.pack(PROJECTION, 1, 0, 2, 0, 7, 64, 2, 1, 0, weights, delays, pointer, targets)
    pointer, targets = parts.add(struct.pack("<3I", 0, 1, 2)), parts.add(struct.pack("<2H", 2, 0))
    weights = parts.add(bytes((250, 3)))
    projections += struct.pack(PROJECTION, 0, 1, 2, 0, 0, 1, 0, 1, 0, weights, 0, pointer, targets)
    sizes = (2, 4, 0, INPUTS, sum(SIZES), 12 + 6 + 3 + 2, parts.at)
    header = struct.pack(HEADER, b"HWF1", 1, *sizes, populations_at, projections_at, 0)
    return header + populations + projections + parts.data


def inputs() -> dict[str, bytes]:
    """Steps of fuzz_device.c that reach every part: runs with their output read, transfers by hand, time that passes."""
    status, forget = request(2, b""), request(8, b"\1")
    read = request(7, struct.pack("<BIIH", 4, 9, 0, 40))
    begin, write = request(3, struct.pack("<BBI", 2, 1, 40)), request(4, struct.pack("<BII5s", 2, 1, 4, b"hello"))
    silence = request(10, struct.pack("<HI", 1, 5)) + b"\6" + struct.pack("<I", 400)
    ready = b"\3\0" + events(1)
    return {
        "run": ready + run(1, 50) + status * 12 + read + request(7, struct.pack("<BIIH", 1, 0, 4, 60)),
        "wraps": ready + run(1, 255) + status * 60 + read,
        "batch": b"\3\0" + events(3) + run(3, 20) + status * 12 + read + forget + status,
        "wide": b"\3\0" + b"\5" + _counted(struct.pack("<III", 1, 2, 3)) + run(1, 30, wide=True) + status * 9 + read,
        "large": b"\3\0" + b"\5" + _counted(bytes(4 * 200)) + run(200, 3) + status,
        "full": b"\3\0" + b"\5" + _counted(bytes(4 * 30)) + run(30, 120) + status * 200,
        "end": ready + run(1, 255) + request(8, b"\0") + status + forget + status,
        "transfer": begin + write + begin + b"\7\1" + begin + request(5, struct.pack("<BII", 2, 2, 40)),
        "memory": b"\3\1\x44\0\0\x11" + status,
        "silence": ready + run(1, 255) + silence + status,
        "line": b"\0"
        + _counted(bytes(range(16)))
        + b"\1\1"
        + struct.pack("<III", 7, 1, 0)
        + _counted(b"hwlp\xd6\x02\x59\xc7"),
    }


def _counted(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def request(kind: int, body: bytes) -> bytes:
    """A request of the open session."""
    return bytes((2, kind)) + _counted(body)


def events(batch: int) -> bytes:
    """An input of ``batch`` samples, four events each."""
    sample = b"".join(struct.pack("<IH", t, t % INPUTS) for t in (0, 1, 2, 9))
    return b"\5" + _counted(struct.pack(f"<{batch}I", *[4] * batch) + sample * batch)


def run(batch: int, n_ticks: int, wide: bool = False) -> bytes:
    """A run with the right digests; its number is 9."""
    return bytes((4, 9, batch, n_ticks, 4 * wide, 255))


def main(header: str, corpus: str) -> None:
    """Write the header, and the inputs into the folder ``corpus``."""
    numbers = ", ".join(str(byte) for byte in program())
    Path(header).write_text(f"static const uint8_t seed_program[] = {{{numbers}}};\n", encoding="ascii")
    Path(corpus).mkdir(exist_ok=True)
    for name, data in inputs().items():
        (Path(corpus) / name).write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
