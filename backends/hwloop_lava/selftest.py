"""The self-test that ends every build: one graph whose spikes follow from the arithmetic by hand.

Source -> Dense -> LIF, an input spike in each of the ticks 0 to 9. The current decays completely (du = 4095, one is
added) and the potential not at all (dv = 0), so that each spike, one tick later, adds 64 << 6 = 4096; the threshold
is 100 << 6 = 6400, so that every second one fires: ticks 2, 4, 6, 8, 10. In floating point the same with weight 1 and
threshold 1.5. Side by side in two copies the answers are those of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwloop.errors import TargetError

from .worker.protocol import Message
from .worker_process import Worker

_TICKS = 16
_SPIKES = [2, 4, 6, 8, 10]
_CASES: dict[str, tuple[NDArray[Any], dict[str, float]]] = {
    "fixed": (np.array([[64]], dtype=np.int32), {"du": 4095, "dv": 0, "vth": 100}),
    "float": (np.array([[1.0]]), {"du": 1.0, "dv": 0.0, "vth": 1.5}),
}


def self_test(interpreter: Path) -> None:
    """Run both arithmetics in the environment of ``interpreter``; :class:`TargetError` where a spike is wrong."""
    worker = Worker(interpreter)
    try:
        if worker.versions["foreign"]:
            raise TargetError(f"the Lava worker has imported {worker.versions['foreign']}; it has to be without")
        for arithmetic in _CASES:
            for copies in (1, 2):
                _check(worker, arithmetic, copies)
    finally:
        worker.stop()


def _check(worker: Worker, arithmetic: str, copies: int) -> None:
    weight, values = _CASES[arithmetic]
    fields: dict[str, Any] = {
        "arithmetic": arithmetic, "ticks": _TICKS, "copies": copies, "n_in": 1, "states": False,
        "populations": [{"n": 1, "model": "lif", "reset": None, **values}],
        "connections": [{"source": -1, "target": 0, "exponent": 0, "sign": None}],
    }  # fmt: skip
    ticks, units = np.meshgrid(np.arange(10, dtype=np.int32), np.arange(copies, dtype=np.int32))
    arrays = {"weight0": weight, "input_ticks": ticks.ravel(), "input_units": units.ravel()}
    found = worker.ask(Message("run", fields, arrays)).arrays
    for copy in range(copies):
        spikes = found["ticks0"][found["units0"] == copy].tolist()
        if spikes != _SPIKES:
            raise TargetError(
                f"the self-test of lava-nc ({arithmetic}, copy {copy} of {copies}) gave spikes at ticks {spikes}; "
                f"right: {_SPIKES}. Try another interpreter: hwloop lava setup --python PATH"
            )
