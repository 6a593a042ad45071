"""Flash and RAM of an image of the firmware, and what networks of given layers take of it. Use: ELF LAYERS..., LAYERS as 5-120-3."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence

#: Bytes of header, population and projection of a program image, and of working memory (PROTOCOL.md, section 8).
HEADER, POPULATION, PROJECTION = 40, 32, 44
STATE_OF_NEURON, STATE_OF_POPULATION, RING_OF_NEURON = 12, 8, 4
#: Bytes of an event of input or output, units in two bytes, and of a sample's count or of its wraps of a population.
EVENT, COUNT = 6, 4
#: Memories that a program, its input and its output fill, by their names in device.c.
MEMORIES = {
    "program_words": "program",
    "input_words": "input",
    "output_words": "output",
    "state_words": "working memory",
}


def sizes_of(layers: str) -> tuple[int, ...]:
    """``"5-120-3"`` as numbers; ends the script where it is none."""
    parts = layers.split("-")
    sizes = tuple(int(part) for part in parts if part.isascii() and part.isdigit())
    if len(sizes) < 2 or len(sizes) < len(parts) or min(sizes) < 1:
        sys.exit(f"layers {layers!r}; expected inputs and one layer at least, as 5-120-3")
    return sizes


def program_bytes(sizes: Sequence[int]) -> int:
    """Bytes of the image of dense layers in a row, without delays, bias and starts."""
    weights = sum(_aligned(a * b) for a, b in itertools.pairwise(sizes))
    return HEADER + (len(sizes) - 1) * (POPULATION + PROJECTION) + weights


def state_bytes(sizes: Sequence[int], depth: int = 1) -> int:
    """Working memory of the same, largest delay ``depth - 1`` (ticks), exponents not negative."""
    return (len(sizes) - 1) * STATE_OF_POPULATION + sum(sizes[1:]) * (STATE_OF_NEURON + RING_OF_NEURON * depth)


def _aligned(count: int) -> int:
    return -(-count // 4) * 4


def symbols(elf: str) -> dict[str, int]:
    """Bytes of each variable and function of the image."""
    listed = subprocess.run(["arm-none-eabi-nm", "-S", elf], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return {row[3]: int(row[1], 16) for row in rows if len(row) == 4}


def sections(elf: str) -> tuple[int, int]:
    """``(flash, RAM)`` of the image: code and constants; variables."""
    listed = subprocess.run(["arm-none-eabi-size", elf], capture_output=True, text=True, check=True).stdout
    text, data, bss = (int(number) for number in listed.splitlines()[1].split()[:3])
    return text + data, data + bss


def report(elf: str, networks: Sequence[str]) -> str:
    """What is printed."""
    flash, ram = sections(elf)
    found = symbols(elf)
    memories = {name: found[symbol] for symbol, name in MEMORIES.items()}
    own = ram - sum(memories.values())
    lines = [f"flash                 {flash:>9} bytes", f"RAM                   {ram:>9} bytes"]
    lines += [f"  {name:<18}  {size:>9}" for name, size in memories.items()]
    lines += [f"  frames and the rest {own:>9}   (the stack comes on top: 2 KiB do)", ""]
    lines += [f"{'layers':<20}{'program':>9}{'working':>9}   fits"]
    for layers in networks:
        sizes = sizes_of(layers)
        program, state = program_bytes(sizes), state_bytes(sizes)
        fits = program <= memories["program"] and state <= memories["working memory"]
        lines.append(f"{layers:<20}{program:>9}{state:>9}   {'yes' if fits else 'no: larger memories in hwl_config.h'}")
    lines += [
        "",
        f"an event takes {EVENT} bytes of input or output, a sample {COUNT} of each and {COUNT} of output per layer",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(report(sys.argv[1], sys.argv[2:]))
