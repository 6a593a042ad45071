"""The firmware, built once for all tests of a run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[4]
FIRMWARE = ROOT / "backends" / "hwloop_serial" / "firmware"
BUILD = ROOT / "build" / "firmware"
#: What Debian and Ubuntu call the package of each program that the tests need.
PACKAGES = {
    "cc": "gcc",
    "clang": "clang",
    "make": "make",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}


def need(*programs: str) -> None:
    """Skip, and say what to install, where one of ``programs`` is missing; fail in CI, where they have to be."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        packages = " ".join(PACKAGES[program] for program in missing)
        said = f"{', '.join(missing)} not found; install with: apt-get install {packages}"
        if os.environ.get("CI") or os.environ.get("HWLOOP_NEEDS_TOOLS"):
            raise RuntimeError(said)
        pytest.skip(said)


def built(target: str, file: str) -> Path:
    """``file``, made by ``make target`` in the folder of the firmware."""
    need("make", "arm-none-eabi-gcc" if target == "qemu" else "cc")
    BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILD / ".lock"):
        done = subprocess.run(
            ["make", "-s", "-C", str(FIRMWARE), f"BUILD={BUILD}", target], capture_output=True, text=True, timeout=300
        )
    if done.returncode:
        raise RuntimeError(f"make {target} failed:\n{done.stdout}{done.stderr}")
    return BUILD / file
