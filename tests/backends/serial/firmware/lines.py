"""The firmware in a process of its own: behind a pseudo-terminal or a TCP port of this machine, or in QEMU."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.needed_programs import need

from .built import built
from .wire import PATIENCE

#: Seconds for which one look at a line waits.
LOOK = 0.01


class FileLine:
    """A line that is an open file: a terminal, a pipe, a socket."""

    def __init__(self, reading: int, writing: int | None = None) -> None:
        self.reading, self.writing = reading, reading if writing is None else writing

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.writing, data) :]

    def read(self) -> bytes:
        ready, _, _ = select.select([self.reading], [], [], LOOK)
        return os.read(self.reading, 1 << 16) if ready else b""


@contextlib.contextmanager
def process(*command: str, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone afterwards."""
    with subprocess.Popen(command, **options) as running:  # type: ignore[call-overload]
        try:
            yield running
        finally:
            running.kill()


@contextlib.contextmanager
def process_on_terminal(program: Path) -> Iterator[str]:
    """The host build behind its pseudo-terminal: the name of that."""
    with process(str(program), stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        yield running.stdout.readline().decode().strip()


@contextlib.contextmanager
def on_terminal(program: Path) -> Iterator[FileLine]:
    """The same, opened."""
    with process_on_terminal(program) as name:
        terminal = os.open(name, os.O_RDWR | os.O_NOCTTY)
        try:
            yield FileLine(terminal)
        finally:
            os.close(terminal)


@contextlib.contextmanager
def on_port(program: Path) -> Iterator[tuple[str, int]]:
    """The host build behind a TCP port: its address."""
    with process(str(program), "--tcp", "0", stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        url = running.stdout.readline().decode().strip()
        host, _, port = url.removeprefix("socket://").partition(":")
        yield host, int(port)


def _qemu(serial: str, seed: int) -> list[str]:
    """QEMU with the Cortex-M image, its UART at ``serial``; ``seed`` goes where the board looks for what makes its boot id."""
    need("qemu-system-arm")
    image = built("qemu", "hwloop-device.elf")
    return [
        "qemu-system-arm", "-M", "mps2-an385", "-display", "none", "-monitor", "none", "-kernel", str(image),
        "-device", f"loader,addr=0x20000000,data={seed},data-len=4", "-serial", serial,
    ]  # fmt: skip


@contextlib.contextmanager
def in_qemu(seed: int = 1) -> Iterator[FileLine]:
    """The Cortex-M image in QEMU, its UART on a socket."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "uart"
        command = _qemu(f"unix:{path},server=on,wait=off", seed)
        with process(*command, stdin=subprocess.DEVNULL, stderr=sys.stderr), connected(path) as line:
            yield line


@contextlib.contextmanager
def qemu_on_terminal(seed: int = 1) -> Iterator[str]:
    """The same on a pseudo-terminal: its name."""
    with process(*_qemu("pty", seed), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        said = running.stdout.readline().decode()
        found = re.search(r"redirected to (\S+)", said)
        assert found is not None, said
        yield found[1]


@contextlib.contextmanager
def connected(path: Path) -> Iterator[FileLine]:
    """A socket of this machine, as soon as it is there."""
    deadline = time.monotonic() + PATIENCE
    with socket.socket(socket.AF_UNIX) as end:
        while True:
            try:
                end.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK)
        yield FileLine(end.fileno())
