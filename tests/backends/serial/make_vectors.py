"""Frames, good and bad, and program images with what they answer: ``python -m tests.backends.serial.make_vectors``.

Host and firmware are tested against the file that this writes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.reference import run_fixed
from hwloop_serial import cobs, event_lists, fixed_image, framing
from hwloop_serial.event_lists import Events
from hwloop_serial.framing import Frame
from hwloop_serial.messages import MAGIC, NO_DIGEST, NUMBERS, Run, pack_reply, pack_request
from hwloop_serial.schema import SCHEMA_ID

ROOT = Path(__file__).parents[3]
PATH = ROOT / "backends" / "hwloop_serial" / "vectors.json"
#: Graphs whose images stand in the file: a row with wraps of u, and loops, delays, starts.
ROWS, WIRINGS = (3, 11, 26), (2, 5, 9)
BATCH, TICKS = 2, 24


def make() -> dict[str, Any]:
    """All of the file."""
    return {
        "schema_id": SCHEMA_ID,
        "hello_seed": framing.HELLO_SEED,
        "good": [_good(name, frame) for name, frame in frames()],
        "bad": [{"name": name, "hex": wire.hex()} for name, wire in damaged()],
        "images": [_image(name, graph, seed) for name, graph, seed in graphs()],
    }


def frames() -> list[tuple[str, Frame]]:
    """Frames that are to be accepted."""
    session, boot = 0x01020304, 0xA0B0C0D0
    run = Run(7, bytes(range(32)), bytes(range(32, 64)), NO_DIGEST, 3, 1, 250, 0.0, 0, 0)
    long = bytes(1 + k % 255 for k in range(600))
    bodies = [
        ("HELLO", 0, pack_request("HELLO", (MAGIC, SCHEMA_ID))),
        ("STATUS", boot, b""),
        ("BEGIN", boot, pack_request("BEGIN", (1, 1, 4096))),
        ("WRITE", boot, pack_request("WRITE", (1, 5, 254), long[:100])),
        ("SEAL", boot, pack_request("SEAL", (1, 5, 4096))),
        ("RUN", boot, pack_request("RUN", run)),
        ("READ", boot, pack_request("READ", (4, 7, 0, 128))),
        ("RESET", boot, pack_request("RESET", (1,))),
        ("CALL", boot, pack_request("CALL", (3,))),
        ("CONFIGURE", boot, pack_request("CONFIGURE", (1, 500))),
    ]
    found = [
        (f"request {name}", Frame(NUMBERS[name], session, k, start, body))
        for k, (name, start, body) in enumerate(bodies, 1)
    ]
    hello = (MAGIC, SCHEMA_ID, 2, 2, 512, 65536, 8192, 16384, 0, 300, 0x12345678)
    found += [
        ("reply to HELLO", Frame(0x81, session, 1, boot, pack_reply("HELLO", hello))),
        ("reply to WRITE", Frame(0x84, session, 4, boot, pack_reply("WRITE", (254,)))),
        ("reply to READ", Frame(0x87, session, 7, boot, pack_reply("READ", (4, 7, 0), bytes(128)))),
        ("error reply to HELLO", Frame(0xFF, session, 1, boot, pack_reply("ERROR", (1, 4, 0, 0)))),
        ("error reply to RUN", Frame(0xFF, session, 6, boot, pack_reply("ERROR", (6, 13, 0xDEADBEEF, 0)))),
    ]
    for length in (253, 254, 255, 508, 600):  # runs without a zero around the blocks of COBS
        body = pack_request("WRITE", (1, 0x01010101, 0x01010101), long[:length])
        found.append((f"WRITE of {length} bytes without a zero", Frame(4, 0x01010101, 0x02020202, 0x03030303, body)))
    found.append(("WRITE of zeros", Frame(4, session, 9, boot, pack_request("WRITE", (2, 1, 0), bytes(300)))))
    return found


def damaged() -> list[tuple[str, bytes]]:
    """Bytes, delimiter included, of which a receiver makes nothing."""
    good = framing.encode(frames()[1][1])
    data = cobs.decode(good[:-1])
    hello = framing.encode(frames()[0][1])
    flipped = bytearray(good)
    flipped[9] ^= 0x10
    unknown = framing.encode(Frame(0x5A, 1, 1, 1))
    return [
        ("one bit flipped", bytes(flipped)),
        ("a byte missing", good[:5] + good[6:]),
        ("a byte too many", good[:5] + b"\x07" + good[5:]),
        ("cut in the middle", good[: len(good) // 2] + b"\0"),
        ("the end of one joined to the begin of the next", good[:-8] + hello),
        ("shorter than 17 bytes", cobs.encode(data[:16]) + b"\0"),
        ("of an unknown type", unknown),
        ("with the CRC of another schema", framing.encode(frames()[1][1], SCHEMA_ID ^ 1)),
        ("HELLO with the CRC of other frames", _hello_with_schema()),
        ("a block that points beyond the end", b"\x20" + good[1:]),
        ("sixteen zero bytes, COBS", cobs.encode(bytes(20)) + b"\0"),
        ("a line stuck at FF", b"\xff" * 24 + b"\0"),
    ]


def _hello_with_schema() -> bytes:
    import struct
    import zlib

    frame = frames()[0][1]
    data = framing.HEADER.packed.pack(*frame[:4]) + frame.body
    return cobs.encode(data + struct.pack("<I", zlib.crc32(data, SCHEMA_ID))) + b"\0"


def graphs() -> list[tuple[str, FixedGraph, int]]:
    """Graphs, and the seeds of their inputs."""
    from tests.backends.loihi.random_graphs import random_graph, random_wiring

    rows = [(f"row {seed}", random_graph(seed), seed) for seed in ROWS]
    return rows + [(f"wiring {seed}", random_wiring(seed), seed) for seed in WIRINGS]


def _good(name: str, frame: Frame) -> dict[str, Any]:
    fields = dict(zip(("type", "session", "sequence", "boot"), frame[:4], strict=True))
    return {"name": name, "hex": framing.encode(frame).hex(), **fields, "body": frame.body.hex()}


def _image(name: str, graph: FixedGraph, seed: int) -> dict[str, Any]:
    from tests.backends.loihi.random_graphs import random_raster

    image = fixed_image.write(graph)
    raster = random_raster(graph, seed, BATCH, TICKS)
    layers = run_fixed(graph, raster)
    whole = np.concatenate(layers, axis=2)
    given, expected = (event_lists.pack(_events(spikes), event_lists.TICKS) for spikes in (raster, whole))
    return {
        "name": name, "hex": image.hex(), "sha256": hashlib.sha256(image).hexdigest(), "batch": BATCH, "n_ticks": TICKS,
        "sizes": list(graph.sizes), "input": given.hex(), "output_by_tick": expected.hex(),
    }  # fmt: skip


def _events(raster: Any) -> Events:
    sample, tick, unit = np.nonzero(raster)
    return Events(np.bincount(sample, minlength=len(raster)), tick, unit)


if __name__ == "__main__":
    PATH.write_text(json.dumps(make(), indent=1) + "\n")
    sys.stdout.write(f"{PATH}\n")
