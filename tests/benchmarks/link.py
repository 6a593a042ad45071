"""What the serial line costs: ``python -m tests.benchmarks.link``.

Over a pseudo-terminal and over TCP: the share of a line of 3 Mbaud (10 bits a byte, kept to by a relay) that uploads and
downloads of events reach, and the time of a batch of 150 Yin-Yang samples on a served target beside the same target in this process,
run by turns. Everything is on this computer.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

import hwloop as hl
from hwloop import datasets
from hwloop.network import LIF, Dense, Network
from hwloop_serial.messages import Region

#: Bytes a second of the relay: 3 Mbaud, ten bits each.
RATE = 300_000
#: Time by which the relay may lag behind and catch up (s).
SLACK = 0.05
#: Samples of a batch, runs that are timed, and bytes of an upload.
BATCH, RUNS, UPLOAD = 150, 15, 600_000
LINES = {"pty": "pty", "tcp": "tcp://127.0.0.1:0"}
TARGETS = ("emulator:3", "loihi")


class Relay:
    """Passes bytes between a host and the board at ``url``, each way at ``rate`` bytes a second; a line of the same kind."""

    def __init__(self, url: str, rate: float) -> None:
        self._rate, self._ends = rate, list[int]()
        if url.startswith("socket://"):
            listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"socket://127.0.0.1:{listener.getsockname()[1]}"
            threading.Thread(target=self._accept, args=(listener, int(url.rpartition(":")[2])), daemon=True).start()
        else:
            master, slave = os.openpty()
            board = os.open(url, os.O_RDWR | os.O_NOCTTY)
            for end in (slave, board):
                tty.setraw(end)
            self.url = os.ttyname(slave)
            self._ends.append(slave)
            self._join(master, board)

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            host, _ = listener.accept()
            board = socket.create_connection(("127.0.0.1", port))
            for one in (host, board):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._join(host.detach(), board.detach())

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            os.close(end)

    def _join(self, one: int, other: int) -> None:
        self._ends += one, other
        for pair in ((one, other), (other, one)):
            threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: int, target: int) -> None:
        free = time.monotonic()
        try:
            while data := os.read(source, 2048):
                now = time.monotonic()
                # a sleep that took too long is made up for
                free = max(free, now - SLACK) + len(data) / self._rate
                if free - now > 1e-3:
                    time.sleep(free - now)
                while data:
                    data = data[os.write(target, data) :]
        except OSError:
            pass


@contextmanager
def served(target: str, port: str) -> Iterator[str]:
    """URL of ``hwloop serve`` in a process of its own."""
    command = [sys.executable, "-m", "hwloop", "serve", "--port", port, "--target", target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready, _, _ = select.select([process.stdout], [], [], 300.0)
            assert ready, "the server said nothing for 300 s"
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("serial:")
        finally:
            process.kill()


def seconds(work: Callable[[], Any]) -> float:
    """Time of ``work``."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def network() -> Network:
    g = torch.Generator().manual_seed(0)
    return Network([
        Dense(5, 120).init_normal_(1.2, 1.2, g), LIF(120, 10e-3, 5e-3),
        Dense(120, 3).init_normal_(0.4, 0.4, g), LIF(3, 10e-3, 5e-3),
    ])  # fmt: skip


def rates(port: str) -> dict[str, float]:
    """Share of the line's rate of an upload that differs everywhere, and of events that are read back."""
    net = network()
    with served("loihi", port) as url, Relay(url, RATE) as relayed, hl.open(f"serial:{relayed}") as device:
        remote: Any = device.remote  # type: ignore[attr-defined]
        device.load(hl.compile(net, device))
        task = datasets.yin_yang(sizes=(1000, 10, 10))
        device.run(task.train.inputs)
        status = remote.status()
        output = status.output_bytes

        def read() -> None:
            remote._download(Region.OUTPUT, status.run_id, output, status.output_crc)

        down = output / seconds(read)
        data = np.random.default_rng(0).integers(0, 256, UPLOAD, np.uint8).tobytes()
        up = UPLOAD / seconds(lambda: remote.upload(Region.INPUT, data))
    return {"upload": up / RATE, "download": down / RATE, "bytes down": output}


def batches(target: str) -> dict[str, float]:
    """Median seconds of one batch in process and served, run by turns, and the medians of the ratios to in process."""
    net, spikes = network(), datasets.yin_yang(sizes=(BATCH, 10, 10)).train.inputs
    taken: dict[str, list[float]] = {}
    with ExitStack() as stack:
        devices = {"in process": stack.enter_context(hl.open(target))}
        for name, port in LINES.items():
            devices[name] = stack.enter_context(hl.open("serial:" + stack.enter_context(served(target, port))))
        for device in devices.values():
            device.load(hl.compile(net, device))
            device.run(spikes)
        for _ in range(RUNS):
            for name, device in devices.items():
                taken.setdefault(name, []).append(seconds(lambda device=device: device.run(spikes)))  # type: ignore[misc]
    found = {f"{name} (s)": float(np.median(times)) for name, times in taken.items()}
    ratios = {name: np.array(taken[name]) / taken["in process"] for name in LINES}
    return {**found, **{f"{name} / in process": float(np.median(ratio)) for name, ratio in ratios.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", help="write the figures there, as JSON")
    out = parser.parse_args().out
    figures = {
        "share of the rate": {name: rates(port) for name, port in LINES.items()},
        f"batch of {BATCH}": {target: batches(target) for target in TARGETS},
    }
    text = json.dumps(figures, indent=1)
    print(text)
    if out:
        with open(out, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
