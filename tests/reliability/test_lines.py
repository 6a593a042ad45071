"""T6 and T15: real pseudo-terminals and TCP, cut at every byte, silent, stopped, half open; and one owner a port."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hwloop.errors import LinkError, TargetError
from hwloop_serial.board.board import Room
from hwloop_serial.board.lines import PseudoTerminal, TcpPort
from hwloop_serial.messages import NO_DIGEST, Region
from hwloop_serial.owner import Owner
from hwloop_serial.remote import Remote
from hwloop_serial.session import Session
from hwloop_serial.transport import SerialPort
from tests.reliability.support import CountingModel, Restarting, answer_to

Rounds = Callable[[int, int], int]

IMAGE, GIVEN = random.Random(1).randbytes(700), random.Random(2).randbytes(300)
#: Longest silence of these sessions (s): a hang shows as a test that takes many of them.
DEADLINE = 5.0


class Cutting:
    """A line that breaks once, after ``left`` bytes from the host; None: never. Wraps one that the server holds."""

    def __init__(self, line: Any, left: int | None) -> None:
        self.line, self.left = line, left

    @property
    def url(self) -> str:
        return str(self.line.url)

    def descriptors(self) -> list[int]:
        return list(self.line.descriptors())

    def ready(self, descriptor: int) -> bytes | None:
        data = self.line.ready(descriptor)
        if data and self.left is not None:
            if self.left <= len(data):
                self.left = None
                self.unplug()
                return None
            self.left -= len(data)
        return data  # type: ignore[no-any-return]

    def unplug(self) -> None:
        if isinstance(self.line, TcpPort):
            self.line._drop()
        else:  # the name leads to another terminal from now on
            self.line.close()
            self.line.__init__(self.line._link)

    def write(self, data: bytes) -> int:
        return int(self.line.write(data))

    def close(self) -> None:
        self.line.close()


def lines(kind: str, folder: Path) -> Any:
    return TcpPort("127.0.0.1", 0) if kind == "tcp" else PseudoTerminal(folder / "board")


def session_with(url: str, deadline: float = DEADLINE) -> Session:
    return Session(lambda: SerialPort(url), url, deadline=deadline)


def work(url: str) -> bytes:
    """An upload and a run over ``url``."""
    session = session_with(url)
    try:
        remote = Remote(session)
        remote.upload(Region.PROGRAM, IMAGE)
        return remote.run(GIVEN, NO_DIGEST, batch=1, repeats=1, n_ticks=1, t_stop=0.0, code=0).output
    finally:
        session.close()


@pytest.mark.parametrize("kind", ["tcp", "pty"])
def test_a_line_that_is_cut_anywhere_costs_no_more_than_a_new_one(kind: str, tmp_path: Path, rounds: Rounds) -> None:
    """T6: the bytes of upload and run are some 1,700; every cut ends in the right answer."""
    cuts, happened = rounds(100, 1000), 0
    for k in range(cuts):
        line = Cutting(lines(kind, tmp_path), 1 + 1700 * k // cuts)
        served = Restarting(CountingModel, lambda made=line: made, Room(4096, 4096, 4096, 256, 4))
        begun = time.monotonic()
        try:
            assert work(served.url) == answer_to(IMAGE, GIVEN)
        finally:
            served.stop()
        assert time.monotonic() - begun < 4 * DEADLINE
        assert len(served.server.board.model.ran) == 1  # type: ignore[attr-defined]
        happened += line.left is None
    assert happened > 0.9 * cuts


@pytest.fixture
def silent() -> Iterator[str]:
    """A socket that takes everything and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []
        over = threading.Event()
        listener.settimeout(0.1)

        def take() -> None:
            while not over.is_set():
                try:
                    taken.append(listener.accept()[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=take)
        thread.start()
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        thread.join()
        for one in taken:
            one.close()


def test_a_board_that_never_answers_is_given_up(silent: str) -> None:
    begun = time.monotonic()
    with pytest.raises(LinkError, match="no answer from the board within 1 s"):
        session_with(silent, 1.0).open()
    assert time.monotonic() - begun < 5.0


def test_a_reader_that_stopped_fills_the_pipe_and_no_more() -> None:
    """A pseudo-terminal takes 4 kB or so; a write beyond ends with its timeout."""
    line = PseudoTerminal()
    port = SerialPort(line.url)
    try:
        begun = time.monotonic()
        with pytest.raises(OSError, match="[Tt]imeout"):
            port.write(bytes(10**6))
        assert time.monotonic() - begun < 10.0
    finally:
        port.close()
        line.close()


def test_a_host_that_is_half_gone_gives_way_to_the_next() -> None:
    served = Restarting(CountingModel, lambda: TcpPort("127.0.0.1", 0))
    try:
        host, port = served.url.removeprefix("socket://").split(":")
        with socket.create_connection((host, int(port))) as first:
            first.sendall(b"\x05half a frame")
            assert work(served.url) == answer_to(IMAGE, GIVEN)
    finally:
        served.stop()


def test_garbage_does_not_stop_a_server() -> None:
    served = Restarting(CountingModel, lambda: TcpPort("127.0.0.1", 0))
    try:
        host, port = served.url.removeprefix("socket://").split(":")
        for seed in range(5):
            with socket.create_connection((host, int(port))) as line:
                line.sendall(random.Random(seed).randbytes(100_000))
        assert work(served.url) == answer_to(IMAGE, GIVEN)
    finally:
        served.stop()


def test_a_port_that_is_not_there_is_refused_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(LinkError, match="cannot open /dev/no-such-port: .*check the port"):
        session_with("/dev/no-such-port").open()
    assert time.monotonic() - begun < 1.0


OWN = """
import sys
from hwloop_serial.owner import Owner
owner = Owner(sys.argv[1])
print("mine", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_has_the_port(tmp_path: Path) -> None:
    """T15."""
    port = str(tmp_path / "port")
    with subprocess.Popen(
        [sys.executable, "-c", OWN, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(LinkError, match=f"is in use: process {other.pid} on host {socket.gethostname()} has it"):
            Owner(port)
        other.kill()
        other.wait()
    Owner(port).release()  # the lock ends with its process, however that ends


def test_a_second_opening_in_this_process_is_refused(tmp_path: Path) -> None:
    port = str(tmp_path / "port")
    first = Owner(port)
    link = tmp_path / "another-name"
    link.symlink_to(port)
    for name in (port, str(link)):
        with pytest.raises(LinkError, match=f"another run in this process \\({os.getpid()}\\)"):
            Owner(name)
    first.release()
    first.release()
    Owner(port).release()


def test_no_port_named_lists_those_there_are() -> None:
    from hwloop.device.registry import find

    with pytest.raises(
        TargetError, match=r"names no port; allowed: serial:PORT.*(Ports of this computer|no serial port)"
    ):
        find("serial")
    with pytest.raises(TargetError, match="no board is connected that this names"):
        find("serial:1A86:7523")
    with pytest.raises(TargetError, match="no board is connected that this names"):
        find("serial:sn=nobody")
