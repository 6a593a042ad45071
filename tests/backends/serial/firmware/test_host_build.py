"""The firmware as a process of this machine, with sanitizers: on a terminal, a port, standard input."""

from __future__ import annotations

import socket
import subprocess

import numpy as np
import pytest

from . import wire
from .built import built
from .equality import assert_equal
from .lines import FileLine, on_port, on_terminal, process
from .small import CHAIN, EVENTS
from .wire import RESET, Host

#: Random networks: a hundred in a row, a hundred of any wiring.
SEEDS = 200


@pytest.fixture(scope="module")
def terminal() -> object:
    with on_terminal(built("sanitized", "hwloop-device-sanitized")) as line:
        yield line


def assert_runs(host: Host) -> None:
    host.upload(wire.PROGRAM, CHAIN)
    host.upload(wire.INPUT, EVENTS)
    assert host.run(CHAIN, EVENTS, 2, 10).kind == 0x86
    assert host.finish().state == wire.DONE


def test_200_random_networks_are_equal_through_the_terminal(terminal: FileLine) -> None:
    host = Host(terminal)
    host.hello(session=1)
    spikes, wraps = np.array([assert_equal(host, seed) for seed in range(SEEDS)]).T
    # of silent networks, or of such that never wrap, the comparison would say little
    assert (spikes > 0).sum() > SEEDS / 2
    assert (wraps > 0).sum() > 5


def test_a_run_of_no_end_is_looked_at_and_ended(terminal: FileLine) -> None:
    host = Host(terminal)
    host.hello(session=3)
    host.upload(wire.PROGRAM, CHAIN)
    host.upload(wire.INPUT, EVENTS)
    host.run(CHAIN, EVENTS, 2, 2**31 - 1)
    assert host.status().state == wire.BUSY
    assert host.ask(RESET, b"\0").kind == 0x88
    assert host.status().state == wire.FAILED


def test_a_second_process_is_another_boot(terminal: FileLine) -> None:
    host = Host(terminal)
    host.hello(session=4)
    with on_terminal(built("sanitized", "hwloop-device-sanitized")) as line:
        other = Host(line)
        other.hello()
        assert other.boot not in (0, host.boot)


def test_the_device_awaits_the_next_host_on_its_port() -> None:
    with on_port(built("host", "hwloop-device")) as address:
        for session in (1, 2):
            with socket.create_connection(address) as end:
                host = Host(FileLine(end.fileno()))
                host.hello(session=session)
                assert_runs(host)


def test_the_device_ends_with_its_standard_input() -> None:
    program = str(built("host", "hwloop-device"))
    with process(program, "--stdio", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        host = Host(FileLine(running.stdout.fileno(), running.stdin.fileno()))
        host.hello()
        assert_runs(host)
        running.stdin.close()
        assert running.wait(wire.PATIENCE) == 0


def test_wrong_use_is_said() -> None:
    done = subprocess.run([built("host", "hwloop-device"), "--udp"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--stdio | --tcp PORT" in done.stderr
