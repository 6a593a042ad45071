"""The worker: says hello, then answers one request after the other until its input ends.

Requests: ``run`` (a graph, see :mod:`.graph`) is answered by ``alive`` every few ticks and then ``ran``; ``ping`` by
``pong``. Whatever goes wrong is answered by ``failed``, after which the host ends the worker.

Started as ``python -I FOLDER TOKEN REQUESTS ANSWERS``: name of its shared memory, descriptors of the two pipes.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import threading
import time
import traceback
from typing import Any

from . import protocol
from .compatible import import_lava
from .guard import Guard, die_with_parent, name_shared_memory, remove_folder
from .protocol import Message

#: Longest traceback in an answer (characters); the end is what says most.
MAX_TRACE = 4000


class Pipe:
    """The two pipes to the host; whole frames, from any thread."""

    def __init__(self, requests: int, answers: int) -> None:
        self.requests, self._answers = requests, answers
        self._lock = threading.Lock()

    def read(self, n: int) -> bytes:
        """Exactly ``n`` bytes; EOFError where the host has closed its end."""
        parts, left = [], n
        while left:
            part = os.read(self.requests, min(left, 2**20))
            if not part:
                raise EOFError
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def send(self, message: Message) -> None:
        """Send ``message``."""
        left = memoryview(protocol.encode(message))
        with self._lock:
            while left:
                left = left[os.write(self._answers, left) :]


def main(token: str, requests: int, answers: int) -> None:
    """Serve until the host closes its end."""
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)
    pipe = Pipe(requests, answers)
    try:
        name_shared_memory(token)
        die_with_parent()
        guard = Guard(token, requests, lambda text: _fail(pipe, text))
        hello = _load(guard)
    except Exception:
        _fail(pipe, traceback.format_exc())
        return
    pipe.send(hello)
    while True:
        try:
            message = protocol.receive(pipe.read)
        except EOFError:
            remove_folder(token)
            return
        with guard.busy():
            try:
                pipe.send(_answer(message, guard, pipe))
            except Exception:
                _fail(pipe, traceback.format_exc())
                return


def _load(guard: Guard) -> Message:
    """Import Lava; what then runs here."""
    start = time.perf_counter()
    import_lava()
    # only now: these import Lava, or what Lava imports
    infrastructure = importlib.import_module("lava.magma.runtime.message_infrastructure.multiprocessing")
    importlib.import_module(".graph", __package__)
    guard.supervise(infrastructure.SystemProcess)
    foreign = sorted({name.partition(".")[0] for name in sys.modules} & {"hwloop", "torch"})
    versions = {name: importlib.metadata.version(name) for name in ("lava-nc", "numpy", "scipy")}
    fields = {**versions, "python": platform.python_version(), "foreign": foreign}
    return Message("hello", {**fields, "import_s": time.perf_counter() - start})


def _answer(message: Message, guard: Guard, pipe: Pipe) -> Message:
    if message.kind == "ping":
        return Message("pong", message.fields)
    if message.kind == "run":
        graph = sys.modules[f"{__package__}.graph"]
        ran: Message = graph.run(message, guard.watching, lambda: pipe.send(Message("alive")))
        return ran
    raise ValueError(f"request {message.kind!r}; allowed: run, ping")


def _fail(pipe: Pipe, text: str) -> None:
    details: dict[str, Any] = {"reason": text.strip()[-MAX_TRACE:]}
    pipe.send(Message("failed", details))
