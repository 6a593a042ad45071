"""The private environment of lava-nc: found, or built once.

:func:`ensure` is what ``hwloop lava setup``, the first use of the target and the tests all call. The environment stands
in the user's cache folder, or in the folder that ``HWLOOP_LAVA_ENV`` names. It is built beside its place, under a file
lock, tested, stamped, and only then moved there: a build that fails or is killed changes nothing, and what it left is
removed by the next one.

It is made from the host's own Python (3.10 to 3.13 work, measured), or from one that the user names; upstream supports
3.10 alone.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from hwloop.errors import DataError, HwloopError, TargetError
from hwloop.storage import read_json, write_json

from . import recipe
from .install import create, inspect_python, install
from .selftest import self_test

_log = logging.getLogger(__name__)

#: Names the folder that holds the environment, instead of one in the user's cache.
ENVIRONMENT_VARIABLE = "HWLOOP_LAVA_ENV"
#: Longest time for a build (s): fifteen seconds where wheels are near, minutes on a slow link.
BUILD_DEADLINE = 600.0
#: File in the environment that says what it is; written last.
STAMP = "hwloop-stamp.json"
STAMP_KIND, STAMP_VERSION = "hwloop-lava-environment", 1


@dataclass(frozen=True)
class Environment:
    """A ready environment.

    Attributes
    ----------
    folder : Path
    python : str
        Version of its interpreter.
    made_from : str
        Interpreter that it was made from.
    seconds : float
        How long it took to build (s).
    """

    folder: Path
    python: str
    made_from: str
    seconds: float

    @property
    def interpreter(self) -> Path:
        """The Python inside."""
        return interpreter_of(self.folder)

    @property
    def firmware(self) -> str:
        """What recordings say ran: lava-nc and Python."""
        return f"lava-nc {recipe.LAVA_VERSION}, Python {self.python}"


@dataclass(frozen=True)
class State:
    """What is found where the environment should be: ``environment`` where it is usable, else why not."""

    root: Path
    environment: Environment | None
    reason: str = ""


def root() -> Path:
    """Folder that holds the environment, its lock, and nothing else."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("hwloop", appauthor=False)) / "lava"


def interpreter_of(folder: Path) -> Path:
    """The Python of the environment in ``folder``."""
    return folder / "bin" / "python"


def state() -> State:
    """The environment as it is; looks at three files and starts nothing."""
    base = root()
    folder = base / "env"
    if not supported():
        return State(base, None, f"lava-nc runs on Linux here, this is {sys.platform}; use the target loihi instead")
    if not folder.is_dir():
        return State(base, None, "not built yet")
    try:
        stamp = read_json(folder / STAMP, kind=STAMP_KIND, version=STAMP_VERSION)
        found = Environment(folder, str(stamp["python"]), str(stamp["made_from"]), float(stamp["seconds"]))
    except (DataError, KeyError, TypeError, ValueError) as error:
        return State(base, None, f"no valid stamp ({error})")
    if stamp.get("recipe") != recipe.digest():
        return State(base, None, "built by another version of hwloop")
    if not os.access(interpreter_of(folder), os.X_OK):
        return State(base, None, f"its interpreter is gone: {found.made_from}")
    return State(base, found)


def supported() -> bool:
    """Whether Lava's worker runs on this operating system: forked processes, /proc and /dev/shm."""
    return sys.platform == "linux"


def ensure(
    python: str | None = None,
    *,
    force: bool = False,
    deadline: float = BUILD_DEADLINE,
    say: Callable[[str], None] = _log.info,
) -> Environment:
    """The environment, built where there is none.

    Parameters
    ----------
    python : interpreter to make it from; by default that of the host. An environment of another one is replaced.
    force : build anew in any case
    deadline : longest time (s), that of waiting for another build included
    say : told what happens

    Raises
    ------
    TargetError
        It cannot be built: what failed, and what to do. What was there before is unchanged.
    """
    if not supported():
        raise TargetError(f"{state().reason}")
    until = time.monotonic() + deadline
    wanted = inspect_python(python) if python is not None else None
    found = state().environment
    if found is not None and not force and (wanted is None or found.made_from == wanted.executable):
        return found
    base = root()
    try:
        base.mkdir(parents=True, exist_ok=True)
        with FileLock(base / "lock", timeout=deadline):
            found = state().environment  # another process may have built it meanwhile
            if found is not None and not force and (wanted is None or found.made_from == wanted.executable):
                return found
            return _build(base, wanted or inspect_python(sys.executable), until, say)
    except Timeout:
        raise TargetError(
            f"another process has been building {base / 'env'} for more than {deadline:g} s; wait for it, or end it"
        ) from None
    except OSError as error:
        raise TargetError(
            f"cannot build the Lava environment in {base}: {error.strerror or error}; free space there, or name "
            f"another folder with {ENVIRONMENT_VARIABLE}"
        ) from error


def _build(base: Path, python: Any, until: float, say: Callable[[str], None]) -> Environment:
    start = time.monotonic()
    for left in (*base.glob("new-*"), *base.glob("old-*")):
        shutil.rmtree(left, ignore_errors=True)
    folder = base / f"new-{secrets.token_hex(4)}"
    try:
        say(f"building the environment of lava-nc {recipe.LAVA_VERSION} from {python.executable}, once, in {base}")
        create(python, folder, until)
        install(interpreter_of(folder), folder, until)
        say("testing it")
        self_test(interpreter_of(folder))
        built = Environment(base / "env", python.version, python.executable, time.monotonic() - start)
        details = {name: value for name, value in asdict(built).items() if name != "folder"}
        write_json(folder / STAMP, {**details, "recipe": recipe.digest()}, kind=STAMP_KIND, version=STAMP_VERSION)
        _put(folder, base)
    except HwloopError as error:
        raise TargetError(f"the Lava environment could not be built: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"ready after {built.seconds:.0f} s")
    return built


def _put(folder: Path, base: Path) -> None:
    """Move the finished environment to its place; nothing in it knows where it stands."""
    place, old = base / "env", base / f"old-{secrets.token_hex(4)}"
    if place.exists():
        os.replace(place, old)
    try:
        os.replace(folder, place)
    except BaseException:
        if old.exists() and not place.exists():
            os.replace(old, place)
        raise
    shutil.rmtree(old, ignore_errors=True)
