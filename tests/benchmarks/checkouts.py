"""Workers of this checkout and of another one, which measure by turns: a busy machine slows both alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: The checkout that this file belongs to.
HERE = Path(__file__).resolve().parents[2]

#: Folders of a checkout that packages are imported from.
SOURCE_ROOTS = (".", "backends", "calibration")


class Worker:
    """A process that runs ``script`` with the sources of ``root`` and answers each line with one line of JSON."""

    def __init__(self, script: Path, root: Path, arguments: tuple[str, ...] = (), threads: int | None = 1) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(root / part) for part in SOURCE_ROOTS)}
        environment.pop("OMP_NUM_THREADS", None)
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, str(script), "--worker", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=root, text=True,
        )  # fmt: skip

    def measure(self) -> dict[str, Any]:
        """One round; raises RuntimeError where the worker has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with exit status {self._process.wait()}; see its messages above")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the worker."""
        self._process.communicate()


def serve(measure: Callable[[], Mapping[str, Any]]) -> None:
    """The worker's side: a round for every line of standard input."""
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


def by_turns(workers: Mapping[str, Worker], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """``rounds`` rounds of every worker (A B A B ...), after one that is thrown away."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    try:
        for number in range(rounds + 1):
            for name, worker in workers.items():
                result = worker.measure()
                if number:
                    found[name].append(result)
    finally:
        for worker in workers.values():
            worker.close()
    return found
