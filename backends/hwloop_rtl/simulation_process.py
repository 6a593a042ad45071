"""A simulated chip in a process of its own, and its line.

The process leads a session of its own and ends with its socket, with its parent, or when it is told to; nothing of it is left then.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import weakref
from pathlib import Path

from hwloop.errors import LinkError, TargetError
from hwloop_lava.worker_process import end_group

from .building import LINE_CLOCKS

#: Largest part of what the simulation wrote in a message (bytes).
MAX_LOG = 2000
#: Bytes read at once.
READ_SIZE = 65536
#: Longest wait of a write (s): the simulation takes what is sent within milliseconds, unless it hangs.
WRITE_TIMEOUT = 5.0


class Simulation:
    """A chip that runs until :meth:`release`.

    Parameters
    ----------
    command : the simulation, or for tests something else
    folder : of its firmware
    seed : of its boot id and of the chance of ``stall``
    stall : share of the clocks, 0..1, in which its memory makes whoever asks wait, for tests
    clocks : of a bit on the line
    heed : whether its line waits while the chip has no room, as one with flow control does

    Raises
    ------
    TargetError
        It does not start.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        folder: Path,
        *,
        seed: int,
        stall: float = 0.0,
        heed: bool = True,
        clocks: int = LINE_CLOCKS,
    ) -> None:
        self._owner = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="hwloop-rtl-"))
        self._log = self._folder / "log"
        self._line, theirs = socket.socketpair()
        arguments = (str(theirs.fileno()), str(clocks), str(seed), str(round(1000 * stall)), str(int(heed)))
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [*command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    pass_fds=(theirs.fileno(),), cwd=folder,
                )  # fmt: skip
        except BaseException as error:  # Ctrl-C too: nothing is left behind
            self._line.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise TargetError(
                f"the simulation of the chip does not start: {command[0]}: {error.strerror or error}; remove {Path(command[0]).parent}, "
                "and it is built anew"
            ) from error
        finally:
            theirs.close()
        self._line.setblocking(False)
        self._end = weakref.finalize(self, _end, os.getpid(), self._process, self._line, self._folder)

    @property
    def pid(self) -> int:
        """Process, session and process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the chip runs."""
        return self._end.alive and self._process.poll() is None

    def restart(self) -> None:
        """Press the chip's button: it starts anew, with another boot id."""
        self._process.send_signal(signal.SIGUSR1)

    def release(self) -> None:
        """End the process; twice is allowed, and a fork leaves it alone."""
        if os.getpid() == self._owner:
            self._end()

    def connect(self) -> SimulationPort:
        """The line, to be opened as often as it takes; :class:`LinkError` once the process is gone."""
        if not self._end.alive:
            raise LinkError("the simulation of the chip was ended; open the target again")
        if (status := self._process.poll()) is not None:
            raise self._died(status)
        return SimulationPort(self._line)

    def _died(self, status: int) -> LinkError:
        how = f"died of {_signal(-status)}" if status < 0 else f"ended ({status})"
        return LinkError(
            f"the simulation of the chip {how} in the middle of its work. Memory, or a signal from outside, are the usual causes; open "
            f"the target again{self.said()}"
        )

    def said(self) -> str:
        """End of what the simulation wrote, for a message."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - MAX_LOG))
                text = ascii(log.read(MAX_LOG).decode(errors="replace").strip())[1:-1].replace("\\n", "\n")
        except OSError:
            return ""
        return f"; it wrote:\n{text}" if text else ""


class SimulationPort:
    """The chip's line, as :class:`hwloop_serial.transport.Port`; closing it leaves the chip as it is."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        # what a broken-off exchange left is none of the next one's
        with contextlib.suppress(BlockingIOError, InterruptedError):
            while self._line.recv(READ_SIZE):
                pass

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            _, ready, _ = select.select([], [self._line], [], WRITE_TIMEOUT)
            if not ready:
                raise OSError("the simulation takes no bytes")
            with contextlib.suppress(BlockingIOError):
                left = left[self._line.send(left, socket.MSG_NOSIGNAL) :]

    def read(self, timeout: float) -> bytes:
        ready, _, _ = select.select([self._line], [], [], max(0.0, timeout))
        if not ready:
            return b""
        found = self._line.recv(READ_SIZE)
        if not found:
            raise OSError("the simulation closed its line")
        return found

    def close(self) -> None:
        """Nothing: the line is the chip's as long as it runs."""


def _end(owner: int, process: subprocess.Popen[bytes], line: socket.socket, folder: Path) -> None:
    if os.getpid() != owner:
        return
    line.close()
    end_group(process)
    shutil.rmtree(folder, ignore_errors=True)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
