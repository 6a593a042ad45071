"""Synthesise the neuron core with Yosys, and say what it takes: LUTs, flip-flops, block RAM, DSP blocks; and the clock on a UP5K.

    python backends/hwloop_rtl/synthesise.py [--clock] [--out FOLDER] [NAME ...]

``--clock`` places and routes it on a UP5K with its memory (nextpnr-ice40, some minutes). Latches, tristates and warnings are errors.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CORE = Path(__file__).parent / "core"
FRAME = Path(__file__).parent / "synthesis" / "up5k_frame.sv"
#: What is for simulation alone.
SIMULATED = ("core_assertions.sv",)
#: Seconds for one run of a tool.
TIMEOUT = 1800
#: What Yosys says of any design: its ABC of the few gates that it takes as combinational.
HARMLESS = ("The network is combinational",)
#: Cells of a result by the name in the table. An SB_RAM40_4K is 4 kbit, a DP16KD 16 kbit.
CELLS = {
    "LUT4": r"SB_LUT4|LUT4",
    "FF": r"SB_DFF\w*|TRELLIS_FF",
    "carry": r"SB_CARRY|CCU2C",
    "block RAM": r"SB_RAM40_4K|DP16KD|PDPW16KD",
    "LUT RAM": r"TRELLIS_DPR16X4",
    "DSP": r"SB_MAC16|MULT18X18D",
}


@dataclass(frozen=True)
class Configuration:
    """Parameters of the core on a device; ``command``: how Yosys maps it there."""

    device: str
    command: str
    parameters: dict[str, int]


#: A HX8K has 16 KiB of block RAM and no DSP; an ECP5 some hundred KiB and both.
CONFIGURATIONS = {
    "up5k": Configuration("iCE40 UP5K", "synth_ice40 -dsp", {"ADDR_BITS": 17, "UNIT_BITS": 16, "DSP": 1}),
    "up5k-full": Configuration("iCE40 UP5K", "synth_ice40 -dsp", {"ADDR_BITS": 17, "UNIT_BITS": 32, "DSP": 1}),
    "up5k-serial": Configuration("iCE40 UP5K", "synth_ice40", {"ADDR_BITS": 17, "UNIT_BITS": 16, "DSP": 0}),
    "hx8k": Configuration("iCE40 HX8K", "synth_ice40", {"ADDR_BITS": 14, "UNIT_BITS": 16, "DSP": 0}),
    "ecp5": Configuration("ECP5", "synth_ecp5 -nowidelut", {"ADDR_BITS": 18, "UNIT_BITS": 32, "DSP": 1}),
    "ecp5-large": Configuration("ECP5", "synth_ecp5 -nowidelut", {"ADDR_BITS": 28, "UNIT_BITS": 32, "DSP": 1}),
}


def sources() -> list[Path]:
    """The modules that are synthesised."""
    return [path for path in sorted(CORE.glob("*.sv")) if path.name not in SIMULATED]


def synthesised(configuration: Configuration) -> dict[str, int]:
    """Cells by the names of :data:`CELLS`, of the core alone.

    Raises :class:`RuntimeError` where Yosys warns, or makes a latch or a tristate.
    """
    with tempfile.TemporaryDirectory() as folder:
        design = Path(folder) / "design.json"
        yosys(sources(), "neuron_core", configuration.command, configuration.parameters, design)
        return counted(design, "neuron_core")


def yosys(files: list[Path], top: str, command: str, parameters: dict[str, int], design: Path) -> str:
    """Run Yosys; what it said. ``design``: the JSON that it writes."""
    values = " ".join(f"-set {name} {value}" for name, value in parameters.items())
    read = f"read_verilog -sv {' '.join(map(str, files))}; chparam {values} {top}; "
    # cells that a design names itself
    library = "read_verilog -lib +/ice40/cells_sim.v; " if "ice40" in command else ""
    script = (
        f"{library}{read}hierarchy -check -top {top}; proc; "
        "select -assert-none t:$dlatch t:$dlatchsr t:$adlatch t:$tribuf; check -assert; design -reset; "
        f"{library}{read}hierarchy -top {top}; rename -top {top}; {command} -top {top} -json {design}; select -assert-none t:*LATCH* t:$_TBUF_; check -assert"
    )
    said = run(["yosys", "-p", script])
    warnings = [line for line in said.splitlines() if "Warning" in line and not any(text in line for text in HARMLESS)]
    if warnings:
        raise RuntimeError("Yosys warns:\n" + "\n".join(warnings))
    return said


def counted(design: Path, top: str) -> dict[str, int]:
    """Cells of ``top`` in the JSON ``design``."""
    cells = [cell["type"] for cell in json.loads(design.read_text())["modules"][top]["cells"].values()]
    return {name: sum(bool(re.fullmatch(kind, cell)) for cell in cells) for name, kind in CELLS.items()}


def clock(seed: int = 1) -> tuple[float, int]:
    """Megahertz that the core closes on a UP5K with its memory, and logic cells there."""
    with tempfile.TemporaryDirectory() as folder:
        design = Path(folder) / "design.json"
        yosys([*sources(), FRAME], "up5k_frame", "synth_ice40 -dsp", {"DSP": 1}, design)
        said = run([
            "nextpnr-ice40", "--up5k", "--package", "sg48", "--json", str(design), "--pcf-allow-unconstrained",
            "--freq", "24", "--timing-allow-fail", "--seed", str(seed),
        ])  # fmt: skip
    found = re.findall(r"Max frequency for clock '[^']+': ([\d.]+) MHz", said)
    cells = re.findall(r"ICESTORM_LC:\s+(\d+)/", said)
    if not found or not cells:
        raise RuntimeError(f"nextpnr-ice40 said no clock:\n{said[-2000:]}")
    return float(found[-1]), int(cells[-1])


def run(command: list[str], folder: Path | None = None) -> str:
    """What a tool said, in ``folder``; :class:`RuntimeError` where it failed or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, cwd=folder)
    except FileNotFoundError as error:
        raise RuntimeError(f"{command[0]} not found; install with: apt-get install {command[0]}") from error
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout + done.stderr


def table(results: dict[str, dict[str, int]]) -> str:
    """The results as a Markdown table."""
    lines = ["| | device | parameters | " + " | ".join(CELLS) + " |", "| --- " * (3 + len(CELLS)) + "|"]
    for name, cells in results.items():
        configuration = CONFIGURATIONS[name]
        parameters = ", ".join(f"{key} {value}" for key, value in configuration.parameters.items())
        numbers = " | ".join(f"{cells[kind]:,}" if cells[kind] else "" for kind in CELLS)
        lines.append(f"| `{name}` | {configuration.device} | {parameters} | {numbers} |")
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"configurations: {', '.join(CONFIGURATIONS)}")
    parser.add_argument("--clock", action="store_true", help="place and route on a UP5K")
    parser.add_argument("--seed", type=int, default=1, help="of placement")
    parser.add_argument("--out", type=Path, help="folder for cells.json and table.md")
    options = parser.parse_args()
    unknown = set(options.names) - set(CONFIGURATIONS)
    if unknown:
        parser.error(f"no configuration {', '.join(sorted(unknown))}; there are {', '.join(CONFIGURATIONS)}")
    results = {name: synthesised(CONFIGURATIONS[name]) for name in options.names or CONFIGURATIONS}
    said = table(results)
    if options.clock:
        megahertz, cells = clock(options.seed)
        said += f"\n\nUP5K with its SPRAM, placed and routed: {megahertz} MHz, {cells:,} of 5,280 logic cells\n"
    sys.stdout.write(said + "\n")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "cells.json").write_text(json.dumps(results, indent=1))
        (options.out / "table.md").write_text(said + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
