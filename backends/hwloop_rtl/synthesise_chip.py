"""Synthesise the whole chip for boards: cells, clock after place and route, and what is written to a board.

    python backends/hwloop_rtl/synthesise_chip.py [--out FOLDER] [--no-route] [NAME ...]

NAME: icebreaker (iCE40 UP5K), olimex_hx8k (iCE40 HX8K), ecp5 (cells alone). Into FOLDER go for each board of an iCE40 NAME.bin, the
configuration, and NAME-firmware.bin, which follows it in the board's flash: iceprog NAME.bin; iceprog -o 1M NAME-firmware.bin.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from hwloop_rtl import building, tools
from hwloop_rtl.parameters import FIRMWARE_BYTES, Parameters
from hwloop_rtl.synthesise import CELLS, counted, run
from hwloop_rtl.tools import Tools

#: Where the firmware stands in a board's flash (bytes), and how many of it are read: the last word is their CRC.
FLASH_AT, FLASHED = 0x100000, FIRMWARE_BYTES
#: What is for simulation alone.
SIMULATED = ("core_assertions.sv",)


@dataclass(frozen=True)
class Board:
    """A chip on an FPGA: its memory, how Yosys maps it, and for an iCE40 what nextpnr takes."""

    device: str
    command: str
    memory_file: str
    memory_bits: int
    clock: float
    route: tuple[str, ...] = ()
    parameters: tuple[tuple[str, int], ...] = ()
    top: str = ""


BOARDS = {
    "icebreaker": Board("iCE40 UP5K", "synth_ice40 -dsp -dff", "ram_up5k.sv", 17, 12.0, ("--up5k", "--package", "sg48")),
    "olimex_hx8k": Board("iCE40 HX8K", "synth_ice40 -dff", "ram_sram.sv", 19, 25.0, ("--hx8k", "--package", "ct256")),
    "ecp5": Board(
        "ECP5", "synth_ecp5", "ram_block.sv", 16, 25.0, parameters=(("MEMORY_LOG2", 16), ("CLOCKS", 25), ("HZ", 25_000_000)),
        top="simulated_chip",
    ),
}  # fmt: skip


def sources(name: str) -> list[Path]:
    """The modules of a chip on the board ``name``."""
    core, board = building.HERE / "core", BOARDS[name]
    found = [*core.glob("*.sv"), *(path for part in building.PARTS for path in (core / part).glob("*.sv"))]
    own = [core / "memory" / board.memory_file, core / "boards" / f"{board.top or name}.sv"]
    return [*(path for path in sorted(found) if path.name not in SIMULATED), *own]


def boot_program(found: Tools, memory: int, folder: Path) -> None:
    """``boot.hex`` in ``folder``: what reads the firmware from the flash."""
    elf, binary = folder / "boot.elf", folder / "boot.bin"
    symbols = {"FLASH_AT": FLASH_AT, "FIRMWARE_BYTES": FLASHED, "MEMORY_BYTES": memory}
    flags = [*(f"-Wa,--defsym,{name}={value}" for name, value in symbols.items()), f"-Wl,-Ttext={memory:#x}"]
    source = str(building.HERE / "firmware" / "boot.S")
    gcc = str(found.paths["riscv64-unknown-elf-gcc"])
    command = [
        gcc,
        "-march=rv32i",
        "-mabi=ilp32",
        "-nostdlib",
        *flags,
        "-Wl,-estart",
        "-Wl,--no-warn-rwx-segments",
        source,
    ]
    tools.run([*command, "-o", str(elf)], what="riscv64-unknown-elf-gcc (boot program)")
    copy = [str(found.paths["riscv64-unknown-elf-objcopy"]), "-O", "binary", "-j", ".start", str(elf), str(binary)]
    tools.run(copy, what="riscv64-unknown-elf-objcopy")
    program = binary.read_bytes().ljust(512, b"\0")
    (folder / "boot.hex").write_text(building.as_words(program))


def flashed(firmware: bytes) -> bytes:
    """``firmware`` as it stands in the flash: filled up, its CRC behind it."""
    if len(firmware) > FLASHED - 4:
        raise RuntimeError(f"firmware of {len(firmware)} bytes; {FLASHED - 4} fit the flash's part")
    whole = firmware.ljust(FLASHED - 4, b"\0")
    return whole + zlib.crc32(whole).to_bytes(4, "little")


def synthesised(name: str, folder: Path) -> dict[str, int]:
    """Cells of the chip on the board ``name``; its netlist is ``NAME.json`` in ``folder``.

    Raises :class:`RuntimeError` where Yosys fails, or makes a latch, or a tristate anywhere but in a pad.
    """
    board, design = BOARDS[name], folder / f"{name}.json"
    top = board.top or name
    values = " ".join(f"-chparam {key} {value}" for key, value in board.parameters)
    library = "ecp5/cells_sim.v" if board.command.startswith("synth_ecp5") else "ice40/cells_sim.v"
    script = (
        f"read_verilog -lib +/{library}; read_verilog -defer -sv {' '.join(map(str, sources(name)))}; hierarchy -check -top {top} {values}; proc; "
        f"select -assert-none t:$dlatch t:$dlatchsr t:$adlatch t:$tribuf; check -assert; "
        f"{board.command} -top {top} -json {design}; select -assert-none t:*LATCH* t:$_TBUF_; check -assert"
    )
    run(["yosys", "-q", "-p", script], folder)
    return counted(design, top)


def routed(name: str, folder: Path, seed: int) -> tuple[float, str]:
    """Megahertz that the chip closes on the board ``name``, and the logic cells that it takes there; writes ``NAME.bin``."""
    board = BOARDS[name]
    asc = folder / f"{name}.asc"
    said = run([
        "nextpnr-ice40", *board.route, "--json", str(folder / f"{name}.json"), "--pcf", str(building.HERE / "core" / "boards" / f"{name}.pcf"),
        "--asc", str(asc), "--freq", f"{board.clock:g}", "--timing-allow-fail", "--seed", str(seed),
    ], folder)  # fmt: skip
    cells = re.findall(r"ICESTORM_LC:\s+(\d+)/\s*(\d+)", said)
    # the clock of the chip: on an HX8K board that of its divider is another one
    wanted = "clk" if name == "olimex_hx8k" else r"CLK\S*"
    found = [float(one) for one in re.findall(rf"Max frequency for clock\s+'{wanted}': ([\d.]+) MHz", said)]
    if not found or not cells:
        raise RuntimeError(f"nextpnr-ice40 said no clock:\n{said[-2000:]}")
    run(["icepack", "-s", str(asc), str(folder / f"{name}.bin")], folder)
    return found[-1], "/".join(cells[-1])


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BOARDS)}; default: all")
    parser.add_argument("--out", type=Path, help="folder for what is written to boards, and table.md")
    parser.add_argument("--no-route", action="store_true", help="cells alone")
    parser.add_argument("--seed", type=int, default=1, help="of placement")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(BOARDS):
        parser.error(f"no board {', '.join(sorted(unknown))}; there are {', '.join(BOARDS)}")
    found = tools.find()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            "| board | device | " + " | ".join(CELLS) + " | logic cells | clock |",
            "| --- " * (len(CELLS) + 4) + "|",
        ]
        for name in options.names or BOARDS:
            lines.append(_row(name, folder.resolve(), found, options))
            sys.stdout.write(lines[-1] + "\n")
        said = "\n".join(lines) + "\n"
        sys.stdout.write(said)
        if options.out:
            (folder / "chips.md").write_text(said)
    return 0


def _row(name: str, folder: Path, found: Tools, options: argparse.Namespace) -> str:
    board = BOARDS[name]
    chip = Parameters(memory=2**board.memory_bits, sha=name == "ecp5")
    place = building.firmware(chip, found, ran_on="hardware", clock_hz=round(board.clock * 1e6), optimise="-Os")
    firmware = (place / "firmware.bin").read_bytes()
    (folder / "firmware.hex").write_text(building.as_words(firmware))
    boot_program(found, chip.memory, folder)
    cells = synthesised(name, folder)
    clock, used = "", ""
    if board.route:
        (folder / f"{name}-firmware.bin").write_bytes(flashed(firmware))
        if not options.no_route:
            megahertz, used = routed(name, folder, options.seed)
            clock = f"{megahertz:g} MHz ({board.clock:g} asked)"
    numbers = " | ".join(f"{cells[kind]:,}" if cells[kind] else "" for kind in CELLS)
    return f"| `{name}` | {board.device} | {numbers} | {used} | {clock} |"


if __name__ == "__main__":
    sys.exit(main())
