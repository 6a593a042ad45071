"""Simulation and firmware of a chip, built once and kept by what they are made of.

A folder of the cache is named by the digest of all sources, parameters and versions of tools. It is made beside its place under a
lock and renamed into it when it is whole: a build that breaks off leaves nothing, and of two at a time one waits for the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from hwloop.errors import TargetError

from . import tools
from .parameters import Parameters
from .tools import Tools

HERE = Path(__file__).parent
SERIAL = HERE.parent / "hwloop_serial" / "firmware" / "src"
#: Names another folder for what is built.
CACHE_VARIABLE = "HWLOOP_RTL_CACHE"
#: Longest wait for another process that builds the same (s).
PATIENCE = 1800.0
#: Clocks of a bit on the simulated line: the least that the receiver takes.
LINE_CLOCKS = 4
#: Clock of the chip (Hz): what its milliseconds are measured by.
CLOCK_HZ = 12_000_000
SIMULATION, FIRMWARE = "simulation", "firmware.hex"

#: Sources of hwloop_serial's firmware that the chip runs; the rest is done by the chip, or by files of its own.
SHARED = ("core", "device", "frame", "image", "info", "regions", "requests", "run_input", "session")
OWN = ("board_rtl.c", "cobs_rtl.c", "crc32_rtl.c", "string.c", "start.S")
COMPILE = (
    "-march=rv32i", "-mabi=ilp32", "-ffreestanding", "-fno-strict-aliasing", "-fno-tree-loop-distribute-patterns", "-std=gnu99",
    "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections", "-nostdlib", "-nostartfiles",
)  # fmt: skip
VERILATE = ("--cc", "--exe", "--build", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--assert", "-Wno-fatal")


def cache_folder() -> Path:
    """Where what was built is kept."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("hwloop")) / "rtl"


#: Folders of the chip's SystemVerilog beside the neuron core's own files, and what is of one kind of FPGA.
PARTS, OF_A_BOARD = ("cpu", "link", "digest", "system"), ("memory/ram_block.sv", "boards/simulated_chip.sv")


def core_sources() -> list[Path]:
    """The chip's SystemVerilog for simulation: its memory is that of block RAM."""
    core = HERE / "core"
    found = [*core.glob("*.sv"), *(path for part in PARTS for path in (core / part).glob("*.sv"))]
    return sorted([*found, *(core / name for name in OF_A_BOARD)])


def simulation(parameters: Parameters, found: Tools) -> Path:
    """The program that simulates a chip of ``parameters``; raises :class:`TargetError` where it cannot be built."""
    sources = [*core_sources(), HERE / "simulation" / "main.cpp"]
    hardware = parameters.core == "hardware"
    given = {"MEMORY_LOG2": parameters.memory_bits, "CLOCKS": LINE_CLOCKS, "HZ": CLOCK_HZ, "SHA": int(parameters.sha)}
    given["NEURON_CORE"] = int(hardware)
    flags = [*VERILATE, "--top-module", "simulated_chip", *(f"-G{name}={value}" for name, value in given.items())]
    flags += ["-CFLAGS", "-O2 -DNDEBUG", "-MAKEFLAGS", "OPT_FAST=-O2", "+define+ASSERTIONS"]

    def build(folder: Path) -> None:
        made = folder / "made"
        command = [str(found.paths["verilator"]), *flags, "--Mdir", str(made), "-o", SIMULATION, *map(str, sources)]
        tools.run(command, what="verilator (the simulation of the chip)", folder=folder)
        (made / SIMULATION).replace(folder / SIMULATION)
        shutil.rmtree(made)

    key = _digest(sources, [*flags, found.versions["verilator"], found.versions["g++"]])
    return _kept(f"simulation-{key}", build) / SIMULATION


def firmware(
    parameters: Parameters, found: Tools, *, ran_on: str = "rtl-simulation", clock_hz: int = CLOCK_HZ, optimise: str = "-O2"
) -> Path:  # fmt: skip
    """The folder with the firmware of a chip of ``parameters``; raises :class:`TargetError` where it cannot be built."""
    own = [HERE / "firmware" / name for name in OWN]
    own.append(HERE / "firmware" / "sha256_rtl.c" if parameters.sha else SERIAL / "sha256.c")
    own.append(HERE / "firmware" / "run_core.c" if parameters.core == "hardware" else SERIAL / "run.c")
    sources = [*own, *(SERIAL / f"{name}.c" for name in SHARED)]
    defines = {name: f"{value}u" for name, value in parameters.shares().items()}
    defines |= {
        "HWL_MAX_BODY": str(parameters.shares()["HWL_MAX_BODY"]),
        "HWL_COUNTERS": "1",
        "HWL_CLOCK_HZ": f"{clock_hz}u",
    }
    defines |= {
        "HWL_RAN_ON": f'"{ran_on}"',
        "HWL_DEVICE_ID": f'"{parameters.device_id}"',
        "HWL_FIRMWARE": '"hwloop-rtl 1"',
    }
    defines["HWL_SOFTWARE_CORE"] = str(int(parameters.core == "software"))
    link = ["-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", f"-Wl,--defsym=MEMORY_BYTES={parameters.memory}"]
    flags = [*COMPILE, optimise, *(f"-D{name}={value}" for name, value in sorted(defines.items())), *link]

    def build(folder: Path) -> None:
        paths = [f"-I{HERE / 'firmware' / 'include'}", f"-I{HERE / 'firmware'}", f"-I{SERIAL}"]
        elf, binary = folder / "firmware.elf", folder / "firmware.bin"
        script = ["-T", str(HERE / "firmware" / "rtl.ld")]
        command = [
            str(found.paths["riscv64-unknown-elf-gcc"]),
            *flags,
            *paths,
            *script,
            *map(str, sources),
            "-lgcc",
            "-o",
            str(elf),
        ]
        tools.run(command, what="riscv64-unknown-elf-gcc (the firmware of the chip)", folder=folder)
        copy = [str(found.paths["riscv64-unknown-elf-objcopy"]), "-O", "binary", str(elf), str(binary)]
        tools.run(copy, what="riscv64-unknown-elf-objcopy", folder=folder)
        (folder / FIRMWARE).write_text(as_words(binary.read_bytes()))

    headers = [*SERIAL.glob("*.h"), *(HERE / "firmware").rglob("*.h"), HERE / "firmware" / "rtl.ld"]
    key = _digest([*sources, *sorted(headers)], [*flags, found.versions["riscv64-unknown-elf-gcc"]])
    return _kept(f"firmware-{key}", build)


def as_words(binary: bytes) -> str:
    """``binary`` as ``$readmemh`` reads it: words, one a line."""
    padded = binary + bytes(-len(binary) % 4)
    words = (int.from_bytes(padded[k : k + 4], "little") for k in range(0, len(padded), 4))
    return "".join(f"{word:08x}\n" for word in words)


def _digest(sources: Iterable[Path], more: list[str]) -> str:
    """Digest of the sources, by name and content, and of all that is said of how they are built."""
    content = [
        (path.relative_to(HERE.parent).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in sources
    ]
    return hashlib.sha256(json.dumps([content, more]).encode()).hexdigest()[:24]


def _kept(name: str, build: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache, whole; ``build`` fills it where it is not there yet."""
    root = cache_folder()
    place = root / name
    if place.is_dir():
        return place
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{name}.lock", timeout=PATIENCE):
            if not place.is_dir():
                _build(root, place, build)
    except Timeout:
        raise TargetError(
            f"another process has been building {place} for {PATIENCE:g} s; end it, then try again"
        ) from None
    except OSError as error:
        raise TargetError(
            f"{root} cannot hold what is built for rtl: {error.strerror or error}; make it writable, or name another folder: "
            f"{CACHE_VARIABLE}=DIR"
        ) from error
    return place


def _build(root: Path, place: Path, build: Callable[[Path], None]) -> None:
    beside = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=root))
    try:
        build(beside)
        beside.chmod(0o755)
        beside.rename(place)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(beside, ignore_errors=True)
