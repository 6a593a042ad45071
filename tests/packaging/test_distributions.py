"""Wheel and source distribution hold what belongs into them, and nothing that was made on the way."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE = shutil.ignore_patterns(
    ".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "out", "build", "dist", "*.egg-info"
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A copy of the project, its wheel and its source distribution."""
    folder = tmp_path_factory.mktemp("built")
    copy = folder / "project"
    shutil.copytree(ROOT, copy, ignore=MADE)
    made = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(copy)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    (wheel,), (source,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return copy, wheel, source


def files(folder: Path) -> set[str]:
    left_out = ("build", "hwloop.egg-info")  # of the build itself
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".gitignore")
    return {path.relative_to(folder).as_posix() for path in paths if path.relative_to(folder).parts[0] not in left_out}


def test_the_source_distribution_holds_every_file_of_the_project(built: tuple[Path, Path, Path]) -> None:
    copy, _, source = built
    with tarfile.open(source) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert files(copy) - held == set()
    assert {
        "docs/quickstart.md",
        "examples/01_one_neuron.py",
        "studies/run.py",
        "CHANGELOG.md",
        "constraints.txt",
    } <= held


def test_the_wheel_holds_every_package_with_its_data_and_nothing_else(built: tuple[Path, Path, Path]) -> None:
    copy, wheel, _ = built
    wanted = set()
    for root in ("", "backends", "calibration"):
        for package in (copy / root).glob("hwloop*"):
            for path in package.rglob("*"):
                inside = path.relative_to(copy / root)
                if path.is_file() and "egg-info" not in str(inside):
                    wanted.add(inside.as_posix())
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted
    assert {"hwloop_serial/firmware/src/main.c", "hwloop/cost/prices.toml", "hwloop_emulator/presets/bss2.toml"} <= held


def test_the_wheel_says_what_it_is_and_what_it_plugs_in(built: tuple[Path, Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        (plugged,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        said, entries = message_from_bytes(archive.read(metadata)), archive.read(plugged).decode()
    assert said["License-Expression"] == "Apache-2.0"
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(
        said.get_all("Classifier") or ()
    )
    assert "three emulated chips" in str(said.get_payload())  # the README
    for line in ("hwloop = hwloop.cli:app", "emulator = hwloop_emulator:EmulatorTarget", "hwloop.conformance.plugin"):
        assert line in entries
