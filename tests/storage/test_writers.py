"""A full disk, a folder that is read-only, a rename that fails: each writer says so and keeps what was there."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop import storage
from hwloop.checkpoint import save_checkpoint
from hwloop.compare.report import Report
from hwloop.errors import HwloopError
from hwloop.event_files import write_events
from hwloop.results import write_summary
from hwloop.session_log import record_session
from hwloop_calibration.yield_ import study
from hwloop_loihi import write_netx

from .readers import network, spikes

Write = Callable[[Path], object]


def bundle(folder: Path) -> object:
    with hl.open("emulator:7", session=1) as device:
        program = hl.compile(network(), device.target)
        return hl.save_bundle(folder / "x.hwb", network(), program, device, spikes())


def log(folder: Path) -> None:
    with record_session(hl.open("emulator:7", session=1), folder / "x.log") as device:
        device.load(hl.compile(network(), device.target))
        device.run(spikes())


def row(folder: Path) -> None:
    storage.write_json(folder / "row.json", {"study": {}, "result": {}}, kind=study.FORMAT, version=study.VERSION)


#: Every writer, and what it is told to write to.
WRITERS: dict[str, Write] = {
    "bytes": lambda folder: storage.write_bytes(folder / "a", os.urandom(100)),
    "document": lambda folder: storage.write_json(folder / "a.json", {"a": os.urandom(4).hex()}, kind="k", version=1),
    "checkpoint": lambda folder: save_checkpoint(folder, network(), {"w": torch.rand(9)}, step=1),
    "summary": lambda folder: write_summary(folder, "train", status="finished", seed=0),
    "report": lambda folder: Report("a title").write(folder / "report.html"),
    "events": lambda folder: write_events(folder / "x.npz", {"0": spikes()}, {}),
    "netx": lambda folder: write_netx(folder / "x.net", network(), dt=1e-4),
    "yield row": row,
    "bundle": bundle,
    "log": log,
}


def raising(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def full_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "fsync", raising(errno.ENOSPC))


def full_while_writing(patch: pytest.MonkeyPatch) -> None:
    """The file opens, and takes nothing: half of what it is given is there."""
    real_open, real_write = pathlib.Path.open, os.write

    def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real_open(path, mode, *args, **kwargs)
        return Filling(file) if "x" in mode or "w" in mode else file

    def write(descriptor: int, data: bytes) -> int:
        real_write(descriptor, bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(pathlib.Path, "open", opened)
    patch.setattr(os, "write", write)


class Filling:
    """A file on a disk that fills up."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, data: bytes) -> int:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Filling:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def read_only(patch: pytest.MonkeyPatch) -> None:
    """As a folder without write permission behaves, also for a superuser."""
    real_open, real = pathlib.Path.open, os.open

    def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode[0] in "xwa":
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return real_open(path, mode, *args, **kwargs)

    def low(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *args, **kwargs)

    patch.setattr(pathlib.Path, "open", opened)
    patch.setattr(os, "open", low)


def failing_rename(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "replace", raising(errno.EPERM))


FAULTS = {
    "full at sync": full_disk,
    "full while writing": full_while_writing,
    "read-only": read_only,
    "rename": failing_rename,
}


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_that_fails_says_so_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str
) -> None:
    if (name, fault) == ("log", "rename"):
        return  # a log is never renamed: it is appended to
    write = WRITERS[name]
    write(tmp_path)
    before = content(tmp_path)
    assert before
    with monkeypatch.context() as patch:
        FAULTS[fault](patch)
        with pytest.raises(HwloopError, match="No space left|Permission denied|not permitted"):
            write(tmp_path)
    after = content(tmp_path)
    if name == "log":  # what was whole stays; a session that was begun may be added
        assert after["x.log"].startswith(before["x.log"])
    else:
        assert after == before
    write(tmp_path)  # once there is space
    assert content(tmp_path).keys() == before.keys()


def test_no_writer_goes_past_the_storage_module() -> None:
    """What opens files for writing elsewhere in the sources is named here, with the reason."""
    import re

    root = Path(hl.__file__).parents[1]
    allowed = {
        "hwloop/storage.py": "the writer itself",
        "hwloop/session_log/log_file.py": "logs are appended to",
        "backends/hwloop_lava/install.py": "what an installation that failed said, in the folder that it was to fill",
        "backends/hwloop_lava/worker_process.py": "the worker's output, for its error message",
        "backends/hwloop_rtl/building.py": "sources of a build, in the folder beside the cache that becomes an entry of it as a whole",
        "backends/hwloop_rtl/simulation_process.py": "the simulation's output, for its error message",
        "backends/hwloop_rtl/synthesise.py": "tables of a synthesis, in its own folder; it is run again",
        "backends/hwloop_rtl/synthesise_chip.py": "files of a synthesis, in its own folder; it is run again",
        "backends/hwloop_serial/firmware/fuzz/seed.py": "inputs that a fuzzer begins with, in the folder of its build",
    }
    pattern = re.compile(
        r"""open\(\s*(?:[^()]*,\s*)?["'](?:[wax]b?|[wax]\+?b?|rb\+)["']|\.write_(?:bytes|text)\(|np\.save|torch\.save\("""
    )
    found = set()
    for source in ("hwloop", "backends", "calibration"):
        for path in (root / source).rglob("*.py"):
            text = "\n".join(line for line in path.read_text().splitlines() if "storage.write_bytes(" not in line)
            if pattern.search(text):
                found.add(str(path.relative_to(root)))
    unknown = {path for path in found if path not in allowed and path != "hwloop/event_files.py"}
    assert not unknown, unknown
