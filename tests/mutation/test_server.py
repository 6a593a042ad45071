"""A change of a function's body without another import: what is taken on, and what has to be imported anew."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from .server import changed

TEXT = """
def plain(x):
    return x + 1

class Kind:
    @property
    def twice(self):
        return 2

    @staticmethod
    def each(values):
        return [value * 2 for value in values]

def outer(k):
    def inner(x):
        return x * k
    return inner
"""


def loaded(text: str = TEXT) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "made.py", "exec"), names)  # noqa: S102  # the text above
    return names


def functions(names: dict[str, Any]) -> list[FunctionType]:
    kind = vars(names["Kind"])
    return [names["plain"], kind["twice"].fget, kind["each"].__func__, names["outer"]]


@pytest.mark.parametrize("blank", ["", "\n\n"], ids=["same lines", "other lines"])
def test_functions_get_the_code_that_they_have_in_the_changed_text(blank: str) -> None:
    names = loaded()
    after = blank + TEXT.replace("x + 1", "x - 1").replace("return 2\n", "return 3\n").replace("value * 2", "value / 2")
    assert changed(functions(names), TEXT, after.replace("x * k", "x + k"))
    assert (names["plain"](5), names["Kind"]().twice, names["Kind"].each([4]), names["outer"](7)(1)) == (4, 3, [2.0], 8)


def test_what_only_an_import_changes_is_not_taken_on() -> None:
    # a function that is not there any more; and a compiled one, which does not look at its code again
    assert not changed(functions(loaded()), TEXT, TEXT.replace("def plain", "def other"))
    compiled = "# numba" + TEXT
    assert changed(functions(loaded()), TEXT, TEXT)
    assert not changed(functions(loaded(compiled)), compiled, compiled)


def test_a_function_that_uses_other_variables_around_it_is_not_taken_on() -> None:
    inner = loaded()["outer"](3)
    assert not changed([inner], TEXT, TEXT.replace("x * k", "x"))
    assert changed([inner], TEXT, TEXT.replace("x * k", "x - k"))
    assert inner(5) == 2


def test_a_file_of_which_no_function_is_there_is_not_taken_on() -> None:
    assert not changed([], TEXT, TEXT)


SLEEPER = """
import os, time
from pathlib import Path
from toy import pause

def test_sleeps():
    Path("pid").write_text(str(os.getpid()))
    pause()
"""
PAUSE = "import time\n\ndef pause():\n    time.sleep(50)\n"


@pytest.mark.parametrize("held", [False, True], ids=["imported anew", "collected before"])
def test_all_processes_end_when_nobody_asks_any_more(
    held: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "toy.py").write_text(PAUSE)
    (tmp_path / "test_toy.py").write_text(SLEEPER)
    common = {"options": [], "output": str(tmp_path / "out")}
    job = {"files": ["test_toy.py"], "tests": {"test_toy.py::test_sleeps": 90.0}, "trace": None, "wall_s": 90, **common}
    server = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("server.py"))], cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        if held:
            print(json.dumps({"hold": ["test_toy.py"], "sources": ["toy.py"], **common}), file=server.stdin, flush=True)
            assert json.loads(server.stdout.readline()) == {"status": 0}
            job["change"] = {"path": "toy.py", "text": PAUSE.replace("50", "60")}
        print(json.dumps(job), file=server.stdin, flush=True)
        pid = int(until(lambda: (tmp_path / "pid").read_text()))
        server.stdin.close()
        server.wait(30)
        until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    return False


def until(ask: Any, seconds: float = 30.0) -> Any:
    """What ``ask`` gives once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if found := ask():
                return found
        time.sleep(0.05)
    raise AssertionError(f"nothing within {seconds:g} s")
