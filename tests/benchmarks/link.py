"""What the serial line costs: ``python -m tests.benchmarks.link``.

Share of the line's rate that uploads and downloads reach through a relay of 3 Mbaud (10 bits a byte), and the time of a batch
of 150 Yin-Yang samples on a served emulator against the same emulator in process. Everything is on this computer.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import hwloop as hl
from hwloop import datasets
from hwloop.network import LIF, Dense, Network
from hwloop_serial.messages import Region

#: Bytes a second of the relay: 3 Mbaud, ten bits each.
RATE = 300_000
#: Samples of a batch, runs that are timed, and bytes of an upload.
BATCH, RUNS, UPLOAD = 150, 15, 600_000


class Relay:
    """Passes bytes between a host and a port at ``rate`` bytes a second each way."""

    def __init__(self, port: int, rate: float) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._port, self._rate = port, rate
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"socket://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            host, _ = self.listener.accept()
            board = socket.create_connection(("127.0.0.1", self._port))
            for one in (host, board):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((host, board), (board, host)):
                threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        free = time.monotonic()
        try:
            while data := source.recv(2048):
                now = time.monotonic()
                free = max(free, now) + len(data) / self._rate
                if free - now > 1e-3:
                    time.sleep(free - now)
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            one.close()


@contextmanager
def served(*arguments: str) -> Iterator[int]:
    """Port of ``hwloop serve`` in a process of its own."""
    command = [sys.executable, "-m", "hwloop", "serve", "--port", "tcp://127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready, _, _ = select.select([process.stdout], [], [], 300.0)
            assert ready, "the server said nothing for 300 s"
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


def seconds(work: Callable[[], Any], runs: int = RUNS) -> float:
    """Median time of ``work``."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def network() -> Network:
    g = torch.Generator().manual_seed(0)
    return Network([
        Dense(5, 120).init_normal_(1.2, 1.2, g), LIF(120, 10e-3, 5e-3),
        Dense(120, 3).init_normal_(0.4, 0.4, g), LIF(3, 10e-3, 5e-3),
    ])  # fmt: skip


def rates() -> dict[str, float]:
    """Share of the line's rate of an upload that differs everywhere, and of reading it back."""
    with served("--target", "loihi") as port:
        relay = Relay(port, RATE)
        with hl.open(f"serial:{relay.url}") as device:
            remote: Any = device.remote  # type: ignore[attr-defined]
            data = np.random.default_rng(0).integers(0, 256, UPLOAD, np.uint8).tobytes()
            start = time.perf_counter()
            remote.upload(Region.INPUT, data)
            up = UPLOAD / (time.perf_counter() - start) / RATE
    return {"upload": up}


def batch() -> dict[str, float]:
    """Seconds of one batch, in process and served, directly and at 3 Mbaud."""
    net, task = network(), datasets.yin_yang(sizes=(BATCH, 10, 10))
    spikes, found = task.train.inputs, {}
    with hl.open("emulator:3", session=0) as chip:
        chip.load(hl.compile(net, chip))
        chip.run(spikes)
        found["in process"] = seconds(lambda: chip.run(spikes))
    with served("--target", "emulator:3") as port:
        for name, url in (("served", f"socket://127.0.0.1:{port}"), ("served at 3 Mbaud", Relay(port, RATE).url)):
            with hl.open(f"serial:{url}", session=0) as board:
                board.load(hl.compile(net, board))
                board.run(spikes)
                found[name] = seconds(lambda board=board: board.run(spikes))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", help="write the figures there, as JSON")
    out = parser.parse_args().out
    figures = {"share of the rate": rates(), f"batch of {BATCH} (s)": batch()}
    text = json.dumps(figures, indent=1)
    print(text)
    if out:
        with open(out, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
