"""Hostile files: every reader answers with one kind of error, at once, in little memory, and changes nothing.

The cases of a reader run in a forked process whose address space may grow by :data:`MOST_MEMORY` alone: one that allocates
what a file declares fails there, and so does one that crashes.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import random
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

import pytest

from hwloop.errors import HwloopError

from .counts import cases
from .mutations import mutate
from .readers import Reader, readers

#: Cases of all readers together.
CASES = cases(2_000, 50_000)
#: Seconds after which a process that hangs says where, and ends.
HANGS = cases(120, 3600)
#: Seconds of processor time, and bytes, that a file may cost.
MOST_SECONDS, MOST_MEMORY = 2.0, 512 * 2**20
NAMES = (
    "bundle", "bundle with right sums", "log", "log with right sums", "checkpoint manifest", "checkpoint data",
    "checkpoint data with right sums", "calibration", "calibration, edited", "hardened weights", "summary", "document",
    "experiment", "known failures", "preset", "program", "events (npz)", "events (NIRData)", "NIR graph", "netx", "npy",
    "address events", "table of labels", "digests of data", "idx", "idx.gz",
)  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return readers(tmp_path_factory.mktemp("readers"))


def test_every_reader_is_tried(known: dict[str, Reader]) -> None:
    assert set(known) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_is_refused_with_one_kind_of_error(tmp_path: Path, known: dict[str, Reader], name: str) -> None:
    reader, report = known[name], tmp_path / "report"
    folder = tmp_path / "hostile"
    folder.mkdir()
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(HANGS, exit=True)
        try:
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MOST_MEMORY, resource.RLIM_INFINITY))
            os.chdir(folder)
            accepted = _try_all(reader, folder, -(-CASES // len(NAMES)))
            report.write_text(f"accepted {accepted}")
            os._exit(0)
        except BaseException:
            report.write_text(traceback.format_exc())
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = report.read_text() if report.exists() else "no report: it crashed"
    assert status == 0, f"{name}: status {status}: {said}"
    assert not (folder / "hwloop-canary").exists()


def _try_all(reader: Reader, folder: Path, count: int) -> int:
    """How many damaged files were taken for good ones; raises for one that was refused wrongly."""
    warnings.simplefilter("ignore")
    path, accepted = folder / reader.name, 0
    for number in range(count):
        for name, content in (reader.beside or {}).items():
            (folder / name).write_bytes(content)
        chance = random.Random(number)
        data = reader.damaged(reader.content, lambda inside, chance=chance: mutate(inside, chance))
        path.write_bytes(data)
        before, start = _listing(folder), time.process_time()
        try:
            reader.read(path)
            accepted += 1
            if reader.sealed and data != reader.content:
                raise AssertionError(f"case {number} was accepted although a byte was changed")
        except HwloopError as error:
            text = str(error)
            if str(folder) not in text and reader.name not in text:
                raise AssertionError(f"case {number}: the message does not name the file: {text[:300]}") from error
            if any(ord(letter) < 32 and letter != "\n" for letter in text):
                raise AssertionError(f"case {number}: control characters in the message: {text[:300]!r}") from error
        except Exception as error:
            raise AssertionError(f"case {number}: {type(error).__name__} is none of hwloop's errors") from error
        spent = time.process_time() - start
        if spent > MOST_SECONDS:
            raise AssertionError(f"case {number} took {spent:.1f} s")
        if _listing(folder) != before:
            raise AssertionError(f"case {number} changed the folder")
    return accepted


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir())


def _address_space() -> int:
    """Bytes of address space that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def test_the_canary_of_a_pickle_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pickles among the mutations do run where somebody loads them: their silence means something."""
    monkeypatch.chdir(tmp_path)
    # in a process of its own: the guard of this test session forbids it here
    code = "import pickle; pickle.loads(b\"cos\\nsystem\\n(S'touch hwloop-canary'\\ntR.\")"
    os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code])
    assert (tmp_path / "hwloop-canary").exists()
    assert pickle.HIGHEST_PROTOCOL >= 4
