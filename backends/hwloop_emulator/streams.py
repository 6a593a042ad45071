"""Counter-based random streams: an emulated chip is a pure function of (seed family, number)."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(family: str, number: int, name: str, *position: int) -> np.random.Generator:
    """The generator of stream ``name`` of chip ``number`` at ``position`` (at most three counters).

    Philox4x64 (Salmon et al., SC 2011) keyed by a hash of (family, number, name), its upper counter words set to
    ``position``: streams never overlap, and drawing from one moves no other.
    """
    key = hashlib.sha256(f"{family}\0{number}\0{name}".encode()).digest()[:16]
    # Philox counts up its lowest word; the upper three are free for session, batch, neuron, ...
    counter = [0, *position, *(0,) * (3 - len(position))]
    philox = np.random.Philox(
        key=np.frombuffer(key, dtype="<u8").astype(np.uint64), counter=np.array(counter, dtype=np.uint64)
    )
    return np.random.Generator(philox)
