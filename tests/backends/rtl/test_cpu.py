"""The processor does each instruction of RV32I as the manual says, stops at what is none, and waits for a slow memory."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator

import numpy as np
import pytest

from .chip import Bench, ChipLine, bench_firmware, running
from .instructions import NAMES, RS1, UNTOUCHED, Job, Outcome, example, immediate_form, signed, store_form

#: Jobs of one frame, and examples of each instruction.
TOGETHER, EXAMPLES = 20, 20
#: Numbers at which carries, signs and comparisons turn.
EDGES = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0xFFFFFFFE, 0x0000FFFF, 0x00010000, 31, 32]
ANSWER = struct.Struct("<II32s")


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with running(bench_firmware()) as line:
        yield Bench(line)


def at(bench: Bench) -> tuple[int, int]:
    code, place = struct.unpack("<II", bench.ask(b"A"))
    return code, place


def done(bench: Bench, jobs: list[Job]) -> list[Outcome]:
    found = []
    for first in range(0, len(jobs), TOGETHER):
        reply = bench.ask(b"X", b"".join(job.pack() for job in jobs[first : first + TOGETHER]))
        found += [Outcome(*fields) for fields in ANSWER.iter_unpack(reply)]
    return found


def examples(name: str, rng: np.random.Generator, where: tuple[int, int], count: int) -> list[tuple[Job, Outcome]]:
    found = []
    for _ in range(count):
        first, second = (
            int(rng.choice(EDGES)) if rng.random() < 0.5 else int(rng.integers(0, 2**32)) for _ in range(2)
        )
        if rng.random() < 0.2:
            second = first
        found.append(example(name, first, second, int(rng.integers(0, 2**20)), rng.bytes(32), where))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_instruction_does_what_the_manual_says(bench: Bench, name: str) -> None:
    pairs = examples(name, np.random.default_rng([51, NAMES.index(name)]), at(bench), EXAMPLES)
    found = done(bench, [job for job, _ in pairs])
    for (job, wanted), outcome in zip(pairs, found, strict=True):
        assert outcome == wanted, f"{name}: {job}"
    assert len({outcome.went for outcome in found}) == (2 if name[0] == "b" else 1)


def test_the_register_of_zeros_stays_one(bench: Bench) -> None:
    into_zero, read_zero = immediate_form(5, 0, 0x13, rd=0), 0x000002B3  # addi x0, x6, 5; add x5, x0, x0
    first, second = done(bench, [Job(into_zero, 7, 0), Job(read_zero, 7, 0)])
    assert (first.result, second.result) == (UNTOUCHED, 0)


def test_a_slow_memory_makes_it_slower_and_nothing_else() -> None:
    with running(bench_firmware(), stall=0.7) as line:
        slow = Bench(line)
        rng = np.random.default_rng(52)
        where = at(slow)
        pairs = [pair for name in NAMES for pair in examples(name, rng, where, 2)]
        assert done(slow, [job for job, _ in pairs]) == [wanted for _, wanted in pairs]


#: What is no instruction of this processor, or may not be done: a word, and what its address register holds.
REFUSED = {
    "all zeros": (0, 0),
    "all ones": (0xFFFFFFFF, 0),
    "ecall": (0x00000073, 0),
    "ebreak": (0x00100073, 0),
    "mul": (0x027302B3, 0),
    "csrr": (0xC00022F3, 0),
    "a branch of another kind": (0x00732063, 0),
    "a shift by more than there is": (0x02131293, 0),
    "a word at an odd address": (immediate_form(0, 2, 0x03), 0x402),
    "a half at an odd address": (store_form(0, 1), 0x401),
    "a load of another width": (immediate_form(0, 3, 0x03), 0x400),
    "a jump to no instruction": (immediate_form(2, 0, 0x67), 0x400),
    "memory that there is not": (immediate_form(0, 2, 0x03), 0x00100000),
    "registers that there are not": (store_form(0, 2), 0x80000400),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_instruction_starts_the_chip_anew(bench: Bench, what: str) -> None:
    word, first = REFUSED[what]
    assert bench.ask(b"E123") == b"E123"
    said, line = bench.line.chip.said(), bench.line
    line.write(_job(word, first))
    _wait_for(line, said)
    code, _ = at(bench)
    # the instruction itself, or where it jumped to
    place = first + 2 if "jump" in what else code
    assert f"stopped at {place:08x}" in bench.line.chip.said()[len(said) :]
    assert done(bench, [Job(0x007302B3, 20, 22)])[0].result == 42


def _job(word: int, first: int) -> bytes:
    from ..serial.firmware.wire import stuffed

    return stuffed(b"X" + Job(word, first, 0).pack())


def _wait_for(line: ChipLine, said: str) -> None:
    deadline = time.monotonic() + 30
    while line.chip.said() == said:
        assert time.monotonic() < deadline, "the processor went on"
        time.sleep(0.01)


def test_the_model_of_the_test_knows_signs() -> None:
    assert [signed(value, 12) for value in (0, 2047, 2048, 4095)] == [0, 2047, -2048, -1]
    assert RS1 == 6
