"""Copies of the project in which changes are planted and its tests are run; the working tree is never touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock

from .places import Mutant, Place

#: Not copied: version control, environments, caches, results.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "out", "build", "dist")
#: A run, and a test, may take this many times the CPU seconds that it takes unchanged, and so much more (imports), ...
CPU_FACTOR, CPU_MORE = 4.0, 30.0
#: ... and on a busy machine this many times the wall time.
WALL_FACTOR = 8.0
#: Limit of the first, traced run of all tests of a module (s).
FIRST_RUN = 1800.0


@dataclass(frozen=True)
class Outcome:
    """What became of one change: whether a test noticed it, and which (or why none ran)."""

    mutant: Mutant
    noticed: bool
    by: str


@dataclass(frozen=True)
class Coverage:
    """Seconds of every test of a part, and the lines of its sources that each runs."""

    files: tuple[str, ...]
    sources: tuple[str, ...]
    seconds: dict[str, float]
    tests_of: dict[tuple[str, int], frozenset[str]]

    def tests(self, place: Place) -> list[str]:
        """Those that run the place, the quickest first; all, where importing the module runs it."""
        found = {name for line in place.lines for name in self.tests_of.get((place.path, line), ())}
        return sorted(found if place.lines else self.seconds, key=lambda name: self.seconds[name])


class BrokenError(Exception):
    """The tests fail as they are, or their process ended: nothing can be said about changes."""


@dataclass(frozen=True)
class Setup:
    """Packages to import before the tests are run, and options of pytest."""

    imports: Sequence[str]
    options: Sequence[str]


class Copy:
    """One copy of the project with a server for its tests (:mod:`.server`); a context manager."""

    def __init__(self, root: Path, folder: Path, setup: Setup) -> None:
        self.options = list(setup.options)
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise BrokenError(f"another run is using {folder}; name another folder with --keep") from None
        self.folder, self.output = folder / "tree", folder / "output.txt"
        self._held: Coverage | None = None
        self._cold = not (folder / "numba").exists()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(root, self.folder, ignore=LEFT_OUT, symlinks=True)  # keeps times, which Numba's cache goes by
        sources = [self.folder, self.folder / "backends", self.folder / "calibration"]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(path) for path in sources if path.is_dir()),
            "NUMBA_CACHE_DIR": str(folder / "numba"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py")), *setup.imports],
            cwd=self.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Copy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._server.terminate()
        self._server.communicate()
        self._lock.release()

    def coverage(self, files: Sequence[str], sources: Sequence[str]) -> Coverage:
        """Run all tests of ``files`` unchanged; in a new folder twice, since the first run compiles what is used.

        What came of it is kept in the folder for as long as no file of the project changes.
        """
        kept = self.folder.parent / f"coverage-{self._state(files, sources)}.json"
        if not kept.exists():
            if self._cold:
                self._run(files, None, None, FIRST_RUN)
            answer = self._run(files, None, sources, FIRST_RUN)
            if answer["status"] != 0:
                raise BrokenError(
                    f"the tests fail without any change: {answer['failed'] or self.output.read_text()[-2000:]}"
                )
            kept.write_text(json.dumps(answer))
        answer = json.loads(kept.read_text())
        tests_of: dict[tuple[str, int], set[str]] = defaultdict(set)
        for name, lines in answer["lines"].items():
            for path, line in lines:
                tests_of[path, line].add(name)
        found = {place: frozenset(names) for place, names in tests_of.items()}
        return Coverage(tuple(files), tuple(sources), answer["seconds"], found)

    def _state(self, files: Sequence[str], sources: Sequence[str]) -> str:
        """Digest of what the tests of a part depend on: every file of the project."""
        digest = hashlib.sha256(json.dumps([sys.version, list(files), list(sources), self.options]).encode())
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(self.folder)}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:16]

    def outcome(self, mutant: Mutant, text: str, coverage: Coverage) -> Outcome:
        """Plant ``text``, the changed file, run the tests that run the place, put the file back."""
        names = coverage.tests(mutant.place)
        tests = {name: CPU_MORE + CPU_FACTOR * coverage.seconds[name] for name in names}
        if not tests:
            return Outcome(mutant, False, "no test runs this line")
        if self._held is not coverage:
            self._send({"hold": coverage.files, "sources": coverage.sources, **self._common()})
            self._held = coverage
        path = self.folder / mutant.place.path
        before, times = path.read_bytes(), path.stat()
        path.write_text(text)
        os.utime(path, (times.st_atime, times.st_mtime + 2))  # another time than any compiled file of it has
        try:
            limit = CPU_MORE + CPU_FACTOR * sum(coverage.seconds[name] for name in tests)
            files, anew = sorted({name.split("::")[0] for name in tests}), {"status": "anew"}
            change = {"path": mutant.place.path, "text": text}
            answer = self._run(files, tests, None, limit, change) if mutant.place.lines else anew
            if answer["status"] == "anew":
                answer = self._run(files, tests, None, limit)
        finally:
            path.write_bytes(before)
            os.utime(path, (times.st_atime, times.st_mtime))
        if answer["status"] is None:
            self._check(coverage)
            return Outcome(
                mutant, True, f"no end within {limit:.0f} s of all or its limit of one test, or the process ended"
            )
        failed = answer["failed"] or f"exit status {answer['status']} of pytest"
        return Outcome(mutant, answer["status"] != 0, failed if answer["status"] else f"{len(tests)} tests passed")

    def _check(self, coverage: Coverage) -> None:
        """A run without an answer says something about a change only where runs without one still answer."""
        quickest = min(coverage.seconds, key=lambda name: coverage.seconds[name])
        if self._run([quickest.split("::")[0]], {quickest: CPU_MORE}, None, CPU_MORE)["status"] != 0:
            raise BrokenError(f"{quickest} no longer passes without any change: {self.output.read_text()[-2000:]}")

    def _run(
        self, files: Sequence[str], tests: dict[str, float] | None, trace: Sequence[str] | None, limit: float,
        change: dict[str, str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        return self._send({
            "files": list(files), "tests": tests, "trace": None if trace is None else list(trace),
            "cpu_s": int(limit), "wall_s": WALL_FACTOR * limit, "change": change, **self._common(),
        })  # fmt: skip

    def _common(self) -> dict[str, Any]:
        return {"options": self.options, "output": str(self.output)}

    def _send(self, job: dict[str, Any]) -> dict[str, Any]:
        self._server.stdin.write(json.dumps(job) + "\n")  # type: ignore[union-attr]
        self._server.stdin.flush()  # type: ignore[union-attr]
        line = self._server.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise BrokenError("the process that runs the tests ended")
        return json.loads(line)  # type: ignore[no-any-return]
