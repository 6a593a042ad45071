"""Lines of a served board and its server: hosts that come, go and do not read, silence, and processes that are told to end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hwloop as hl
from hwloop.device.registry import find
from hwloop_serial import framing
from hwloop_serial.board import server as server_module
from hwloop_serial.board.lines import PseudoTerminal, TcpPort, line
from hwloop_serial.board.model import Answer
from hwloop_serial.board.server import Server, Serving
from hwloop_serial.board.until_told import serve
from hwloop_serial.framing import Decoder, Frame
from hwloop_serial.messages import MAGIC, NUMBERS, Code, Region, State, pack_request, unpack_reply
from hwloop_serial.schema import SCHEMA_ID
from tests.reliability.support import CountingModel

from .test_device import inputs, network, same

#: Longest wait for what has to come (s).
PATIENCE = 20.0


def until(true: Callable[[], Any]) -> Any:
    """What ``true()`` says, once it says something."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)
    return found


# -- lines ----------------------------------------------------------------------------------------


@pytest.fixture
def tcp() -> Iterator[TcpPort]:
    made = TcpPort("127.0.0.1", 0)
    yield made
    made.close()


def connected(port: TcpPort) -> socket.socket:
    host, number = port.url.removeprefix("socket://").split(":")
    other = socket.create_connection((host, int(number)))
    until(lambda: port.ready(port.descriptors()[0]) is None and len(port.descriptors()) == 2)
    return other


def test_a_port_without_a_host_hears_nothing_and_drops_what_it_says(tcp: TcpPort) -> None:
    assert len(tcp.descriptors()) == 1
    assert tcp.write(b"to nobody") == 9
    assert tcp.ready(12345) == b""


def test_a_host_that_closes_is_gone_and_one_that_says_nothing_is_not(tcp: TcpPort) -> None:
    host = connected(tcp)
    mine = tcp.descriptors()[1]
    assert tcp.ready(mine) == b""
    host.sendall(b"abc")
    assert until(lambda: tcp.ready(mine)) == b"abc"
    host.close()
    until(lambda: tcp.ready(mine) is None)
    assert len(tcp.descriptors()) == 1


@pytest.mark.parametrize("way", ["read", "write"])
def test_a_host_that_breaks_off_is_gone_as_one_that_closes(tcp: TcpPort, way: str) -> None:
    host = connected(tcp)
    mine = tcp.descriptors()[1]
    host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    host.close()  # a reset, not an end
    until(lambda: tcp.ready(mine) is None if way == "read" else tcp.write(b"x") and len(tcp.descriptors()) == 1)
    assert len(tcp.descriptors()) == 1


def test_a_host_that_does_not_read_takes_no_more_than_the_system_keeps(tcp: TcpPort) -> None:
    host = connected(tcp)
    sent = 0
    while n := tcp.write(bytes(65536)):
        sent += n
        assert sent < 10**8
    host.close()


def test_a_second_host_takes_the_place_of_the_first(tcp: TcpPort) -> None:
    first = connected(tcp)
    second = connected(tcp)
    assert first.recv(1) == b""
    second.sendall(b"x")
    assert until(lambda: tcp.ready(tcp.descriptors()[1])) == b"x"
    first.close()
    second.close()


def test_a_terminal_that_nobody_reads_takes_what_fits(tmp_path: Path) -> None:
    terminal = PseudoTerminal(tmp_path / "board")
    try:
        assert terminal.ready(terminal.descriptors()[0]) == b""
        sent = 0
        while n := terminal.write(bytes(1024)):
            sent += n
            assert sent < 10**7
    finally:
        terminal.close()
    assert not (tmp_path / "board").is_symlink()


def test_a_link_that_another_board_has_taken_over_stays(tmp_path: Path) -> None:
    first, second = PseudoTerminal(tmp_path / "board"), PseudoTerminal(tmp_path / "board")
    first.close()
    assert os.readlink(tmp_path / "board") == os.ttyname(second._slave)
    (tmp_path / "board").unlink()
    second.close()  # the link is gone already
    assert not list(tmp_path.iterdir())


# -- the server -----------------------------------------------------------------------------------


class Slow(CountingModel):
    """Runs until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def run(self, asked: Any, data: bytes, room: int) -> Callable[[], Answer]:
        work = super().run(asked, data, room)

        def slowly() -> Answer:
            self.let_go.wait(PATIENCE)
            return work()

        return slowly


class Host:
    """A socket that speaks frames."""

    def __init__(self, url: str) -> None:
        host, number = url.removeprefix("socket://").split(":")
        self.socket = socket.create_connection((host, int(number)))
        self.socket.settimeout(PATIENCE)
        self.decoder, self.sequence, self.boot = Decoder(framing.REPLIES), 0, 0
        self.boot = self.raw("HELLO", (MAGIC, SCHEMA_ID)).boot

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, name: str, fields: tuple[Any, ...] = (), data: bytes = b"") -> None:
        self.sequence += 1
        boot = 0 if name == "HELLO" else self.boot
        self.socket.sendall(
            framing.encode(Frame(NUMBERS[name], 3, self.sequence, boot, pack_request(name, fields, data)))
        )

    def raw(self, name: str, fields: tuple[Any, ...] = (), data: bytes = b"") -> Frame:
        self.send(name, fields, data)
        while not (found := self.decoder.feed(self.socket.recv(65536))):
            pass
        return found[0]

    def ask(self, name: str, fields: tuple[Any, ...] = (), data: bytes = b"") -> Any:
        reply = self.raw(name, fields, data)
        assert reply.type != framing.ERROR, reply
        return unpack_reply(name, reply.body)[0]

    def put(self, region: Region, data: bytes) -> bytes:
        transfer = self.ask("BEGIN", (region, 0, len(data))).transfer
        self.ask("WRITE", (region, transfer, 0), data)
        return bytes(self.ask("SEAL", (region, transfer, len(data))).digest)


class Running:
    """A server of ``model`` in a thread."""

    def __init__(self, model: Any) -> None:
        self.server = Server(model, TcpPort("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Running:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


def test_a_run_ends_by_itself_after_the_silence_that_its_host_asked_for() -> None:
    """A host that is gone must not keep a board busy; one that asks all along is not gone."""
    model = Slow()
    with Running(model) as running, Host(running.server.line.url) as host:
        assert host.ask("CONFIGURE", (1, 400)).value == 400
        program, given = host.put(Region.PROGRAM, b"image"), host.put(Region.INPUT, b"input")
        host.ask("RUN", (7, program, given, bytes(32), 1, 1, 1, 0.0, 0, 0))
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            assert host.ask("STATUS").state == State.RUNNING
        time.sleep(0.8)
        status = host.ask("STATUS")
        assert (status.state, status.run_error) == (State.FAILED, Code.ABORTED)
        model.let_go.set()


def test_replies_to_a_host_that_does_not_read_are_dropped_and_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_WAITING", 128)
    with Running(CountingModel()) as running, Host(running.server.line.url) as host:
        with monkeypatch.context() as there:
            there.setattr(running.server.line, "write", lambda data: 0)  # nothing goes
            for _ in range(20):
                host.send("STATUS")
            until(lambda: running.server._waiting)
            time.sleep(0.3)
            assert len(running.server._waiting) <= 128
        until(lambda: not running.server._waiting)  # a reply that comes before there is room again is dropped too
        last = host.sequence + 1
        host.send("STATUS")
        found: list[Frame] = []
        while not found or found[-1].sequence != last:
            found += host.decoder.feed(host.socket.recv(65536))
        assert len(found) < 10


def test_a_served_target_is_given_back_by_the_context() -> None:
    served = Serving(find("loihi"), "tcp://127.0.0.1:0")
    with served as url:
        number = int(url.rpartition(":")[2])
    socket.create_server(("127.0.0.1", number)).close()  # the port is free again
    assert not served._thread.is_alive()


# -- until it is told -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("port", ["tcp://127.0.0.1:0", "pty:{}/board"])
def test_a_process_serves_until_it_is_told_to_end(tmp_path: Path, name: signal.Signals, port: str) -> None:
    command = [sys.executable, "-m", "hwloop", "serve", "--target", "emulator:3", "--preset", "bss2", "--port", port.format(tmp_path)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("serial:")
        try:
            with hl.open(url, session=4) as board, hl.open("emulator:3", preset="bss2", session=4) as chip:
                for device in (board, chip):
                    device.load(hl.compile(network(), device))
                same(board.run(inputs()), chip.run(inputs()))
            process.send_signal(name)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    assert not (tmp_path / "board").is_symlink()


def test_serving_gives_the_handlers_of_signals_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        os.kill(os.getpid(), signal.SIGTERM)

    serve(find("loihi"), "tcp://127.0.0.1:0", {"window": 2}, say)
    assert said[0].startswith("serial:socket://127.0.0.1:")
    assert {number: signal.getsignal(number) for number in before} == before


def test_what_is_no_port_is_refused_before_anything_is_served() -> None:
    with pytest.raises(hl.errors.OptionError, match="allowed: pty"):
        serve(find("loihi"), "udp://1.2.3.4:5", {}, print)
    with pytest.raises(hl.errors.OptionError, match="allowed: pty"):
        line("tcp://127.0.0.1:0/path")
