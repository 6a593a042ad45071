"""What is built stands in the cache whole or not at all, once however many ask for it, and anew where anything of it changed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hwloop.errors import TargetError
from hwloop_rtl import RtlTarget, building, tools
from hwloop_rtl.parameters import Parameters
from hwloop_rtl.tools import Tools
from tests.needed_programs import need

from .chip import DEFAULT
from .chip import TOOLS as CHIP_TOOLS

TOOLS = Tools({name: Path("/bin/true") for name in tools.PACKAGES}, dict.fromkeys(tools.PACKAGES, "1"))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(building.CACHE_VARIABLE, str(tmp_path))
    return tmp_path


def test_a_build_that_breaks_off_leaves_nothing(cache: Path) -> None:
    def broken(folder: Path) -> None:
        (folder / "half").write_text("")
        raise TargetError("the compiler failed")

    with pytest.raises(TargetError, match="the compiler failed"):
        building._kept("chip", broken)
    assert [path.name for path in cache.iterdir()] == ["chip.lock"]


def test_of_many_at_a_time_one_builds(cache: Path) -> None:
    begun: list[int] = []

    def slow(folder: Path) -> None:
        begun.append(os.getpid())
        (folder / "made").write_text("")
        time.sleep(0.3)

    threads = [threading.Thread(target=lambda: building._kept("chip", slow)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    assert (cache / "chip" / "made").exists()


def test_a_builder_that_is_killed_leaves_nothing_in_its_place_and_the_next_one_builds(cache: Path) -> None:
    script = (
        "import time; from hwloop_rtl import building\n"
        "def fill(folder):\n    (folder / 'half').write_text('')\n    print('half', flush=True)\n    time.sleep(60)\n"
        "building._kept('chip', fill)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == b"half\n"
        builder.kill()
    assert not (cache / "chip").exists()
    place = building._kept("chip", lambda folder: (folder / "whole").touch())
    assert [path.name for path in place.iterdir()] == ["whole"]


def test_the_place_depends_on_sources_parameters_and_tools(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(building, "_kept", lambda name, build: names.append(name) or cache)
    other_tools = Tools(TOOLS.paths, TOOLS.versions | {"verilator": "2", "riscv64-unknown-elf-gcc": "2"})
    other_chips = [Parameters(memory=2**17), Parameters(core="software"), Parameters(sha=False)]
    for parameters, found in ((DEFAULT, TOOLS), (DEFAULT, other_tools), *((chip, TOOLS) for chip in other_chips)):
        building.simulation(parameters, found)
        building.firmware(parameters, found)
    read = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: read(path) + (b" " if path.name in ("cpu.sv", "run.h") else b"")
    )
    building.simulation(DEFAULT, TOOLS)
    building.firmware(DEFAULT, TOOLS)
    assert len(set(names)) == len(names) == 12


def test_a_compiler_that_fails_is_told_with_what_it_wrote(cache: Path) -> None:
    liar = cache / "verilator"
    liar.write_text("#!/bin/sh\necho '%Error: cpu.sv: not today' >&2\nexit 1\n")
    liar.chmod(0o755)
    wrong = Tools(TOOLS.paths | {"verilator": liar}, TOOLS.versions)
    with pytest.raises(TargetError, match=r"(?s)verilator .* failed with exit status 1.*cpu.sv: not today"):
        building.simulation(DEFAULT, wrong)
    assert not list(cache.glob("simulation-*[!k]"))


def test_the_firmware_of_another_chip_is_refused_by_its_size() -> None:
    need(*CHIP_TOOLS)
    with pytest.raises(TargetError, match="do not fit the chip's"):
        building.firmware(_Squeezed(memory=2**16), tools.find())


class _Squeezed(Parameters):
    """A chip that promises more than its memory holds."""

    def shares(self) -> dict[str, int]:
        return super().shares() | {"HWL_PROGRAM_BYTES": 2**16}


def test_the_doctor_names_each_program() -> None:
    rows = {row[0]: row[1:] for row in RtlTarget.doctor()}
    assert set(rows) == {f"rtl: {name}" for name in tools.PACKAGES}
    for name, package in tools.PACKAGES.items():
        found, advice = rows[f"rtl: {name}"]
        assert (found == "not found") == (package in advice) == (tools.where(name) is None)
