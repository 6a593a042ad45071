"""What `hwloop doctor` prints: what is installed, what is missing, and what to do about it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ..device.registry import available, factory
from ..errors import DataError, HwloopError
from ..files import DATA_VARIABLE, data_folder
from . import terminal
from .answer import Answer

#: Packages whose versions decide what a run gives.
PACKAGES = ("hwloop", "torch", "numpy", "numba", "nir", "h5py")
#: Data sets that are read from files: name and what their folder holds.
DATA = (
    ("yin_yang", "test_samples.npy"), ("mnist", "t10k-images-idx3-ubyte*"), ("spoken_digits", "spoken_digits.npz"),
    ("emnist", "emnist-*-test-images-idx3-ubyte*"), ("fashion_mnist", "t10k-images-idx3-ubyte*"),
)  # fmt: skip

COLUMNS = ("what", "found", "to do")


@dataclass(frozen=True)
class Finding:
    """One row: what was looked at, what was found, and what to do; ``broken`` where something does not work."""

    what: str
    found: str
    advice: str = ""
    broken: bool = False


def examine() -> list[Finding]:
    """Look at everything, in the order of the table."""
    return [_interpreter(), *map(_package, PACKAGES), *(_data(*entry) for entry in DATA), *_backends()]


def report() -> Answer:
    """What was found, and whether everything works."""
    found = examine()
    broken = [row.what for row in found if row.broken]

    def words() -> None:
        say(found)
        if broken:
            terminal.say(f"does not work: {', '.join(broken)}", "bold red")
        else:
            terminal.say("nothing is broken")

    return Answer({"findings": found, "broken": broken}, words, passed=not broken)


def say(found: Sequence[Finding]) -> None:
    """Print findings as a table."""
    terminal.table(COLUMNS, [(row.what, row.found, row.advice or "-") for row in found])


def _interpreter() -> Finding:
    return Finding(
        "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    )


def _package(name: str) -> Finding:
    try:
        return Finding(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", f"pip install {name}", broken=True)


def _data(name: str, pattern: str) -> Finding:
    try:
        return Finding(f"data: {name}", str(data_folder(None, name, pattern)))
    except DataError:
        return Finding(
            f"data: {name}", "not found", f"put its files into ./data/{name}, or name their folder: {DATA_VARIABLE}=DIR"
        )


def _backends() -> list[Finding]:
    """Every registered backend; one that has a ``doctor()`` adds rows ``(what, found, to do)``."""
    rows: list[Finding] = []
    for name, where in available().items():
        try:
            made = factory(name)
        except HwloopError as error:
            rows.append(Finding(f"target: {name}", str(error), "install what it needs, or uninstall it", broken=True))
            continue
        rows.append(Finding(f"target: {name}", f"{where}{_place(made)}"))
        rows += [Finding(*row) for row in getattr(made, "doctor", list)()]
    return rows


def _place(made: object) -> str:
    """Where the code of a backend stands: two installations side by side are a common trouble."""
    module = sys.modules.get(str(getattr(made, "__module__", "")))
    file = getattr(module, "__file__", None)
    return "" if file is None else f", {Path(file).parent}"
