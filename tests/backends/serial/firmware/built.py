"""The firmware, built once for all tests of a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from filelock import FileLock

from tests.needed_programs import need

ROOT = Path(__file__).resolve().parents[4]
FIRMWARE = ROOT / "backends" / "hwloop_serial" / "firmware"
BUILD = ROOT / "build" / "firmware"


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
