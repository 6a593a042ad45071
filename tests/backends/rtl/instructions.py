"""RV32I, one instruction at a time, written from the manual (RISC-V Unprivileged ISA 20191213, chapter 2)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

#: Registers of a test: result, operands. What is in the result before.
RD, RS1, RS2, UNTOUCHED = 5, 6, 7, 0x5A5A5A5A
MASK = 0xFFFFFFFF
#: Where an instruction goes on: behind itself, or three instructions on.
ON, JUMPED, JUMP = 1, 2, 12


def signed(value: int, bits: int = 32) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


@dataclass(frozen=True)
class Job:
    """An instruction, its operands, and the memory that it finds."""

    word: int
    first: int
    second: int
    memory: bytes = bytes(32)

    def pack(self) -> bytes:
        return struct.pack("<III", self.word, self.first & MASK, self.second & MASK) + self.memory


@dataclass(frozen=True)
class Outcome:
    """Result, where it went on, and the memory afterwards."""

    result: int
    went: int
    memory: bytes


Operation = Callable[[int, int], int]
#: funct3, funct7 and meaning of what computes.
OPERATIONS: dict[str, tuple[int, int, Operation]] = {
    "add": (0, 0, lambda a, b: a + b),
    "sub": (0, 32, lambda a, b: a - b),
    "sll": (1, 0, lambda a, b: a << (b & 31)),
    "slt": (2, 0, lambda a, b: int(signed(a) < signed(b))),
    "sltu": (3, 0, lambda a, b: int(a & MASK < b & MASK)),
    "xor": (4, 0, lambda a, b: a ^ b),
    "srl": (5, 0, lambda a, b: (a & MASK) >> (b & 31)),
    "sra": (5, 32, lambda a, b: signed(a) >> (b & 31)),
    "or": (6, 0, lambda a, b: a | b),
    "and": (7, 0, lambda a, b: a & b),
}
IMMEDIATE = {"addi": "add", "slti": "slt", "sltiu": "sltu", "xori": "xor", "ori": "or", "andi": "and"}
SHIFTS = {"slli": "sll", "srli": "srl", "srai": "sra"}
BRANCHES: dict[str, tuple[int, Callable[[int, int], bool]]] = {
    "beq": (0, lambda a, b: a == b),
    "bne": (1, lambda a, b: a != b),
    "blt": (4, lambda a, b: signed(a) < signed(b)),
    "bge": (5, lambda a, b: signed(a) >= signed(b)),
    "bltu": (6, lambda a, b: a < b),
    "bgeu": (7, lambda a, b: a >= b),
}
#: funct3 and struct format.
LOADS = {"lb": (0, "<b"), "lh": (1, "<h"), "lw": (2, "<i"), "lbu": (4, "<B"), "lhu": (5, "<H")}
STORES = {"sb": (0, "<B"), "sh": (1, "<H"), "sw": (2, "<I")}
OTHERS = ("lui", "auipc", "jal", "jalr", "fence")
NAMES = [*OPERATIONS, *IMMEDIATE, *SHIFTS, *BRANCHES, *LOADS, *STORES, *OTHERS]


def register_form(funct7: int, funct3: int, opcode: int = 0x33) -> int:
    return funct7 << 25 | RS2 << 20 | RS1 << 15 | funct3 << 12 | RD << 7 | opcode


def immediate_form(number: int, funct3: int, opcode: int, rd: int = RD) -> int:
    return (number & 0xFFF) << 20 | RS1 << 15 | funct3 << 12 | rd << 7 | opcode


def store_form(number: int, funct3: int) -> int:
    number &= 0xFFF
    return number >> 5 << 25 | RS2 << 20 | RS1 << 15 | funct3 << 12 | (number & 31) << 7 | 0x23


def branch_form(offset: int, funct3: int) -> int:
    offset &= 0x1FFF
    high, low = (offset >> 12) << 6 | offset >> 5 & 63, (offset >> 1 & 15) << 1 | offset >> 11 & 1
    return high << 25 | RS2 << 20 | RS1 << 15 | funct3 << 12 | low << 7 | 0x63


def jump_form(offset: int) -> int:
    offset &= 0x1FFFFF
    bits = (offset >> 20) << 19 | (offset >> 1 & 0x3FF) << 9 | (offset >> 11 & 1) << 8 | offset >> 12 & 0xFF
    return bits << 12 | RD << 7 | 0x6F


def example(name: str, first: int, second: int, number: int, memory: bytes, at: tuple[int, int]) -> tuple[Job, Outcome]:
    """Instruction ``name`` with two operands and a ``number`` (12 bits or, of lui and auipc, 20); ``at``: its code and its memory."""
    code, place = at
    if name in OPERATIONS:
        funct3, funct7, meaning = OPERATIONS[name]
        return _computed(register_form(funct7, funct3), first, second, meaning(first, second), memory)
    if name in IMMEDIATE:
        funct3, _, meaning = OPERATIONS[IMMEDIATE[name]]
        value = meaning(first, signed(number, 12))
        return _computed(immediate_form(number, funct3, 0x13), first, second, value, memory)
    if name in SHIFTS:
        funct3, funct7, meaning = OPERATIONS[SHIFTS[name]]
        return _computed(
            immediate_form(funct7 << 5 | number & 31, funct3, 0x13), first, second, meaning(first, number & 31), memory
        )
    if name in BRANCHES:
        funct3, taken = BRANCHES[name]
        went = JUMPED if taken(first, second) else ON
        return Job(branch_form(JUMP, funct3), first, second, memory), Outcome(UNTOUCHED, went, memory)
    if name in LOADS or name in STORES:
        return _moved(name, second, number, memory, place)
    return _other(name, first, second, number, memory, code)


def _computed(word: int, first: int, second: int, value: int, memory: bytes) -> tuple[Job, Outcome]:
    return Job(word, first, second, memory), Outcome(value & MASK, ON, memory)


def _moved(name: str, second: int, number: int, memory: bytes, place: int) -> tuple[Job, Outcome]:
    funct3, form = (LOADS | STORES)[name]
    size = struct.calcsize(form)
    offset = (number & 31) // size * size
    distance = signed(number, 12)
    base = place + offset - distance
    if name in LOADS:
        (value,) = struct.unpack_from(form, memory, offset)
        return _computed(immediate_form(distance, funct3, 0x03), base, second, value, memory)
    changed = bytearray(memory)
    struct.pack_into(form, changed, offset, second & ((1 << 8 * size) - 1))
    return Job(store_form(distance, funct3), base, second, memory), Outcome(UNTOUCHED, ON, bytes(changed))


def _other(name: str, first: int, second: int, number: int, memory: bytes, code: int) -> tuple[Job, Outcome]:
    upper = (number & 0xFFFFF) << 12
    if name == "lui":
        return _computed(upper | RD << 7 | 0x37, first, second, upper, memory)
    if name == "auipc":
        return _computed(upper | RD << 7 | 0x17, first, second, code + upper, memory)
    if name == "jal":
        return Job(jump_form(JUMP), first, second, memory), Outcome(code + 4, JUMPED, memory)
    if name == "jalr":  # the lowest bit of the sum is dropped
        base = code + JUMP - signed(number, 12) + (number >> 12 & 1)
        return Job(immediate_form(number, 0, 0x67), base, second, memory), Outcome(code + 4, JUMPED, memory)
    assert name == "fence"
    return Job(0x0FF0000F, first, second, memory), Outcome(UNTOUCHED, ON, memory)
