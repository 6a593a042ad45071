"""A process that has imported what takes long, and forks a child for each run of the tests.

Run as a script in the root of a copy of the project; its arguments name the packages to import. Reads one JSON object a
line from standard input::

    {"files": [...], "options": [...], "tests": [...] | null, "trace": [...] | null, "cpu_s": 60, "wall_s": 300, "output": path}

``tests`` are the node ids to run, in this order; null: all of ``files``. With ``trace``, the source files named in it are
traced: which lines each test ran. Answers with one line: exit status of pytest (null where the child was ended), the
test that failed first, seconds of each test, lines of each test.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

#: What pytest says to an imported package that is one of its plugins.
QUIET = ("-W", "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning")
#: Longest address space of a child (bytes): a changed size must not take the machine's memory.
MEMORY = 16 * 2**30


class Chosen:
    """pytest plugin: runs the named tests in the order given, and notes how each ended and how long it took."""

    def __init__(self, tests: list[str] | None) -> None:
        self.order = None if tests is None else {name: i for i, name in enumerate(tests)}
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: str | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.order is not None:
            order = self.order
            items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid


class Lines:
    """pytest plugin: the lines of some source files that each test runs. What a fixture runs counts for all of its file."""

    def __init__(self, sources: list[str]) -> None:
        self.sources = {os.path.abspath(path): path for path in sources}
        self.now: set[tuple[str, int]] = set()
        self.found: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.shared: dict[str, set[tuple[str, int]]] = defaultdict(set)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in self.sources else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self.now.add((self.sources[frame.f_code.co_filename], frame.f_lineno))
        return self._line

    @contextlib.contextmanager
    def _into(self, found: set[tuple[str, int]]) -> Iterator[None]:
        self.now = found
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        with self._into(self.shared[item.nodeid.split("::")[0]]):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        with self._into(self.found[item.nodeid]):
            return (yield)

    def of_tests(self) -> dict[str, list[tuple[str, int]]]:
        return {name: sorted(lines | self.shared[name.split("::")[0]]) for name, lines in self.found.items()}


def run_tests(job: dict[str, Any]) -> None:
    """In the child: run pytest, write what came of it, end the process."""
    os.setsid()
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_s"], job["cpu_s"] + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    chosen, lines = Chosen(job["tests"]), Lines(job["trace"] or [])
    plugins: list[object] = [chosen, lines] if job["trace"] else [chosen]
    options = ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", *QUIET, *job["options"]]
    status = pytest.main([*options, *([] if job["trace"] else ["-x"]), *job["files"]], plugins=plugins)
    answer = {
        "status": int(status),
        "failed": chosen.failed,
        "seconds": dict(chosen.seconds),
        "lines": lines.of_tests(),
    }
    Path(job["output"] + ".json").write_text(json.dumps(answer))
    os._exit(0)


def wait(pid: int, wall_s: float) -> None:
    """Wait for the child, end its whole session where it takes longer than ``wall_s``."""
    end = time.monotonic() + wall_s
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.01)


def main() -> None:
    """Serve until standard input ends."""
    sys.dont_write_bytecode = True
    with contextlib.suppress(ImportError):
        for name in sys.argv[1:]:
            importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        result = Path(job["output"] + ".json")
        result.unlink(missing_ok=True)
        pid = os.fork()
        if pid == 0:
            try:
                run_tests(job)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(1)
        wait(pid, job["wall_s"])
        answer = json.loads(result.read_text()) if result.exists() else {"status": None, "failed": None}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
