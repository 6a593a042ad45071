"""Address events: fields, clocks, sensors and windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwloop import Spikes

from .support import Case, option


def events(*rows: tuple[float, ...], names: str = "txyp", **kinds: Any) -> np.ndarray:
    fields = [(name, kinds.get(name, np.int64)) for name in names]
    return np.array([*rows], dtype=fields)


PLAIN = events((1, 0), (2, 1), names="tx")
PIXELS = events((1, 0, 1, 0), (2, 1, 0, 1))
SIZE = (2, 2, 2)


def read(samples: Any = None, **options: Any) -> Spikes:
    return Spikes.from_aer(PLAIN if samples is None else samples, **{"n_units": 2, **options})


def pixels(samples: Any = None, **options: Any) -> Spikes:
    return Spikes.from_aer(PIXELS if samples is None else samples, **{"sensor_size": SIZE, **options})


CASES = [
    Case("from_aer", "a batch without events has no last one; give t_stop (s)", lambda: read(PLAIN[:0]), lambda: read(PLAIN[:0], t_stop=1.0)),
    Case("to_aer", "has {} units; the spikes have {}", lambda: read().to_aer(sensor_size=(3, 1)), lambda: read().to_aer(sensor_size=(2, 1))),
    Case("_arrays", "give at least one structured array", lambda: read([]), lambda: read([PLAIN])),
    Case("_arrays", "expected one axis, the events", lambda: read([PLAIN[None]]), lambda: read([PLAIN])),
    Case("_arrays", "Leave it out: array[{}]", lambda: read(events((1, 0, 5), names="txz")), lambda: read(events((1, 0, 5), names="txz")[["t", "x"]])),
    option("_tick", "time_unit = {}; allowed: seconds, or {}", read, "time_unit", "minutes", 1e-6, "s", "ms", "us", "ns"),
    option("_sensor", "allowed: (width, height, polarities), as in tonic", pixels, "sensor_size", 3, (2, 2, 2)),
    Case("_n_units", "give sensor_size=(w, h, p), or n_units where x is the unit", lambda: Spikes.from_aer(PLAIN),
         (lambda: Spikes.from_aer(PLAIN, sensor_size=(2, 1, 1)), lambda: Spikes.from_aer(PLAIN, n_units=2))),
    Case("_n_units", "leave n_units out", lambda: pixels(n_units=3), lambda: pixels()),
    Case("_units", "no field {}; sensor_size {} needs it, fields are {}", lambda: pixels(PLAIN), lambda: pixels(PIXELS)),
    Case("_address", "{} = {}; allowed: 0..{}{}", lambda: read(n_units=1), lambda: read(n_units=2)),
    Case("_address", "allowed: 0..{}{}", lambda: pixels(events((1, 0, 1, -1), (2, 1, 0, 1))), lambda: pixels(events((1, 0, 1, (-1 + 1) // 2), (2, 1, 0, (1 + 1) // 2)))),
    Case("_check_kept", "would be dropped; give sensor_size=(w, h, p)", lambda: Spikes.from_aer(PIXELS, n_units=2), lambda: Spikes.from_aer(PIXELS, sensor_size=SIZE)),
    Case("_ticks", "t = {}; allowed: finite", lambda: read(events((np.inf, 0), names="tx", t=float)), lambda: read(events((1.0, 0), names="tx", t=float))),
    option("_rebased", "start = {}; allowed: 'first', a tick, or one tick per sample", read, "start", "last", "first", 1, [1]),
    option("_rebased", "start has {} ticks for {} samples; give one, or one per sample", read, "start", [1, 1], 1, [1]),
    option("_rebased", "lies before start = {}; allowed: sorted events from start on", read, "start", 2, 1),
    Case("_check_window", "allowed: start='first', which counts from each sample's first event, or start=<tick of t = 0>",
         lambda: read(events((10**9, 0), names="tx"), t_stop=1.0),
         (lambda: read(events((10**9, 0), names="tx"), t_stop=1.0, start="first"), lambda: read(events((10**9, 0), names="tx"), t_stop=1.0, start=10**9 - 5))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_asked_of_address_events_is_accepted(case: Case) -> None:
    case.follow()
