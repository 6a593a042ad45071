"""Unpickling within the sources fails the test run: what a pickle names is code, and files hold none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest


def guard(folders: Sequence[str]) -> Callable[[Any, int], None]:
    """Watch this process; the hook ``pytest_sessionfinish`` that fails a run in which a file of ``folders`` unpickled.

    Only what is called by a source file counts: workers of joblib and Dask are sent pickles by their own threads. Numba's cache
    of compiled kernels, which it writes itself beside the sources, is its own affair.
    """
    found: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "pickle.find_class":
            return
        frame = sys._getframe(1)
        while frame is not None:
            name = frame.f_code.co_filename
            if frame.f_globals.get("__name__", "").startswith("numba."):
                return
            if name.startswith(tuple(folders)):
                found.append(f"{name}:{frame.f_lineno} unpickled {'.'.join(map(str, arguments))}")
                return
            frame = frame.f_back  # type: ignore[assignment]

    def finish(session: Any, exitstatus: int) -> None:
        if found:
            sys.stderr.write("the sources unpickled, which they never may:\n" + "\n".join(dict.fromkeys(found)) + "\n")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    sys.addaudithook(hook)
    return finish
