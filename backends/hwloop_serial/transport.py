"""The line to a board by pySerial URL: a device file, a pseudo-terminal, ``socket://``, ``rfc2217://``, ``loop://``, ``spy://``.

What pySerial does and does not say: a read that brings less than asked for is a timeout, and no error; errors of the system
come as bare OSError as often as SerialException, which is one; a write blocks for ever unless ``write_timeout`` is set.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import threading
import time
from typing import Any, Protocol

from hwloop.errors import LinkError

#: Bits a second where none are named: what common USB bridges reach.
DEFAULT_BAUD = 3_000_000
#: Longest time that a write may block (s): a pipe that is full and that nobody empties.
WRITE_TIMEOUT = 2.0
#: Bytes read at once, and time between two looks at a port that the system cannot wait for (s).
READ_SIZE, POLL = 65536, 2e-3
#: Longest wait at what a port with faults passes on (s).
LOOK = 0.05
#: Package in which pySerial looks for our own kinds of URL.
HANDLERS = "hwloop_serial.urls"


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds, never going back."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""


class SystemClock:
    """The computer's."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Port(Protocol):
    """An open line. All methods raise OSError where it is broken."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``, within :data:`WRITE_TIMEOUT`."""

    def read(self, timeout: float) -> bytes:
        """What has arrived, as soon as something has; nothing where ``timeout`` (s) passes first."""

    def close(self) -> None:
        """Give it back; never raises."""


class SerialPort:
    """A port of pySerial.

    Parameters
    ----------
    url : as of ``serial.serial_for_url``
    baud : bits a second, where the port has a rate

    Raises
    ------
    OSError
        It cannot be opened.
    LinkError
        The URL is none that pySerial knows.
    """

    def __init__(self, url: str, baud: int = DEFAULT_BAUD) -> None:
        import serial
        from serial.urlhandler import protocol_socket

        if HANDLERS not in serial.protocol_handler_packages:
            serial.protocol_handler_packages.append(HANDLERS)
        try:
            self._port: Any = serial.serial_for_url(
                url, baudrate=baud, timeout=0, write_timeout=WRITE_TIMEOUT, exclusive=True
            )
        except ValueError as error:
            raise LinkError(
                f"{url!r} is no port: {error}; allowed: a device such as /dev/ttyUSB0, socket://HOST:PORT, rfc2217://HOST:PORT"
            ) from None
        self._inner = _descriptor(self._port)
        self._waitable = self._inner if getattr(self._port, "waitable", True) else None
        # the system's own ports and sockets; others, such as spy://, do something of their own with each byte
        self._direct = type(self._port) in (serial.Serial, protocol_socket.Serial) and _never_blocks(self._inner)
        if self._inner is not None:
            _send_at_once(self._inner)

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def read(self, timeout: float) -> bytes:
        if self._waitable is None:
            return self._polled(timeout)
        ready, _, _ = select.select([self._waitable], [], [], max(0.0, timeout))
        if not ready:
            return b""
        found = self._all_there(self._waitable) if self._direct else bytes(self._port.read(READ_SIZE))
        if not found:  # ready, and nothing there: the other end is gone
            raise OSError("the line was closed from the other end")
        return found

    @staticmethod
    def _all_there(descriptor: int) -> bytes:
        """All that has arrived, which a pseudo-terminal hands over 4 kB at a time; pySerial would look twice for each."""
        found = os.read(descriptor, READ_SIZE)
        with contextlib.suppress(BlockingIOError):
            while found and len(found) < READ_SIZE and (more := os.read(descriptor, READ_SIZE)):
                found += more
        return found

    def _polled(self, timeout: float) -> bytes:
        until = time.monotonic() + timeout
        while True:
            if found := bytes(self._port.read(READ_SIZE)):
                return found
            if (left := until - time.monotonic()) <= 0:
                return b""
            if self._inner is not None:  # bytes that arrive may yet be lost in it
                select.select([self._inner], [], [], min(left, LOOK))
            else:
                time.sleep(min(POLL, left))

    def close(self) -> None:
        # pySerial closes no socket whose other end is gone already, and then waits for .3 s, for servers that need it
        line = getattr(self._port, "_socket", None)
        if not isinstance(line, socket.socket):
            self._close()
            return
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()
        threading.Thread(target=self._close, name="hwloop closes a port", daemon=True).start()

    def _close(self) -> None:
        with contextlib.suppress(Exception):  # pySerial lets anything through here, and nothing is left to be done
            self._port.close()


def _descriptor(port: Any) -> int | None:
    """What the system can wait for; None where the port has nothing such."""
    try:
        return int(port.fileno())
    except (OSError, AttributeError, NotImplementedError, ValueError):
        return None


def _never_blocks(descriptor: int | None) -> bool:
    return descriptor is not None and hasattr(os, "get_blocking") and not os.get_blocking(descriptor)


def _send_at_once(descriptor: int) -> None:
    """Small frames are not to wait for others; nothing happens where the port is no socket."""
    if not _is_socket(descriptor):
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False
