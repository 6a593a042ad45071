"""The simulated chip for tests: built once, in the folder of builds, with its own firmware or with one that opens its parts."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from hwloop_rtl import building, tools
from hwloop_rtl.parameters import Parameters
from hwloop_rtl.simulation_process import Simulation, SimulationPort
from tests.needed_programs import need

from ..serial.firmware.wire import PATIENCE, stuffed, unstuffed
from .built import BUILD

#: What opening `rtl:` needs here.
TOOLS = ("verilator", "make", "c++", "riscv64-unknown-elf-gcc")
BENCH_FIRMWARE = Path(__file__).parent / "bench_firmware"
#: Seconds for which one look at a line waits.
LOOK = 0.02

DEFAULT = Parameters()
os.environ.setdefault(building.CACHE_VARIABLE, str(BUILD))
#: Folder for what of the chip's lines was reached; tests/backends/rtl/coverage.py reads it.
if os.environ.get("HWLOOP_RTL_COVERAGE"):
    building.VERILATE = (*building.VERILATE, "--coverage-line")


@cache
def simulation(parameters: Parameters = DEFAULT) -> tuple[str, Path]:
    """The program, and the folder of its firmware."""
    need(*TOOLS)
    found = tools.find()
    return str(building.simulation(parameters, found)), building.firmware(parameters, found)


@cache
def bench_firmware() -> Path:
    """The folder of the firmware that opens the chip's parts, of the default chip."""
    need(*TOOLS)
    found = tools.find()
    own = ("start.S", "cobs_rtl.c", "crc32_rtl.c", "sha256_rtl.c", "string.c")
    sources = [building.HERE / "firmware" / name for name in own] + sorted(BENCH_FIRMWARE.iterdir())
    folders = [building.HERE / "firmware" / "include", building.HERE / "firmware", building.SERIAL]
    flags = [
        *building.COMPILE,
        "-O2",
        *(f"-I{folder}" for folder in folders),
        f"-Wl,--defsym=MEMORY_BYTES={Parameters().memory}",
    ]
    flags += ["-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments", "-T", str(building.HERE / "firmware" / "rtl.ld")]
    made = BUILD / f"bench-firmware-{os.getpid()}"
    made.mkdir(parents=True, exist_ok=True)
    elf, binary = made / "bench.elf", made / "bench.bin"
    gcc = str(found.paths["riscv64-unknown-elf-gcc"])
    tools.run([gcc, *flags, *map(str, sources), "-lgcc", "-o", str(elf)], what="gcc")
    copy = str(found.paths["riscv64-unknown-elf-objcopy"])
    tools.run([copy, "-O", "binary", str(elf), str(binary)], what="objcopy")
    (made / building.FIRMWARE).write_text(building.as_words(binary.read_bytes()))
    return made


class ChipLine:
    """The chip's line, as the tests of the firmware take it."""

    def __init__(self, chip: Simulation) -> None:
        self.chip = chip
        self.port: SimulationPort = chip.connect()

    def write(self, data: bytes) -> None:
        self.port.write(data)

    def read(self) -> bytes:
        return self.port.read(LOOK)


@contextlib.contextmanager
def running(folder: Path | None = None, parameters: Parameters = DEFAULT, **how: object) -> Iterator[ChipLine]:
    """A chip that is gone afterwards; its own firmware unless ``folder`` has another."""
    program, own = simulation(parameters)
    chip = Simulation((program,), folder or own, seed=5, **how)  # type: ignore[arg-type]
    try:
        yield ChipLine(chip)
    finally:
        chip.release()


class Bench:
    """Commands for the firmware of ``bench_firmware``."""

    def __init__(self, line: ChipLine) -> None:
        self.line = line
        self.came = bytearray()

    def ask(self, command: bytes, data: bytes = b"") -> bytes:
        """The reply to one command."""
        self.line.write(stuffed(command + data))
        return self.reply()

    def reply(self) -> bytes:
        """The next frame that comes."""
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self.came:
            self.came += self.line.read()
            if time.monotonic() > deadline:
                raise TimeoutError(f"no reply; {len(self.came)} bytes came")
        data, _, rest = bytes(self.came).partition(b"\0")
        self.came[:] = rest
        return unstuffed(data)

    def register(self, address: int) -> int:
        """A register of the chip."""
        return int(struct.unpack("<I", self.ask(b"R", struct.pack("<I", address)))[0])
