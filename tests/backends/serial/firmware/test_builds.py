"""How the firmware is built, what it is made of, and what it survives."""

from __future__ import annotations

import itertools
import json
import re
import runpy
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hwloop_loihi import FixedGraph, FixedLayer, Synapses
from tests.needed_programs import need

from .built import BUILD, FIRMWARE, built
from .images import image_of
from .library import MemoryLine, read_image
from .small import seed_program
from .wire import READ, Host

SOURCES = sorted((FIRMWARE / "src").glob("*.c"))
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wno-sign-conversion"]
#: Seconds of fuzzing on each push; `make firmware-fuzz` does more.
FUZZ_SECONDS = 20


@pytest.mark.parametrize("compiler", ["cc", "clang"])
def test_the_sources_are_c99_without_a_warning(compiler: str) -> None:
    need(compiler)
    done = subprocess.run(
        [compiler, *STRICT, "-fsyntax-only", *map(str, SOURCES)], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sources_include_three_headers_of_the_library_and_call_for_no_memory() -> None:
    texts = {path.name: path.read_text() for path in (FIRMWARE / "src").iterdir()}
    included = {name for text in texts.values() for name in re.findall(r"#include <(.*?)>", text)}
    assert included == {"stdint.h", "stddef.h", "string.h"}
    for name, text in texts.items():
        assert not re.search(r"\b(malloc|calloc|realloc|alloca|free|float|double|printf)\b", text), name


def test_files_are_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in SOURCES}
    assert max(lengths.values()) < 400, lengths


def test_info_is_json_of_the_form_that_the_page_has() -> None:
    line = MemoryLine()
    host = Host(line, go_on=line.go_on)
    info_bytes = host.hello()[7]
    text = host.ask(READ, bytes(9) + info_bytes.to_bytes(2, "little")).body[9:]
    info = json.loads(text)
    assert info.pop("limits") == {
        "neurons": 4096, "inputs": 1 << 20, "synapses": 1 << 20, "max_delay": 63, "max_ticks": 2**31 - 1,
        "recurrent": True, "bias": True, "starts": True, "state_bytes": 48 * 1024,
    }  # fmt: skip
    # the name of the board in memory has characters that JSON would take for its own
    assert info == {
        "format": "hwloop-device", "version": 1, "kind": "fixed", "device_id": "memory _0_",
        "firmware": "hwloop-firmware 1", "ran_on": "hardware", "dt": None,
    }  # fmt: skip


def test_the_footprint_counts_what_the_firmware_counts() -> None:
    footprint = runpy.run_path(str(FIRMWARE / "footprint.py"))
    for sizes in ((5, 120, 3), (7, 3), (256, 128, 10)):
        layers = [FixedLayer(Synapses(np.full((b, a), 3, np.int32)), 0, 0, 100) for a, b in itertools.pairwise(sizes)]
        image = image_of(FixedGraph(tuple(layers), 1e-3))
        # this encoder always writes a bias, 4 bytes a neuron
        assert footprint["program_bytes"](sizes) == len(image) - 4 * sum(sizes[1:])
        assert footprint["state_bytes"](sizes) == read_image(image).state_bytes
    for wrong in ("5", "5-0", "5-x", "-3", ""):
        with pytest.raises(SystemExit, match="expected inputs and one layer at least"):
            footprint["sizes_of"](wrong)


def test_the_cortex_m_image_is_as_small_as_the_guide_says() -> None:
    footprint = runpy.run_path(str(FIRMWARE / "footprint.py"))
    need("arm-none-eabi-gcc")
    report = footprint["report"](str(built("footprint", "hwloop-device-default.elf")), ["5-120-3"])
    flash, ram = (int(line.split()[1]) for line in report.splitlines()[:2])
    assert flash < 16 * 1024
    assert ram < 256 * 1024
    assert "5-120-3" in report


def test_the_program_that_the_fuzzer_changes_is_a_good_one() -> None:
    assert read_image(seed_program(FIRMWARE)).code == 0


@pytest.mark.slow
def test_random_bytes_do_no_harm(tmp_path: Path) -> None:
    built("fuzzer", "fuzz-loop")
    done = subprocess.run(
        [BUILD / "fuzz-loop", str(FUZZ_SECONDS), "11"], capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    executions = int(done.stdout.split()[0])
    assert executions > 100


def test_random_bytes_do_no_harm_for_a_moment(tmp_path: Path) -> None:
    built("fuzzer", "fuzz-loop")
    done = subprocess.run([BUILD / "fuzz-loop", "3", "12"], capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("executions, no crash\n")
