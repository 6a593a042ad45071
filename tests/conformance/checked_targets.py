"""The built-in targets that are checked, by the name of their column in docs/conformance.md."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from hwloop.conformance import conform
from hwloop.device.registry import Target, find

Opening = Callable[[], AbstractContextManager[Target]]


def found(name: str, **options: Any) -> Opening:
    @contextmanager
    def opening() -> Iterator[Target]:
        yield find(name, **options)

    return opening


def served(port: str, name: str, **options: Any) -> Opening:
    """``name`` behind a line of this computer."""

    @contextmanager
    def opening() -> Iterator[Target]:
        from hwloop_serial.board.server import Serving

        with Serving(find(name, **options), port) as url:
            yield find(f"serial:{url}")

    return opening


def replayed(name: str, **options: Any) -> Opening:
    """A log of ``name`` being checked: the same check is answered from it."""

    @contextmanager
    def opening() -> Iterator[Target]:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "session.log"
            conform(find(name, **options), log=log)
            yield find(f"replay:{log}")

    return opening


#: Columns of the page.
TARGETS: dict[str, Opening] = {
    "emulator ideal": found("emulator:7", preset="ideal"),
    "emulator bss2": found("emulator:7", preset="bss2"),
    "emulator dynapse": found("emulator:7", preset="dynapse"),
    "loihi": found("loihi"),
    "lava": found("lava", dt=1e-3),
    "replay of bss2": replayed("emulator:7", preset="bss2"),
    "serial (pty): bss2": served("pty", "emulator:7", preset="bss2"),
    "serial (pty): loihi": served("pty", "loihi"),
    "rtl": found("rtl:"),
}
#: What takes minutes: checked as a whole by `pytest -m slow tests/conformance`.
SLOW = ("lava", "rtl")
#: Checked besides.
OTHERS: dict[str, Opening] = {
    "emulator worst": found("emulator:7", preset="worst", session=0),
    "loihi at 20 us": found("loihi", dt=2e-5),
    "replay of loihi": replayed("loihi"),
    "serial (tcp): ideal": served("tcp://127.0.0.1:0", "emulator:7", preset="ideal"),
    "tiny": found("tiny:0"),
    "mychip": found("mychip:0", tick=1e-5),
}
