"""The script that tells whether a port of the firmware computes what it should."""

from __future__ import annotations

import re
import runpy

import numpy as np
import pytest

from hwloop_fixed_point import reference
from hwloop_serial.device import FixedDevice
from hwloop_serial.target import SerialTarget

from .built import FIRMWARE, built
from .lines import process_on_terminal, qemu_on_terminal

SCRIPT = runpy.run_path(str(FIRMWARE / "check_board.py"))


def test_a_right_board_is_equal_and_a_wrong_one_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with process_on_terminal(built("host", "hwloop-device")) as port:
        assert SCRIPT["main"](port, "12") == 0
        said = capsys.readouterr().out
        found = re.match(r"host: equal: 12 networks, (\d+) spikes, [\d.]+ s each; 0 were too large", said)
        assert found is not None, said
        assert int(found[1]) > 1000
        with SerialTarget(port).open() as device:
            assert isinstance(device, FixedDevice)
            rng = np.random.default_rng(0)
            graph = SCRIPT["random_network"](np.random.default_rng([31, 0]))
            honest = device.run_graph

            def wrong(*arguments: object) -> object:
                layers, wraps = honest(*arguments)  # type: ignore[arg-type]
                return layers, tuple(table + 1 for table in wraps)

            device.run_graph = wrong  # type: ignore[method-assign, assignment]
            said, _ = SCRIPT["differs"](device, graph, rng)
            assert re.match(r"layer 0: currents wrapped \[.*\] times, \[.*\] expected", said)


def test_the_cortex_m_is_a_right_board(capsys: pytest.CaptureFixture[str]) -> None:
    with qemu_on_terminal() as port:
        assert SCRIPT["main"](port, "6", "921600") == 0
    assert capsys.readouterr().out.startswith("mps2-an385: equal: 6 networks, ")


def test_its_networks_wrap_and_spike() -> None:
    # as the specification runs them: both ends of the current, and not only silence
    spikes = 0
    for seed in range(12):
        graph = SCRIPT["random_network"](np.random.default_rng([31, seed]))
        raster = np.random.default_rng(seed).random((1, 40, graph.n_in)) < 0.2
        spikes += sum(int(layer.sum()) for layer in reference.run_fixed(graph, raster))
    assert spikes > 500
