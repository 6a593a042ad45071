"""Steps of a build: look at an interpreter, make an environment of it, install into it; each within the deadline."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hwloop.errors import TargetError

from . import recipe
from .worker_process import end_group

#: Longest time for an interpreter to say what it is (s).
INSPECTION_DEADLINE = 30.0
#: pip waits that long for a silent server (s), and asks once more: without a network it gives up within a minute.
PIP_TIMEOUT, PIP_RETRIES = 15, 1
#: Largest part of pip's last words in a message (characters).
MAX_WORDS = 600

_INSPECTION = """
import json, sys
missing = []
for name in ("venv", "ensurepip"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
print(json.dumps([list(sys.version_info[:3]), sys.executable, missing]))
"""


@dataclass(frozen=True)
class Python:
    """An interpreter that an environment can be made from."""

    executable: str
    version: str


def inspect_python(command: str) -> Python:
    """What ``command`` is, a path or a name on PATH.

    Raises :class:`TargetError` where it is no Python that can be used, with those that can.
    """
    allowed = f"allowed: Python {_dotted(recipe.PYTHON_MIN)} to {_dotted(recipe.PYTHON_MAX)} with venv"
    what = f"name one with: hwloop lava setup --python PATH; {allowed}"
    path = shutil.which(os.path.expanduser(command))
    if path is None:
        raise TargetError(f"there is no interpreter {command!r}; {what}")
    status, text = _run([path, "-I", "-c", _INSPECTION], time.monotonic() + INSPECTION_DEADLINE)
    try:
        version, executable, missing = json.loads(text.strip().splitlines()[-1])
        short = (int(version[0]), int(version[1]))
    except (ValueError, TypeError, IndexError):
        raise TargetError(f"{path} is no usable Python (status {status}: {_last(text)}); {what}") from None
    found = ".".join(map(str, version))
    if not recipe.PYTHON_MIN <= short <= recipe.PYTHON_MAX:
        raise TargetError(f"{path} is Python {found}; {what}")
    if missing:
        raise TargetError(f"{path}, Python {found}, lacks the module {' and '.join(missing)}; {what}")
    return Python(str(executable), found)


def create(python: Python, folder: Path, until: float) -> None:
    """Make an environment of ``python`` in ``folder``."""
    status, text = _run([python.executable, "-I", "-m", "venv", str(folder)], until)
    if status:
        raise TargetError(f"{python.executable} -m venv failed: {_advice(text)}")


def install(interpreter: Path, folder: Path, until: float) -> None:
    """Install the recipe with pip, from the index that this machine is configured for.

    lava-nc is taken by its hash, and apart from the rest: told to ignore what it says about Python, pip would
    ignore that for everything it installs in the same call.
    """
    requirements = folder / "lava-nc.txt"
    requirements.write_text(recipe.LAVA_REQUIREMENT + "\n")
    pip = [
        str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input",
        "--only-binary", ":all:", "--timeout", str(PIP_TIMEOUT), "--retries", str(PIP_RETRIES),
    ]  # fmt: skip
    lava = ["--no-deps", "--ignore-requires-python", "--require-hashes", "-r", str(requirements)]
    for arguments in (list(recipe.REQUIREMENTS), lava):
        status, text = _run(pip + arguments, until)
        if status:
            raise TargetError(f"pip install {' '.join(arguments[:4])} ... failed: {_advice(text)}")


def _run(command: list[str], until: float) -> tuple[int, str]:
    """Exit status and output of ``command``, which leads a group of its own and is ended at the deadline."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env=environment,
            )  # fmt: skip
        except OSError as error:
            return 126, f"{command[0]}: {error.strerror or error}"
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TargetError(
                f"{' '.join(command[:4])} ... did not end in time; try again: hwloop lava setup, and where the "
                "network is slow with --deadline SECONDS"
            ) from None
        finally:
            if process.poll() is None:
                end_group(process)
        output.seek(0)
        return process.returncode, output.read().decode(errors="replace")


def _advice(text: str) -> str:
    """The last words of a command, and what to do about them."""
    if "No space left" in text or "Errno 28" in text:
        what = "the disk is full: free about 400 MB"
    elif "hash" in text.lower() and "match" in text.lower():
        what = "the file is not the one that is pinned: look at where this machine's index takes its packages from"
    else:
        what = "see whether pip can reach a package index (pip config list; pip download numpy)"
    return f"{_last(text)}. What to do: {what}, then hwloop lava setup"


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") or "rror:" in line]
    with contextlib.suppress(IndexError):
        return " / ".join((errors or lines)[-3:])[-MAX_WORDS:].strip() or "no output"
    return "no output"


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
