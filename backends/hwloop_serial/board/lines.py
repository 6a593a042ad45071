"""Where a served board is reached: a pseudo-terminal, or a TCP port of this computer."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from hwloop.errors import OptionError, TargetError

#: Address that is listened on where none is named: nobody else's computer reaches it.
LOOPBACK = "127.0.0.1"
_LINK = re.compile(r"pty(?::(?P<link>.+))?")


class Line(Protocol):
    """One host at a time at the other end."""

    @property
    def url(self) -> str:
        """What a host opens, after ``serial:``."""

    def descriptors(self) -> list[int]:
        """What to wait for."""

    def ready(self, descriptor: int) -> bytes | None:
        """What arrived at ``descriptor``; None where a new host, or none, is there from now on."""

    def write(self, data: bytes) -> int:
        """Send what goes at once; its number of bytes."""

    def close(self) -> None:
        """Give it back."""


def line(port: str) -> Line:
    """The line that ``port`` names: ``pty``, ``pty:LINK``, or ``tcp://[HOST]:PORT``.

    Raises :class:`OptionError` for anything else, :class:`TargetError` where it cannot be had.
    """
    if found := _LINK.fullmatch(port):
        return PseudoTerminal(None if found["link"] is None else Path(found["link"]))
    parts = urlsplit(port)
    try:
        number = parts.port
    except ValueError:
        number = None
    if parts.scheme != "tcp" or number is None or parts.path or parts.query or parts.username:
        raise OptionError(
            f"port {port!r}; allowed: pty, pty:LINK (a name that leads to it), or tcp://127.0.0.1:PORT (0: any that is free)"
        )
    return TcpPort(parts.hostname or LOOPBACK, number)


class PseudoTerminal:
    """A pseudo-terminal; ``link`` is made to lead to it, so that its name outlives a restart."""

    def __init__(self, link: Path | None = None) -> None:
        import tty

        try:
            self._master, self._slave = os.openpty()
        except OSError as error:
            raise TargetError(f"no pseudo-terminal: {error.strerror or error}; use tcp://{LOOPBACK}:0") from error
        # both ends pass bytes on as they are; the other end stays open here, so that a host that closes it ends nothing
        tty.setraw(self._slave)
        tty.setraw(self._master)
        os.set_blocking(self._master, False)
        self._link = link
        if link is not None:
            self._make_link(link)

    def _make_link(self, link: Path) -> None:
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        try:
            if link.exists() and not link.is_symlink():
                raise OptionError(f"{link} is there already and no link; name another")
            fresh.symlink_to(os.ttyname(self._slave))
            os.replace(fresh, link)
        except OSError as error:
            raise TargetError(f"cannot make the link {link}: {error.strerror or error}; name another") from error

    @property
    def url(self) -> str:
        return os.ttyname(self._slave) if self._link is None else str(self._link)

    def descriptors(self) -> list[int]:
        return [self._master]

    def ready(self, descriptor: int) -> bytes | None:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._master, 65536)
        return b""

    def write(self, data: bytes) -> int:
        with contextlib.suppress(BlockingIOError):
            return os.write(self._master, data)
        return 0

    def close(self) -> None:
        if self._link is not None:
            with contextlib.suppress(OSError):
                if os.readlink(self._link) == os.ttyname(self._slave):
                    self._link.unlink()
        os.close(self._master)
        os.close(self._slave)


class TcpPort:
    """A listening socket; a host that connects takes the place of the one before, which may be half gone."""

    def __init__(self, host: str, port: int) -> None:
        try:
            self._listener = socket.create_server((host, port))
        except OSError as error:
            raise TargetError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; name another port"
            ) from error
        self._listener.setblocking(False)
        self._host: socket.socket | None = None

    @property
    def url(self) -> str:
        host, port = self._listener.getsockname()[:2]
        return f"socket://{host}:{port}"

    def descriptors(self) -> list[int]:
        return [self._listener.fileno()] + ([] if self._host is None else [self._host.fileno()])

    def ready(self, descriptor: int) -> bytes | None:
        if descriptor == self._listener.fileno():
            self._accept()
            return None
        if self._host is None:
            return b""
        try:
            data = self._host.recv(65536)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._drop()
            return None
        return data

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # who knocked is gone already
            host, _ = self._listener.accept()
            self._drop()
            host.setblocking(False)
            host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._host = host

    def _drop(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            host.close()

    def write(self, data: bytes) -> int:
        if self._host is None:
            return len(data)
        try:
            return self._host.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop()
            return len(data)

    def close(self) -> None:
        self._drop()
        self._listener.close()
