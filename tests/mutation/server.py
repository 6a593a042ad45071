"""A process that has imported what takes long, and forks a child for each run of the tests.

Run as a script in the root of a copy of the project; its arguments name the packages to import. Reads one JSON object a
line from standard input, ``{"hold": [...], "sources": [...]}`` or::

    {"files": [...], "options": [...], "tests": {...} | null, "trace": [...] | null, "cpu_s": 60, "wall_s": 300, "output": path}

``tests`` are the node ids to run, in this order, each with the CPU seconds that it may take; null: all of ``files``. With ``trace``, the source files named in it are
traced: which lines each test ran. Answers with one line: exit status of pytest (null where the child was ended), the
test that failed first, seconds of each test, lines of each test.

After ``hold``, the test files to collect, a process is kept that has imported the project and collected them. A job with
``"change": {"path": ..., "text": ...}`` is a child of that process, in which the functions of the file get the code that
they have in the text, and then ``tests`` are run: nothing is imported or collected again. What it cannot take on (a
change of what a file's import runs, or of compiled functions) it answers with the status ``"anew"``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import IO, Any

import pytest

#: What pytest says to an imported package that is one of its plugins.
QUIET = ("-W", "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning")
#: Longest address space of a child (bytes): a changed size must not take the machine's memory.
MEMORY = 16 * 2**30
#: How often it is looked whether somebody still asks (s).
LOOK = 0.5
#: How long a process that nobody asks any more may take to end (s).
ENDING = 5.0


class Chosen:
    """pytest plugin: runs the named tests in the order given, and notes how each ended and how long it took.

    A test that takes more than its CPU seconds ends the process.
    """

    def __init__(self, tests: dict[str, float] | None) -> None:
        self.limits = tests or {}
        self.order = None if tests is None else {name: i for i, name in enumerate(tests)}
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: str | None = None

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.order is not None:
            order = self.order
            items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_VIRTUAL, self.limits.get(item.nodeid, 0.0))
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)

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
        threading.settrace(self._call)  # of threads that are started from now on
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]  # documented, missing in the stubs

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


def confine(job: dict[str, Any]) -> None:
    """In a child: a session of its own, its output in a file, the limits of the job."""
    os.setsid()
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if "cpu_s" in job:
        resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_s"], job["cpu_s"] + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def arguments(job: dict[str, Any], *more: str) -> list[str]:
    """Those of pytest."""
    return ["-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", *QUIET, *job["options"], *more]


def run_tests(job: dict[str, Any]) -> None:
    """In the child: run pytest, write what came of it, end the process."""
    confine(job)
    chosen, lines = Chosen(job["tests"]), Lines(job["trace"] or [])
    plugins: list[object] = [chosen, lines] if job["trace"] else [chosen]
    status = pytest.main([*arguments(job, *([] if job["trace"] else ["-x"])), *job["files"]], plugins=plugins)
    answer = {
        "status": int(status),
        "failed": chosen.failed,
        "seconds": dict(chosen.seconds),
        "lines": lines.of_tests(),
    }
    Path(job["output"] + ".json").write_text(json.dumps(answer))
    os._exit(0)


# -- tests that stay collected --------------------------------------------------------------------


def codes(code: CodeType, found: dict[str, list[CodeType]]) -> dict[str, list[CodeType]]:
    """The functions within ``code`` by qualified name, in the order in which they stand."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found.setdefault(inner.co_qualname, []).append(inner)
            codes(inner, found)
    return found


def changed(functions: list[FunctionType], before: str, after: str) -> bool:
    """Give the functions of the file ``before`` the code that they have in ``after``; False where that is not possible."""
    if "numba" in before:  # a compiled function does not look at its code again
        return False
    old, new = (codes(compile(text, "", "exec"), {}) for text in (before, after))
    places = {(name, code.co_firstlineno): (name, i) for name, found in old.items() for i, code in enumerate(found)}
    for function in functions:
        name, i = places[function.__code__.co_qualname, function.__code__.co_firstlineno]
        if len(new.get(name, ())) != len(old[name]):
            return False
        try:
            function.__code__ = new[name][i]
        except ValueError:  # it uses other variables of the function around it
            return False
    return bool(functions)


class Holder:
    """pytest plugin: once the tests are collected, forks a child for each job that is read from ``jobs``."""

    def __init__(self, sources: list[str], jobs: IO[str], answers: IO[str]) -> None:
        self.sources, self.jobs, self.answers = sources, jobs, answers
        self.chosen = Chosen(None)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        here = {os.path.abspath(path): path for path in self.sources}
        functions: dict[str, list[FunctionType]] = defaultdict(list)
        for found in gc.get_objects():
            if type(found) is FunctionType and found.__code__.co_filename in here:
                functions[here[found.__code__.co_filename]].append(found)
        texts = {path: Path(path).read_text() for path in functions}
        gc.freeze()  # a child does not copy what it only looks at
        session.config.pluginmanager.register(self.chosen)
        print(json.dumps({"status": 0}), file=self.answers, flush=True)
        for line in self.jobs:
            job = json.loads(line)
            path = job["change"]["path"]

            def run(job: dict[str, Any] = job, path: str = path) -> None:
                confine(job)
                self.chosen.limits = job["tests"]
                known = all(name in items for name in job["tests"])
                if known and changed(functions[path], texts.get(path, ""), job["change"]["text"]):
                    answer = {"status": self._run([items[name] for name in job["tests"]]), "failed": self.chosen.failed}
                else:
                    answer = {"status": "anew", "failed": None}
                Path(job["output"] + ".json").write_text(json.dumps(answer))

            print(json.dumps(answer_of(job, run, self.jobs.fileno())), file=self.answers, flush=True)
        return True

    def _run(self, items: list[pytest.Item]) -> int:
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self.chosen.failed is not None:
                return 1
        return 0


class Held:
    """The process with the collected tests, from outside."""

    def __init__(self, job: dict[str, Any]) -> None:
        ours, theirs = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ours[1])
            os.close(theirs[0])
            jobs, answers = os.fdopen(ours[0]), os.fdopen(theirs[1], "w")
            child(lambda: self._serve(job, jobs, answers))
        os.close(ours[0])
        os.close(theirs[1])
        self.jobs, self.answers = os.fdopen(ours[1], "w"), os.fdopen(theirs[0])
        self.answer = self._read()

    @staticmethod
    def _serve(job: dict[str, Any], jobs: IO[str], answers: IO[str]) -> None:
        confine(job)
        pytest.main([*arguments(job, "--capture=no"), *job["hold"]], plugins=[Holder(job["sources"], jobs, answers)])

    def _read(self) -> dict[str, Any]:
        while not select.select([self.answers], [], [], LOOK)[0]:
            if nobody_asks(0):
                self.close()
                sys.exit()
        line = self.answers.readline()
        return json.loads(line) if line else {"status": None, "failed": None}

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """What came of a job; status None where the process ended."""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(job), file=self.jobs, flush=True)
            return self._read()
        return {"status": None, "failed": None}

    def close(self) -> None:
        """End the process: it ends its child and itself once nobody asks, and is ended where it does not."""
        with contextlib.suppress(BrokenPipeError):
            self.jobs.close()
        end = time.monotonic() + ENDING
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                break
            time.sleep(0.01)
        self.answers.close()


# -- processes ------------------------------------------------------------------------------------


def child(run: Any) -> None:
    """In a forked child: run, and end the process whatever comes of it."""
    try:
        run()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(1)


def nobody_asks(jobs: int) -> bool:
    """Whether the other end of the file from which jobs are read has ended (it was killed, say)."""
    poll = select.poll()
    poll.register(jobs, 0)
    return bool(poll.poll(0))


def answer_of(job: dict[str, Any], run: Any, jobs: int) -> dict[str, Any]:
    """What ``run`` wrote in a child of its own; status None where it ended without."""
    result = Path(job["output"] + ".json")
    result.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        child(run)
    wait(pid, job["wall_s"], jobs)
    return json.loads(result.read_text()) if result.exists() else {"status": None, "failed": None}


def wait(pid: int, wall_s: float, jobs: int) -> None:
    """Wait for the child; end its whole session where it takes longer than ``wall_s``, or nobody asks any more."""
    end = time.monotonic() + wall_s
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        alone = nobody_asks(jobs)
        if alone or time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if alone:
                sys.exit()
            return
        time.sleep(0.01)


def main() -> None:
    """Serve until standard input ends."""
    sys.dont_write_bytecode = True
    with contextlib.suppress(ImportError):
        for name in sys.argv[1:]:
            importlib.import_module(name)
    held: Held | None = None
    for line in sys.stdin:
        job = json.loads(line)
        if "hold" in job:
            if held is not None:
                held.close()
            held = Held(job)
            answer = held.answer
        elif job.get("change") and held is not None:
            answer = held.run(job)
        else:
            answer = answer_of(job, lambda job=job: run_tests(job), 0)
        print(json.dumps(answer), flush=True)
    if held is not None:
        held.close()


if __name__ == "__main__":
    main()
