"""The Cortex-M3 image in QEMU: a micro-controller's code, through its UART."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest

from . import wire
from .equality import assert_equal
from .lines import FileLine, in_qemu
from .small import CHAIN, EVENTS
from .wire import CONFIGURE, Host

#: Networks on each push, every eighth of the 200.
SEEDS = range(0, 200, 17)


@pytest.fixture(scope="module")
def uart() -> object:
    with in_qemu() as line:
        yield line


def test_random_networks_are_equal_on_the_cortex_m(uart: FileLine) -> None:
    host = Host(uart)
    host.hello(session=1)
    spikes, _ = np.array([assert_equal(host, seed) for seed in SEEDS]).T
    assert (spikes > 0).sum() > len(SEEDS) / 2


@pytest.mark.slow
def test_200_random_networks_are_equal_on_the_cortex_m(uart: FileLine) -> None:
    host = Host(uart)
    host.hello(session=2)
    spikes, wraps = np.array([assert_equal(host, seed) for seed in range(200)]).T
    assert (spikes > 0).sum() > 100
    assert (wraps > 0).sum() > 5


def test_the_image_says_that_it_is_emulated(uart: FileLine) -> None:
    host = Host(uart)
    info_bytes = host.hello(session=3)[7]
    text = host.ask(wire.READ, struct.pack("<BIIH", 0, 0, 0, info_bytes)).body[9:].decode()
    assert '"ran_on": "emulator"' in text
    assert '"device_id": "mps2-an385"' in text


def test_two_frames_may_come_at_once_while_it_computes(uart: FileLine) -> None:
    host = Host(uart)
    host.hello(session=4)
    begun = host.ask(wire.BEGIN, struct.pack("<BBI", wire.INPUT, 0, 2000))
    (transfer,) = struct.unpack("<I", begun.body)
    for first in range(0, 2000, 1000):
        chunk = bytes(range(250)) * 4
        body = struct.pack("<BII", wire.INPUT, transfer, first) + chunk
        host.line.write(wire.frame(wire.WRITE, host.session, first + 10, host.boot, body))
    assert [struct.unpack("<I", host.reply().body)[0] for _ in range(2)] == [0, 1000]


def test_a_run_of_no_end_is_looked_at_and_ends_with_a_silent_host(uart: FileLine) -> None:
    host = Host(uart)
    host.hello(session=5)
    host.upload(wire.PROGRAM, CHAIN)
    host.upload(wire.INPUT, EVENTS)
    silence_ms = 1000
    host.ask(CONFIGURE, struct.pack("<HI", 1, silence_ms))
    host.run(CHAIN, EVENTS, 2, 2**31 - 1)
    assert host.status().state == wire.BUSY
    # interrupts of a millisecond that QEMU has no time for are lost: on a busy machine the board's clock is slower
    pause = 2 * silence_ms / 1000
    while host.status().state == wire.BUSY and pause < wire.PATIENCE:
        time.sleep(pause)
        pause *= 2
    status = host.status()
    assert (status.state, status.run_error) == (wire.FAILED, 19)
    host.ask(CONFIGURE, struct.pack("<HI", 1, 0))


def test_two_starts_are_two_boots(uart: FileLine) -> None:
    host = Host(uart)
    host.hello(session=6)
    with in_qemu(seed=2) as line:
        other = Host(line)
        other.hello()
        assert other.boot not in (0, host.boot)
