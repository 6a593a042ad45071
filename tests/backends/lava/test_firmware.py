"""The firmware's spikes are those of lava-nc itself, on random networks: on this machine, and on a Cortex-M3 in QEMU."""

from __future__ import annotations

import numpy as np
import pytest

from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.ticks import TickSpikes
from hwloop_lava.worker_process import Worker
from tests.backends.serial.firmware.images import answer_of, events_of, image_of
from tests.backends.serial.firmware.library import MemoryLine
from tests.backends.serial.firmware.lines import in_qemu
from tests.backends.serial.firmware.wire import DONE, INPUT, PROGRAM, Host

from .support import on_lava, random_graph, random_raster, random_wiring

TICKS = 120
#: Bytes of a chunk, within the body of a frame.
CHUNK = 900


def by_firmware(host: Host, graph: object, raster: Array, number: int) -> list[Array]:
    """Spikes ``[1, ticks, n]`` of every layer."""
    image, events = image_of(graph), events_of(TickSpikes.from_raster(raster))  # type: ignore[arg-type]
    for region, data in ((PROGRAM, image), (INPUT, events)):
        assert host.upload(region, data, CHUNK).kind == 0x85
    assert host.run(image, events, 1, TICKS, run_id=number + 1).kind == 0x86
    status = host.finish()
    assert status.state == DONE
    return answer_of(host.output(status, CHUNK), graph, 1, TICKS)[0]  # type: ignore[arg-type]


def compared(host: Host, worker: Worker, seed: int) -> int:
    """Spikes of network ``seed`` that were compared: in a row where it is even, else of any wiring."""
    graph = (random_wiring if seed % 2 else random_graph)(seed // 2)
    raster = random_raster(graph, seed // 2, 1, TICKS)
    expected, _ = on_lava(worker, graph, raster)
    for layer, (ours, lavas) in enumerate(zip(by_firmware(host, graph, raster, seed), expected, strict=True)):
        np.testing.assert_array_equal(ours, lavas, f"network {seed}, layer {layer}")
    return sum(int(layer.sum()) for layer in expected)


@pytest.fixture
def host() -> Host:
    line = MemoryLine()
    opened = Host(line, go_on=line.go_on)
    opened.hello()
    return opened


def test_random_networks_are_equal_on_lava_and_on_the_firmware(host: Host, worker: Worker) -> None:
    assert sum(compared(host, worker, seed) for seed in range(6)) > 500


@pytest.mark.slow
def test_forty_random_networks_are_equal_on_lava_and_on_the_firmware(host: Host, worker: Worker) -> None:
    spikes = [compared(host, worker, seed) for seed in range(0, 200, 5)]
    assert sum(n > 0 for n in spikes) > 20


def test_random_networks_are_equal_on_lava_and_on_the_cortex_m(worker: Worker) -> None:
    with in_qemu() as uart:
        board = Host(uart)
        board.hello()
        assert sum(compared(board, worker, seed) for seed in (0, 1)) > 50
