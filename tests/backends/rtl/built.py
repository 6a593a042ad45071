"""The simulated neuron core, built once for each set of parameters and for all tests of a run."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from filelock import FileLock

from tests.needed_programs import need

ROOT = Path(__file__).resolve().parents[3]
CORE = ROOT / "backends" / "hwloop_rtl" / "core"
BENCH = Path(__file__).parent / "bench_core.cpp"
BUILD = ROOT / "build" / "rtl"


def sources(core: Path = CORE) -> list[Path]:
    return sorted(core.glob("*.sv"))


def built(
    *,
    coverage: bool | None = None,
    core: Path = CORE,
    addr_bits: int = 17,
    fifo_bits: int = 4,
    dsp: int = 1,
    level: str = "-O2",
) -> Path:
    """The bench as a program, from the sources as they are; ``coverage``: whether it says what it reaches, by default where asked."""
    need("verilator", "make", "c++")
    parameters = {"ADDR_BITS": addr_bits, "FIFO_BITS": fifo_bits, "DSP": dsp}
    options = [f"-G{name}={value}" for name, value in parameters.items()]
    if coverage or (coverage is None and "HWLOOP_RTL_COVERAGE" in os.environ):
        options.append("--coverage")
    digest = hashlib.sha256(" ".join([*options, level]).encode())
    for path in (*sources(core), BENCH):
        digest.update(path.name.encode() + path.read_bytes())
    folder = BUILD / f"core-{digest.hexdigest()[:16]}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            _build(folder, core, options, level)
            (folder / "done").touch()
    return folder / "Vneuron_core"


def _build(folder: Path, core: Path, options: list[str], level: str) -> None:
    command = [
        "verilator", "--cc", "--exe", "--build", "-j", "2", "--assert", "--x-assign", "unique", "--x-initial", "unique",
        "-Wall", "-Wno-UNUSEDSIGNAL", "-CFLAGS", f"{level} -std=c++17", "--Mdir", str(folder), "--top-module", "neuron_core",
        *options, *map(str, sources(core)), str(BENCH),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"verilator failed:\n{done.stdout}{done.stderr}")
