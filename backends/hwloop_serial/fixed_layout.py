"""Layout of a program image of kind "fixed": section 8 of PROTOCOL.md as packed structures."""

from __future__ import annotations

import struct
from typing import NamedTuple

MAGIC, VERSION = b"HWF1", 1
#: Offsets are multiples of this (bytes).
ALIGNED = 4
#: Form of a projection: a matrix, or a list of the synapses of each unit.
DENSE, LISTED = 0, 1
#: Largest delay + 1 (ticks); neurons of a target from which its numbers take four bytes.
MOST_DEPTH, WIDE = 64, 65536


class ImageHeader(NamedTuple):
    """First bytes of an image."""

    magic: bytes
    version: int
    populations: int
    projections: int
    flags: int
    inputs: int
    neurons: int
    synapses: int
    total_bytes: int
    populations_at: int
    projections_at: int
    reserved: int


class PopulationEntry(NamedTuple):
    """A population; offsets of 0: none there."""

    n: int
    first: int
    keep_u: int
    keep_v: int
    threshold: int
    bias_at: int
    u_start_at: int
    v_start_at: int


class ProjectionEntry(NamedTuple):
    """Synapses from units of one population, or of the input (-1), onto another population."""

    source: int
    start: int
    size: int
    target: int
    exponent: int
    depth: int
    code: int
    form: int
    pad: int
    weights_at: int
    delays_at: int
    pointer_at: int
    targets_at: int


HEADER = struct.Struct("<4sHHHHIIIIIII")
POPULATION = struct.Struct("<IIIIiIII")
PROJECTION = struct.Struct("<iIIIiIBBHIIII")
