"""CRC-32 and SHA-256 of the chip are those of zlib and hashlib, and of the C that the processor runs; CRC is proven by a solver."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hwloop_rtl import building
from tests.needed_programs import need

from .chip import Bench, bench_firmware, running

#: Around a block, around what a block has no room for, around words.
LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 31, 54, 55, 56, 57, 59, 60, 61, 63, 64, 65, 119, 120, 127, 128, 1000]
FORMAL = Path(__file__).parent / "formal"
#: Seconds for the solver; it takes a few.
PROOF = 300


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with running(bench_firmware()) as line:
        yield Bench(line)


@pytest.mark.parametrize("start", [0, 0x48574C50, 0xFFFFFFFF])
def test_crc_is_that_of_zlib(bench: Bench, start: int) -> None:
    rng = np.random.default_rng([53, start % 1000])
    for length in LENGTHS:
        data = rng.bytes(length)
        found = struct.unpack("<II", bench.ask(b"C", struct.pack("<I", start) + data))
        assert found == (zlib.crc32(data, start),) * 2, f"{length} bytes"


def test_sha_is_that_of_hashlib(bench: Bench) -> None:
    rng = np.random.default_rng(54)
    for length in LENGTHS:
        data = rng.bytes(length)
        assert bench.ask(b"S", data) == 2 * hashlib.sha256(data).digest(), f"{length} bytes"


def test_known_answers(bench: Bench) -> None:
    # the check value of the CRC, and of FIPS 180-4 "abc"
    assert bench.ask(b"C", bytes(4) + b"123456789")[:4] == struct.pack("<I", 0xCBF43926)
    assert bench.ask(b"S", b"abc")[:32].hex().startswith("ba7816bf8f01cfea414140de5dae2223")


def prove(name: str, sources: list[Path], folder: Path, *, depth: int) -> None:
    """What ``name`` asserts holds for all inputs in the first ``depth`` clocks."""
    need("yosys", "yosys-smtbmc", "z3")
    model = folder / "model.smt2"
    script = f"read_verilog -sv -formal {' '.join(map(str, sources))}; prep -top {name}; async2sync; write_smt2 -wires {model}"
    done = subprocess.run(["yosys", "-q", "-p", script], capture_output=True, text=True, timeout=PROOF)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        ["yosys-smtbmc", "-s", "z3", "-t", str(depth), str(model)],
        capture_output=True,
        text=True,
        timeout=PROOF,
        cwd=folder,
    )
    assert "Status: PASSED" in done.stdout, done.stdout


def test_crc_is_its_polynomial_bit_by_bit_for_all_registers_and_words(tmp_path: Path) -> None:
    prove(
        "crc32_formal", [FORMAL / "crc32_formal.sv", building.HERE / "core" / "digest" / "crc32.sv"], tmp_path, depth=6
    )


def test_the_proof_finds_a_wrong_polynomial(tmp_path: Path) -> None:
    right = (building.HERE / "core" / "digest" / "crc32.sv").read_text()
    wrong = tmp_path / "crc32.sv"
    wrong.write_text(right.replace("EDB88320", "EDB88322"))
    with pytest.raises(AssertionError, match="FAILED"):
        prove("crc32_formal", [FORMAL / "crc32_formal.sv", wrong], tmp_path, depth=6)


def test_the_fifo_keeps_order_and_number_for_all_that_may_come(tmp_path: Path) -> None:
    prove("fifo_formal", [FORMAL / "fifo_formal.sv", building.HERE / "core" / "link" / "fifo.sv"], tmp_path, depth=14)
