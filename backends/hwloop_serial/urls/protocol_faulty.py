"""``faulty://URL?flip=1e-3&seed=7``: another port with faults, so that any script can be run under them.

Options: ``drop``, ``flip``, ``duplicate``, ``cut`` (chance of a byte), ``delay`` (chance of a piece), ``seed``. A line that was
cut stays cut until it is opened again, with faults of a stream of their own.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qsl

import serial

from ..faults import FaultRates, Faults

SCHEME = "faulty://"
#: Openings of each URL in this process: each has faults of its own.
_openings: defaultdict[str, itertools.count[int]] = defaultdict(itertools.count)


def options_of(url: str) -> tuple[str, FaultRates, int]:
    """``(inner URL, rates, seed)``; ValueError for an option that is none, as pySerial expects it."""
    inner, mark, query = url.removeprefix(SCHEME).rpartition("?")
    if not mark:
        inner, query = query, ""
    rates: dict[str, float] = {}
    seed = 0
    for key, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if key == "seed":
            seed = int(value)
        elif key in FaultRates.__dataclass_fields__:
            rates[key] = float(value)
        else:
            raise ValueError(f"option {key!r}; allowed: seed, {', '.join(FaultRates.__dataclass_fields__)}")
    return inner, FaultRates(**rates), seed


class FaultyPort:
    """A port of pySerial with faults both ways; what transport.py asks of a port, and no more."""

    #: Bytes are held back here: nobody can wait for them at the inner port.
    waitable = False

    def __init__(self, port: None = None, **settings: Any) -> None:
        self._settings = settings
        self.port = ""
        self._inner: Any = None

    def open(self) -> None:
        """Open the inner port."""
        inner, rates, seed = options_of(self.port)
        number = next(_openings[self.port])
        self._inner = serial.serial_for_url(inner, **self._settings)
        self._sent, self._received = (Faults(rates, [seed, number, way]) for way in (0, 1))

    def fileno(self) -> int:
        """Of the inner port."""
        return int(self._inner.fileno())

    def write(self, data: bytes) -> int:
        """Send, through the faults."""
        self._check()
        for part in self._sent.pass_on(bytes(data)):
            self._inner.write(part)
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """What came through the faults."""
        self._check()
        found = self._inner.read(size)
        return b"".join(self._received.pass_on(found)) if found else b""

    def _check(self) -> None:
        if self._sent.broken or self._received.broken:
            raise serial.SerialException("the line was cut")

    def close(self) -> None:
        """Close the inner port."""
        if self._inner is not None:
            self._inner.close()


def serial_class_for_url(url: str) -> tuple[str, type[FaultyPort]]:
    """What pySerial asks for."""
    options_of(url)
    return url, FaultyPort
