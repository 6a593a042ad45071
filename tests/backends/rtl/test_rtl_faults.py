"""Whatever befalls the chip and its line, the spikes are those of `loihi`, or there is an error: stalls, restarts, damaged frames."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from hwloop_fixed_point.runs import Emulator
from hwloop_fixed_point.ticks import TickSpikes
from hwloop_rtl import RtlTarget
from hwloop_rtl.device import RtlDevice
from hwloop_rtl.simulation_process import Simulation
from hwloop_serial import fixed_image
from hwloop_serial.faults import FaultRates, Faults
from hwloop_serial.owner import Held
from hwloop_serial.session import Session
from hwloop_serial.transport import Port

from ..loihi.random_graphs import random_graph, random_raster
from .chip import simulation

TICKS, BATCH = 40, 2
#: Longest time (s) of all that a test does with one chip: beyond it something hangs.
PATIENCE = 900.0


@dataclass
class Line:
    """A line with faults both ways, drawn from one seed; how many bytes and pieces they befell."""

    rates: FaultRates
    seed: int
    befallen: int = 0
    ways: tuple[Faults, Faults] = field(init=False)

    def __post_init__(self) -> None:
        self.ways = (Faults(self.rates, [self.seed, 0]), Faults(self.rates, [self.seed, 1]))

    def through(self, way: int, data: bytes) -> bytes:
        passed = b"".join(self.ways[way].pass_on(data))
        self.befallen += passed != data
        return passed


class FaultyPort:
    """The chip's line behind faults."""

    def __init__(self, port: Port, line: Line) -> None:
        self._port, self._line = port, line

    def write(self, data: bytes) -> None:
        self._port.write(self._line.through(0, data))

    def read(self, timeout: float) -> bytes:
        found = self._port.read(timeout)
        return self._line.through(1, found) if found else b""

    def close(self) -> None:
        self._port.close()


class Unlucky(RtlTarget):
    """A chip whose memory is slow by chance, behind a bad line."""

    def __init__(self, rates: FaultRates, seed: int, stall: float) -> None:
        super().__init__(dt=1e-3)
        self.line, self.seed, self.stall = Line(rates, seed), seed, stall

    def own(self) -> Simulation:
        program, folder = self._built
        return Simulation((str(program),), folder, seed=self.seed + 1, stall=self.stall)

    def session_on(self, held: Held) -> Session:
        session = super().session_on(held)
        connect = session.connect
        session.connect = lambda: FaultyPort(connect(), self.line)
        return session


@contextmanager
def restarted_again_and_again(chip: Simulation, rng: np.random.Generator, mean: float) -> Iterator[list[int]]:
    """The chip's button is pressed every ``mean`` s or so; how often."""
    pressed, over = [0], threading.Event()

    def press() -> None:
        while not over.wait(float(rng.exponential(mean))):
            chip.restart()
            pressed[0] += 1

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield pressed
    finally:
        over.set()
        thread.join()


def assert_right(device: RtlDevice, seed: int) -> int:
    """Spikes of one random network that were compared, all of them equal."""
    graph = random_graph(seed)
    inputs = TickSpikes.from_raster(random_raster(graph, seed, BATCH, TICKS))
    device._upload(fixed_image.write(graph))
    layers, wraps = device.run_graph(graph, inputs, TICKS)
    wanted = Emulator(graph).run(inputs, TICKS)
    for index, (ours, theirs) in enumerate(zip(layers, wanted.layers, strict=True)):
        np.testing.assert_array_equal(ours.to_raster(TICKS), theirs.to_raster(TICKS), f"network {seed}, layer {index}")
        np.testing.assert_array_equal(wraps[index], wanted.wraps[index])
    return sum(int(layer.counts.sum()) for layer in wanted.layers)


#: How often the same networks run until the chip was started anew at least once.
MOST_ROUNDS = 30

BAD = FaultRates(drop=5e-4, flip=1e-3, duplicate=5e-4, delay=0.01)


def befall(networks: range, rates: FaultRates, *, stall: float = 0.0, restarts: float | None = None) -> tuple[int, int]:
    """Faults that befell, and spikes that were right nevertheless."""
    simulation()
    target = Unlucky(rates, networks.start, stall)
    spikes = pressed = 0
    with target.open() as device:
        chip = device._owner
        if restarts is None:
            spikes = sum(assert_right(device, seed) for seed in networks)
        else:
            rng = np.random.default_rng(networks.start)
            with restarted_again_and_again(chip, rng, restarts) as count:
                for _ in range(MOST_ROUNDS):  # a fast machine is through before the button is pressed once
                    spikes += sum(assert_right(device, seed) for seed in networks)
                    if device.remote.session.counts.reboots > 0:
                        break
            pressed = count[0]
            assert device.remote.session.counts.reboots > 0
    return target.line.befallen + pressed, spikes


def test_damaged_frames_cost_repeats_and_no_spike() -> None:
    faults, spikes = befall(range(3), BAD)
    assert faults > 20
    assert spikes > 100


def test_a_slow_memory_costs_no_spike() -> None:
    _, spikes = befall(range(20, 22), FaultRates(), stall=0.6)
    assert spikes > 10


def test_a_chip_that_starts_anew_again_and_again_is_given_back_what_it_held() -> None:
    faults, spikes = befall(range(40, 46), FaultRates(), restarts=0.4)
    assert faults >= 1
    assert spikes > 100


@pytest.mark.slow
def test_a_thousand_faults_of_all_kinds_bring_no_wrong_spike_and_no_hang() -> None:
    """Command: python -m pytest -m slow tests/backends/rtl/test_rtl_faults.py -s"""
    found: list[tuple[int, int]] = []

    def go_on() -> None:
        for first in range(100, 10_000, 20):
            found.append(befall(range(first, first + 20), BAD, stall=0.3 if first % 40 else 0.0, restarts=2.0))
            if sum(faults for faults, _ in found) >= 1000:
                return

    thread = threading.Thread(target=go_on)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "it hangs"
    faults, spikes = np.sum(found, 0)
    print(f"{faults} faults, {spikes} spikes, all of them right")
    assert faults >= 1000
    assert spikes > 5000
