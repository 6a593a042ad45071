"""What a chip is built with: what stands after ``rtl:``, and how its memory is shared out."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias, get_args

from hwloop.errors import TargetError

#: Who computes: the neuron core, or the processor with the reference firmware, as a twin of it.
Core: TypeAlias = Literal["hardware", "software"]
#: Memory (bytes): least that firmware and one small program fit, most that the neuron core addresses.
LEAST_MEMORY, MOST_MEMORY = 2**16, 2**26
#: Of the memory: firmware with its variables and stack (bytes).
FIRMWARE_BYTES = 28 * 1024
#: What is left, in parts of 16: program, input, output; the rest is working memory.
PROGRAM_PART, INPUT_PART, OUTPUT_PART = 8, 2, 3
#: Largest body of a frame (bytes): two frames, as they stand on the line, fit the 2 KiB of the receiving FIFO.
MAX_BODY = 960


@dataclass(frozen=True)
class Parameters:
    """Of a simulated chip.

    Attributes
    ----------
    memory : bytes of memory, a power of two
    core : ``"hardware"`` or ``"software"``
    sha : whether SHA-256 is computed by the chip; else by its firmware
    """

    memory: int = 2**20
    core: Core = "hardware"
    sha: bool = field(default=True)

    def __post_init__(self) -> None:
        memory = self.memory
        if not LEAST_MEMORY <= memory <= MOST_MEMORY or memory & (memory - 1):
            raise TargetError(
                f"memory = {memory} bytes; allowed: a power of two from {LEAST_MEMORY} to {MOST_MEMORY}, e.g. rtl:memory={2**20}"
            )
        if self.core not in get_args(Core):
            raise TargetError(f"core = {self.core!r}; allowed: {' or '.join(get_args(Core))}, e.g. rtl:core=software")

    @property
    def memory_bits(self) -> int:
        """Bits of an address in it."""
        return self.memory.bit_length() - 1

    @property
    def device_id(self) -> str:
        """Name of the chip: equal parameters, equal chip."""
        sha = "" if self.sha else ",sha=0"
        return f"rtl:memory={self.memory},core={self.core}{sha}"

    def shares(self) -> dict[str, int]:
        """Sizes of the firmware's memories (bytes), by their names in ``hwl_config.h``."""
        part = (self.memory - FIRMWARE_BYTES) // 16 // 64 * 64
        program, entered, output = PROGRAM_PART * part, INPUT_PART * part, OUTPUT_PART * part
        return {
            "HWL_PROGRAM_BYTES": program,
            "HWL_INPUT_BYTES": entered,
            "HWL_OUTPUT_BYTES": output,
            "HWL_STATE_BYTES": self.memory - FIRMWARE_BYTES - program - entered - output,
            "HWL_MAX_BODY": MAX_BODY,
        }


def read(address: str) -> Parameters:
    """The parameters in ``memory=N,core=NAME,sha=0``, any of them, in any order; :class:`TargetError` for others."""
    names = [one.name for one in fields(Parameters)]
    found: dict[str, str] = {}
    for part in filter(None, address.split(",")):
        name, equals, value = part.partition("=")
        if not equals or name not in names or name in found:
            raise TargetError(
                f"rtl:{address}: {part!r} is no parameter of the chip; allowed, each once: memory=BYTES, core=hardware|software, "
                "sha=0|1, separated by commas; rtl: alone has them all at their defaults"
            )
        found[name] = value
    memory, sha = found.get("memory", str(Parameters.memory)), found.get("sha", "1")
    if not memory.isascii() or not memory.isdigit() or len(memory) > len(str(MOST_MEMORY)):
        raise TargetError(f"memory = {memory!r}; allowed: a whole number of bytes, e.g. rtl:memory={2**20}")
    if sha not in ("0", "1"):
        raise TargetError(f"sha = {sha!r}; allowed: 0 (by firmware) or 1 (by the chip)")
    return Parameters(int(memory), found.get("core", Parameters.core), sha == "1")  # type: ignore[arg-type]
