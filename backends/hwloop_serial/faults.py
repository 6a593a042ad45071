"""Faults of a line, drawn from a seed: bytes lost, flipped, doubled or held back, and the line itself cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from hwloop.errors import OptionError


@dataclass(frozen=True)
class FaultRates:
    """Chance of each fault, of every byte (``delay``: of every piece that is sent).

    Attributes
    ----------
    drop, flip, duplicate, cut : 0..1
    delay : 0..1
        Chance that a piece waits for the next one, and is then sent before it.
    """

    drop: float = 0.0
    flip: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    cut: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0.0 <= (rate := getattr(self, field.name)) <= 1.0:
                raise OptionError(f"{field.name} = {rate}; allowed: a chance, 0..1")


class Faults:
    """One direction of a line, with faults of ``rates`` drawn from ``seed``."""

    def __init__(self, rates: FaultRates, seed: list[int]) -> None:
        self.rates = rates
        self._draw = np.random.default_rng(seed)
        self._held = b""
        #: Whether the line was cut.
        self.broken = False

    def pass_on(self, data: bytes) -> Iterator[bytes]:
        """What comes out of the line where ``data`` goes in; nothing once it is cut."""
        if self.broken:
            return
        rates, draw = self.rates, self._draw
        array = np.frombuffer(data, np.uint8)
        if rates.cut > 0 and (places := np.flatnonzero(draw.random(len(array)) < rates.cut)).size:
            array, self.broken = array[: places[0]], True
        if rates.flip > 0:
            bad = draw.random(len(array)) < rates.flip
            masks = (1 << draw.integers(0, 8, len(array))).astype(np.uint8)
            array = np.where(bad, array ^ masks, array).astype(np.uint8)
        times = np.ones(len(array), np.int64)
        if rates.drop > 0:
            times[draw.random(len(array)) < rates.drop] = 0
        if rates.duplicate > 0:
            times[draw.random(len(array)) < rates.duplicate] += 1
        out = self._held + np.repeat(array, times).tobytes()
        self._held = b""
        if rates.delay > 0 and draw.random() < rates.delay:
            self._held = out
            return
        if out:
            yield out
