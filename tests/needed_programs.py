"""Programs that tests need besides Python's packages, and how they are installed."""

from __future__ import annotations

import os
import shutil

import pytest

#: What Debian and Ubuntu call the packages of each.
PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "c++": "g++",
    "cc": "gcc",
    "clang": "clang",
    "make": "make",
    "nextpnr-ice40": "nextpnr-ice40",
    "qemu-system-arm": "qemu-system-arm",
    "verilator": "verilator",
    "yosys": "yosys",
    "yosys-smtbmc": "yosys",
    "z3": "z3",
}


def need(*programs: str) -> None:
    """Skip, and say what to install, where one of ``programs`` is missing; fail in CI, where they have to be."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[program] for program in missing}))
        said = f"{', '.join(missing)} not found; install with: apt-get install {packages}"
        if os.environ.get("CI") or os.environ.get("HWLOOP_NEEDS_TOOLS"):
            raise RuntimeError(said)
        pytest.skip(said)
